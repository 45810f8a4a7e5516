//! Signals, by a thread of their own named `signals`.

use std::io;
use std::thread::{self, JoinHandle};

use nix::libc;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals};
use tokio::sync::mpsc;

use crate::config::TriggerSignal;

/// Signals that wait to be looked at; the kernel merges them too.
const CAPACITY: usize = 16;

/// What a signal means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Stop,
    Reload,
    Status,
    /// Named.
    Trigger(String),
}

pub(super) struct SignalThread {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl SignalThread {
    /// Takes the process's signals over, the trigger's included.
    pub(super) fn start(trigger: TriggerSignal) -> io::Result<(SignalThread, mpsc::Receiver<i32>)> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
        let handle = signals.handle();
        handle.add_signal(number(trigger))?;
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(signal) {
                    break;
                }
            }
        })?;
        Ok((SignalThread { handle, thread: Some(thread) }, receiver))
    }

    /// Listens to one more, after a reload.
    pub(super) fn listen_to(&self, trigger: TriggerSignal) -> io::Result<()> {
        self.handle.add_signal(number(trigger))
    }
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        self.handle.close();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the signal thread had panicked");
        }
    }
}

/// What it means now; `None` for a trigger that a reload has taken away.
pub(super) fn meaning(signal: i32, trigger: TriggerSignal) -> Option<Meaning> {
    match signal {
        SIGTERM | SIGINT => Some(Meaning::Stop),
        SIGHUP => Some(Meaning::Reload),
        SIGUSR1 => Some(Meaning::Status),
        SIGUSR2 => Some(Meaning::Trigger("SIGUSR2".to_owned())),
        _ if signal == number(trigger) => Some(Meaning::Trigger(format!("SIGRTMIN+{}", signal - libc::SIGRTMIN()))),
        _ => None,
    }
}

fn number(trigger: TriggerSignal) -> i32 {
    match trigger {
        TriggerSignal::Usr2 => SIGUSR2,
        TriggerSignal::Realtime(offset) => libc::SIGRTMIN() + i32::from(offset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_mean_what_the_manual_says() {
        let trigger = TriggerSignal::Realtime(3);
        assert_eq!(meaning(SIGTERM, trigger), Some(Meaning::Stop));
        assert_eq!(meaning(SIGUSR2, trigger), Some(Meaning::Trigger("SIGUSR2".to_owned())));
        assert_eq!(meaning(libc::SIGRTMIN() + 3, trigger), Some(Meaning::Trigger("SIGRTMIN+3".to_owned())));
        assert_eq!(meaning(libc::SIGRTMIN() + 3, TriggerSignal::Usr2), None);
    }
}
