//! One worker: takes batches, gives results, leaves when there is nothing to do, and says so when it dies.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::affinity::place;
use super::{Placement, PoolError};
use crate::patience::Patience;

/// What the workers of one pool have in common.
pub(super) struct Shared<Job, Done> {
    pub(super) work: Box<dyn Fn(Job) -> Done + Send + Sync>,
    pub(super) notify: Box<dyn Fn() + Send + Sync>,
    /// Counted up by the pool before it starts a worker, down by the worker when it leaves.
    pub(super) alive: AtomicUsize,
    pub(super) stopping: AtomicBool,
    /// Written at a worker's start only.
    pub(super) placements: Mutex<BTreeMap<usize, Placement>>,
    idle: Duration,
}

pub(super) struct Worker<Job, Done> {
    pub(super) number: usize,
    pub(super) thread: String,
    pub(super) cpus: Option<Vec<usize>>,
    pub(super) shared: Arc<Shared<Job, Done>>,
    pub(super) inbox: Receiver<Vec<Job>>,
    pub(super) outbox: Sender<Vec<Done>>,
    /// Holds one: the first failure is the one that counts.
    pub(super) failures: Sender<PoolError>,
}

impl<Job, Done> Shared<Job, Done> {
    pub(super) fn new(
        work: Box<dyn Fn(Job) -> Done + Send + Sync>,
        notify: Box<dyn Fn() + Send + Sync>,
        idle: Duration,
    ) -> Self {
        Shared {
            work,
            notify,
            alive: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            placements: Mutex::default(),
            idle,
        }
    }
}

impl<Job, Done> Worker<Job, Done> {
    /// The thread's life. `placed` hears whether it is where it should be; without one (a worker that came back under
    /// load) a failure is told like every other.
    pub(super) fn run(self, placed: Option<Sender<Result<(), PoolError>>>) {
        let place = place(&self.thread, self.cpus.as_deref()).map(|placement| {
            let mut placements = self.shared.placements.lock().unwrap_or_else(PoisonError::into_inner);
            placements.insert(self.number, placement);
        });
        let failed = place.as_ref().err().cloned();
        match (placed, &failed) {
            // Room for one word of each worker; whoever stopped listening has failed already.
            (Some(placed), _) => drop(placed.try_send(place)),
            (None, Some(error)) => self.fail(error.clone()),
            (None, None) => {}
        }
        // Around everything, so that no fault of ours leaves a worker counted that is not there any more.
        let end = match failed {
            Some(_) => End::Counted,
            None => catch_unwind(AssertUnwindSafe(|| self.serve())).unwrap_or_else(|panic| {
                self.fail(PoolError::died(self.thread.clone(), message(&*panic), 0));
                End::Counted
            }),
        };
        if matches!(end, End::Counted) {
            self.shared.alive.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn serve(&self) -> End {
        let mut patience = Patience::default();
        let look = || match self.inbox.try_recv() {
            Ok(batch) => Some(Ok(batch)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(RecvTimeoutError::Disconnected)),
        };
        loop {
            let sleep = || Some(self.inbox.recv_timeout(self.shared.idle));
            match patience.wait(look, sleep).expect("a sleep ends with news or a timeout") {
                Ok(batch) => {
                    if !self.do_batch(batch) {
                        return End::Counted;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return End::Counted,
                Err(RecvTimeoutError::Timeout) if self.leave() => return End::Left,
                // The last one stays, and sleeps until there is work: an idle daemon wakes up for nothing.
                Err(RecvTimeoutError::Timeout) => {
                    if !self.inbox.recv().is_ok_and(|batch| self.do_batch(batch)) {
                        return End::Counted;
                    }
                }
            }
        }
    }

    /// Leaves unless it is the last: then a batch that was sent meanwhile would have nobody to take it.
    fn leave(&self) -> bool {
        let fewer = |alive: usize| (alive > 1).then(|| alive - 1);
        self.shared.alive.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok()
    }

    /// `false` when the work panicked. What was done before that is still delivered; the rest of the batch is lost with
    /// it, since a worker that is wrong about one block should not judge another.
    fn do_batch(&self, batch: Vec<Job>) -> bool {
        let asked = batch.len();
        let mut results = Vec::with_capacity(asked);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            for job in batch {
                if self.shared.stopping.load(Ordering::Relaxed) {
                    return;
                }
                results.push((self.shared.work)(job));
            }
        }));
        let lost = asked - results.len();
        if !results.is_empty() {
            self.outbox.try_send(results).expect("room for every batch that can be outstanding");
            (self.shared.notify)();
        }
        let Err(panic) = panic else { return true };
        self.fail(PoolError::died(self.thread.clone(), message(&*panic), lost));
        false
    }

    fn fail(&self, error: PoolError) {
        tracing::error!(thread = self.thread, %error, "a worker ends");
        // Full: an earlier failure is waiting to be collected, and the pool stops for that one.
        drop(self.failures.try_send(error));
        (self.shared.notify)();
    }
}

/// How a worker ends.
enum End {
    /// It has counted itself out.
    Left,
    /// It is still counted as alive.
    Counted,
}

/// What a panic said.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a panic without words".to_owned(),
    }
}
