//! What the rest of scrubd works with: validated, with plain values. What was said where is kept beside them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::vocabulary::{Digest, Order, Promise};

use super::error::{ConfigError, Origin};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Absolute; each target has a directory of its name below it.
    pub state_dir: PathBuf,
    /// Where `state_dir` was said.
    pub state_dir_origin: Origin,
    /// By name. Only the selected one where a target was selected.
    pub targets: BTreeMap<String, TargetSettings>,
}

impl Settings {
    /// The only target that there is: what `scrubd run` without TARGET means.
    ///
    /// # Errors
    /// None, or several.
    pub fn sole(&self) -> Result<&TargetSettings, ConfigError> {
        let mut targets = self.targets.values();
        match (targets.next(), targets.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(ConfigError::nowhere("no target is configured: say [target.NAME], or --file")),
            (Some(_), Some(_)) => {
                let names: Vec<&str> = self.targets.keys().map(String::as_str).collect();
                Err(ConfigError::nowhere(format!("several targets are configured, name one: {}", names.join(", "))))
            }
        }
    }
}

/// One device or file under test, and what to do with it.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSettings {
    /// Its table's name, or its file's (see [`super::name_of_file`]).
    pub name: String,
    /// Absolute. `None`: found by its serial.
    pub path: Option<PathBuf>,
    /// Serial number or WWN that the device must report. Never `None` together with `path`.
    pub serial: Option<String>,
    /// First byte of the region. `None`: not said, the label decides.
    pub offset: Option<u64>,
    /// Bytes of the region, label included. `None`: not said, or `"rest"`.
    pub length: Option<u64>,
    /// What the daemon does all day.
    pub mode: Mode,
    /// `None`: not said, the label decides.
    pub block_size: Option<u32>,
    /// `None`: not said, or `"device"`.
    pub atom: Option<u32>,
    /// `None`: not said, the label decides.
    pub order: Option<Order>,
    /// `None`: not said, the label decides.
    pub digest: Option<Digest>,
    /// What the disk is held to.
    pub promise: Promise,
    /// I/Os in flight, in [`super::keys::QUEUE_DEPTHS`].
    pub queue_depth: u32,
    /// How often writes are made durable.
    pub flush_every: FlushEvery,
    /// What a finding does to the daemon.
    pub on_finding: OnFinding,
    /// Bytes per second, reads and writes together; above 0. `None`: as fast as the device.
    pub rate: Option<u64>,
    /// How fast a patrol reads.
    pub patrol: PatrolSettings,
    /// Reading back and judging.
    pub verify: VerifySettings,
    /// Filling blocks before they are written.
    pub seal: SealSettings,
    /// What saves the ledger and runs a command.
    pub trigger: TriggerSettings,
    /// `<state-dir>/<name>`, absolute: ledger slots, event log, findings, quarantine.
    pub state_dir: PathBuf,
    /// Named on the command line with `--file`, not configured.
    pub ad_hoc: bool,
    /// Where each value was said.
    pub origins: Origins,
}

/// How fast a patrol reads. Neither: one pass, as fast as the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatrolSettings {
    /// Bytes per second; above 0.
    pub rate: Option<u64>,
    /// A pass is spread over this time; above 0.
    pub pass_time: Option<Duration>,
}

/// Reading back and judging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifySettings {
    /// Each block is read and judged before it is overwritten.
    pub retention: bool,
    /// Bytes written between a block's write and its read-back; at least one block. The engine caps it to half the region.
    pub readback_lag: u64,
    /// Workers, in [`super::keys::THREADS`]; 0 judges inline.
    pub threads: u32,
    /// Sorted, validated. `None`: wherever the process may run.
    pub cpus: Option<Vec<usize>>,
    /// When a start judges the region before it writes.
    pub on_start: OnStart,
    /// An I/O that takes longer is stuck; above 0.
    pub deadline: Duration,
    /// Direct re-reads of a mismatch before it is judged, in [`super::keys::REREADS`].
    pub rereads: u32,
}

/// Filling blocks before they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealSettings {
    /// Workers, in [`super::keys::THREADS`]; 0 seals inline.
    pub threads: u32,
    /// Sorted, validated. `None`: wherever the process may run.
    pub cpus: Option<Vec<usize>>,
}

/// What saves the ledger and runs a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerSettings {
    /// Absolute; its appearance triggers.
    pub file: Option<PathBuf>,
    /// Triggers, as SIGUSR2 always does.
    pub signal: TriggerSignal,
    /// Time from the start to the trigger.
    pub after: Option<After>,
    /// Writes from the start to the trigger; above 0.
    pub writes: Option<u64>,
    /// An argv, never empty: an absolute path or a name in PATH, and its arguments. `None`: only save, then `then`.
    pub command: Option<Vec<String>>,
    /// What happens to I/O before the ledger is saved.
    pub io: TriggerIo,
    /// What happens after the command.
    pub then: TriggerThen,
    /// The command is given up after this; above 0.
    pub timeout: Duration,
}

/// What the daemon does all day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Write, read back, pass after pass.
    BurnIn,
    /// Burn-in that expects its power to be cut.
    PowerCut,
    /// Read and judge what was written before, at a pace; write nothing.
    Patrol,
}

/// How often writes are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushEvery {
    /// After this many bytes; at least one block.
    Bytes(u64),
    /// After this much time; above 0.
    Time(Duration),
}

/// What a finding does to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFinding {
    /// Stop cleanly, exit 65.
    Stop,
    /// Record it and go on.
    Continue,
    /// Pull the trigger.
    Trigger,
}

/// When a start judges the whole region before it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStart {
    /// After anything but a clean stop.
    AfterCut,
    /// Only the window at once, the rest while running.
    Window,
    /// After a clean stop too.
    Always,
}

/// A time in this range, ends included; one time where they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// Not above `latest`.
    pub earliest: Duration,
    /// Not below `earliest`.
    pub latest: Duration,
}

/// A signal that triggers. SIGUSR2 always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerSignal {
    /// SIGUSR2.
    Usr2,
    /// SIGRTMIN + n.
    Realtime(u8),
}

/// What happens to I/O before the ledger is saved for a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerIo {
    /// Keep writing inside the reservation.
    Continue,
    /// Submit nothing more.
    Hold,
    /// Wait for what is in flight.
    Drain,
    /// Drain, then flush.
    Flush,
}

/// What happens after the trigger's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerThen {
    /// Exit.
    Exit,
    /// Go on.
    Resume,
}

/// Where the value of each key was said.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Where the target was first named.
    pub(super) target: Origin,
    pub(super) keys: BTreeMap<&'static str, Origin>,
}

impl Origins {
    /// Where this dotted key was said; the default where it was not.
    #[must_use]
    pub fn of(&self, key: &str) -> &Origin {
        self.keys.get(key).unwrap_or(&Origin::Default)
    }

    /// The place to look at when this key is wrong: a default stands nowhere, but its target does.
    pub(super) fn to_blame(&self, key: &str) -> &Origin {
        self.keys.get(key).unwrap_or(&self.target)
    }
}

/// Where a value was said is no part of what it says: settings compare by their values, as `toml::Spanned` does.
impl PartialEq for Origins {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}
