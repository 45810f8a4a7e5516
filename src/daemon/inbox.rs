//! The way from the control plane to the data plane: bounded, never waited for.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::engine::{Command, Event};
use crate::ring::Waker;

/// What may wait. The data plane empties it at each turn, some thousand times a second; it fills only while that one is
/// stuck in the journal.
const CAPACITY: usize = 64;

/// Places kept free of what comes through the control socket: for signals, and for the end of the trigger's command.
const RESERVED: usize = 32;

/// The data plane does not take anything at the moment, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unheard {
    #[error("the data plane is busy: it has not taken what was asked before")]
    Busy,
    #[error("the run has ended, and nothing is done any more: the process waits only for what the disk holds back")]
    Ended,
}

#[derive(Clone)]
pub(super) struct Inbox {
    events: Sender<Event>,
    waker: Waker,
}

impl Inbox {
    pub(super) fn new(waker: Waker) -> (Inbox, Receiver<Event>) {
        let (events, receiver) = bounded(CAPACITY);
        (Inbox { events, waker }, receiver)
    }

    /// Asks for something on behalf of anybody.
    pub(super) fn ask(&self, command: Command) -> Result<(), Unheard> {
        if self.events.len() >= CAPACITY - RESERVED {
            return Err(Unheard::Busy);
        }
        self.tell(Event::Command(command))
    }

    /// Passes on what must get through.
    pub(super) fn tell(&self, event: Event) -> Result<(), Unheard> {
        let sent = self.events.try_send(event).map_err(|error| match error {
            TrySendError::Full(_) => Unheard::Busy,
            TrySendError::Disconnected(_) => Unheard::Ended,
        });
        // After the event is there, or the wake could be spent before it.
        self.waker.wake();
        sent
    }
}
