//! Pools of pinned workers: one seals before the I/O, one verifies after it.
//!
//! Promised: every job that was taken comes back as its result, or the pool says which worker lost it; what is
//! outstanding is bounded, and what does not fit stays with the caller; each worker runs where it was asked to, as
//! read back from the kernel.
//!
//! Not promised: any order of the results.
//!
//! Two pools share neither a thread nor a queue, whatever else would be saved by it. btrfs had one for the work
//! before and after its I/O, and it could fill up with finished reads that waited for writes that waited for a
//! worker; it was split for that. So: one [`Pool`] for each purpose, and never a job that waits for another pool.

mod affinity;
mod error;
#[cfg(test)]
mod tests;
mod threads;
mod worker;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub use affinity::{check_cpus, permitted_cpus};
pub use error::{CpuError, Placement, PoolError};
use threads::Threads;
use worker::Shared;

/// Most jobs in one batch; fewer where that leaves a worker without. Sixteen share what a batch costs on its way to a
/// worker and back, and the first of them waits for no more than the other fifteen.
const BATCH: usize = 16;

/// Bytes from which on a batch is complete: as many as sixteen of the smallest blocks. Of larger ones each goes
/// alone, as its result would wait for the others', and with it whoever could write it meanwhile.
const BATCH_BYTES: usize = 64 << 10;

/// So many bytes, which is one wide read of a file in memory, or so large a share of all jobs there can be, are worth
/// waking a worker for. That costs the submitter a system call and, where the other processor has to be roused from idling,
/// an interrupt: in a virtual machine some 30 µs, in which thirty small blocks are judged.
const WORTH_BYTES: usize = 256 << 10;
const WORTH_SHARE: usize = 2;

/// How often in a row jobs are not handed over for being few.
const PUT_OFF: u32 = 8;

/// How long a worker stays without work. Longer than the gaps of any steady load, short enough that an idle daemon
/// keeps one thread a pool.
const IDLE: Duration = Duration::from_secs(30);

/// What a pool is to be.
#[derive(Clone, Debug)]
pub struct Spec {
    /// "seal" or "verify": the threads are called `name/0`, `name/1`, …
    pub name: &'static str,
    /// Most workers. They all start, so that each has proved its place; all but one leave when idle, and come back
    /// under load. 0 runs the work inline, on the thread that submits it.
    pub threads: usize,
    /// Where every worker may run; `None` for wherever the process may.
    pub cpus: Option<Vec<usize>>,
    /// Most jobs outstanding: submitted and not yet collected. Each holds a buffer, so the ring's buffers are the
    /// natural number: 64 of them are four full batches.
    pub capacity: usize,
}

/// What a pool is given to do.
pub trait Job: Send + 'static {
    /// How many bytes are to be looked at or made, roughly: what its work grows with.
    fn bytes(&self) -> usize;
}

/// Workers of one kind, with a queue to them and one back. Belongs to one thread, as a rule the ring's.
pub struct Pool<J: Send + 'static, Done: Send + 'static> {
    spec: Spec,
    way: Way<J, Done>,
    /// Submitted and not yet collected.
    outstanding: usize,
    /// Offers in a row that came to nothing.
    put_off: u32,
    /// The first failure; it stays, as what was lost does not come back.
    failed: Option<PoolError>,
}

enum Way<J: Send + 'static, Done: Send + 'static> {
    Inline { shared: Arc<Shared<J, Done>>, done: VecDeque<Done> },
    Threads(Threads<J, Done>),
}

impl<J: Job, Done: Send + 'static> Pool<J, Done> {
    /// Starts every worker and waits until each has been seen where it belongs. `work` turns a job into its result;
    /// `notify` is called once for each batch of results, on the worker's thread, after they can be collected.
    ///
    /// # Errors
    /// A CPU that is not there or not permitted, a worker that is elsewhere, or a thread that cannot be started.
    ///
    /// # Panics
    /// When the capacity is zero.
    pub fn start(
        spec: Spec,
        work: impl Fn(J) -> Done + Send + Sync + 'static,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, PoolError> {
        Self::start_with(spec, work, notify, IDLE)
    }

    fn start_with(
        spec: Spec,
        work: impl Fn(J) -> Done + Send + Sync + 'static,
        notify: impl Fn() + Send + Sync + 'static,
        idle: Duration,
    ) -> Result<Self, PoolError> {
        assert!(spec.capacity > 0, "a pool that nothing fits into");
        if let Some(cpus) = &spec.cpus {
            check_cpus(cpus).map_err(|source| PoolError::Cpus { pool: spec.name, source })?;
        }
        let shared = Arc::new(Shared::new(Box::new(work), Box::new(notify), idle));
        if spec.threads == 0 {
            let way = Way::Inline { shared, done: VecDeque::new() };
            return Ok(Pool { spec, way, outstanding: 0, put_off: 0, failed: None });
        }
        let threads = Threads::start(&spec, shared)?;
        Ok(Pool { spec, way: Way::Threads(threads), outstanding: 0, put_off: 0, failed: None })
    }

    /// Takes as many jobs as there is room for, from the front, and hands them over in batches. What stays in `jobs`
    /// did not fit: collect first. Never waits. A pool that has failed takes nothing.
    pub fn submit(&mut self, jobs: &mut Vec<J>) {
        let fit = jobs.len().min(self.spec.capacity - self.outstanding);
        if fit == 0 || self.failed.is_some() {
            return;
        }
        self.outstanding += fit;
        self.put_off = 0;
        let taken = jobs.drain(..fit);
        match &mut self.way {
            Way::Inline { shared, done } => {
                for (before, job) in taken.enumerate() {
                    match catch_unwind(AssertUnwindSafe(|| (shared.work)(job))) {
                        Ok(result) => done.push_back(result),
                        Err(panic) => {
                            let thread = thread::current().name().unwrap_or("unnamed").to_owned();
                            self.failed = Some(PoolError::died(thread, worker::message(&*panic), fit - before));
                            break;
                        }
                    }
                }
                (shared.notify)();
            }
            Way::Threads(threads) => {
                threads.hand_over(taken, fit.div_ceil(self.spec.threads).min(BATCH), BATCH_BYTES);
                if let Err(source) = threads.grow(&self.spec) {
                    // Those that are there do the work, only slower.
                    tracing::warn!(pool = self.spec.name, %source, "the pool cannot grow");
                }
            }
        }
    }

    /// The same, for whoever has more to do before it waits for anything: small jobs stay in `jobs` until there are as
    /// many as a wake-up is worth, though not for long.
    pub fn offer(&mut self, jobs: &mut Vec<J>) {
        let threads = matches!(self.way, Way::Threads(_));
        let few = !jobs.is_empty() && jobs.len() < self.spec.capacity.div_ceil(WORTH_SHARE);
        let small = || jobs.iter().map(Job::bytes).sum::<usize>() < WORTH_BYTES;
        if threads && few && self.put_off < PUT_OFF && small() {
            self.put_off += 1;
            return;
        }
        self.submit(jobs);
    }

    /// Appends the results that are ready. Never waits.
    ///
    /// # Errors
    /// A worker died, and its jobs with it, or came up where it should not be. The results that are there are
    /// collected all the same; the error stays, since what it lost will not come.
    pub fn collect(&mut self, out: &mut Vec<Done>) -> Result<(), PoolError> {
        let before = out.len();
        match &mut self.way {
            Way::Inline { done, .. } => out.extend(done.drain(..)),
            Way::Threads(threads) => {
                threads.collect(out);
                self.failed = self.failed.take().or_else(|| threads.failure());
            }
        }
        self.outstanding -= out.len() - before;
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Jobs submitted and not yet collected.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Jobs that would fit now.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.failed.is_some() { 0 } else { self.spec.capacity - self.outstanding }
    }

    /// Where each worker was when it last started, by its number. Empty for an inline pool.
    #[must_use]
    pub fn placements(&self) -> Vec<Placement> {
        match &self.way {
            Way::Inline { .. } => Vec::new(),
            Way::Threads(threads) => threads.placements(),
        }
    }

    /// Workers alive now: fewer than asked for when idle; 0 for an inline pool.
    #[must_use]
    pub fn alive(&self) -> usize {
        match &self.way {
            Way::Inline { .. } => 0,
            Way::Threads(threads) => threads.alive(),
        }
    }
}
