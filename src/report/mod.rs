//! Findings, event log, status and verdict, as JSON and as text.

mod finding;
mod judgement;

pub use finding::{Finding, FindingKey, Occasion, Persistence};
pub use judgement::{BlockCounts, ByteCounts, Frontiers, Judgement, MAX_LISTED, Overall};
