//! The threads of a pool and the queues between: started together, thinned out when idle, brought back under load,
//! joined at the end.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::worker::{Shared, Worker};
use super::{Job, Placement, PoolError, Spec};

pub(super) struct Threads<J: Send + 'static, Done: Send + 'static> {
    shared: Arc<Shared<J, Done>>,
    /// `None` once the pool is going down. Both queues hold `capacity` batches, and no batch is empty, so that with
    /// no more than `capacity` jobs outstanding nobody ever waits to send.
    jobs: Option<Sender<Vec<J>>>,
    /// The other end of `jobs`, for workers that are started later.
    inbox: Receiver<Vec<J>>,
    results: Receiver<Vec<Done>>,
    outbox: Sender<Vec<Done>>,
    /// Holds one, the first.
    failures: (Sender<PoolError>, Receiver<PoolError>),
    /// By worker number. A place whose thread has ended is free.
    workers: Vec<Option<JoinHandle<()>>>,
}

impl<J: Job, Done: Send + 'static> Threads<J, Done> {
    /// Starts every worker, and waits until each has been seen where it belongs.
    pub(super) fn start(spec: &Spec, shared: Arc<Shared<J, Done>>) -> Result<Self, PoolError> {
        let (jobs, inbox) = bounded(spec.capacity);
        let (outbox, results) = bounded(spec.capacity);
        let workers = (0..spec.threads).map(|_| None).collect();
        let mut threads = Threads { shared, jobs: Some(jobs), inbox, results, outbox, failures: bounded(1), workers };
        let (placed, places) = bounded(spec.threads);
        for number in 0..spec.threads {
            threads.spawn(spec, number, Some(placed.clone()))?;
        }
        drop(placed);
        for _ in 0..spec.threads {
            match places.recv() {
                Ok(placed) => placed?,
                Err(_) => return Err(PoolError::died(format!("{}/?", spec.name), "before its first job".into(), 0)),
            }
        }
        Ok(threads)
    }

    /// Queues the jobs in batches of at most `jobs_each`, of which none goes on beyond `bytes_each`.
    ///
    /// # Panics
    /// When more jobs are outstanding than the capacity.
    pub(super) fn hand_over(&mut self, jobs: impl Iterator<Item = J>, jobs_each: usize, bytes_each: usize) {
        let queue = self.jobs.as_ref().expect("open until drop");
        let send = |batch| queue.try_send(batch).expect("room for every job's own batch");
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for job in jobs {
            bytes += job.bytes();
            batch.push(job);
            if batch.len() >= jobs_each || bytes >= bytes_each {
                send(std::mem::take(&mut batch));
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            send(batch);
        }
    }

    pub(super) fn collect(&mut self, out: &mut Vec<Done>) {
        for mut results in self.results.try_iter() {
            out.append(&mut results);
        }
    }

    /// The first failure, once.
    pub(super) fn failure(&self) -> Option<PoolError> {
        self.failures.1.try_recv().ok()
    }

    pub(super) fn alive(&self) -> usize {
        self.shared.alive.load(Ordering::SeqCst)
    }

    pub(super) fn placements(&self) -> Vec<Placement> {
        self.shared.placements.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn spawn(
        &mut self,
        spec: &Spec,
        number: usize,
        placed: Option<Sender<Result<(), PoolError>>>,
    ) -> Result<(), PoolError> {
        let thread = format!("{}/{number}", spec.name);
        let worker = Worker {
            number,
            thread: thread.clone(),
            cpus: spec.cpus.clone(),
            shared: Arc::clone(&self.shared),
            inbox: self.inbox.clone(),
            outbox: self.outbox.clone(),
            failures: self.failures.0.clone(),
        };
        self.shared.alive.fetch_add(1, Ordering::SeqCst);
        match thread::Builder::new().name(thread.clone()).spawn(move || worker.run(placed)) {
            Ok(handle) => self.workers[number] = Some(handle),
            Err(source) => {
                self.shared.alive.fetch_sub(1, Ordering::SeqCst);
                return Err(PoolError::Thread { thread, source: Arc::new(source) });
            }
        }
        Ok(())
    }

    /// Brings back as many workers as there are batches beyond one for each that is here.
    pub(super) fn grow(&mut self, spec: &Spec) -> Result<(), PoolError> {
        let alive = self.alive();
        if alive >= spec.threads {
            return Ok(());
        }
        let mut waiting = self.inbox.len().saturating_sub(alive);
        for number in 0..spec.threads {
            let free = self.workers[number].as_ref().is_none_or(JoinHandle::is_finished);
            if waiting > 0 && free {
                self.spawn(spec, number, None)?;
                waiting -= 1;
            }
        }
        Ok(())
    }
}

impl<J: Send + 'static, Done: Send + 'static> Drop for Threads<J, Done> {
    /// Waits for the job that each worker is at; those that no one has started are dropped.
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.jobs = None;
        for worker in self.workers.drain(..).flatten() {
            // A panic was caught and said where it happened; one that was not has been printed by the runtime.
            if worker.join().is_err() {
                tracing::error!("a worker ended in a panic outside its work");
            }
        }
    }
}
