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

/// An eventfd that io_uring polls, and two flags in front of it: a ring that is awake looks at `rung` before it sleeps,
/// so that only one that is asleep costs its waker a system call.
#[derive(Debug)]
pub(super) struct Bell {
    rung: AtomicBool,
    /// The ring sleeps, or is about to.
    asleep: AtomicBool,
    event: EventFd,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Bell { rung: AtomicBool::new(false), asleep: AtomicBool::new(false), event })
    }

    pub(super) fn event(&self) -> &EventFd {
        &self.event
    }

    pub(super) fn has_rung(&self) -> bool {
        self.rung.load(Ordering::SeqCst)
    }

    /// Announces a sleep; `false` where it has rung, and there is to be none. Announced first, looked second; `ring` rings
    /// first and looks for a sleeper second. In whichever order they meet, one of the two sees the other.
    pub(super) fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let may = !self.has_rung();
        if !may {
            self.awake();
        }
        may
    }

    pub(super) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Takes note that it has rung. What was published before is seen from here on.
    pub(super) fn silence(&self) {
        self.rung.swap(false, Ordering::SeqCst);
    }

    /// Empties the event, whose poll has ended. To be done before `silence`: a wake that comes between leaves its event,
    /// and its poll, to the next sleep. In the other order its event would be swallowed while its flag stays.
    pub(super) fn empty(&self) {
        match self.event.read() {
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(errno) => tracing::error!(%errno, "the ring's eventfd cannot be read"),
        }
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst)
            && self.asleep.load(Ordering::SeqCst)
            && let Err(errno) = self.event.write(1)
        {
            tracing::error!(%errno, "the ring's eventfd cannot be written");
        }
    }
}
