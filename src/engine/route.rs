//! The way of a check over the blocks, by address, in spans; resumable.

use std::sync::Arc;

use crate::schedule::Schedule;
use crate::tag::Span;
use crate::vocabulary::{Block, Seq};

/// Writes whose blocks are sorted by address at once: no window is larger, but where the saved ledger turned out stale.
/// 512 KiB of block numbers.
const SORTED: u64 = 1 << 16;

/// Bytes between two blocks of a window that are read along: to read them takes about as long as another request
/// (4 µs at 8 GB/s), and of a disk that must seek far less.
const READ_ALONG: u64 = 32 << 10;

/// What a check visits.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// The blocks that have a write in a window, each once: by address, and where the window is larger than what is
    /// sorted at once, by address within each part of it.
    Window(Sweep),
    /// All blocks.
    All { at: u64 },
}

#[derive(Clone, Debug)]
pub(super) struct Sweep {
    from: Seq,
    to: Seq,
    lowest: Block,
    /// Bytes that may lie between two blocks of one read.
    read_along: u64,
    /// Writes from here on are not sorted yet.
    sorted_below: Seq,
    /// The blocks of those sorted last that have no later write in the window.
    blocks: Arc<[Block]>,
    at: usize,
}

impl Route {
    /// Over a window's blocks. One that goes round the whole region is the region.
    pub(super) fn window(schedule: &Schedule, from: Seq, to: Seq) -> Self {
        Self::window_above(schedule, from, to, Block(0))
    }

    /// Over those of them that are at this block or above it.
    pub(super) fn window_above(schedule: &Schedule, from: Seq, to: Seq, lowest: Block) -> Self {
        if to.0.saturating_sub(from.0) >= schedule.blocks() || lowest.0 >= schedule.blocks() {
            return Route::All { at: lowest.0 };
        }
        let (blocks, read_along) = (Arc::from([]), READ_ALONG);
        let mut sweep = Sweep { from, to, lowest, read_along, sorted_below: from, blocks, at: 0 };
        sweep.sort_on(schedule);
        Route::Window(sweep)
    }

    /// Over some blocks, and no other: those between them were judged, and nobody would look at what they show now.
    pub(super) fn over(mut blocks: Vec<Block>) -> Self {
        blocks.sort_unstable();
        let (none, lowest, blocks) = (Seq(0), Block(0), blocks.into());
        Route::Window(Sweep { from: none, to: none, lowest, read_along: 0, sorted_below: none, blocks, at: 0 })
    }

    pub(super) fn is_done(&self, schedule: &Schedule) -> bool {
        match self {
            Route::All { at } => *at >= schedule.blocks(),
            Route::Window(sweep) => sweep.at == sweep.blocks.len(),
        }
    }

    /// What comes next, as one read of so many blocks at the most.
    pub(super) fn ahead(&self, schedule: &Schedule, most: u32, block_size: u32) -> Option<Span> {
        match self {
            Route::All { at } => {
                let left = schedule.blocks().saturating_sub(*at).min(u64::from(most));
                (left > 0).then(|| Span::all(Block(*at), u32::try_from(left).expect("not above `most`")))
            }
            Route::Window(sweep) => sweep.ahead(u64::from(most), sweep.read_along / u64::from(block_size)),
        }
    }

    /// Goes on behind a span that began where it stood.
    pub(super) fn pass(&mut self, schedule: &Schedule, span: &Span) {
        match self {
            Route::All { at } => *at = span.last().0 + 1,
            Route::Window(sweep) => {
                sweep.at += span.asked() as usize;
                if sweep.at == sweep.blocks.len() {
                    sweep.sort_on(schedule);
                }
            }
        }
    }

    /// How much of it is done, 0 to 1.
    pub(super) fn progress(&self, schedule: &Schedule) -> f64 {
        match self {
            Route::All { at } => *at as f64 / schedule.blocks() as f64,
            Route::Window(Sweep { from, to, blocks, at, .. }) if from >= to => {
                if blocks.is_empty() {
                    1.0
                } else {
                    *at as f64 / blocks.len() as f64
                }
            }
            Route::Window(Sweep { from, to, sorted_below, blocks, at, .. }) => {
                let ahead = (blocks.len() - at) as f64;
                (((sorted_below.0 - from.0) as f64 - ahead) / (to.0 - from.0) as f64).max(0.0)
            }
        }
    }
}

impl Sweep {
    fn sort_on(&mut self, schedule: &Schedule) {
        self.at = 0;
        self.blocks = Arc::from([]);
        while self.blocks.is_empty() && self.sorted_below < self.to {
            let end = self.to.0.min(self.sorted_below.0.saturating_add(SORTED));
            let writes = (self.sorted_below.0..end).map(Seq);
            // An earlier write of the same block: the block is visited once, with its newest.
            let newest = |(seq, block): &(Seq, Block)| {
                *block >= self.lowest && schedule.newest_below(self.to, *block) == Some(*seq)
            };
            let mut blocks: Vec<Block> =
                writes.map(|seq| (seq, schedule.block_of(seq))).filter(newest).map(|(_, block)| block).collect();
            blocks.sort_unstable();
            self.blocks = blocks.into();
            self.sorted_below = Seq(end);
        }
    }

    fn ahead(&self, most: u64, gap: u64) -> Option<Span> {
        let first = self.blocks.get(self.at)?.0;
        let near = |pair: &&[Block]| pair[1].0 - pair[0].0 <= gap + 1 && pair[1].0 - first < most;
        let more = self.blocks[self.at..].windows(2).take_while(near).count();
        Some(Span::listed(&self.blocks, self.at..self.at + 1 + more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{Digest, Geometry, Order, RunId};

    fn schedule(blocks: u64, order: Order) -> Schedule {
        let length = (1 << 20) + blocks * 4096;
        let geometry = Geometry { offset: 0, length, block_size: 4096, atom: 4096, order, digest: Digest::Crc32c };
        Schedule::new(&geometry, RunId([1; 16]))
    }

    fn spans(schedule: &Schedule, mut route: Route, most: u32) -> Vec<Span> {
        std::iter::from_fn(|| {
            let span = route.ahead(schedule, most, 4096);
            assert_eq!(span.is_none(), route.is_done(schedule));
            assert!((0.0..=1.0).contains(&route.progress(schedule)));
            span.inspect(|span| route.pass(schedule, span))
        })
        .collect()
    }

    #[test]
    fn a_window_is_visited_by_address_each_block_once_and_no_other() {
        for order in [Order::Sequential, Order::Random] {
            for blocks in [1, 2, 3, 5, 13] {
                let schedule = schedule(blocks, order);
                for from in 0..3 * blocks {
                    for to in from..from + 3 * blocks {
                        for most in [1, 2, 5, 256] {
                            let spans = spans(&schedule, Route::window(&schedule, Seq(from), Seq(to)), most);
                            assert!(spans.iter().all(|span| span.count() <= most));
                            let visited: Vec<_> = spans.iter().flat_map(Span::blocks).collect();
                            // As many writes as there are blocks go round the region, wherever a pass begins.
                            let all = to - from >= blocks;
                            let window = (from..to).map(|seq| schedule.block_of(Seq(seq)));
                            let mut written: Vec<_> =
                                if all { (0..blocks).map(Block).collect() } else { window.collect() };
                            written.sort_unstable();
                            written.dedup();
                            assert_eq!(visited, written, "{from}..{to} of {blocks}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_window_beyond_what_is_sorted_at_once_is_visited_in_parts() {
        let schedule = schedule(1 << 18, Order::Random);
        let (from, to) = ((1 << 18) - SORTED / 2, (1 << 18) + 2 * SORTED);
        let spans = spans(&schedule, Route::window(&schedule, Seq(from), Seq(to)), 256);
        let mut visited: Vec<_> = spans.iter().flat_map(Span::blocks).collect();
        let falls = visited.windows(2).filter(|pair| pair[0] >= pair[1]).count();
        assert!((1..=2).contains(&falls), "{falls}");
        let mut written: Vec<_> = (from..to).map(|seq| schedule.block_of(Seq(seq))).collect();
        visited.sort_unstable();
        written.sort_unstable();
        written.dedup();
        assert_eq!(visited, written);
    }

    #[test]
    fn near_neighbours_are_read_with_what_lies_between_and_far_ones_alone() {
        let schedule = schedule(100, Order::Random);
        let read = |read_along| {
            let Route::Window(sweep) = Route::over([12, 1, 22, 3, 4].map(Block).into()) else { unreachable!() };
            let spans = spans(&schedule, Route::Window(Sweep { read_along, ..sweep }), 256);
            spans.iter().map(|span| (span.first().0, span.last().0)).collect::<Vec<_>>()
        };
        assert_eq!(read(READ_ALONG), [(1, 12), (22, 22)]);
        assert_eq!(read(0), [(1, 1), (3, 4), (12, 12), (22, 22)]);
    }
}
