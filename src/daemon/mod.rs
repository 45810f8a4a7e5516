//! The wiring: what the engine decides is done here, and what happens is told to it. Shell.
//!
//! ```text
//! main thread (tokio): signals, triggers, control socket, sd_notify, the trigger's command
//!        │ commands (bounded) + wake                      ▲ fire, ended; status by a board that is never waited for
//!        ▼                                                │
//! ring/0: events → engine.step → actions → journal · seal pool · verify pool · ring · store/0 → events
//! ```
//!
//! The data plane knows no tokio and takes no lock that another thread holds for long. The control plane touches no
//! disk I/O.
//!
//! # For a caller
//!
//! Open the target, claim the state directory, read its slots, then [`run`]; for a check open it read-only and call
//! [`check`], which writes nothing anywhere. Both come back when it is over and say how: [`Ended::outcome`] has the exit
//! code. Until then SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 belong to them. [`engine_settings`] makes the engine's
//! settings of a target's; add `mode = Check`, `passes` and `ignore_state` to them where they were asked for.
//! [`known::load`] reads what was reported before.

pub mod client;
pub mod known;
pub mod protocol;

mod error;
mod settings;
mod status;

mod actions;
mod board;
mod clock;
mod context;
mod diff;
mod driver;
mod exhibit;
mod inbox;
mod journal;
mod neighbours;
mod notes;
mod saver;
mod scribe;
mod start;
mod suspects;
mod watch;
mod work;

mod alarm;
mod command;
mod conduct;
mod control;
mod damaged;
mod reporter;
mod service;
mod signals;
mod socket;
mod socket_path;
mod trigger_file;
mod uevents;
mod wide;

use std::time::Duration;

use crate::config::TargetSettings;
use crate::engine::{self, Outcome};
use crate::ledger::slots::{Choice, Expected};
use crate::ledger::state_dir::StateDir;
use crate::ledger::store::Store;
use crate::ledger::{Checkpoint, Position};
use crate::report::{FindingKey, Judgement};
use crate::ring;
use crate::target::OpenTarget;

pub use error::DaemonError;
pub(crate) use notes::boot;
pub use settings::engine_settings;
pub use status::{Latencies, Latency, Rates, RingReport, StatusReport, WorkerReport};

/// Reads the configuration again and gives the target's settings, or says in words why they are bad.
pub type Reload = Box<dyn Fn() -> Result<TargetSettings, String> + Send>;

/// Called on the control plane about four times a second while something goes on: a progress bar.
pub type Observer = Box<dyn FnMut(&StatusReport) + Send>;

/// What is to be done to a target.
pub struct Job {
    /// The target's name.
    pub name: String,
    /// Open, locked and labelled; run id and geometry are its own.
    pub target: OpenTarget,
    /// Pools, deadline, triggers.
    pub settings: TargetSettings,
    /// See [`engine_settings`].
    pub engine: engine::Settings,
    /// Which ring.
    pub ring: ring::Engine,
    /// The newest sound checkpoint of this run.
    pub saved: Option<Checkpoint>,
    /// Where the last patrol of this run stopped.
    pub position: Option<Position>,
    /// What the user should hear about slots and state: logged, recorded, and part of the warnings.
    pub remarks: Vec<String>,
    /// Findings that were reported before, oldest first: see [`known::load`].
    pub known: Vec<FindingKey>,
    /// Stop cleanly after this time.
    pub duration: Option<Duration>,
    /// For SIGHUP and the control socket; `None` where there is nothing to read again.
    pub reload: Option<Reload>,
    /// Who wants to watch.
    pub observer: Option<Observer>,
}

/// The state directory of the target, claimed, its slots read, its store told which slot to protect.
#[derive(Debug)]
pub struct State {
    /// Ours until it is dropped.
    pub dir: StateDir,
    /// Open for saving.
    pub store: Store,
    /// What the slots hold.
    pub choice: Choice,
    /// Whose checkpoints they are.
    pub owner: Expected,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// With the exit code.
    pub outcome: Outcome,
    /// The last verdict over the region.
    pub judgement: Option<Judgement>,
    /// The last status.
    pub status: StatusReport,
    /// What else the user should hear.
    pub warnings: Vec<String>,
}

/// Runs the daemon for a target until it is stopped, a promise is broken, or it cannot go on.
///
/// # Errors
/// It could not start, or the machinery failed under way; what the disk did is never an error, but an outcome.
pub fn run(job: Job, state: State) -> Result<Ended, DaemonError> {
    conduct::conduct(job, Some(state))
}

/// Judges the region once. Writes nothing anywhere: no state, no event log, no evidence, no socket. SIGINT and SIGTERM
/// end it early, with [`Outcome::Incomplete`].
///
/// # Errors
/// As [`run`].
pub fn check(job: Job) -> Result<Ended, DaemonError> {
    conduct::conduct(job, None)
}
