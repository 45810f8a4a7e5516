//! What may be in one block: the promise model as a question that a worker can ask.
//!
//! The ledger makes a [`Legal`] when it hands a block out for judgement. It stays right while the block is read, since
//! no read of a block is in flight together with a write of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::epochs::{Acquaintance, Epochs};
use crate::vocabulary::{Block, Claim, Issue, Seq};

/// Which knowledge sufficed to prove a guarantee. The first that does is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProvedBy {
    /// The saved ledger.
    Checkpoint,
    /// Tags on the disk itself, sealed after the flush.
    Disk,
    /// A remote witness.
    Witness,
}

/// A flush that succeeded, and the frontier that it made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushRecord {
    /// Flushes are numbered within the run: 1, 2, 3, …
    pub number: u64,
    /// Everything below was durable from this flush on.
    pub durable: Seq,
    /// Wall clock when it succeeded, in nanoseconds since 1970.
    pub wall_ns: u64,
}

/// The newest write of a block that the disk has promised to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    /// The write.
    pub seq: Seq,
    /// What proved it.
    pub proved_by: ProvedBy,
    /// The oldest remembered flush that covers it; `None` when it is older than those remembered, or none was needed.
    pub flush: Option<FlushRecord>,
    /// A block that was sealed after the guarantee survived the cut and attests to it, and this block was not verified
    /// since: its loss is out of order, and is called unserializable.
    pub attested: bool,
}

/// The rule that a block is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Written in this epoch, and nothing of it is in flight: exactly its newest completed issue.
    Exactly(Issue),
    /// This guaranteed write or a later one that may have been issued.
    AtLeast(Guarantee),
    /// No write of this block is guaranteed: what was there before the run is legal too.
    Anything,
}

/// How an issue that was found stands to the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may be there.
    Legal,
    /// It was there, and should have been replaced.
    Older,
    /// It can't have been written by what the ledger knows of: at or above R, or below its epoch's restart point.
    NeverIssued,
    /// It names an epoch or a checkpoint that the ledger has not heard of: the ledger is older than the disk.
    Ahead,
}

/// What may be in one block.
#[derive(Clone, Debug)]
pub struct Legal {
    /// The block.
    pub block: Block,
    /// What it is held to.
    pub rule: Rule,
    /// The newest write of the block that is known to have been issued, not merely reserved.
    pub newest_issued: Option<Seq>,
    /// R: no write at or above it was ever issued. `None` without a current ledger.
    pub reserved: Option<Seq>,
    /// The living epoch issued nothing at or above this. `None` after a cut: it may have gone up to R.
    pub issued_below: Option<Seq>,
    /// The epochs. An empty table accepts every epoch: nothing is known of any.
    pub epochs: Arc<Epochs>,
}

impl Legal {
    /// How an issue found in this block stands.
    #[must_use]
    pub fn standing(&self, claim: &Claim) -> Standing {
        if let Rule::Exactly(issue) = self.rule {
            return standing_to_the_only(issue, claim.issue, self.epochs.acquaintance(claim));
        }
        if self.epochs.records().is_empty() {
            return self.standing_by_seq(claim.issue.seq);
        }
        let known = match self.epochs.acquaintance(claim) {
            Acquaintance::Ahead => return Standing::Ahead,
            Acquaintance::Known(record) => Some(record),
            Acquaintance::Forgotten => None,
        };
        let seq = claim.issue.seq;
        if known.is_some_and(|record| seq < record.restart) || self.beyond_issued(claim.issue) {
            return Standing::NeverIssued;
        }
        match (self.standing_by_seq(seq), self.required_epoch()) {
            // Not below its own restart point was settled above; here: not older than the guaranteed issue's epoch.
            (Standing::Legal, Some(required)) if claim.issue.epoch.number < required => Standing::Older,
            (standing, _) => standing,
        }
    }

    fn standing_by_seq(&self, seq: Seq) -> Standing {
        match self.rule {
            _ if self.reserved.is_some_and(|reserved| seq >= reserved) => Standing::NeverIssued,
            Rule::AtLeast(guarantee) if seq < guarantee.seq => Standing::Older,
            _ => Standing::Legal,
        }
    }

    fn required_epoch(&self) -> Option<u64> {
        match self.rule {
            Rule::AtLeast(guarantee) => self.epochs.required_for(guarantee.seq).map(|record| record.epoch.number),
            Rule::Exactly(_) | Rule::Anything => None,
        }
    }

    fn beyond_issued(&self, issue: Issue) -> bool {
        let living = self.epochs.newest().is_some_and(|newest| newest.epoch == issue.epoch);
        living && self.issued_below.is_some_and(|frontier| issue.seq >= frontier)
    }

    /// What is guaranteed of the block by more than its own completed write.
    #[must_use]
    pub fn guarantee(&self) -> Option<Guarantee> {
        match self.rule {
            Rule::AtLeast(guarantee) => Some(guarantee),
            Rule::Exactly(_) | Rule::Anything => None,
        }
    }

    /// The write that the block should at least hold; `None` when nothing of it is guaranteed.
    #[must_use]
    pub fn expected(&self) -> Option<Seq> {
        match self.rule {
            Rule::Exactly(issue) => Some(issue.seq),
            Rule::AtLeast(guarantee) => Some(guarantee.seq),
            Rule::Anything => None,
        }
    }
}

fn standing_to_the_only(only: Issue, found: Issue, acquaintance: Acquaintance) -> Standing {
    let age = (found.epoch.number, found.seq).cmp(&(only.epoch.number, only.seq));
    match age {
        _ if found == only => Standing::Legal,
        _ if acquaintance == Acquaintance::Ahead => Standing::Ahead,
        std::cmp::Ordering::Less => Standing::Older,
        _ => Standing::NeverIssued,
    }
}
