//! One worker: takes batches, gives results, leaves when there is nothing to do, and says so when it dies.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError};

use super::affinity::place;
use super::sleepers::Sleepers;
use super::{Placement, PoolError};
use crate::patience::Patience;

/// What the workers of one pool have in common.
pub(super) struct Shared<Job, Done> {
    pub(super) work: Box<dyn Fn(Job) -> Done + Send + Sync>,
    pub(super) notify: Box<dyn Fn() + Send + Sync>,
    /// Counted up by the pool before it starts a worker, down by the worker when it leaves.
    pub(super) alive: AtomicUsize,
    pub(super) stopping: AtomicBool,
    pub(super) sleepers: Sleepers,
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
            sleepers: Sleepers::default(),
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
        loop {
            // One that looks for work without finding any is enough: a second takes the processor from whoever makes it.
            let others = self.shared.alive.load(Ordering::SeqCst) > self.shared.sleepers.asleep() + 1;
            let news = match others {
                true => self.look().unwrap_or_else(|| self.sleep()),
                false => patience.wait(|| self.look(), || Some(self.sleep())).expect("a sleep ends with news"),
            };
            let batch = match news {
                News::Batch(batch) => batch,
                News::Over => return End::Counted,
                News::Idle if self.leave() => {
                    // Work that was put down for someone who seemed to be awake, and was not any more.
                    if self.shared.sleepers.asleep() > 0 && self.has_news() {
                        self.shared.sleepers.wake_one();
                    }
                    return End::Left;
                }
                // The last one stays, and sleeps until there is work: an idle daemon wakes up for nothing.
                News::Idle => {
                    self.shared.sleepers.sleep(None, || self.has_news());
                    continue;
                }
            };
            if !self.do_batch(batch) {
                return End::Counted;
            }
        }
    }

    fn look(&self) -> Option<News<Job>> {
        match self.inbox.try_recv() {
            Ok(batch) => Some(News::Batch(batch)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(News::Over),
        }
    }

    /// Until there is news, or there was none for as long as a worker may idle.
    fn sleep(&self) -> News<Job> {
        let began = Instant::now();
        loop {
            let left = self.shared.idle.saturating_sub(began.elapsed());
            self.shared.sleepers.sleep(Some(left), || self.has_news());
            // Before it is idle: a worker that was chosen to be woken as its time ran out is the only one that was.
            if let Some(news) = self.look() {
                return news;
            }
            if left.is_zero() {
                return News::Idle;
            }
        }
    }

    fn has_news(&self) -> bool {
        !self.inbox.is_empty() || self.shared.stopping.load(Ordering::SeqCst)
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

/// What a worker that has nothing to do comes to hear.
enum News<Job> {
    Batch(Vec<Job>),
    /// Nothing, for as long as a worker may idle.
    Idle,
    /// The pool is going down.
    Over,
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
