//! What the tags say: the witnesses of a survey, and whether what is judged by holds against them.

use super::action::Action;
use super::check::CheckStage;
use super::engine::Engine;
use super::event::OpId;
use crate::ledger::State;
use crate::report::Finding;
use crate::tag::Claims;
use crate::vocabulary::{Block, Claim, Epoch, Now};

impl Engine {
    /// A block whose witnesses were asked for.
    pub(super) fn surveyed(&mut self, now: Now, op: OpId, claims: &Claims, actions: &mut Vec<Action>) {
        let operation = self.ops.get(op);
        let (block, triage) = (operation.block, operation.triage.as_ref());
        if triage.is_some_and(|triage| triage.home.is_some()) {
            return self.home_surveyed(op, claims);
        }
        let unread_at_first = triage.is_some();
        self.hear(block, claims);
        if unread_at_first {
            return self.survey_succeeded(now, op, actions);
        }
        self.sifted_alone(block, claims);
        self.ops.finish(op);
    }

    /// The witnesses in a block, in a survey.
    pub(super) fn hear(&mut self, block: Block, claims: &Claims) {
        let held_to = self.recovered.promise();
        for (claim, atoms) in claims.iter() {
            self.mistrust_if_outrun(block, claim);
            // A write that was never issued proves nothing.
            if self.recovered.reserved().is_none_or(|reserved| claim.issue.seq < reserved) || self.surveys_all() {
                self.check.attestation.add(claim, *atoms, held_to);
            }
        }
    }

    /// A survey could not read a block, or not at once. That is a finding where the judgement can read it: it is told
    /// with the block, which is counted once.
    pub(super) fn unsurveyed(&mut self, op: OpId, finding: Finding) {
        self.check.leave(finding.block);
        self.check.remember_unsurveyed(finding);
        self.ops.finish(op);
    }

    fn surveys_all(&self) -> bool {
        self.check.stage == CheckStage::SurveyAll
    }

    pub(super) fn mistrust_if_outrun(&mut self, block: Block, claim: &Claim) {
        if self.surveys_all() {
            return;
        }
        if self.recovered.is_outrun_by(claim) {
            self.check.distrust.get_or_insert_with(|| outrun_in_words(block, claim));
        } else if self.recovered.state() != State::Current && !self.check.attestation.has_heard_of(claim.issue.epoch) {
            // The other copy of a mirror, or a path that failed then: what this epoch has written over is not known.
            self.check.attestation.add(claim, 1, self.recovered.promise());
            self.check.distrust.get_or_insert_with(|| unheard_in_words(block, claim));
        }
    }

    /// Whether a block shows that the ledger is stale. Asked before anything is made of its verdict.
    pub(super) fn hear_claims(&mut self, op: OpId, claims: &Claims) {
        let block = self.ops.get(op).block;
        for (claim, _) in claims.iter() {
            self.mistrust_if_outrun(block, claim);
        }
    }
}

fn unheard_in_words(block: Block, claim: &Claim) -> String {
    let Epoch { number, nonce } = claim.issue.epoch;
    format!(
        "block {block} names epoch {number} (nonce {nonce:016x}), of which no block said anything when all tags were heard"
    )
}

pub(super) fn outrun_in_words(block: Block, claim: &Claim) -> String {
    format!(
        "the saved ledger is older than the disk: block {block} names epoch {} (nonce {:016x}) and checkpoint {}, which it has not heard of",
        claim.issue.epoch.number, claim.issue.epoch.nonce, claim.checkpoint,
    )
}
