//! Which blocks a check visits, and in which order.

use crate::schedule::Schedule;
use crate::vocabulary::{Block, Seq};

/// A walk over blocks; resumable, and no list of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Walk {
    /// The blocks that have a write in `from..to`, by their newest write there.
    Window { at: Seq, from: Seq, to: Seq },
    /// All blocks by address but those that have a write in `window`.
    Rest { at: u64, window: (Seq, Seq) },
    /// All blocks by address.
    All { at: u64 },
}

impl Walk {
    /// The window's blocks. Where it goes round the whole region, by address: each block once either way.
    pub(super) fn window(schedule: &Schedule, from: Seq, to: Seq) -> Self {
        if to.0.saturating_sub(from.0) >= schedule.blocks() {
            Walk::All { at: 0 }
        } else {
            Walk::Window { at: from, from, to }
        }
    }

    /// What the walk over the same window leaves.
    pub(super) fn rest(from: Seq, to: Seq) -> Self {
        Walk::Rest { at: 0, window: (from, to) }
    }

    pub(super) fn next(&mut self, schedule: &Schedule) -> Option<Block> {
        match self {
            Walk::All { at } => {
                let block = Block(*at);
                (block.0 < schedule.blocks()).then(|| {
                    *at += 1;
                    block
                })
            }
            Walk::Rest { at, window: (from, to) } => {
                while *at < schedule.blocks() {
                    let block = Block(*at);
                    *at += 1;
                    let in_window = from < to && schedule.newest_below(*to, block).is_some_and(|seq| seq >= *from);
                    if !in_window {
                        return Some(block);
                    }
                }
                None
            }
            Walk::Window { at, to, .. } => {
                while *at < *to {
                    let seq = *at;
                    *at = seq.next();
                    let block = schedule.block_of(seq);
                    // An earlier write of the same block: the block is visited once, at its newest.
                    if schedule.newest_below(*to, block) == Some(seq) {
                        return Some(block);
                    }
                }
                None
            }
        }
    }

    /// Whether a walk by address has yet to come to a block.
    pub(super) fn is_ahead_at(&self, block: Block) -> bool {
        match self {
            Walk::All { at } | Walk::Rest { at, .. } => block.0 >= *at,
            Walk::Window { .. } => true,
        }
    }

    /// How much of it is done, 0 to 1.
    pub(super) fn progress(&self, schedule: &Schedule) -> f64 {
        let (done, total) = match self {
            Walk::All { at } | Walk::Rest { at, .. } => (*at, schedule.blocks()),
            Walk::Window { at, from, to } => (at.0 - from.0, to.0 - from.0),
        };
        if total == 0 { 1.0 } else { done as f64 / total as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{Digest, Geometry, Order, RunId};

    #[test]
    fn window_and_rest_together_visit_every_block_once() {
        for order in [Order::Sequential, Order::Random] {
            for blocks in [1, 2, 3, 5, 13] {
                let length = (1 << 20) + blocks * 4096;
                let geometry =
                    Geometry { offset: 0, length, block_size: 4096, atom: 4096, order, digest: Digest::Crc32c };
                let schedule = Schedule::new(&geometry, RunId([1; 16]));
                for from in 0..3 * blocks {
                    for to in from..from + 3 * blocks {
                        let mut window = Walk::window(&schedule, Seq(from), Seq(to));
                        let whole = matches!(window, Walk::All { .. });
                        let mut visited: Vec<_> = std::iter::from_fn(|| window.next(&schedule)).collect();
                        if !whole {
                            let mut rest = Walk::rest(Seq(from), Seq(to));
                            visited.extend(std::iter::from_fn(|| rest.next(&schedule)));
                        }
                        visited.sort_unstable();
                        assert_eq!(visited, (0..blocks).map(Block).collect::<Vec<_>>(), "{from}..{to} of {blocks}");
                    }
                }
            }
        }
    }
}
