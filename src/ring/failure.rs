//! How a request can fail, and how a ring can fail to open.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// A request that did not happen in full: what, where, and how far it came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct IoFailure {
    /// "read", "write" or "flush".
    pub operation: &'static str,
    /// The kernel's number, kept as it came; EIO for an end of file and for a write that moves nothing.
    pub errno: i32,
    /// Absolute offset of the first byte that was not transferred; 0 for a flush.
    pub offset: u64,
    /// Bytes before `offset` that were transferred, counted from the start of the buffer. What follows them in a read
    /// buffer has been made poison again, whatever the kernel left there.
    pub transferred: usize,
    /// The file or device ended at `offset`, where the read was to go on.
    pub end_of_file: bool,
}

impl IoFailure {
    /// The errno by name; `UnknownErrno` where this build knows none for it.
    #[must_use]
    pub fn errno(&self) -> Errno {
        Errno::from_raw(self.errno)
    }

    /// Whether it ended because it was asked to.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.errno() == Errno::ECANCELED
    }
}

impl fmt::Display for IoFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IoFailure { operation, errno, offset, transferred, end_of_file } = self;
        if *operation == "flush" {
            return write!(f, "flush failed: {} (errno {errno})", self.errno().desc());
        }
        if *end_of_file {
            return write!(f, "{operation} met the end of the file at byte {offset}, after {transferred} bytes");
        }
        let reason = self.errno().desc();
        write!(f, "{operation} failed at byte {offset}, after {transferred} bytes: {reason} (errno {errno})")
    }
}

/// Why a ring could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The configuration asks for what no ring can be.
    #[error("ring: {0}")]
    Config(String),
    /// io_uring was asked for by name and is not to be had; the blocking engine would work.
    #[error("io_uring cannot be set up; the blocking engine needs nothing of the kernel")]
    Setup(#[source] io::Error),
    /// No eventfd, no thread: the process is at a limit.
    #[error("cannot create {what}")]
    Resources {
        /// What was to be created.
        what: String,
        /// The kernel's reason.
        source: io::Error,
    },
}
