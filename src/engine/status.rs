//! What the engine is doing, for people: status, progress, STATUS=.

use serde::{Deserialize, Serialize};

use crate::ledger::State;
use crate::report::{BlockCounts, ByteCounts};
use crate::vocabulary::Seq;

/// Where it stands. Made on demand; nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// In words: "surveying", "checking the window", "checking", "writing", "triggered", "stopping", "paused", …
    pub phase: String,
    /// The pass that is being written, from 0.
    pub pass: u64,
    /// How much of the pass, or of the check, is done, 0 to 1.
    pub progress: f64,
    /// D.
    pub durable: Seq,
    /// The next write to be issued.
    pub next: Seq,
    /// R.
    pub reserved: Seq,
    /// Everything below was read back.
    pub verified: Seq,
    /// The epoch that is issuing; 0 before the first.
    pub epoch: u64,
    /// Writes in flight.
    pub writes_in_flight: u32,
    /// Reads in flight.
    pub reads_in_flight: u32,
    /// Bytes since the start.
    pub bytes: ByteCounts,
    /// New findings since the start.
    pub findings: u64,
    /// Cuts that the run has survived.
    pub cuts: u64,
    /// What the last check said, block by block.
    pub checked: Option<BlockCounts>,
    /// What became of the saved ledger.
    pub state: Option<State>,
    /// Newest durable checkpoint.
    pub checkpoint: u64,
    /// Flushes that failed since the start.
    pub failed_flushes: u64,
    /// Writes that failed since the start.
    pub failed_writes: u64,
    /// I/Os past their deadline now.
    pub stuck: u32,
    /// Writes sealed as part of the pass, of N.
    pub blocks: u64,
}
