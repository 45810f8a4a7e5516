//! Why a target is not handed out: what, where, and what to do about it.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use thiserror::Error;

use super::identity::Identity;
use super::label::LabelFault;
use crate::vocabulary::RunId;

/// Every refusal and failure of this room. A refusal has not changed a byte of the target.
#[derive(Debug, Error)]
pub enum TargetError {
    /// Nothing has this name. `init` makes a file of it when it is given a length.
    #[error("{}: no such file or device", .path.display())]
    NotFound {
        /// The name.
        path: PathBuf,
    },
    /// No device tells this serial or WWN.
    #[error("no block device has the serial or WWN \"{serial}\": is it connected? (lsblk -o NAME,SERIAL,WWN)")]
    NoSuchSerial {
        /// What was looked for.
        serial: String,
    },
    /// Several devices do: two paths to one disk, or a vendor's template number.
    #[error("{} devices have the serial or WWN \"{serial}\": {}; name one by its path", .paths.len(), join(.paths))]
    AmbiguousSerial {
        /// What was looked for.
        serial: String,
        /// The devices.
        paths: Vec<PathBuf>,
    },
    /// The path is a device, but not the one whose serial was configured.
    #[error("{}: this is another device: wanted serial or WWN \"{wanted}\", found {found}", .path.display())]
    WrongSerial {
        /// The path.
        path: PathBuf,
        /// The serial or WWN that was configured.
        wanted: String,
        /// What is there.
        found: Box<Identity>,
    },
    /// A directory, a fifo, a read-only disk, a dangling link: nothing that can be a target.
    #[error("{}: {why}", .path.display())]
    Unsuitable {
        /// The path.
        path: PathBuf,
        /// What it is and what would do.
        why: String,
    },
    /// Mounted, swap, part of an array, behind a loop device. Waiting does not help.
    #[error("{}: in use: {}; scrubd writes only to what nothing else uses", .path.display(), .users.join("; "))]
    InUse {
        /// The path.
        path: PathBuf,
        /// Who uses it, and how.
        users: Vec<String>,
    },
    /// Locked or opened exclusively by another process, for longer than we waited.
    #[error("{}: held by {holder}; try again when it has let go", .path.display())]
    Held {
        /// The path.
        path: PathBuf,
        /// The process, where the kernel tells.
        holder: String,
    },
    /// Somebody's data: a file system, a partition table, RAID, LVM, encryption.
    #[error("{}: refused, there is data on it:\n{found}\nif it may be lost, erase it first: wipefs --all {0}", .path.display())]
    HasSignatures {
        /// The path.
        path: PathBuf,
        /// Everything that was found, line by line.
        found: String,
    },
    /// It can't be told whether there is data on it.
    #[error("{}: refused, cannot tell whether there is data on it: {why}", .path.display())]
    Unprobed {
        /// The path.
        path: PathBuf,
        /// What is missing or failed.
        why: String,
    },
    /// `init` needs to be told again what it is about to take.
    #[error("{}: everything on it will be overwritten:\n{found}\nto go on, repeat with --confirm '{type_again}'", .path.display())]
    NeedsConfirmation {
        /// The path.
        path: PathBuf,
        /// Everything that was found, line by line.
        found: String,
        /// The serial, or the path where there is none.
        type_again: String,
    },
    /// `release` needs to be told again what it is about to give up.
    #[error("{}: the label of run {run} will be erased, and what is on it can never be judged again:\n  {found}\nto go on, repeat with --confirm '{type_again}'", .path.display())]
    ReleaseNeedsConfirmation {
        /// The path.
        path: PathBuf,
        /// The device.
        found: String,
        /// The run that ends.
        run: RunId,
        /// The serial, or the path where there is none.
        type_again: String,
    },
    /// It was told something else.
    #[error("{}: not confirmed: \"{given}\" was typed, \"{type_again}\" is what this is", .path.display())]
    ConfirmationMismatch {
        /// The path.
        path: PathBuf,
        /// What was typed.
        given: String,
        /// What it should have been.
        type_again: String,
    },
    /// No label that can be used where it should be.
    #[error("{}: {fault} at byte {offset}: {}", .path.display(), without_label(.recorded.as_ref()))]
    Unlabelled {
        /// The path.
        path: PathBuf,
        /// Where the region should begin.
        offset: u64,
        /// What is there.
        fault: LabelFault,
        /// The run that the state directory knows under this name, where nothing proves that this is its target.
        recorded: Option<RunId>,
    },
    /// A label of a format to come.
    #[error("{}: {fault}", .path.display())]
    NewerLabel {
        /// The path.
        path: PathBuf,
        /// Which format.
        fault: LabelFault,
    },
    /// The label was copied or moved.
    #[error("{}: the label at byte {found} says that its region begins at byte {says}: it was copied here, or \"offset\" is wrong", .path.display())]
    LabelElsewhere {
        /// The path.
        path: PathBuf,
        /// Where it was found.
        found: u64,
        /// Where it says it is.
        says: u64,
    },
    /// Another device under the name of the one that was labelled.
    #[error("{}: {difference}: labelled was {recorded}; here is {present}; scrubd init labels it anew if that is meant", .path.display())]
    IdentityMismatch {
        /// The path.
        path: PathBuf,
        /// What differs.
        difference: &'static str,
        /// What the label or the state directory says.
        recorded: Box<Identity>,
        /// What is there.
        present: Box<Identity>,
    },
    /// Offset, length, block size or atom do not fit this target.
    #[error("{}: {why}", .path.display())]
    Region {
        /// The path.
        path: PathBuf,
        /// Which rule is broken, and what would fit.
        why: String,
    },
    /// The system refused or failed. `source` has the errno.
    #[error("{}: cannot {what}{}", .path.display(), hint(.source))]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl TargetError {
    /// The exit code of the process that gives up on this, by the table of the manual.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            TargetError::Held { .. } => 75,
            TargetError::NotFound { .. } | TargetError::NoSuchSerial { .. } | TargetError::Region { .. } => 78,
            TargetError::Io { source, .. } if is_refusal(source) => 77,
            TargetError::Io { .. } => 74,
            _ => 77,
        }
    }

    pub(crate) fn io(path: &std::path::Path, what: &'static str) -> impl FnOnce(io::Error) -> TargetError {
        let path = path.to_owned();
        move |source| TargetError::Io { path, what, source }
    }
}

pub(crate) fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

/// What to do about it. Where there was a run, `init` would overwrite what is left of it, and with it the evidence.
fn without_label(recorded: Option<&RunId>) -> String {
    match recorded {
        None => "scrubd init labels a target; it never writes to an unlabelled one".to_owned(),
        Some(run) => format!(
            "the state kept under this name is of run {run}: this is another target, or it has lost its label, and \
             nothing here proves which; look before scrubd init overwrites it"
        ),
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(errno(error), Errno::EACCES | Errno::EPERM | Errno::EROFS)
}

fn hint(error: &io::Error) -> &'static str {
    match errno(error) {
        Errno::EACCES | Errno::EPERM => " (run as root, or as a member of the group that owns it)",
        Errno::EROFS => " (it, or its file system, is read-only)",
        Errno::ENOSPC | Errno::EDQUOT => " (make room first)",
        _ => "",
    }
}

fn join(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
