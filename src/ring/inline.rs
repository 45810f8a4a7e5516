//! The inline engine: pread and pwrite on the ring's own thread, for files that live in memory.
//!
//! Such a file has no queue and nothing to wait for: whoever asks copies the bytes. io_uring knows no way to ask a file
//! system without FMODE_NOWAIT, such as tmpfs, that does not block, and hands each request to a kernel thread, which
//! costs several times what the copy does. What does not return would hold up the ring's thread, and with it deadlines
//! and triggers; so only memory is asked like this, never a file system that has a disk, a network or a process behind
//! it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

use super::blocking::perform;
use super::operation::Operation;
use super::progress::Next;
use super::{Completion, Description, InFlight, Request, Ring, Token, Waker};
use crate::patience::Patience;

/// Bytes moved in one reap, or one request: 16 blocks of 4 KiB, some 20 µs. The workers' results are collected
/// between two of them, and with fewer they would run out of work.
const TURN: usize = 64 << 10;

/// Whether a regular file is memory and nothing else.
pub(crate) fn lives_in_memory(file: &File) -> bool {
    // A device node may stand on a tmpfs too.
    let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    regular && fstatfs(file).is_ok_and(|stat| stat.filesystem_type() == TMPFS_MAGIC)
}

pub(super) struct Inline {
    file: File,
    description: Description,
    /// In flight: not yet asked of the file.
    queued: VecDeque<Operation>,
    woken: Receiver<()>,
    waker: Waker,
    patience: Patience,
    in_flight: Arc<InFlight>,
}

impl Inline {
    pub(super) fn new(file: File, description: Description) -> Self {
        let (wake, woken) = bounded(1);
        Inline {
            file,
            description: Description { engine: "inline", ..description },
            queued: VecDeque::new(),
            woken,
            waker: Waker::of_channel(wake),
            patience: Patience::default(),
            in_flight: Arc::default(),
        }
    }

    /// One request, from its beginning to its end.
    fn carry_out(&mut self, mut operation: Operation) -> Completion {
        loop {
            let next = if operation.cancelled {
                operation.progress.failed(nix::libc::ECANCELED)
            } else {
                let result = perform(&self.file, &mut operation).map_err(|errno| errno as i32);
                operation.advance(result)
            };
            if let Next::Finished(result) = next {
                self.in_flight.remove();
                return operation.complete(result);
            }
        }
    }

    fn sleep(&mut self, timeout: Option<Duration>) {
        let Inline { woken, patience, .. } = self;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        patience.wait(
            || woken.try_recv().ok(),
            || match deadline {
                Some(deadline) => match woken.recv_deadline(deadline) {
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
                    Ok(()) => Some(()),
                },
                None => woken.recv().ok(),
            },
        );
    }
}

impl Ring for Inline {
    fn submit(&mut self, request: Request) {
        let token = request.token;
        assert!(self.queued.len() < self.description.depth as usize, "more than {} in flight", self.description.depth);
        let operation = Operation::new(request);
        assert!(self.queued.iter().all(|queued| queued.token != token), "{token:?} is in flight already");
        self.queued.push_back(operation);
        self.in_flight.add();
    }

    fn reap(&mut self, out: &mut Vec<Completion>, timeout: Option<Duration>) -> io::Result<()> {
        if self.queued.is_empty() {
            if timeout != Some(Duration::ZERO) {
                self.sleep(timeout);
            }
            return Ok(());
        }
        let mut moved = 0;
        while moved < TURN
            && let Some(operation) = self.queued.pop_front()
        {
            moved += operation.buffer.as_deref().map_or(0, <[u8]>::len);
            let completion = self.carry_out(operation);
            out.push(completion);
        }
        Ok(())
    }

    fn cancel(&mut self, token: Token) {
        if let Some(operation) = self.queued.iter_mut().find(|operation| operation.token == token) {
            operation.cancelled = true;
        }
    }

    fn in_flight(&self) -> Arc<InFlight> {
        Arc::clone(&self.in_flight)
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn description(&self) -> Description {
        self.description.clone()
    }
}

impl Drop for Inline {
    fn drop(&mut self) {
        // None of them has begun.
        self.queued.drain(..).for_each(|_| self.in_flight.remove());
    }
}
