//! A check of the whole region reads it once. What no witness can change is judged as it is read. A block with a write
//! in the window is heard, and what it says is remembered; once all witnesses are heard D is fixed, and it is judged by
//! that.
//!
//! Where what was heard does not settle it, the block is read once more, and judged by that; what seemed wrong in it at
//! first is then told as what was there once. What seems to be a lost write in any other is not looked at closer before D
//! is fixed: that decides what it is called. What has no room here is left to be surveyed and judged in two passes, as a
//! patrol does it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::check::{Check, CheckStage, Suspect};
use super::engine::Engine;
use super::operations::Task;
use super::route::Route;
use super::triage::{Sighting, Triage};
use crate::schedule::Schedule;
use crate::tag::{Broken, Claims, Class, Heard, Verdict};
use crate::vocabulary::{Block, Claim, Digest, Now, Seq};

/// Writes of the largest window whose blocks are remembered: no ledger has a larger one. 4 MiB.
const MAX_WRITES: u64 = 1 << 16;

/// Spans whose blocks may all seem wrong, and be remembered until D is fixed: 1024 blocks of 4 KiB.
const SUSPECT_SPANS: u32 = 4;

/// What a sift has found out.
#[derive(Clone, Debug)]
pub(super) struct Sift {
    /// Blocks of one sound write each.
    heard: Vec<(Block, Claim)>,
    /// Blocks to be read once more, and what seemed wrong in some of them.
    left: Vec<Block>,
    sights: Vec<Suspect>,
    /// What seem to be lost writes outside of the window.
    suspects: VecDeque<Suspect>,
    most_suspects: u32,
    /// Where it ended, once it has: from here on nothing was looked at.
    above: Option<Block>,
}

impl Sift {
    pub(super) fn new(blocks_of_a_span: u32) -> Self {
        let most_suspects = blocks_of_a_span.max(1).saturating_mul(SUSPECT_SPANS);
        let (heard, left, sights, suspects) = (Vec::new(), Vec::new(), Vec::new(), VecDeque::new());
        Sift { heard, left, sights, suspects, most_suspects, above: None }
    }

    pub(super) fn has_room_for(window: (Seq, Seq)) -> bool {
        (1..=MAX_WRITES).contains(&window.1.0.saturating_sub(window.0.0))
    }

    fn is_full(&self) -> bool {
        self.sights.len() + self.suspects.len() >= self.most_suspects as usize
    }

    pub(super) fn above(&self) -> Option<Block> {
        self.above
    }
}

impl Check {
    pub(super) fn sifts(&self) -> bool {
        self.stage == CheckStage::Sift
    }

    /// Whether something seemed wrong, or could not be read, that nobody has looked at since.
    pub(super) fn has_unsettled(&self) -> bool {
        let Sift { sights, suspects, .. } = &self.sift;
        !(self.suspects.is_empty() && suspects.is_empty() && sights.is_empty() && self.unsurveyed.is_empty())
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

    /// Something seems wrong with a block in which no witness is waited for. Only whether a loss is out of order do the
    /// witnesses decide.
    pub(super) fn suspect(&mut self, suspect: Suspect) {
        match self.waits_for_its_name(&suspect.broken) {
            true => self.check.sift.suspects.push_back(suspect),
            false => self.check.suspects.push_back(suspect),
        }
    }

    pub(super) fn waits_for_its_name(&self, broken: &Broken) -> bool {
        self.check.sifts() && broken.class == Class::LostWrite
    }

    /// A block of the window was heard.
    pub(super) fn sifted(&mut self, block: Block, heard: &Heard) {
        self.hear(block, &heard.claims);
        let sift = &mut self.check.sift;
        match (&heard.broken, heard.claims.iter().next().filter(|_| heard.whole)) {
            (Some(broken), _) => sift.sights.push(Suspect { block, broken: Arc::clone(broken) }),
            (None, Some((claim, _))) => sift.heard.push((block, *claim)),
            (None, None) => sift.left.push(block),
        }
    }

    /// One that was read alone, as large blocks are. The digest of a block is looked at where it is judged.
    pub(super) fn sifted_alone(&mut self, block: Block, claims: &Claims) {
        let whole = claims.of_all(self.geometry.atoms()).filter(|_| self.geometry.digest == Digest::Crc32c);
        match whole.filter(|_| self.check.sifts()) {
            Some(claim) => self.check.sift.heard.push((block, *claim)),
            None => self.check.leave(block),
        }
    }

    /// D is fixed.
    pub(super) fn judge_what_was_heard(&mut self, now: Now) {
        let sift = &mut self.check.sift;
        let (heard, mut left) = (std::mem::take(&mut sift.heard), std::mem::take(&mut sift.left));
        let (sights, mut suspects) = (std::mem::take(&mut sift.sights), std::mem::take(&mut sift.suspects));
        for (block, claim) in heard {
            match Verdict::of_one_write(&claim, &self.recovered.legal(block)) {
                Some(verdict) => {
                    self.bytes.verified += self.block_bytes();
                    self.check.count(&verdict);
                }
                None => left.push(block),
            }
        }
        suspects.iter_mut().for_each(|suspect| self.name_anew(suspect));
        for mut sight in sights {
            self.name_anew(&mut sight);
            left.push(sight.block);
            let diagnosis = Triage::new(Sighting::Broken(sight.broken)).diagnosis();
            let finding = self.finding_in(now, sight.block, self.occasion(&Task::Judge), &diagnosis, None);
            self.check.remember_unsurveyed(finding);
        }
        for finding in &mut self.check.found {
            finding.guarantee = self.recovered.legal(finding.block).guarantee();
        }
        self.check.enter(CheckStage::JudgeLeft, Route::over(left));
        self.check.suspects = suspects;
    }

    /// Who attests to what is known only now.
    fn name_anew(&self, Suspect { block, broken }: &mut Suspect) {
        if broken.class == Class::LostWrite
            && self.recovered.legal(*block).guarantee().is_some_and(|held_to| held_to.attested)
        {
            *broken = Arc::new(Broken { class: Class::Unserializable, ..Broken::clone(broken) });
        }
    }
}
