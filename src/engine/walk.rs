//! Which blocks the scan visits while running.

use crate::schedule::Schedule;
use crate::vocabulary::Block;

/// A walk over blocks; resumable, and no list of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Walk {
    /// All blocks by address.
    All { at: u64 },
}

impl Walk {
    pub(super) fn next(&mut self, schedule: &Schedule) -> Option<Block> {
        let Walk::All { at } = self;
        let block = Block(*at);
        (block.0 < schedule.blocks()).then(|| {
            *at += 1;
            block
        })
    }

    /// Whether it has yet to come to a block.
    pub(super) fn is_ahead_at(&self, block: Block) -> bool {
        let Walk::All { at } = self;
        block.0 >= *at
    }
}
