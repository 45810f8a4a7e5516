//! A check of the whole region reads it once. What no witness can change is judged as it is read. A block with a write
//! in the window is heard, and what it says is remembered; once all witnesses are heard D is fixed, and it is judged by
//! that.
//!
//! Where what was heard does not settle it, the block is read once more. What seems wrong in any other is not looked at
//! closer before D is fixed either: that decides what it is called. What has no room here is left to be surveyed and
//! judged in two passes, as a patrol does it.

use std::collections::VecDeque;

use super::check::{Check, CheckStage, Suspect};
use super::engine::Engine;
use super::route::Route;
use crate::schedule::Schedule;
use crate::tag::{Heard, Verdict};
use crate::vocabulary::{Block, Claim, Seq};

/// Writes of the largest window whose blocks are remembered: no ledger has a larger one. 4 MiB.
const MAX_WRITES: u64 = 1 << 16;

/// Spans whose blocks outside of the window may all seem wrong, and be remembered until D is fixed: 1024 blocks of 4 KiB.
const SUSPECT_SPANS: u32 = 4;

/// What a sift has found out.
#[derive(Clone, Debug)]
pub(super) struct Sift {
    /// Blocks of one sound write each.
    heard: Vec<(Block, Claim)>,
    /// Blocks to be read once more.
    left: Vec<Block>,
    suspects: VecDeque<Suspect>,
    most_suspects: u32,
    /// Where it ended, once it has: from here on nothing was looked at.
    above: Option<Block>,
}

impl Sift {
    pub(super) fn new(blocks_of_a_span: u32) -> Self {
        let most_suspects = blocks_of_a_span.max(1).saturating_mul(SUSPECT_SPANS);
        Sift { heard: Vec::new(), left: Vec::new(), suspects: VecDeque::new(), most_suspects, above: None }
    }

    pub(super) fn has_room_for(window: (Seq, Seq)) -> bool {
        (1..=MAX_WRITES).contains(&window.1.0.saturating_sub(window.0.0))
    }

    fn is_full(&self) -> bool {
        self.suspects.len() >= self.most_suspects as usize
    }

    /// Whether something seemed wrong that nobody has looked at since.
    pub(super) fn suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    pub(super) fn above(&self) -> Option<Block> {
        self.above
    }
}

impl Check {
    pub(super) fn sifts(&self) -> bool {
        self.stage == CheckStage::Sift
    }

    /// What is under way is still taken in; nothing more is begun.
    pub(super) fn sifted_enough(&self) -> bool {
        self.sifts() && self.sift.is_full()
    }

    /// A sift does not settle this block.
    pub(super) fn leave(&mut self, block: Block) {
        if self.sifts() {
            self.sift.left.push(block);
        }
    }

    /// The first block that the sift did not come to.
    pub(super) fn end_sift(&mut self, schedule: &Schedule) -> Block {
        let above = match self.route {
            Route::All { at } => Block(at.min(schedule.blocks())),
            Route::Window(_) => unreachable!("a sift is of all blocks"),
        };
        self.sift.above = Some(above);
        above
    }
}

impl Engine {
    pub(super) fn is_heard_in_the_sift(&self, block: Block) -> bool {
        self.check.sifts() && self.recovered.has_open_write(block)
    }

    /// Something seems wrong with a block.
    pub(super) fn suspect(&mut self, suspect: Suspect) {
        match self.check.sifts() {
            true => self.check.sift.suspects.push_back(suspect),
            false => self.check.suspects.push_back(suspect),
        }
    }

    /// A block of the window was heard.
    pub(super) fn sifted(&mut self, block: Block, heard: &Heard) {
        self.hear(block, &heard.claims);
        match heard.claims.iter().next().filter(|_| heard.whole) {
            Some((claim, _)) => self.check.sift.heard.push((block, *claim)),
            None => self.check.leave(block),
        }
    }

    /// D is fixed.
    pub(super) fn judge_what_was_heard(&mut self) {
        let sift = &mut self.check.sift;
        let (heard, mut left) = (std::mem::take(&mut sift.heard), std::mem::take(&mut sift.left));
        let suspects = std::mem::take(&mut sift.suspects);
        for (block, claim) in heard {
            match Verdict::of_one_write(&claim, &self.recovered.legal(block)) {
                Some(verdict) => self.check.count(&verdict),
                None => left.push(block),
            }
        }
        self.check.enter(CheckStage::JudgeLeft, Route::over(left));
        self.check.suspects = suspects;
    }
}
