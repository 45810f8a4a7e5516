//! Findings, event log, status and verdict, as JSON and as text.

mod finding;
mod judgement;

pub mod event_log;
pub mod evidence;
pub mod quarantine;

pub use finding::{Finding, FindingKey, Occasion, Persistence};
pub use judgement::{BlockCounts, ByteCounts, Frontiers, Judgement, MAX_LISTED, Overall};
