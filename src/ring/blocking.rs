//! The blocking engine: pread and pwrite on a few threads, for kernels and sandboxes without io_uring. Its requests
//! own their buffers like everywhere, so that here nothing needs `unsafe`: a thread that is stuck in the kernel keeps
//! its buffer for as long as it is.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select};
use nix::errno::Errno;
use nix::libc;
use nix::sys::uio::{pread, pwrite};
use nix::unistd::fdatasync;

use super::operation::Operation;
use super::progress::Next;
use super::sys::pwrite_dsync;
use super::{Completion, Description, InFlight, Kind, Request, Ring, RingError, Token, Waker};

/// Requests that are really under way at once. SATA queues hold 32, and beyond 16 the threads' own switching costs
/// more than the disk gains.
const THREADS: u32 = 16;

/// How long a drop waits for the threads; then they are left to end, with their buffers, when the disk lets them.
const DRAIN: Duration = Duration::from_secs(2);

/// A request with the word that can still stop it.
struct Job {
    operation: Operation,
    cancelled: Arc<AtomicBool>,
}

pub(super) struct Blocking {
    description: Description,
    /// In flight, by token.
    requests: HashMap<u32, Arc<AtomicBool>>,
    /// Goes to the threads with the next reap.
    queued: Vec<Job>,
    /// Bounded by `depth`, like `ended`: with no more than that in flight neither side ever waits to send.
    jobs: Option<Sender<Job>>,
    ended: Receiver<Completion>,
    woken: Receiver<()>,
    waker: Waker,
    threads: Vec<JoinHandle<()>>,
    in_flight: Arc<InFlight>,
}

impl Blocking {
    pub(super) fn new(file: File, description: Description) -> Result<Self, RingError> {
        let depth = description.depth as usize;
        let (jobs, inbox) = bounded::<Job>(depth);
        let (outbox, ended) = bounded(depth);
        let (wake, woken) = bounded(1);
        let mut ring = Blocking {
            requests: HashMap::new(),
            queued: Vec::new(),
            jobs: Some(jobs),
            ended,
            woken,
            waker: Waker::of_channel(wake),
            threads: Vec::new(),
            in_flight: Arc::default(),
            description,
        };
        let file = Arc::new(file);
        for number in 0..ring.description.depth.min(THREADS) {
            let (file, inbox, outbox) = (Arc::clone(&file), inbox.clone(), outbox.clone());
            let name = format!("ring/{number}");
            let spawned = thread::Builder::new().name(name.clone()).spawn(move || work(file, inbox, outbox));
            let what = format!("thread {name}");
            ring.threads.push(spawned.map_err(|source| RingError::Resources { what, source })?);
        }
        Ok(ring)
    }

    fn ended(&mut self, completion: Completion, out: &mut Vec<Completion>) {
        self.requests.remove(&completion.token.0).expect("the threads complete only what was submitted");
        out.push(completion);
        self.in_flight.remove();
    }
}

impl Ring for Blocking {
    fn submit(&mut self, request: Request) {
        let token = request.token.0;
        assert!(
            self.requests.len() < self.description.depth as usize,
            "more than {} in flight",
            self.description.depth
        );
        let operation = Operation::new(request);
        let cancelled = Arc::new(AtomicBool::new(false));
        let twin = self.requests.insert(token, Arc::clone(&cancelled));
        assert!(twin.is_none(), "Token({token}) is in flight already");
        self.in_flight.add();
        self.queued.push(Job { operation, cancelled });
    }

    fn reap(&mut self, out: &mut Vec<Completion>, timeout: Option<Duration>) -> io::Result<()> {
        let gone = || io::Error::other("the threads of the blocking engine are gone");
        let jobs = self.jobs.as_ref().expect("open until drop");
        for job in self.queued.drain(..) {
            jobs.send(job).map_err(|_| gone())?;
        }
        let before = out.len();
        while let Ok(completion) = self.ended.try_recv() {
            self.ended(completion, out);
        }
        if self.woken.try_recv().is_ok() || out.len() > before {
            return Ok(());
        }
        let expiry = timeout.map_or_else(never, after);
        let first = select! {
            recv(self.ended) -> completion => Some(completion.map_err(|_| gone())?),
            recv(self.woken) -> _ => None,
            recv(expiry) -> _ => None,
        };
        if let Some(completion) = first {
            self.ended(completion, out);
        }
        Ok(())
    }

    fn cancel(&mut self, token: Token) {
        if let Some(cancelled) = self.requests.get(&token.0) {
            cancelled.store(true, Ordering::Release);
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

impl Drop for Blocking {
    fn drop(&mut self) {
        for cancelled in self.requests.values() {
            cancelled.store(true, Ordering::Release);
        }
        for _never_started in mem::take(&mut self.queued) {
            self.in_flight.remove();
        }
        self.jobs = None;
        let deadline = Instant::now() + DRAIN;
        // Each thread holds a sender until it ends, so that the channel closes with the last of them.
        while let Ok(_completion) = self.ended.recv_deadline(deadline) {
            self.in_flight.remove();
        }
        for thread in self.threads.drain(..) {
            if Instant::now() >= deadline && !thread.is_finished() {
                tracing::error!(thread = thread.thread().name(), "stuck in the kernel, left behind with its buffer");
            } else if thread.join().is_err() {
                tracing::error!("a thread of the blocking engine had panicked");
            }
        }
    }
}

fn work(file: Arc<File>, inbox: Receiver<Job>, outbox: Sender<Completion>) {
    for job in inbox {
        if outbox.send(run(&file, job)).is_err() {
            return;
        }
    }
}

fn run(file: &File, job: Job) -> Completion {
    let Job { mut operation, cancelled } = job;
    loop {
        operation.cancelled = cancelled.load(Ordering::Acquire);
        let next = if operation.cancelled {
            operation.progress.failed(libc::ECANCELED)
        } else {
            let result = perform(file, &mut operation).map_err(|errno| errno as i32);
            operation.advance(result)
        };
        if let Next::Finished(result) = next {
            return operation.complete(result);
        }
    }
}

pub(super) fn perform(file: &File, operation: &mut Operation) -> Result<usize, Errno> {
    let offset = operation.progress.offset();
    let position = libc::off_t::try_from(offset).expect("checked at the entrance");
    match operation.kind {
        Kind::Read { .. } => pread(file, operation.remaining(), position),
        Kind::Write { dsync: false, .. } => pwrite(file, operation.remaining(), position),
        Kind::Write { dsync: true, .. } => pwrite_dsync(file, operation.remaining(), offset),
        Kind::Flush => fdatasync(file).map(|()| 0),
    }
}
