//! Adjacent blocks, read at once and looked at together.
//!
//! What is concluded of each is what would be concluded of it alone; only the telling is shorter: of blocks in which
//! there is nothing to be told, their number.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use super::digest::TOGETHER;
use super::inspect::Inspector;
use super::verdict::{Broken, Claims, Inspection, Verdict};
use crate::ledger::{Legal, Recovered};
use crate::vocabulary::{Block, POISON};

/// Adjacent blocks that one read takes. Of those that only lie between the ones asked for nothing is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    first: Block,
    count: u32,
    /// Those asked for, by address, in a list that several spans share; `None` for all.
    among: Option<(Arc<[Block]>, Range<usize>)>,
}

impl Span {
    /// All blocks from `first` on, so many of them.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn all(first: Block, count: u32) -> Self {
        assert!(count > 0, "a read takes something");
        Span { first, count, among: None }
    }

    /// From the first to the last of these entries of a list that is sorted by address, which alone are asked for.
    ///
    /// # Panics
    /// When the range is empty or not of the list.
    #[must_use]
    pub fn listed(list: &Arc<[Block]>, range: Range<usize>) -> Self {
        let (first, last) = (list[range.start], list[range.end - 1]);
        let count = u32::try_from(last.0 - first.0 + 1).expect("a list by address, and a read of bounded length");
        Span { first, count, among: Some((Arc::clone(list), range)) }
    }

    /// Where the read begins; always asked for.
    #[must_use]
    pub fn first(&self) -> Block {
        self.first
    }

    /// Where it ends; always asked for.
    #[must_use]
    pub fn last(&self) -> Block {
        Block(self.first.0 + u64::from(self.count) - 1)
    }

    /// Blocks that are read.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Blocks that are asked for.
    #[must_use]
    pub fn asked(&self) -> u32 {
        match &self.among {
            Some((_, range)) => u32::try_from(range.len()).expect("not more than are read"),
            None => self.count,
        }
    }

    /// The blocks asked for, by address.
    pub fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        (0..self.asked()).map(|nth| match &self.among {
            Some((list, range)) => list[range.start + nth as usize],
            None => Block(self.first.0 + u64::from(nth)),
        })
    }

    /// As much of it as lies before a block; `None` for nothing.
    #[must_use]
    pub fn before(&self, end: Block) -> Option<Span> {
        let asked = self.blocks().take_while(|block| *block < end).count();
        if asked == 0 {
            return None;
        }
        Some(match &self.among {
            Some((list, range)) => Span::listed(list, range.start..range.start + asked),
            None => Span::all(self.first, u32::try_from(asked).expect("not more than before")),
        })
    }

    /// The bytes of one of its blocks within those of the span.
    ///
    /// # Panics
    /// When the block is none of the span's.
    #[must_use]
    pub fn place_of(&self, block: Block, block_size: usize) -> Range<usize> {
        assert!(self.first <= block && block <= self.last(), "block {block} of {self:?}");
        let at = usize::try_from(block.0 - self.first.0).expect("within a buffer") * block_size;
        at..at + block_size
    }
}

/// The blocks of a span, judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspections {
    /// Blocks that are intact, and of which nothing else is to be told.
    pub intact: u32,
    /// All others that were asked for, by address.
    pub others: Vec<(Block, Inspection)>,
    /// By address, those that cannot be judged yet: see [`Recovered::hears`].
    pub heard: Vec<(Block, Heard)>,
}

/// A block of the window, before all witnesses were heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What those of its atoms claim that can bear witness.
    pub claims: Claims,
    /// All can, to one write that may be there as far as is known, and the digest holds: that is all there is to be judged
    /// of it.
    pub whole: bool,
    /// It breaks a promise whatever the witnesses say: they can only add to what must be there.
    pub broken: Option<Arc<Broken>>,
}

impl Inspector {
    /// Judges the blocks of a span that was read whole, each by what may be in it; hears those of which that is not
    /// known yet. What shows a broken promise is handed to `evidence` with what it was judged by. All is [`POISON`] in
    /// the end: a block that was just judged is in the processor's cache, and the next read into these bytes is no read
    /// of what is in them now.
    ///
    /// # Panics
    /// When `bytes` is not as long as the span.
    #[must_use]
    pub fn inspect_span(
        &self,
        bytes: &mut [u8],
        span: &Span,
        by: &Recovered,
        mut evidence: impl FnMut(&[u8], Legal),
    ) -> Inspections {
        let size = self.block_size(bytes, span);
        // A claim of what is legal by the epochs is of a known epoch: that the ledger is stale it does not show.
        let claims_matter = by.accepts_any_epoch();
        let (mut inspections, mut poisoned) = (Inspections::default(), 0);
        let mut legal = by.legal(span.first());
        let mut blocks = span.blocks();
        loop {
            let (mut group, mut count) = ([span.first(); TOGETHER], 0);
            for (place, block) in group.iter_mut().zip(blocks.by_ref().take(self.hashed_together())) {
                (*place, count) = (block, count + 1);
            }
            let group = &group[..count];
            let Some(last) = group.last() else { return inspections };
            let mut contents: [&[u8]; TOGETHER] = [&[]; TOGETHER];
            for (contents, &block) in contents.iter_mut().zip(group) {
                *contents = &bytes[span.place_of(block, size)];
            }
            let contents = &contents[..count];
            // Asked for by the first that looks as if it were whole: contents that are none of ours have no digest.
            let digests = OnceCell::new();
            for (nth, (&block, &read)) in group.iter().zip(contents).enumerate() {
                by.move_on(&mut legal, block);
                let digest_holds = || digests.get_or_init(|| self.digests_hold(contents))[nth];
                if by.hears(block) {
                    let heard = self.hear(read, &legal, digest_holds);
                    if heard.broken.is_some() {
                        evidence(read, legal.clone());
                    }
                    inspections.heard.push((block, heard));
                } else {
                    let inspection = self.inspect_with(read, &legal, digest_holds);
                    if matches!(inspection.verdict, Verdict::Broken(_)) {
                        evidence(read, legal.clone());
                    }
                    match inspection.verdict {
                        Verdict::Intact if !claims_matter => inspections.intact += 1,
                        _ => inspections.others.push((block, inspection)),
                    }
                }
            }
            let end = span.place_of(*last, size).end;
            bytes[poisoned..end].fill(POISON);
            poisoned = end;
        }
    }

    /// Hears the witnesses in the blocks of a span, block by block; see [`Inspector::survey`]. All is [`POISON`] in the
    /// end here, too.
    ///
    /// # Panics
    /// When `bytes` is not as long as the span.
    #[must_use]
    pub fn survey_span(&self, bytes: &mut [u8], span: &Span) -> Vec<(Block, Claims)> {
        let (size, mut poisoned) = (self.block_size(bytes, span), 0);
        let mut hear = |block| {
            let place = span.place_of(block, size);
            let claims = self.survey(&bytes[place.clone()], block);
            bytes[poisoned..place.end].fill(POISON);
            poisoned = place.end;
            (block, claims)
        };
        span.blocks().map(&mut hear).collect()
    }

    fn hear(&self, bytes: &[u8], legal: &Legal, digest_holds: impl FnOnce() -> bool) -> Heard {
        let claims = self.survey(bytes, legal.block);
        let one = claims.of_all(self.sealer().geometry().atoms());
        let whole = one.is_some_and(|claim| Verdict::of_one_write(claim, legal).is_some()) && digest_holds();
        let verdict = (!whole).then(|| self.inspect(bytes, legal).verdict);
        let broken = match verdict {
            Some(Verdict::Broken(broken)) => Some(broken),
            _ => None,
        };
        Heard { claims, whole, broken }
    }

    fn block_size(&self, bytes: &[u8], span: &Span) -> usize {
        let size = self.sealer().geometry().block_size as usize;
        assert_eq!(bytes.len(), size * span.count as usize, "{} blocks", span.count);
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(span: &Span) -> Vec<u64> {
        span.blocks().map(|block| block.0).collect()
    }

    #[test]
    fn a_span_of_all_is_cut_short_at_any_block() {
        let span = Span::all(Block(7), 4);
        assert_eq!((blocks(&span), span.last(), span.asked()), (vec![7, 8, 9, 10], Block(10), 4));
        assert_eq!(span.before(Block(7)), None);
        assert_eq!(span.before(Block(9)), Some(Span::all(Block(7), 2)));
        assert_eq!(span.before(Block(99)), Some(span));
    }

    #[test]
    fn a_listed_span_ends_with_a_block_that_was_asked_for() {
        let list: Arc<[Block]> = [2, 3, 7, 9].map(Block).into();
        let span = Span::listed(&list, 1..4);
        assert_eq!((blocks(&span), span.first(), span.last()), (vec![3, 7, 9], Block(3), Block(9)));
        assert_eq!((span.count(), span.asked()), (7, 3));
        let shorter = span.before(Block(9)).unwrap();
        assert_eq!((blocks(&shorter), shorter.count()), (vec![3, 7], 5));
        assert_eq!(span.before(Block(3)), None);
        assert_eq!(span.place_of(Block(7), 4096), 16_384..20_480);
    }
}
