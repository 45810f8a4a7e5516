//! Findings, event log, status and verdict, as JSON and as text.

mod finding;
mod judgement;

pub mod account;
pub mod atoms;
pub mod causes;
pub mod dossier;
pub mod event_log;
pub mod evidence;
pub mod html;
pub mod json;
pub mod notable;
pub mod quarantine;
pub mod text;

pub use finding::{Finding, FindingKey, Occasion, Persistence, Sight};
pub use judgement::{BlockCounts, ByteCounts, Frontiers, Judgement, MAX_LISTED, Overall};
