//! Blocks that came one by one, as ranges. Bounded: beyond the bound the nearest ranges are joined, and are then known
//! to have holes.

use std::collections::BTreeMap;

use super::Extent;
use crate::vocabulary::Block;

/// Ranges kept: 1,024 of some 40 bytes. When there are more, the closest are joined until half of them are left, so
/// that the sorting costs little per block.
const RANGES_MAX: usize = 1024;

#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    /// By their first block; they do not touch.
    by_first: BTreeMap<u64, Range>,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    last: u64,
    findings: u64,
    /// Every block of it was found.
    whole: bool,
}

impl Ranges {
    pub(super) fn add(&mut self, block: Block) {
        let block = block.0;
        let before = self.by_first.range_mut(..=block).next_back();
        if let Some((_, range)) = before
            && block <= range.last
        {
            // Within a whole range it is the same block once more; in one with holes nobody remembers.
            range.findings += 1;
            return;
        }
        let before = self.by_first.range(..block).next_back().map(|(first, range)| (*first, *range));
        let before = before.filter(|(_, range)| range.last + 1 == block);
        let after = block.checked_add(1).and_then(|next| self.by_first.remove(&next));
        let mut joined = Range { last: block, findings: 1, whole: true };
        let mut first = block;
        if let Some((start, range)) = before {
            first = start;
            joined.findings += range.findings;
            joined.whole &= range.whole;
        }
        if let Some(range) = after {
            joined.last = range.last;
            joined.findings += range.findings;
            joined.whole &= range.whole;
        }
        self.by_first.insert(first, joined);
        if self.by_first.len() > RANGES_MAX {
            self.join_closest();
        }
    }

    fn join_closest(&mut self) {
        let starts = self.by_first.keys().skip(1);
        let mut gaps: Vec<u64> = starts.zip(self.by_first.values()).map(|(next, range)| next - range.last).collect();
        let surplus = gaps.len() - RANGES_MAX / 2;
        let (_, bridged, _) = gaps.select_nth_unstable(surplus);
        let bridged = *bridged;
        let mut joined: BTreeMap<u64, Range> = BTreeMap::new();
        for (first, range) in std::mem::take(&mut self.by_first) {
            match joined.last_entry() {
                Some(mut last) if first - last.get().last <= bridged => {
                    let into = last.get_mut();
                    *into = Range { last: range.last, findings: into.findings + range.findings, whole: false };
                }
                _ => {
                    joined.insert(first, range);
                }
            }
        }
        self.by_first = joined;
    }

    /// Each range, and whether every block of it was found.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Extent, bool)> {
        self.by_first.iter().map(|(first, range)| {
            (Extent { findings: range.findings, first: Block(*first), last: Block(range.last) }, range.whole)
        })
    }
}
