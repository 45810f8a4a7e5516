//! The device or file under test: open it, guard it, identify it, label it.
//!
//! ```text
//! name → hold (find, guard, open exclusively, lock, identify) → open (whose label is it?) → OpenTarget → release
//!                                                            ↘ init (confirm, label)     ↗
//! ```
//!
//! Rules that everything here serves:
//!
//! 1. scrubd writes to a target only under its own label, and puts a label only where it was told to, twice for
//!    anything that existed. A refusal has not changed a byte.
//! 2. Whatever can't be found out counts against going on: unread mounts, missing tools, a serial that only one side
//!    tells.
//! 3. The lock ends with the last reference to the descriptor that does the I/O, not before.
//! 4. A device is blamed (label gone, shrunk) only when it is proven to be the same device; otherwise it is refused.
//!
//! `label`, `identity`, `region`, `procfs` and `uevent` are pure; the others touch the system.

mod copies;
mod direct;
mod error;
mod guard;
mod hardware;
mod hold;
mod identity;
mod init;
pub mod label;
mod lock;
mod open;
mod presence;
mod procfs;
mod region;
mod release;
mod signature;
mod sysfs;
mod uevent;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

pub use copies::{LabelReading, newest};
pub use error::TargetError;
pub use hardware::{FileSystem, Hardware, file_system, hardware};
pub use identity::{Identity, Kind, Sameness, TEXT_LIMIT, clean, normal_wwn};
pub use init::init;
pub use label::{Label, LabelFault};
pub use open::{disks_beneath, open};
pub use presence::{Presence, Standing};
pub use release::{may_release, release};
pub use sysfs::{DevNum, WriteCache};
pub use uevent::{Lineage, Uevent};

use crate::vocabulary::{Digest, Geometry, Order, RunId};

/// How long taking a target is retried: a killed ring lets go late.
pub const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Which target. At least one of path and serial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// A block device or a regular file. Links are followed.
    pub path: Option<PathBuf>,
    /// Serial or WWN: finds the device where there is no path, and must agree where there is one.
    pub serial: Option<String>,
    /// Where the region begins, in bytes.
    pub offset: u64,
}

/// What the target is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `run` in the modes that write, and `init`.
    ReadWrite,
    /// `check`, `inspect`, and `run` on patrol. Keeps writers out; two readers of a file may be at it together.
    ReadOnly,
}

/// What `init` shall make of a target. Time and chance are arguments.
#[derive(Clone, Debug)]
pub struct InitPlan {
    /// Length of the region, label included, in bytes; `None` is to the end. A file that does not exist needs one.
    pub length: Option<u64>,
    /// Bytes of a block.
    pub block_size: u32,
    /// Bytes of an atom; `None` is the smallest logical block size beneath.
    pub atom: Option<u32>,
    /// Order of a pass.
    pub order: Order,
    /// What vouches for a block.
    pub digest: Digest,
    /// The new run.
    pub run_id: RunId,
    /// Now, in nanoseconds since the Unix epoch.
    pub now_unix_ns: u64,
    /// What was typed again: the serial, or the path where there is none.
    pub confirm: Option<String>,
}

/// What the state directory knows about the target that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its run.
    pub run_id: RunId,
    /// Which device it was.
    pub identity: Identity,
    /// Where its blocks are.
    pub geometry: Geometry,
}

/// What became of the label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelState {
    /// It is there. Its run may be another than the state directory's: then the target was labelled anew.
    Present(LabelReading),
    /// It is lost from what is proven to be the same target: a finding, and the state directory's word holds.
    Gone {
        /// What is there instead.
        fault: LabelFault,
        /// What the state directory knows.
        expected: Expected,
    },
}

impl LabelState {
    /// The run that the target belongs to.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        match self {
            LabelState::Present(reading) => reading.label.run_id,
            LabelState::Gone { expected, .. } => expected.run_id,
        }
    }

    /// Where its blocks are.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        match self {
            LabelState::Present(reading) => reading.label.geometry,
            LabelState::Gone { expected, .. } => expected.geometry,
        }
    }
}

/// The target ends before its region does: a finding, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// Where the region ends, in bytes.
    pub expected_end: u64,
    /// Where the target ends, in bytes.
    pub size: u64,
}

/// A target that is open, guarded, locked and known.
#[derive(Debug)]
pub struct OpenTarget {
    /// The name under which it was opened.
    pub path: PathBuf,
    /// The descriptor that does the I/O. The lock is on its open file description: it lasts until the last duplicate
    /// is closed, a ring's registered one included.
    pub file: File,
    /// A partition's disk, open for its lock alone. Keep it as long as `file`.
    pub whole_disk: Option<File>,
    /// The label, or what is left of it.
    pub label: LabelState,
    /// The run, from the label or else from the state directory.
    pub run_id: RunId,
    /// Where the blocks are, from the same.
    pub geometry: Geometry,
    /// Which device this is, now.
    pub identity: Identity,
    /// Size of the target, in bytes, now.
    pub size: u64,
    /// Does I/O bypass the page cache, as far as is known? When not, `warnings` says why.
    pub direct: bool,
    /// The target ends before the region.
    pub shrunk: Option<Shrunk>,
    /// The smallest logical block size beneath, in bytes; the label's atom may have been chosen otherwise.
    pub native_atom: u32,
    /// Logical block size of the device, or of the one beneath the file, in bytes.
    pub logical_block: u64,
    /// Physical block size of the same, in bytes.
    pub physical_block: u64,
    /// The device's own account of its write cache; `None` where it gives none.
    pub write_cache: Option<WriteCache>,
    /// All block devices that the target stands on, itself included; empty where that is unknown.
    pub disks: BTreeSet<DevNum>,
    /// The same with all that they hang from: whose uevents tell of a reset.
    pub lineage: Lineage,
    /// Whether they are there, to be asked when something fails.
    pub presence: Presence,
    /// What the report should tell: label copies survived, buffered I/O, a device that grew.
    pub warnings: Vec<String>,
}
