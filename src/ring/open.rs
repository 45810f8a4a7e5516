//! Chooses the engine, and remembers why.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use serde::Serialize;

use super::blocking::Blocking;
use super::inline::{Inline, lives_in_memory};
use super::uring::Uring;
use super::{Buffer, Ring, RingError};

/// Requests in flight that a ring may be opened for. Far above what any disk can use (an NVMe queue holds 1024 as a
/// rule), and low enough that a completion queue for requests, cancels and wakes is 16,384 entries of 16 bytes.
pub const DEPTHS: RangeInclusive<u32> = 1..=4096;

/// The most buffers that the kernel registers with one ring (IORING_MAX_REG_BUFFERS).
const MAX_BUFFERS: u32 = 1 << 14;

/// What to look at when the kernel says ENOMEM.
pub(super) const LOCKED_MEMORY: &str = " (the limit of locked memory: see RLIMIT_MEMLOCK, LimitMEMLOCK=)";

/// What a ring is to be.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Requests in flight at once, flushes included; in [`DEPTHS`].
    pub depth: u32,
    /// How many buffers to make and, where it can be had, to register. None is fine.
    pub buffers: u32,
    /// Bytes of each.
    pub buffer_size: u32,
    /// Which engine.
    pub engine: Engine,
}

/// Which engine moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// io_uring; the blocking engine where the kernel or its policy refuses a ring, the inline one for a file in memory.
    Auto,
    /// io_uring or an error.
    IoUring,
    /// pread and pwrite on a few threads.
    Blocking,
    /// pread and pwrite on the ring's own thread; for files that live in memory, as nothing else returns at once.
    Inline,
}

/// What a ring became; for the log and the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// "io_uring", "blocking" or "inline".
    pub engine: &'static str,
    /// Why this engine, and why not with everything that it could have; empty when there is nothing to explain.
    pub why: String,
    /// Requests in flight at once.
    pub depth: u32,
    /// The buffers handed out are pinned in the kernel.
    pub registered_buffers: bool,
    /// The file is registered with the ring.
    pub registered_file: bool,
    /// The flags that the ring was set up with, as in io_uring_setup(2).
    pub flags: Vec<&'static str>,
    /// The file was opened O_DIRECT. Whether its file system honours that is not known here.
    pub direct: bool,
}

impl std::fmt::Display for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let either = |yes: bool, that: &'static str, this: &'static str| if yes { that } else { this };
        let buffers = either(self.registered_buffers, "registered", "unregistered");
        let direct = either(self.direct, "direct", "buffered");
        write!(f, "{}, {direct} I/O, up to {} requests, {buffers} buffers", self.engine, self.depth)?;
        if !self.flags.is_empty() {
            write!(f, ", {}", self.flags.join(" "))?;
        }
        if self.why.is_empty() { Ok(()) } else { write!(f, ": {}", self.why) }
    }
}

/// Opens a ring over `file`, with its buffers. The descriptor given is the one that does the I/O, so a lock on it
/// holds for as long as the ring; dropping the ring lets it go, unless a request is stuck in the kernel.
///
/// # Errors
/// A configuration outside its bounds, a process at its limits, or no io_uring when it was asked for by name.
pub fn open(file: File, config: Config) -> Result<(Box<dyn Ring>, Vec<Buffer>), RingError> {
    let Config { depth, buffers, buffer_size, engine } = config;
    if !DEPTHS.contains(&depth) {
        return Err(RingError::Config(format!("depth {depth} must be from {} to {}", DEPTHS.start(), DEPTHS.end())));
    }
    if buffers > MAX_BUFFERS || (buffers > 0 && buffer_size == 0) {
        return Err(RingError::Config(format!(
            "{buffers} buffers of {buffer_size} bytes: at most {MAX_BUFFERS}, of 1"
        )));
    }
    let mut buffers: Vec<Buffer> = (0..buffers).map(|_| Buffer::new(buffer_size as usize)).collect();
    let mut description = Description {
        engine: "blocking",
        why: String::new(),
        depth,
        registered_buffers: false,
        registered_file: false,
        flags: Vec::new(),
        direct: is_direct(&file)?,
    };
    let inline = match engine {
        Engine::Inline => Some("asked for"),
        Engine::Auto if lives_in_memory(&file) => Some("the file lives in memory"),
        Engine::Auto | Engine::IoUring | Engine::Blocking => None,
    };
    if let Some(why) = inline {
        description.why = why.into();
        return Ok((Box::new(Inline::new(file, description)), buffers));
    }
    match engine {
        Engine::Blocking | Engine::Inline => description.why = "asked for".into(),
        Engine::Auto | Engine::IoUring => match super::uring::setup(depth) {
            Ok(ready) => {
                let ring = Uring::new(ready, file, &mut buffers, description)?;
                tracing::debug!(description = ?ring.description(), "ring opened");
                return Ok((Box::new(ring), buffers));
            }
            Err(source) if engine == Engine::Auto && is_refusal(&source) => {
                let limit = if source.raw_os_error() == Some(libc::ENOMEM) { LOCKED_MEMORY } else { "" };
                description.why = format!("io_uring is not to be had here: {source}{limit}");
                tracing::info!(%source, "io_uring is not to be had here, using blocking I/O");
            }
            Err(source) => return Err(RingError::Setup(source)),
        },
    }
    Ok((Box::new(Blocking::new(file, description)?), buffers))
}

/// Whether the kernel, its age or its policy says no: ENOSYS (none built in, or seccomp), EPERM and EACCES (sysctl
/// io_uring_disabled, seccomp, an LSM), ENOMEM (the queues count as locked memory of the user, in 6.18 as ever), ENOTSUP
/// (ours: too old to wait with a timeout). Anything else is a fault that must be seen, not worked around.
fn is_refusal(source: &io::Error) -> bool {
    matches!(source.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EACCES | libc::ENOMEM | libc::ENOTSUP))
}

fn is_direct(file: &File) -> Result<bool, RingError> {
    let flags = fcntl(file, FcntlArg::F_GETFL)
        .map_err(|errno| RingError::Resources { what: "a ring over this descriptor".into(), source: errno.into() })?;
    Ok(OFlag::from_bits_retain(flags).contains(OFlag::O_DIRECT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_leads_to_the_blocking_engine() {
        let is = |errno| is_refusal(&io::Error::from_raw_os_error(errno));
        assert!(is(libc::ENOSYS) && is(libc::EPERM));
        assert!(!is(libc::EMFILE) && !is(libc::EINVAL) && !is(libc::EFAULT));
    }
}
