//! The io_uring engine.
//!
//! Ownership, on which every `unsafe` below rests: a request's `Buffer` moves into `operations` before the kernel
//! hears of it, and leaves only when its last completion was seen. `Drop` ends what is in flight first, and leaks
//! what the kernel will not give back: a late write into leaked memory harms nobody, one into freed memory anybody.
#![allow(unsafe_code)]

mod lone;
mod setup;
mod spread;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use io_uring::types::{Fd, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode, squeue};
use nix::libc;

use lone::Lone;
#[cfg(test)]
pub(super) use setup::every_rung;
pub(super) use setup::{Ready, setup};
use spread::Spread;

use super::operation::Operation;
use super::progress::Next;
use super::sys::own_io_priority;
use super::waker::Bell;
use super::{Buffer, Completion, Description, InFlight, Kind, Request, Ring, RingError, Token, Waker};
use crate::patience::Patience;

/// How long a drop waits for the disk. A stop should not take longer than a person waits, and a disk that needs more
/// is stuck: its requests end when the driver gives up, which is 30 s a try for SCSI.
const DRAIN: Duration = Duration::from_secs(2);

/// The longest single wait; a longer timeout is several. Keeps any `Duration` within the kernel's timespec.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How often in a row the kernel may say that it has no memory for requests, a millisecond apart, before we believe it.
const REFUSALS: u32 = 1000;

/// How many requests a disk with little to do gets first: it works on them while the kernel, at some 5 µs each, takes in
/// those behind. Many disks interrupt once their queue is empty, and then the next whole queue is handed over at once.
const PART: usize = 8;

/// What a completion is about: a token in the low half, and one of these above it.
const REQUEST: u64 = 0;
const CANCEL: u64 = 1 << 32;
const WAKE: u64 = 2 << 32;

pub(super) struct Uring {
    ring: IoUring,
    file: File,
    description: Description,
    /// Id of our registered buffers.
    registered: Option<u64>,
    /// Keeps reads of single blocks apart.
    lone: Option<Lone>,
    /// In flight, from `submit` to the completion that is handed out.
    operations: HashMap<u32, Operation, Spread>,
    /// Not yet in the submission queue.
    queued: VecDeque<squeue::Entry>,
    in_flight: Arc<InFlight>,
    bell: Arc<Bell>,
    bell_armed: bool,
    patience: Patience,
    disabled: bool,
    owner: Option<ThreadId>,
}

impl Uring {
    pub(super) fn new(
        ready: Ready,
        file: File,
        buffers: &mut [Buffer],
        mut description: Description,
    ) -> Result<Self, RingError> {
        let Ready { ring, flags, mut why, disabled } = ready;
        let bell = Bell::new().map_err(|source| RingError::Resources { what: "an eventfd".into(), source })?;
        description.registered_file = setup::register_file(&ring, &file, &mut why);
        let registered = setup::register_buffers(&ring, buffers, &mut why);
        description.registered_buffers = registered.is_some();
        let lone = Lone::new(buffers.first().map_or(0, |buffer| buffer.len()), own_io_priority());
        (description.engine, description.why, description.flags) = ("io_uring", why, flags);
        Ok(Uring {
            ring,
            file,
            description,
            registered,
            lone,
            operations: HashMap::default(),
            queued: VecDeque::new(),
            in_flight: Arc::default(),
            bell: Arc::new(bell),
            bell_armed: false,
            patience: Patience::default(),
            disabled,
            owner: None,
        })
    }

    /// Binds the ring to the first thread that uses it. The kernel answers any other with EEXIST, at a time when the
    /// requests are already ours to lose, so the mistake is caught here.
    fn claim(&mut self) -> io::Result<()> {
        let caller = thread::current().id();
        let owner = *self.owner.get_or_insert(caller);
        assert!(owner == caller, "the ring of {owner:?} is used from {caller:?}");
        if self.disabled {
            self.ring.submitter().register_enable_rings()?;
            self.disabled = false;
        }
        Ok(())
    }

    fn entry(&mut self, token: u32) -> squeue::Entry {
        let fixed = self.description.registered_file;
        let file = Fd(if fixed { 0 } else { self.file.as_raw_fd() });
        let registered = self.registered;
        let operation = self.operations.get_mut(&token).expect("the request is in flight");
        let offset = operation.progress.offset();
        let priority = match (operation.kind, &operation.buffer) {
            // Where it began: what is left of a read that was short is still of the same block.
            (Kind::Read { offset }, Some(buffer)) => Lone::priority(self.lone, offset, buffer.len()),
            _ => 0,
        };
        let index = operation
            .buffer
            .as_ref()
            .and_then(Buffer::registration)
            .filter(|registration| Some(registration.ring) == registered)
            .map(|registration| registration.index);
        let rest = operation.remaining();
        let (start, length) = (rest.as_mut_ptr(), u32::try_from(rest.len()).expect("checked at the entrance"));
        let entry = match (operation.kind, index) {
            (Kind::Read { .. }, Some(index)) => {
                opcode::ReadFixed::new(file, start, length, index).offset(offset).ioprio(priority).build()
            }
            (Kind::Read { .. }, None) => opcode::Read::new(file, start, length).offset(offset).ioprio(priority).build(),
            (Kind::Write { dsync, .. }, Some(index)) => {
                opcode::WriteFixed::new(file, start, length, index).offset(offset).rw_flags(rw_flags(dsync)).build()
            }
            (Kind::Write { dsync, .. }, None) => {
                opcode::Write::new(file, start, length).offset(offset).rw_flags(rw_flags(dsync)).build()
            }
            (Kind::Flush, _) => opcode::Fsync::new(file).flags(FsyncFlags::DATASYNC).build(),
        };
        let flags = if fixed { squeue::Flags::FIXED_FILE } else { squeue::Flags::empty() };
        entry.flags(flags).user_data(REQUEST | u64::from(token))
    }

    /// Hands everything queued to the kernel, then waits as told: `None` not at all, else for one completion or the
    /// time given, running deferred completions either way.
    fn enter(&mut self, wait: Option<Duration>) -> io::Result<()> {
        loop {
            let in_kernel = self.operations.len().saturating_sub(self.queued.len());
            let mut room = if in_kernel < PART { PART } else { usize::MAX };
            let mut submission = self.ring.submission();
            while let Some(entry) = self.queued.front()
                && room > 0
            {
                // SAFETY: the entry points into a `Buffer` in `operations`, which keeps it until the completion, or
                // to nothing (flush, cancel, poll); the descriptor is `self.file`'s or `self.bell`'s, both of which
                // outlive `self.ring`'s requests, as `Drop` ends those first or the kernel holds its own reference.
                if unsafe { submission.push(entry) }.is_err() {
                    break;
                }
                self.queued.pop_front();
                room -= 1;
            }
            let waiting = submission.len();
            drop(submission);
            if !self.queued.is_empty() {
                if self.ring.submit()? == 0 {
                    return Err(io::Error::from_raw_os_error(libc::EAGAIN));
                }
                continue;
            }
            let submitter = self.ring.submitter();
            return match wait {
                None if waiting == 0 => Ok(()),
                None => submitter.submit().map(drop),
                Some(Duration::ZERO) => {
                    let flags = EnterFlags::GETEVENTS.bits();
                    // SAFETY: no argument is passed, and `waiting` is what the submission queue holds.
                    unsafe { submitter.enter::<libc::sigset_t>(waiting as u32, 0, flags, None) }.map(drop)
                }
                Some(time) => {
                    let time = Timespec::from(time.min(LONGEST_WAIT));
                    submitter.submit_with_args(1, &SubmitArgs::new().timespec(&time)).map(drop)
                }
            };
        }
    }

    /// Takes out every completion that there is. `true` when the bell rang.
    fn harvest(&mut self, out: &mut Vec<Completion>) -> bool {
        let mut woken = false;
        while let Some(completion) = { self.ring.completion().next() } {
            match apart(completion.user_data()) {
                (REQUEST, token) => self.ended(token, completion.result(), out),
                (CANCEL, _) => {} // Found or too late: the request's own completion says which.
                (WAKE, _) => {
                    self.bell.empty();
                    (self.bell_armed, woken) = (false, true);
                }
                (about, _) => unreachable!("a completion about {about:#x}, which was never submitted"),
            }
        }
        if woken || self.bell.has_rung() {
            self.bell.silence();
            woken = true;
        }
        woken
    }

    fn ended(&mut self, token: u32, result: i32, out: &mut Vec<Completion>) {
        let operation = self.operations.get_mut(&token).expect("the kernel completes only what was submitted");
        let result = usize::try_from(result).map_err(|_| -result);
        match operation.advance(result) {
            Next::Issue => {
                let entry = self.entry(token);
                self.queued.push_back(entry);
            }
            Next::Finished(result) => {
                let operation = self.operations.remove(&token).expect("it was there a moment ago");
                out.push(operation.complete(result));
                self.in_flight.remove();
            }
        }
    }

    /// Whether there is a reason to sleep. While the kernel has nothing of ours only the bell can bring news, and that is
    /// looked for before its poll is armed.
    fn finds_nothing_first(&mut self) -> bool {
        let Uring { bell, patience, operations, .. } = self;
        if operations.is_empty() {
            let heard = patience.look(|| bell.has_rung().then_some(()));
            if heard.is_some() {
                return false;
            }
        }
        if !self.bell.may_sleep() {
            return false;
        }
        self.arm_bell();
        true
    }

    fn arm_bell(&mut self) {
        if !mem::replace(&mut self.bell_armed, true) {
            let event = Fd(self.bell.event().as_raw_fd());
            self.queued.push_back(opcode::PollAdd::new(event, libc::POLLIN as u32).build().user_data(WAKE));
        }
    }
}

impl Ring for Uring {
    fn submit(&mut self, request: Request) {
        let token = request.token.0;
        assert!(
            self.operations.len() < self.description.depth as usize,
            "more than {} in flight",
            self.description.depth
        );
        let operation = Operation::new(request);
        assert!(!self.operations.contains_key(&token), "Token({token}) is in flight already");
        self.operations.insert(token, operation);
        self.in_flight.add();
        let entry = self.entry(token);
        self.queued.push_back(entry);
        if self.queued.len() >= self.ring.params().sq_entries() as usize {
            // What is refused here stays queued, and `reap` will hear of it again.
            if let Err(source) = self.claim().and_then(|()| self.enter(None)) {
                tracing::debug!(%source, "requests stay queued");
            }
        }
    }

    fn reap(&mut self, out: &mut Vec<Completion>, timeout: Option<Duration>) -> io::Result<()> {
        self.claim()?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let before = out.len();
        let mut refusals = 0;
        loop {
            let left = deadline.map_or(LONGEST_WAIT, |deadline| deadline.saturating_duration_since(Instant::now()));
            let sleeps = !left.is_zero() && self.finds_nothing_first();
            let entered = self.enter(Some(if sleeps { left } else { Duration::ZERO }));
            self.bell.awake();
            self.patience.slept();
            let woken = self.harvest(out);
            match entered.as_ref().map_err(io::Error::raw_os_error) {
                Ok(()) | Err(Some(libc::ETIME | libc::EINTR)) => refusals = 0,
                Err(Some(libc::EAGAIN | libc::EBUSY)) if refusals < REFUSALS => {
                    refusals += 1;
                    thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return entered,
            }
            if woken || out.len() > before || left.is_zero() {
                break;
            }
        }
        // Continuations found meanwhile should not wait for the caller to come back.
        match self.enter(None) {
            Err(source) if !matches!(source.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY | libc::EINTR)) => {
                Err(source)
            }
            _ => Ok(()),
        }
    }

    fn cancel(&mut self, token: Token) {
        if let Some(operation) = self.operations.get_mut(&token.0)
            && !mem::replace(&mut operation.cancelled, true)
        {
            let request = REQUEST | u64::from(token.0);
            let about = CANCEL | u64::from(token.0);
            self.queued.push_back(opcode::AsyncCancel::new(request).build().user_data(about));
        }
    }

    fn in_flight(&self) -> Arc<InFlight> {
        Arc::clone(&self.in_flight)
    }

    fn waker(&self) -> Waker {
        Waker::of_bell(Arc::clone(&self.bell))
    }

    fn description(&self) -> Description {
        self.description.clone()
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let Uring { queued, operations, in_flight, .. } = self;
        queued.retain(|entry| {
            // A request that is still queued is not in the kernel: neither its first try nor, one try being under way
            // at a time, any other. Cancels stay; the drain sends them.
            let (about, token) = apart(entry.get_user_data());
            if about == REQUEST && operations.remove(&token).is_some() {
                in_flight.remove();
            }
            about != REQUEST
        });
        if !self.drain(DRAIN) {
            tracing::error!(requests = self.operations.len(), "the disk does not give these back: their buffers leak");
            for (_, operation) in self.operations.drain() {
                // The kernel may write into it at any time from here on, so this memory is never used again.
                mem::forget(operation);
            }
        }
        if self.description.registered_file {
            // The ring lets go of its files some time after it is closed. A lock on ours would be held until then.
            if let Err(source) = self.ring.submitter().unregister_files() {
                tracing::debug!(%source, "the file stays with the ring until the kernel is done with it");
            }
        }
    }
}

impl Uring {
    /// Cancels and reaps until nothing is in flight; `false` when that cannot be had in time, or not on this thread.
    fn drain(&mut self, limit: Duration) -> bool {
        if self.operations.is_empty() {
            return true;
        }
        if self.owner.is_some_and(|owner| owner != thread::current().id()) {
            return false;
        }
        let deadline = Instant::now() + limit;
        let tokens: Vec<u32> = self.operations.keys().copied().collect();
        tokens.into_iter().for_each(|token| self.cancel(Token(token)));
        let mut ended = Vec::new();
        while !self.operations.is_empty() && Instant::now() < deadline {
            if let Err(source) = self.reap(&mut ended, Some(deadline.saturating_duration_since(Instant::now()))) {
                tracing::error!(%source, "the ring cannot be drained");
                break;
            }
        }
        self.operations.is_empty()
    }
}

/// What a completion is about, and the token.
fn apart(user_data: u64) -> (u64, u32) {
    let token = user_data & u64::from(u32::MAX);
    (user_data - token, u32::try_from(token).expect("masked to 32 bits"))
}

fn rw_flags(dsync: bool) -> i32 {
    if dsync { libc::RWF_DSYNC } else { 0 }
}
