//! All decisions: `step(now, events, actions)`. Pure.
//!
//! Promises, whatever the order in which events arrive: no write is issued at or above the durable reservation; no two
//! writes of one block, and no read with a write of it, are in flight together; nothing is written after a cut before
//! every block of the window was read; one flush and one save are in flight at the most. It trusts that the shell does
//! actions in order and answers each once.

mod action;
mod check;
mod deadline;
#[allow(clippy::module_inception, reason = "the room is named after the thing in it")]
mod engine;
mod event;
mod hearing;
mod holders;
mod known;
mod operations;
mod patrol;
mod patrol_status;
mod reads;
mod route;
mod saves;
mod settings;
mod sift;
mod spans;
mod status;
#[cfg(test)]
mod tests;
mod triage;
mod trigger;
mod walk;
mod writes;

pub use action::{Action, Outcome, Record};
pub use engine::Engine;
pub use event::{Command, Event, Fault, Fired, OpId, Reason, SpanId};
pub use patrol_status::PatrolStatus;
pub use settings::{FlushEvery, Mode, OnFinding, OnStart, Settings, Then, TriggerIo};
pub use status::{Status, StuckIo};

use crate::ledger::{Checkpoint, Position};
use crate::report::FindingKey;
use crate::vocabulary::{Geometry, RunId};

/// What an engine starts from.
#[derive(Clone, Debug)]
pub struct Startup {
    /// Where the blocks are.
    pub geometry: Geometry,
    /// Whose blocks they are.
    pub run: RunId,
    /// The newest sound ledger that was saved; `None` when there is none.
    pub saved: Option<Checkpoint>,
    /// Findings that were reported before, oldest first.
    pub known: Vec<FindingKey>,
    /// Where the last patrol stopped, if there was one.
    pub position: Option<Position>,
    /// Chance, as an argument: nonces are derived from it. Fresh at each start.
    pub nonce_seed: u64,
}
