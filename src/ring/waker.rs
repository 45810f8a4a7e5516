//! Interrupts a reap from another thread.
//!
//! Promised: what was published before `wake` is seen after the reap that follows it; a wake is never lost, whether
//! the ring sleeps or not. Many wakes before one reap cost one. A reap may also return for a wake already served.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes one ring; cheap to clone, harmless after the ring is gone.
#[derive(Clone, Debug)]
pub struct Waker(Way);

#[derive(Clone, Debug)]
enum Way {
    Bell(Arc<Bell>),
    Channel(Sender<()>),
}

impl Waker {
    /// Makes the reap that is under way return, or the next one not wait.
    pub fn wake(&self) {
        match &self.0 {
            Way::Bell(bell) => bell.ring(),
            // Of capacity one: full means that a wake is already waiting, disconnected that nobody is left to wake.
            Way::Channel(sender) => drop(sender.try_send(())),
        }
    }

    pub(super) fn of_bell(bell: Arc<Bell>) -> Self {
        Waker(Way::Bell(bell))
    }

    pub(super) fn of_channel(sender: Sender<()>) -> Self {
        Waker(Way::Channel(sender))
    }
}

/// An eventfd that io_uring polls, and a flag in front of it that saves the system call when it has rung already.
#[derive(Debug)]
pub(super) struct Bell {
    rung: AtomicBool,
    event: EventFd,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Bell { rung: AtomicBool::new(false), event })
    }

    pub(super) fn event(&self) -> &EventFd {
        &self.event
    }

    pub(super) fn has_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Silences it. The event is emptied before the flag: a wake that comes between leaves it to the reap that is
    /// about to return. In the other order that wake's event would be swallowed while its flag stays, and only the look
    /// at the flag that a reap takes before it sleeps would save it.
    pub(super) fn silence(&self) {
        match self.event.read() {
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(errno) => tracing::error!(%errno, "the ring's eventfd cannot be read"),
        }
        self.rung.swap(false, Ordering::AcqRel);
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Err(errno) = self.event.write(1)
        {
            tracing::error!(%errno, "the ring's eventfd cannot be written");
        }
    }
}
