//! The data plane: one thread that owns ring, pools, buffers and journal, and does what the engine says.
//!
//! Each buffer has one owner at a time: its operation's slot here, a job in a pool, or a request in the ring. What the
//! engine asks of an operation is done to the buffer in its slot; a slot that is empty then is a fault of scrubd.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use tokio::sync::mpsc;

use super::board::{self, Board, Snapshot, Stopwatches};
use super::clock::Clock;
use super::error::DaemonError;
use super::flights::{Flights, Landed, Overdue, Task};
use super::journal::Journal;
use super::saver::Saver;
use super::suspects::Suspects;
use super::work::{SealDone, SealJob, Seen, VerifyDone, VerifyJob};
use crate::engine::{Engine, Event, Fault, OnFinding, OpId, Outcome, Reason};
use crate::pool::Pool;
use crate::report::Judgement;
use crate::ring::{Buffer, Completion, IoFailure, Ring};
use crate::tag::{Inspector, Verdict};
use crate::vocabulary::{Geometry, RunId};

/// Longest sleep: status and deadlines are looked after this often when nothing happens.
const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// Shortest sleep on behalf of a time that is already over: the engine could do nothing at it, and waits for something
/// else too. Without this it would be asked again and again.
const OVERSLEPT: Duration = Duration::from_millis(1);

/// What the data plane tells the control plane.
pub(super) enum Told {
    /// The engine has made its first step.
    Started,
    /// Run the trigger's command. The trigger is on record, the ledger durable in this slot.
    Fire(Reason, Option<PathBuf>),
}

/// How the data plane ended.
pub(super) struct Finish {
    pub(super) outcome: Outcome,
    pub(super) judgement: Option<Judgement>,
    pub(super) snapshot: Snapshot,
}

/// Everything that the thread owns. Fields in the order in which they are let go: nothing that a worker or the kernel
/// still uses goes before them.
pub(super) struct Driver {
    pub(super) engine: Engine,
    pub(super) seal: Pool<SealJob, SealDone>,
    pub(super) verify: Pool<VerifyJob, VerifyDone>,
    pub(super) ring: Box<dyn Ring>,
    /// By operation; `None` while a worker or the ring has it.
    pub(super) buffers: Vec<Option<Buffer>>,
    pub(super) flights: Flights,
    /// `None` where nothing may be written.
    pub(super) saver: Option<Saver>,
    pub(super) journal: Option<Journal>,
    pub(super) suspects: Suspects,
    pub(super) inspector: Inspector,
    pub(super) geometry: Geometry,
    pub(super) run_id: RunId,
    pub(super) name: String,
    pub(super) on_finding: OnFinding,
    pub(super) clock: Clock,
    pub(super) inbox: Receiver<Event>,
    pub(super) told: mpsc::Sender<Told>,
    pub(super) board: Arc<Board>,
    pub(super) stopwatches: Stopwatches,
    pub(super) warnings: Vec<String>,
    pub(super) judgement: Option<Judgement>,
    pub(super) seal_jobs: Vec<SealJob>,
    pub(super) verify_jobs: Vec<VerifyJob>,
    pub(super) events: Vec<Event>,
    pub(super) housekeeping: Housekeeping,
}

/// When what was last looked after.
#[derive(Default)]
pub(super) struct Housekeeping {
    deadlines: Option<Instant>,
    status: Option<Instant>,
}

impl Driver {
    /// Runs until the engine says that it is over.
    pub(super) fn run(mut self) -> Result<Finish, DaemonError> {
        let (mut actions, mut landed) = (Vec::new(), Vec::new());
        let mut started = false;
        loop {
            self.collect()?;
            let now = self.clock.now();
            self.engine.step(now, &self.events, &mut actions);
            self.events.clear();
            let idle = actions.is_empty();
            if let Some(outcome) = self.perform(now, &mut actions)? {
                return Ok(self.finish(outcome));
            }
            self.seal.submit(&mut self.seal_jobs);
            self.verify.submit(&mut self.verify_jobs);
            if !std::mem::replace(&mut started, true) {
                self.publish();
                self.tell(Told::Started)?;
            }
            let timeout = self.patience(now.mono_ns, idle);
            self.ring.reap(&mut landed, Some(timeout)).map_err(DaemonError::RingFailed)?;
            landed.drain(..).for_each(|completion| self.land(completion));
            if let Some(outcome) = self.keep_house() {
                return Ok(self.finish(outcome));
            }
        }
    }

    /// What the pools, the store and the control plane have to say.
    fn collect(&mut self) -> Result<(), DaemonError> {
        let mut sealed = Vec::new();
        self.seal.collect(&mut sealed)?;
        for SealDone { op, buffer } in sealed {
            self.give_back(op, buffer);
            self.events.push(Event::Sealed(op));
        }
        let mut verified = Vec::new();
        self.verify.collect(&mut verified)?;
        verified.into_iter().for_each(|done| self.verified(done));
        if let Some(saver) = &mut self.saver
            && let Some(done) = saver.ended()?
        {
            self.events.push(Event::Saved(done.number, done.result.map(drop)));
        }
        while let Ok(event) = self.inbox.try_recv() {
            if let Event::Command(crate::engine::Command::Reload(settings)) = &event {
                self.on_finding = settings.on_finding;
            }
            self.events.push(event);
        }
        Ok(())
    }

    fn verified(&mut self, done: VerifyDone) {
        let VerifyDone { op, buffer, seen } = done;
        match seen {
            Seen::Judged(inspection, legal) => {
                if self.journal.is_some() && matches!(inspection.verdict, Verdict::Broken(_)) {
                    self.suspects.keep(&buffer, legal);
                }
                self.events.push(Event::Inspected(op, inspection));
            }
            Seen::Heard(claims) => self.events.push(Event::Surveyed(op, claims)),
        }
        self.give_back(op, buffer);
    }

    /// A request has ended.
    fn land(&mut self, completion: Completion) {
        let Completion { token, kind, buffer, result, latency } = completion;
        let Landed::Op { op, task, cancelled } = self.flights.land(token) else {
            tracing::warn!(?latency, "a read that was given up has come back");
            return;
        };
        self.stopwatches.record(kind, latency);
        let result = result.map_err(|failure| fault(&failure, cancelled, latency));
        match (op, task) {
            (Some(op), Task::Read(_)) => self.events.push(Event::Read(op, result)),
            (Some(op), Task::Write(_)) => self.events.push(Event::Wrote(op, result)),
            (_, Task::Flush) | (None, _) => self.events.push(Event::Flushed(result)),
        }
        if let (Some(op), Some(buffer)) = (op, buffer) {
            self.give_back(op, buffer);
        }
    }

    pub(super) fn give_back(&mut self, op: OpId, buffer: Buffer) {
        let before = self.buffers[op.0 as usize].replace(buffer);
        assert!(before.is_none(), "{op:?} has one buffer");
    }

    pub(super) fn take(&mut self, op: OpId) -> Buffer {
        self.buffers[op.0 as usize].take().unwrap_or_else(|| panic!("{op:?} has its buffer when it is used"))
    }

    /// How long to wait for something to happen.
    fn patience(&self, now: u64, idle: bool) -> Duration {
        // Inline pools have their results ready, and wake nobody.
        let inline = |outstanding: usize, alive: usize| outstanding > 0 && alive == 0;
        if !self.events.is_empty()
            || inline(self.seal.outstanding(), self.seal.alive())
            || inline(self.verify.outstanding(), self.verify.alive())
        {
            return Duration::ZERO;
        }
        match self.engine.next_wake() {
            Some(wake) if wake > now => Duration::from_nanos(wake - now).min(HOUSEKEEPING),
            Some(_) if idle => OVERSLEPT,
            Some(_) => Duration::ZERO,
            None => HOUSEKEEPING,
        }
    }

    /// Stuck I/O and the status, each in its own time.
    fn keep_house(&mut self) -> Option<Outcome> {
        let now = Instant::now();
        let due = |last: Option<Instant>, every| last.is_none_or(|last| now.duration_since(last) >= every);
        if due(self.housekeeping.status, board::INTERVAL) {
            self.housekeeping.status = Some(now);
            self.publish();
        }
        if due(self.housekeeping.deadlines, HOUSEKEEPING) {
            self.housekeeping.deadlines = Some(now);
            return self.see_to_the_stuck();
        }
        None
    }

    fn see_to_the_stuck(&mut self) -> Option<Outcome> {
        let now = self.clock.now().mono_ns;
        for overdue in self.flights.overdue(now) {
            match overdue {
                Overdue::Cancel(token, task) => {
                    self.warn(format!("no answer within the deadline: {task}; asking for its end"));
                    self.ring.cancel(token);
                }
                Overdue::GiveUp(op, task) => {
                    self.warn(format!("stuck: {task}; given up"));
                    self.give_back(op, Buffer::new(self.geometry.block_size as usize));
                    let message = format!("{task}: no answer within its deadline, and none to its cancellation");
                    let errno = nix::libc::ETIMEDOUT;
                    self.events.push(Event::Read(op, Err(Fault { errno, end_of_file: false, message })));
                }
                Overdue::Hopeless(task) => {
                    return Some(Outcome::DeviceErrors(format!(
                        "stuck: {task} has no answer and cannot be taken back"
                    )));
                }
            }
        }
        None
    }

    pub(super) fn warn(&mut self, warning: String) {
        /// Enough to see what is wrong; all of them are in the log.
        const WARNINGS_MAX: usize = 64;
        tracing::warn!("{warning}");
        if self.warnings.len() < WARNINGS_MAX && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    pub(super) fn tell(&self, told: Told) -> Result<(), DaemonError> {
        // Room for all there can be at once; a control plane that is gone is a fault.
        self.told.try_send(told).map_err(|error| DaemonError::Internal(format!("the control plane: {error}")))
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            status: self.engine.status(),
            latencies: self.stopwatches.latencies(),
            verdict: self.judgement.as_ref().map(super::notes::verdict_in_words),
            warnings: self.warnings.clone(),
        }
    }

    fn publish(&mut self) {
        self.board.put(self.snapshot());
    }

    /// The engine is done, or nothing can be done any more. What is in flight is cancelled as the ring is dropped.
    fn finish(mut self, outcome: Outcome) -> Finish {
        if let Some(journal) = &mut self.journal {
            journal
                .note(&super::notes::Note::Ended { outcome: format!("{outcome:?}"), exit_code: outcome.exit_code() });
            // Already told in the trouble below, and nothing acts on this line.
            drop(journal.settle());
            let trouble = journal.take_trouble();
            trouble.into_iter().for_each(|trouble| self.warn(trouble));
        }
        let snapshot = self.snapshot();
        Finish { outcome, judgement: self.judgement.take(), snapshot }
    }
}

/// In the engine's words.
fn fault(failure: &IoFailure, cancelled: bool, latency: Duration) -> Fault {
    if cancelled && failure.is_cancelled() {
        let message =
            format!("no answer within its deadline: {failure}, {:.1} s after it was asked for", latency.as_secs_f64());
        return Fault { errno: nix::libc::ETIMEDOUT, end_of_file: false, message };
    }
    Fault { errno: failure.errno, end_of_file: failure.end_of_file, message: failure.to_string() }
}
