//! Where a worker is, and how a pool can fail.

use std::io;
use std::sync::Arc;

use nix::errno::Errno;
use serde::Serialize;

/// Where one worker may run: as asked, and as the kernel says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// As in `ps -L`: "verify/0".
    pub thread: String,
    /// What was asked for; `None` for no wish.
    pub cpus_asked: Option<Vec<usize>>,
    /// Read back with sched_getaffinity(2), after it was set.
    pub cpus_allowed: Vec<usize>,
}

/// Why a pool could not start, or cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PoolError {
    /// The list of CPUs cannot be had.
    #[error("pool {pool}: cannot use the CPUs asked for")]
    Cpus {
        /// "seal" or "verify".
        pool: &'static str,
        /// Which, and why.
        source: CpuError,
    },
    /// A worker runs elsewhere than it was asked to: the kernel trims a mask to what is there, without a word.
    #[error("thread {thread} was asked to run on CPUs {asked:?} and may run on {got:?}")]
    Misplaced {
        /// The worker.
        thread: String,
        /// As in the configuration.
        asked: Vec<usize>,
        /// As the kernel says.
        got: Vec<usize>,
    },
    /// The kernel refused to pin a worker at all.
    #[error("thread {thread} cannot be given the CPUs {asked:?}")]
    Affinity {
        /// The worker.
        thread: String,
        /// As in the configuration.
        asked: Vec<usize>,
        /// EINVAL when none of them is there; EPERM from a policy.
        source: Errno,
    },
    /// The process is at its limit of threads.
    #[error("cannot start thread {thread}")]
    Thread {
        /// The worker.
        thread: String,
        /// The kernel's reason.
        source: Arc<io::Error>,
    },
    /// The work panicked: a fault of scrubd, and the jobs are lost with their buffers. Nothing may be counted for them.
    #[error("thread {thread} died and {jobs_lost} jobs with it: {message}")]
    WorkerDied {
        /// The worker.
        thread: String,
        /// What the panic said.
        message: String,
        /// How many jobs will have no result.
        jobs_lost: usize,
    },
}

impl PoolError {
    pub(super) fn died(thread: String, message: String, jobs_lost: usize) -> Self {
        PoolError::WorkerDied { thread, message, jobs_lost }
    }
}

/// Why a list of CPUs cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// No worker can run nowhere.
    #[error("the list of CPUs is empty")]
    Empty,
    /// Not in this machine, or switched off.
    #[error("CPU {cpu} is not online; online are {online}")]
    NotOnline {
        /// The first such.
        cpu: usize,
        /// As in /sys/devices/system/cpu/online.
        online: String,
    },
    /// There, but not for this process: a cpuset, CPUAffinity= or taskset.
    #[error("CPU {cpu} is not permitted to this process; permitted are {permitted:?}")]
    NotPermitted {
        /// The first such.
        cpu: usize,
        /// As sched_getaffinity(2) says of the process.
        permitted: Vec<usize>,
    },
    /// The process cannot be asked.
    #[error("cannot read the CPUs that this process may use")]
    Unknown(#[source] Errno),
}
