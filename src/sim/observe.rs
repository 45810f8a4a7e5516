//! How the oracles look on: each sees everything that passes between engine and world, and the truth beside it.

use super::disk::Disk;
use super::truth::Truth;
use crate::engine::{Action, Event, Mode, Settings};
use crate::ledger::Checkpoint;
use crate::schedule::Schedule;
use crate::vocabulary::Block;

/// Something to be seen.
#[derive(Debug)]
pub enum Sight<'a> {
    /// An engine starts from this ledger.
    Started {
        /// What it is set to.
        settings: &'a Settings,
        /// The newest sound checkpoint; `None` when none is left.
        loaded: Option<&'a Checkpoint>,
        /// It is the newest that was ever acknowledged, or newer: no state was lost or put back.
        current: bool,
    },
    /// The engine is about to be stepped, perhaps only because it wanted to be woken.
    Stepping,
    /// The engine wants something done. Seen before it is done.
    Acted(&'a Action),
    /// The engine is told something. Seen before it hears it.
    Told(&'a Event),
    /// The disk shows a block to a read.
    Shown(Block),
    /// What the read under way returns is damaged on its way.
    Garbled(Block),
    /// The checkpoint of this number is in its slot, and the engine will hear of it.
    SavedDurably(&'a Checkpoint),
    /// The engine is gone: power was lost, or the process died.
    Cut {
        /// Power was lost.
        power: bool,
        /// In which mode it was.
        mode: Mode,
    },
    /// The device lost power under the living engine.
    Blip,
}

/// What can be looked at beside the sight itself.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Virtual time, in nanoseconds.
    pub now_ns: u64,
    /// What really happened.
    pub truth: &'a Truth,
    /// The disk.
    pub disk: &'a Disk,
    /// Which block is written when.
    pub schedule: &'a Schedule,
}

/// An oracle, or anything else that looks on.
pub trait Watcher {
    /// Looks at what happens.
    ///
    /// # Errors
    /// What is wrong, in words: the history ends there.
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String>;
}
