//! Why a daemon could not start, or could not go on.

use std::io;
use std::path::PathBuf;

use crate::pool::PoolError;
use crate::report::event_log::LogError;
use crate::report::evidence::EvidenceError;
use crate::ring::RingError;

/// What stands in the way. `Display` does not repeat the source.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The ring cannot be opened.
    #[error("cannot open the I/O ring")]
    Ring(#[from] RingError),
    /// The kernel refused the ring itself while it ran. What was in flight is unknown, as after a cut: the next start
    /// judges it.
    #[error("the I/O ring failed")]
    RingFailed(#[source] io::Error),
    /// A worker is not where it should be, or died.
    #[error("a pool of workers failed")]
    Pool(#[from] PoolError),
    /// The event log cannot be opened.
    #[error("no event log, so nothing may be acted on")]
    Log(#[from] LogError),
    /// The evidence directory cannot be opened.
    #[error("no place for evidence")]
    Evidence(#[from] EvidenceError),
    /// A file in the state directory cannot be read or written.
    #[error("cannot use {path}; {}", crate::ledger::state_dir::remedy(source))]
    State {
        /// Which.
        path: PathBuf,
        /// With errno.
        source: io::Error,
    },
    /// The target is latched.
    #[error("the target is quarantined: {0}; look at the evidence, then `scrubd quarantine clear`")]
    Quarantined(String),
    /// The trigger file can never be seen.
    #[error("trigger.file {path}: {why}")]
    TriggerFile {
        /// As configured.
        path: PathBuf,
        /// In words.
        why: String,
        /// With errno.
        source: io::Error,
    },
    /// The control socket cannot be made.
    #[error("cannot listen on {path}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// With errno.
        source: io::Error,
    },
    /// Threads, signals, the runtime: the process is at a limit.
    #[error("cannot start {what}")]
    Resources {
        /// What was to be started.
        what: &'static str,
        /// With errno.
        source: io::Error,
    },
    /// The data plane hangs in the kernel, and whoever asked to stop has waited long enough.
    #[error(
        "the data plane has not answered for {seconds} s: most likely the state directory hangs; the ledger stays as it \
         was last saved, and the next start judges what it left open"
    )]
    Silent {
        /// For how long.
        seconds: u64,
        /// A promise was broken before.
        broken: bool,
    },
    /// A fault of scrubd.
    #[error("the data plane ended without a word: {0}")]
    Internal(String),
}

impl DaemonError {
    /// The exit status that says so.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            DaemonError::Quarantined(_) | DaemonError::Silent { broken: true, .. } => 65,
            DaemonError::Silent { .. }
            | DaemonError::Socket { .. }
            | DaemonError::Log(_)
            | DaemonError::Evidence(_)
            | DaemonError::State { .. } => 73,
            DaemonError::TriggerFile { .. } | DaemonError::Pool(PoolError::Cpus { .. }) => 78,
            DaemonError::Ring(_)
            | DaemonError::RingFailed(_)
            | DaemonError::Pool(_)
            | DaemonError::Resources { .. }
            | DaemonError::Internal(_) => 70,
        }
    }
}
