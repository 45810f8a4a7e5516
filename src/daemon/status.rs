//! The status as people and programs see it: one JSON object.

use serde::{Deserialize, Serialize};

use crate::engine::Status;
use crate::vocabulary::RunId;

/// Everything that there is to say about a running target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Version of this object; fields may be added without a new one.
    pub schema: u32,
    /// The target's name.
    pub target: String,
    /// As it was opened.
    pub path: String,
    /// Whose blocks.
    pub run_id: RunId,
    /// This process.
    pub pid: u32,
    /// scrubd's version.
    pub version: String,
    /// Start of this process, RFC 3339, UTC.
    pub started: String,
    /// Seconds since then.
    pub uptime_s: f64,
    /// What the engine says.
    pub engine: Status,
    /// How I/O is done.
    pub ring: RingReport,
    /// Workers, where they were asked to run and where they may.
    pub workers: Vec<WorkerReport>,
    /// Over the last second.
    pub rates: Rates,
    /// Since the start.
    pub latencies: Latencies,
    /// The last verdict, in words; `null` before the first.
    pub verdict: Option<String>,
    /// What somebody should look at.
    pub warnings: Vec<String>,
}

/// How I/O is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RingReport {
    /// "io_uring" or "blocking".
    pub engine: String,
    /// Why, where there is something to explain.
    pub why: String,
    /// Requests in flight at the most.
    pub depth: u32,
    /// Pinned in the kernel.
    pub registered_buffers: bool,
    /// The file is.
    pub registered_file: bool,
    /// Opened O_DIRECT.
    pub direct: bool,
}

/// One worker of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// As in `ps -L`.
    pub thread: String,
    /// `null` for no wish.
    pub cpus_asked: Option<Vec<usize>>,
    /// As the kernel says.
    pub cpus_allowed: Vec<usize>,
}

/// MiB a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Completed writes.
    pub written_mib_s: f64,
    /// Read and judged.
    pub verified_mib_s: f64,
}

/// From submission to completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// Reads.
    pub read: Latency,
    /// Writes.
    pub write: Latency,
    /// Flushes.
    pub flush: Latency,
}

/// Percentiles, in microseconds, within 1 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many there were.
    pub count: u64,
    /// Half of them took no longer.
    pub p50_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
    /// 999 of 1000.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}
