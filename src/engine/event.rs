//! What the engine is told.

use crate::tag::{Claims, Inspection, Inspections};
use crate::vocabulary::Block;

use super::settings::Settings;

/// One of the engine's operations, and the buffer that goes with it: `0..Engine::operations()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u32);

/// One of the engine's wide reads, and the buffer that goes with it: `0..Engine::spans()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub u32);

/// Something that was asked for by an action has happened, or somebody wants something.
#[derive(Clone, Debug)]
pub enum Event {
    /// The block of a [`super::Action::Seal`] is sealed.
    Sealed(OpId),
    /// The write is completed, whole, or has failed.
    Wrote(OpId, Result<(), Fault>),
    /// The read is completed, whole, or has failed.
    Read(OpId, Result<(), Fault>),
    /// The block of an [`super::Action::Inspect`] is judged.
    Inspected(OpId, Inspection),
    /// The witnesses in the block of an [`super::Action::Survey`] are heard.
    Surveyed(OpId, Claims),
    /// The wide read is completed, whole, or has failed.
    ReadSpan(SpanId, Result<(), Fault>),
    /// The blocks of an [`super::Action::InspectSpan`] are judged.
    InspectedSpan(SpanId, Inspections),
    /// The witnesses in the blocks of an [`super::Action::SurveySpan`] are heard, in each block that was asked for.
    SurveyedSpan(SpanId, Vec<(Block, Claims)>),
    /// The flush in flight has ended.
    Flushed(Result<(), Fault>),
    /// The checkpoint of this number is durable, or is not.
    Saved(u64, Result<(), Fault>),
    /// The position of the patrol is durable, or is not.
    PositionSaved(Result<(), Fault>),
    /// The trigger's command has ended, one way or another.
    Fired(Fired),
    /// Somebody wants something.
    Command(Command),
}

impl Event {
    /// What says that the device does not exist any more.
    pub(super) fn of_a_removed_device(&self) -> Option<&Fault> {
        let (Event::Wrote(_, result) | Event::Read(_, result) | Event::ReadSpan(_, result) | Event::Flushed(result)) =
            self
        else {
            return None;
        };
        result.as_ref().err().filter(|fault| fault.removed)
    }
}

/// An I/O or a save that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The errno; 0 where there is none.
    pub errno: i32,
    /// The end of the file or device where the region goes on.
    pub end_of_file: bool,
    /// The device does not exist any more, which the shell has asked for apart from the error.
    pub removed: bool,
    /// In words: what, where.
    pub message: String,
}

/// How a trigger's command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Exit status 0, or no command is configured.
    Done,
    /// It could not be started.
    Missing(String),
    /// It ended with another status or by a signal.
    Failed(String),
    /// It was still running at its timeout, and was ended.
    TimedOut(String),
    /// It was not started, as its event could not be recorded durably.
    Unrecorded(String),
}

/// What can be asked of a running engine.
#[derive(Clone, Debug)]
pub enum Command {
    /// Stop cleanly: drain, flush, save.
    Stop,
    /// Stop without draining; the ledger is saved as it is.
    StopNow,
    /// Save the ledger and run the command.
    Trigger(Reason),
    /// Submit nothing new.
    Pause,
    /// Go on after a pause.
    Resume,
    /// The device lost power, was reset or came back under the living process.
    DeviceReset(String),
    /// Settings that may change while running: pacing, flushing, verification, triggers, what to do on a finding.
    Reload(Box<Settings>),
}

/// Why a trigger fired.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The trigger file appeared.
    File,
    /// A signal, by name.
    Signal(String),
    /// The configured time, or the random one, is over.
    Time,
    /// So many writes were issued since the start.
    Writes(u64),
    /// The first finding.
    Finding,
    /// Somebody asked through the control socket.
    Control,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::File => f.write_str("file"),
            Reason::Signal(name) => write!(f, "signal {name}"),
            Reason::Time => f.write_str("time"),
            Reason::Writes(count) => write!(f, "{count} writes"),
            Reason::Finding => f.write_str("finding"),
            Reason::Control => f.write_str("control"),
        }
    }
}
