//! Disk I/O: io_uring, and two engines of plain system calls behind the same face: one for where there is no io_uring,
//! one for files in memory. The only room with `unsafe`.
//!
//! Promised: a request owns its buffer until its completion gives it back; each request completes exactly once; a
//! request that completed well moved every byte of its buffer (short transfers are continued here, unseen); a failure
//! says where it stopped, and nothing from there on counts as read or written.
//!
//! Not promised: any order between requests in flight, durability before a [`Kind::Flush`] that was submitted after
//! the write's completion, or that a cancelled write left the disk untouched.

mod blocking;
mod buffer;
mod failure;
mod in_flight;
mod inline;
mod open;
mod operation;
mod progress;
mod sys;
#[cfg(test)]
mod tests;
mod uring;
mod waker;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use buffer::{Buffer, POISON};
pub use failure::{IoFailure, RingError};
pub use in_flight::InFlight;
pub use open::{Config, DEPTHS, Description, Engine, open};
pub use waker::Waker;

pub(crate) use inline::lives_in_memory;
// The simulated disk continues short transfers with the code that the real ones are continued with.
pub(crate) use progress::{Next, Progress};

/// Names a request; chosen by the caller, unique among what is in flight, free again once its completion was reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u32);

/// What is asked of the disk. Offsets are absolute, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fills the whole buffer.
    Read {
        /// Where the buffer's first byte comes from.
        offset: u64,
    },
    /// Writes the whole buffer.
    Write {
        /// Where the buffer's first byte goes.
        offset: u64,
        /// Durable at completion: RWF_DSYNC, see pwritev2(2).
        dsync: bool,
    },
    /// fdatasync(2). Covers the writes whose completions were reaped before this was submitted, and no others. It is
    /// never repeated after an error: the kernel reports a lost write once, and a second flush would succeed.
    Flush,
}

/// A request and, for a read or a write, the buffer that it owns from here to its completion.
#[derive(Debug)]
pub struct Request {
    /// The caller's name for it.
    pub token: Token,
    /// What to do.
    pub kind: Kind,
    /// Present and not empty for a read or a write, absent for a flush. Poison it before a read.
    pub buffer: Option<Buffer>,
}

/// The end of a request.
#[derive(Debug)]
pub struct Completion {
    /// As in the request.
    pub token: Token,
    /// As in the request.
    pub kind: Kind,
    /// The request's buffer, given back.
    pub buffer: Option<Buffer>,
    /// `Ok` only when all of it happened. After a failed read the first `transferred` bytes are from the disk, and the
    /// others are [`POISON`].
    pub result: Result<(), IoFailure>,
    /// From `submit` until the completion was seen; continuations and repeats included.
    pub latency: Duration,
}

/// One file's requests and completions. It may be moved to another thread until it is first used; from then on it
/// belongs to that thread (the kernel enforces this for the fast flags of io_uring, so it is asserted for all of them).
pub trait Ring: Send {
    /// Queues a request; never waits for the disk. Queued requests go to the kernel in batches: at the next `reap`,
    /// or earlier when the queue is full.
    ///
    /// # Panics
    /// When the contract is broken: the token is in flight, more than `depth` requests are, a read or write has no
    /// buffer or an empty one, a flush has one, or the range is beyond what the kernel can address.
    fn submit(&mut self, request: Request);

    /// Submits what is queued, then waits until there is at least one completion, a wake, or the timeout: `None` for
    /// ever, zero to poll. Completions are appended to `out`.
    ///
    /// # Errors
    /// The kernel refused the ring itself, not a request. What is in flight is unknown from here on: drop the ring.
    ///
    /// # Panics
    /// When called from another thread than the ring's.
    fn reap(&mut self, out: &mut Vec<Completion>, timeout: Option<Duration>) -> io::Result<()>;

    /// Asks for an early end. The completion still comes: ECANCELED, or how it really ended where it was too late (a
    /// request that a disk already holds cannot be taken back). A cancelled write may have reached the disk, whole or
    /// in part. Unknown tokens are ignored, as the request may just have ended.
    fn cancel(&mut self, token: Token);

    /// The count of requests submitted and not yet reaped; readable from every thread.
    fn in_flight(&self) -> Arc<InFlight>;

    /// A handle that interrupts `reap` from every thread.
    fn waker(&self) -> Waker;

    /// Which engine was chosen, and why.
    fn description(&self) -> Description;
}
