//! Which block is written when: seq ↔ block, both ways, without a map. Pure.
//!
//! Promises: in every pass each block is written exactly once; both directions cost the same few nanoseconds at any
//! size of the region; the state is the run's key and nothing else. Does not promise that the random order is
//! unpredictable to somebody who knows the run id.

mod pacing;
mod permutation;

pub use pacing::{Pace, Pacer};

use crate::vocabulary::{Block, Geometry, Order, RunId, RunKey, Seq};
use permutation::Permutation;

/// The order of all writes of a run.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    blocks: u64,
    order: Order,
    permutation: Permutation,
}

impl Schedule {
    /// The schedule of a run over a region.
    ///
    /// # Panics
    /// When the region holds no block; [`Geometry::validate`] refuses such a region.
    #[must_use]
    pub fn new(geometry: &Geometry, run: RunId) -> Self {
        let blocks = geometry.blocks();
        assert!(blocks > 0, "a region has at least one block");
        Schedule { blocks, order: geometry.order, permutation: Permutation::new(blocks, RunKey::of(run)) }
    }

    /// N, the number of blocks, which is the number of writes in a pass.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The pass that a write belongs to.
    #[must_use]
    pub fn pass_of(&self, seq: Seq) -> u64 {
        seq.0 / self.blocks
    }

    /// The block that a write goes to.
    #[must_use]
    pub fn block_of(&self, seq: Seq) -> Block {
        let (pass, position) = (seq.0 / self.blocks, seq.0 % self.blocks);
        Block(match self.order {
            Order::Sequential => position,
            Order::Random => self.permutation.apply(pass, position),
        })
    }

    /// What a write of a block replaces there: its write of the pass before.
    #[must_use]
    pub fn replaced_by(&self, seq: Seq, block: Block) -> Option<Seq> {
        self.write_in_pass(self.pass_of(seq).checked_sub(1)?, block)
    }

    /// The write of a block within a pass. `None` beyond the last number that a write can have.
    #[must_use]
    pub fn write_in_pass(&self, pass: u64, block: Block) -> Option<Seq> {
        debug_assert!(block.0 < self.blocks);
        let position = match self.order {
            Order::Sequential => block.0,
            Order::Random => self.permutation.invert(pass, block.0),
        };
        pass.checked_mul(self.blocks)?.checked_add(position).map(Seq)
    }

    /// The writes of one block, for whoever asks several questions about them.
    #[must_use]
    pub fn writes_of(&self, block: Block) -> WritesOf {
        WritesOf { schedule: *self, block, known: None }
    }

    /// The newest write of a block below a frontier: computed, not remembered. `None` when the block's first write is
    /// not below it.
    #[must_use]
    pub fn newest_below(&self, frontier: Seq, block: Block) -> Option<Seq> {
        let pass = self.pass_of(frontier);
        match self.write_in_pass(pass, block) {
            Some(seq) if seq < frontier => Some(seq),
            _ => self.write_in_pass(pass.checked_sub(1)?, block),
        }
    }
}

/// The writes of one block. It remembers the pass that was asked for last, as most questions are about one.
#[derive(Clone, Copy, Debug)]
pub struct WritesOf {
    schedule: Schedule,
    block: Block,
    known: Option<(u64, Option<Seq>)>,
}

impl WritesOf {
    /// As [`Schedule::newest_below`].
    #[must_use]
    pub fn newest_below(&mut self, frontier: Seq) -> Option<Seq> {
        let pass = self.schedule.pass_of(frontier);
        // At the boundary of a pass nothing of it lies below.
        if !frontier.0.is_multiple_of(self.schedule.blocks)
            && let Some(seq) = self.in_pass(pass).filter(|seq| *seq < frontier)
        {
            return Some(seq);
        }
        self.in_pass(pass.checked_sub(1)?)
    }

    fn in_pass(&mut self, pass: u64) -> Option<Seq> {
        match self.known {
            Some((known, seq)) if known == pass => seq,
            _ => {
                let seq = self.schedule.write_in_pass(pass, self.block);
                self.known = Some((pass, seq));
                seq
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Digest;

    fn schedule(blocks: u64, order: Order) -> Schedule {
        let length = (1 << 20) + blocks * 4096;
        let geometry = Geometry { offset: 0, length, block_size: 4096, atom: 512, order, digest: Digest::Crc32c };
        Schedule::new(&geometry, RunId([7; 16]))
    }

    #[test]
    fn every_pass_writes_every_block_exactly_once() {
        for order in [Order::Sequential, Order::Random] {
            for blocks in (1..70).chain([255, 256, 257, 1000, 4099]) {
                let schedule = schedule(blocks, order);
                for pass in [0, 1, 2, 77] {
                    let mut seen = vec![false; usize::try_from(blocks).unwrap()];
                    for seq in (pass * blocks..(pass + 1) * blocks).map(Seq) {
                        let block = schedule.block_of(seq);
                        assert!(!std::mem::replace(&mut seen[usize::try_from(block.0).unwrap()], true));
                        assert_eq!(schedule.write_in_pass(pass, block), Some(seq));
                    }
                }
            }
        }
    }

    #[test]
    fn the_newest_write_below_a_frontier_is_what_a_list_of_all_writes_says() {
        for order in [Order::Sequential, Order::Random] {
            for blocks in [1, 2, 3, 5, 8, 13] {
                let schedule = schedule(blocks, order);
                let mut newest = vec![None; usize::try_from(blocks).unwrap()];
                for frontier in (0..blocks * 5).map(Seq) {
                    let block = schedule.block_of(frontier);
                    let prior = schedule.replaced_by(frontier, block);
                    assert_eq!(prior, newest[usize::try_from(block.0).unwrap()], "before {frontier}");
                    for block in (0..blocks).map(Block) {
                        let remembered = newest[usize::try_from(block.0).unwrap()];
                        assert_eq!(schedule.newest_below(frontier, block), remembered, "{block} below {frontier}");
                        let mut writes = schedule.writes_of(block);
                        for asked in [frontier, Seq(frontier.0 / 2), frontier] {
                            assert_eq!(writes.newest_below(asked), schedule.newest_below(asked, block));
                        }
                    }
                    newest[usize::try_from(schedule.block_of(frontier).0).unwrap()] = Some(frontier);
                }
            }
        }
    }

    #[test]
    fn random_passes_differ_from_each_other_and_from_address_order() {
        let schedule = schedule(1000, Order::Random);
        let pass = |pass: u64| (0..1000).map(|i| schedule.block_of(Seq(pass * 1000 + i)).0).collect::<Vec<_>>();
        assert_ne!(pass(0), pass(1));
        let neighbours = pass(0).windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
        assert!(neighbours < 20, "{neighbours} of 999 steps go to a neighbour; about 2 are expected by chance");
    }

    #[test]
    fn a_petabyte_is_as_cheap_as_a_gigabyte() {
        let schedule = schedule(1 << 48, Order::Random);
        for seq in [0, 1, (1 << 48) - 1, 1 << 48, (1 << 50) + 12345].map(Seq) {
            let block = schedule.block_of(seq);
            assert_eq!(schedule.write_in_pass(schedule.pass_of(seq), block), Some(seq));
        }
    }
}
