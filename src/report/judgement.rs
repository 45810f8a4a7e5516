//! The verdict over a whole region. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::causes::CauseList;
use super::finding::{Finding, FindingKey};
use crate::ledger::{ProvedBy, State};
use crate::tag::Class;
use crate::vocabulary::{Promise, Seq};

/// Findings listed; `BlockCounts::findings` counts them all.
pub const MAX_LISTED: usize = 1000;

/// What a check concludes about a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overall {
    /// All promises kept.
    Intact,
    /// At least one broken.
    Violated,
    /// Not every block was judged.
    Incomplete,
}

/// The frontiers that the region was judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontiers {
    /// D.
    pub durable: Option<Seq>,
    /// Everything below is known to have been issued.
    pub issued: Option<Seq>,
    /// R.
    pub reserved: Option<Seq>,
}

/// Blocks by verdict. They add up to `total` when the check is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCounts {
    /// N.
    pub total: u64,
    /// The newest write that is known to have been issued, or a later one.
    pub intact: u64,
    /// Legal losses.
    pub rolled_back: u64,
    /// Legal tears.
    pub interrupted: u64,
    /// No write of this run yet.
    pub unwritten: u64,
    /// Broken promises.
    pub findings: u64,
}

/// Bytes over the life of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteCounts {
    /// Completed writes.
    pub written: u64,
    /// Read and judged.
    pub verified: u64,
}

/// The verdict over a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The conclusion.
    pub verdict: Overall,
    /// What the disk was held to.
    pub promise: Promise,
    /// What became of the saved ledger.
    pub state: State,
    /// What proved D.
    pub proved_by: ProvedBy,
    /// The frontiers.
    pub frontiers: Frontiers,
    /// Blocks by verdict.
    pub blocks: BlockCounts,
    /// Bytes.
    pub bytes: ByteCounts,
    /// How long it took, in seconds.
    pub elapsed_s: f64,
    /// Findings among them that were reported before: the true count.
    pub known: u64,
    /// Findings by class: the true counts.
    pub classes: BTreeMap<Class, u64>,
    /// What findings have in common, those that are not listed included.
    pub causes: CauseList,
    /// The first [`MAX_LISTED`] findings.
    pub findings: Vec<Finding>,
    /// New findings beyond those, as far as they are remembered: told by their number and their causes alone.
    #[serde(skip)]
    pub unlisted: Vec<FindingKey>,
}
