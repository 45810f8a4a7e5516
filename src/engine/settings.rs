//! What the engine is set to: plain values, validated by `config`.

use serde::{Deserialize, Serialize};

use crate::schedule::Pace;
use crate::vocabulary::Promise;

/// What the daemon is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Write, read back, judge, for weeks.
    BurnIn,
    /// Write with all queues full and read nothing back: the check after the cut judges.
    Powercut,
    /// Judge the whole region once and change nothing.
    Check,
    /// Judge the whole region, pass after pass at a pace, going on where the last patrol stopped; write nothing to it.
    Patrol,
}

/// When a flush is submitted. Only `promise = "flush"` needs flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlushEvery {
    /// Once so many bytes have completed.
    Bytes(u64),
    /// Once so many nanoseconds have passed and something has completed.
    Nanoseconds(u64),
}

/// When a start judges what is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnStart {
    /// The whole region after a cut, before writing goes on.
    AfterCut,
    /// The window at once, the rest while running.
    Window,
    /// The whole region at every start.
    Always,
}

/// What a new finding leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFinding {
    /// Stop writing, latch the target, exit.
    Stop,
    /// Report it and go on.
    Continue,
    /// Fire the trigger once, then stop.
    Trigger,
}

/// What happens to I/O while a trigger saves and runs its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TriggerIo {
    /// Keep writing inside the reservation while the cut lands.
    Continue,
    /// Submit nothing more.
    Hold,
    /// Wait for what is in flight. Not a flush.
    Drain,
    /// Drain, then flush.
    Flush,
}

/// What follows a trigger's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// Stop cleanly.
    Exit,
    /// Go on, in a new epoch: the command may have cut the disk's power.
    Resume,
}

/// Everything that the engine is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What it is there for.
    pub mode: Mode,
    /// What the disk is held to from the next epoch on.
    pub promise: Promise,
    /// I/Os in flight at the most, flushes apart.
    pub queue_depth: u32,
    /// Operations beyond two for each place in the queue, of which one fills it while the other is sealed or judged.
    pub more_operations: u32,
    /// Bytes that one read of a check may take: adjacent blocks, and never less than one.
    pub span_bytes: u32,
    /// When a flush is submitted.
    pub flush_every: FlushEvery,
    /// Read and judge each block before it is overwritten.
    pub retention: bool,
    /// Bytes that the read-back stays behind the writer; at most half of the region.
    pub readback_lag: u64,
    /// Times that a mismatch is read again before it is judged.
    pub rereads: u32,
    /// Nanoseconds after which an I/O that has not returned is reported.
    pub deadline_ns: u64,
    /// When a start judges.
    pub on_start: OnStart,
    /// What a new finding leads to.
    pub on_finding: OnFinding,
    /// Bytes written a second at the most.
    pub rate: Option<u64>,
    /// How fast a patrol reads.
    pub patrol: Pace,
    /// Stop cleanly once so many more passes are written and read back; of a patrol, once so many more are ended. A patrol
    /// without a pace ends after one where nothing is said.
    pub passes: Option<u64>,
    /// Do not use the saved ledger: judge from the tags alone.
    pub ignore_state: bool,
    /// Fire after so many writes since the start.
    pub trigger_writes: Option<u64>,
    /// The trigger has a command, which may cut the power.
    pub trigger_command: bool,
    /// I/O during a trigger.
    pub trigger_io: TriggerIo,
    /// What follows the trigger's command.
    pub trigger_then: Then,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            mode: Mode::BurnIn,
            promise: Promise::Flush,
            queue_depth: 32,
            more_operations: 0,
            span_bytes: 1 << 20,
            flush_every: FlushEvery::Bytes(128 << 20),
            retention: false,
            readback_lag: 1 << 30,
            rereads: 3,
            deadline_ns: 60_000_000_000,
            on_start: OnStart::AfterCut,
            on_finding: OnFinding::Stop,
            rate: None,
            patrol: Pace::default(),
            passes: None,
            ignore_state: false,
            trigger_writes: None,
            trigger_command: false,
            trigger_io: TriggerIo::Flush,
            trigger_then: Then::Exit,
        }
    }
}
