//! Flushing the event log on a thread of its own, `log/0`, while the disk under test goes on.

use std::io;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

pub(super) type Flush = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// One flush at a time. It is there before it is needed: a thread that wakes up runs sooner than one that is made.
pub(super) struct Scribe {
    pub(super) jobs: Sender<Flush>,
    pub(super) done: Receiver<io::Result<()>>,
}

impl Scribe {
    /// `notify` is called after each flush. The thread ends with the scribe, or later, when the kernel lets it: nobody
    /// waits for it, as it holds nothing that another process could want.
    pub(super) fn start(notify: impl Fn() + Send + 'static) -> io::Result<Scribe> {
        let (jobs, inbox) = bounded::<Flush>(1);
        let (outbox, done) = bounded(1);
        thread::Builder::new().name("log/0".to_owned()).spawn(move || {
            for flush in inbox {
                if outbox.send(flush()).is_err() {
                    break;
                }
                notify();
            }
        })?;
        Ok(Scribe { jobs, done })
    }
}
