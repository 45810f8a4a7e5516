//! The data plane: one thread that owns ring, pools, buffers and journal, and does what the engine says.
//!
//! Each buffer has one owner at a time: its operation's slot here, a job in a pool, or a request in the ring. What the
//! engine asks of an operation is done to the buffer in its slot; a slot that is empty then is a fault of scrubd.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use nix::errno::Errno;
use tokio::sync::mpsc;

use super::board::{self, Board, Heard, Snapshot, Stopwatches};
use super::clock::Clock;
use super::error::DaemonError;
use super::journal::Journal;
use super::neighbours::Neighbours;
use super::saver::{SaveDone, Saver};
use super::suspects::Suspects;
use super::wide::Wide;
use super::work::{SealDone, SealJob, Seen, VerifyDone, VerifyJob};
use crate::engine::{Engine, Event, Fault, OnFinding, OpId, Outcome, Reason};
use crate::pool::Pool;
use crate::report::Judgement;
use crate::ring::{Buffer, Completion, IoFailure, Kind, Ring, Token};
use crate::tag::{Inspector, Verdict};
use crate::target::{Presence, Standing};
use crate::vocabulary::{Block, Geometry, RunId};

/// The flush's name in the ring; an operation's is its number.
pub(super) const FLUSH: Token = Token(u32::MAX);

/// What the data plane tells the control plane.
pub(super) enum Told {
    /// The engine has made its first step.
    Started,
    /// Run the trigger's command. The trigger is on record, the ledger durable in this slot.
    Fire(Reason, Option<PathBuf>),
    /// The new settings are in force from the next step on. The control plane asks for one reload at a time.
    Reloaded,
}

/// How the data plane ended.
pub(super) struct Finish {
    pub(super) outcome: Outcome,
    pub(super) judgement: Option<Judgement>,
    pub(super) snapshot: Snapshot,
    /// Requests that the kernel has not given back. The thread that made them may never end, and neither may the
    /// process, however it exits: nobody waits for them.
    pub(super) left_behind: u32,
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
    /// By operation: its buffer holds nothing but poison.
    pub(super) poisoned: Vec<bool>,
    /// By operation: the block that it read last and found bad, or could not read.
    pub(super) bad: Vec<Option<Block>>,
    pub(super) wide: Wide,
    /// `None` where nothing may be written.
    pub(super) saver: Option<Saver>,
    pub(super) journal: Option<Journal>,
    pub(super) suspects: Suspects,
    /// `None` where no evidence is kept.
    pub(super) neighbours: Option<Neighbours>,
    pub(super) presence: Presence,
    /// How long the last read of each operation took, in nanoseconds.
    pub(super) read_ns: Vec<u64>,
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
    /// Empty between two turns, like those below: kept so that no turn has to allocate them.
    pub(super) sealed: Vec<SealDone>,
    pub(super) verified: Vec<VerifyDone>,
    pub(super) events: Vec<Event>,
    /// When the status was last put up, and whether anything was done or heard since.
    pub(super) published: Option<Instant>,
    pub(super) unpublished: bool,
    /// A trigger's command that waits for the trigger to be on record, and since when.
    pub(super) firing: Option<(Reason, Instant)>,
    /// After so long it does not run.
    pub(super) deadline: Duration,
    /// The calls for a status that this turn answers.
    pub(super) heard: Heard,
}

impl Driver {
    /// Runs until the engine says that it is over.
    pub(super) fn run(mut self) -> Result<Finish, DaemonError> {
        let (mut actions, mut landed) = (Vec::new(), Vec::new());
        // Whether nothing came back at the last look: then the next one may be a long wait.
        let (mut started, mut quiet) = (false, true);
        self.heard = self.board.turns();
        loop {
            self.collect()?;
            let now = self.clock.now();
            self.engine.step(now, &self.events, &mut actions);
            self.unpublished |= !self.events.is_empty() || !actions.is_empty();
            self.events.clear();
            if let Some(outcome) = self.perform(&mut actions)? {
                return Ok(self.finish(outcome));
            }
            if quiet {
                self.seal.submit(&mut self.seal_jobs);
                self.verify.submit(&mut self.verify_jobs);
            } else {
                self.seal.offer(&mut self.seal_jobs);
                self.verify.offer(&mut self.verify_jobs);
            }
            let first = !std::mem::replace(&mut started, true);
            if first || self.board.awaited(self.heard) || self.publish_in() == Some(Duration::ZERO) {
                self.publish();
            }
            if first {
                self.tell(Told::Started)?;
            }
            let timeout = self.patience();
            self.board.rests();
            self.ring.reap(&mut landed, timeout).map_err(DaemonError::RingFailed)?;
            self.heard = self.board.turns();
            quiet = landed.is_empty();
            landed.drain(..).for_each(|completion| self.land(completion));
        }
    }

    /// What the pools, the store and the control plane have to say.
    fn collect(&mut self) -> Result<(), DaemonError> {
        let mut sealed = std::mem::take(&mut self.sealed);
        self.seal.collect(&mut sealed)?;
        for SealDone { op, buffer } in sealed.drain(..) {
            self.give_back(op, buffer, false);
            self.events.push(Event::Sealed(op));
        }
        self.sealed = sealed;
        let mut verified = std::mem::take(&mut self.verified);
        self.verify.collect(&mut verified)?;
        verified.drain(..).for_each(|done| self.look_taken(done));
        self.verified = verified;
        if let Some(saver) = &mut self.saver
            && let Some(done) = saver.ended()?
        {
            self.events.push(match done {
                SaveDone::Checkpoint { number, result } => Event::Saved(number, result.map(drop)),
                SaveDone::Position(result) => Event::PositionSaved(result),
            });
        }
        while let Ok(event) = self.inbox.try_recv() {
            if let Event::Command(crate::engine::Command::Reload(settings)) = &event {
                self.on_finding = settings.on_finding;
                self.tell(Told::Reloaded)?;
            }
            self.events.push(event);
        }
        self.fire_once_recorded()
    }

    /// In the engine's words. A disk that was pulled out fails as one that is broken: sysfs knows which of them it is.
    pub(super) fn fault(&self, failure: &IoFailure) -> Fault {
        let IoFailure { errno, end_of_file, .. } = *failure;
        match self.presence.look() {
            Standing::There => Fault { errno, end_of_file, removed: false, message: failure.to_string() },
            Standing::Leaving(why) => {
                let errno = Errno::ENODEV as i32;
                Fault { errno, end_of_file: false, removed: false, message: format!("{why} ({failure})") }
            }
            Standing::Removed(why) => {
                Fault { errno, end_of_file, removed: true, message: format!("{why} ({failure})") }
            }
        }
    }

    fn look_taken(&mut self, done: VerifyDone) {
        let VerifyDone { op, buffer, seen, poisoned } = done;
        match seen {
            Seen::Judged(inspection, legal) => {
                let wrong = self.journal.is_some() && matches!(inspection.verdict, Verdict::Broken(_));
                self.suspects.timed(legal.block, self.read_ns[op.0 as usize], wrong);
                if wrong {
                    self.bad[op.0 as usize] = Some(legal.block);
                    self.suspects.keep(&buffer, legal);
                }
                self.events.push(Event::Inspected(op, inspection));
            }
            Seen::Heard(claims) => self.events.push(Event::Surveyed(op, claims)),
            Seen::JudgedSpan(inspections, suspects) => self.span_judged(op, inspections, suspects),
            Seen::HeardSpan(claims) => self.span_heard(op, claims),
        }
        self.give_back(op, buffer, poisoned);
    }

    /// A request has ended.
    fn land(&mut self, completion: Completion) {
        self.stopwatches.record(completion.kind, completion.latency);
        if let Some(id) = self.wide.id(completion.token.0) {
            return self.span_landed(id, completion);
        }
        let Completion { token, kind, buffer, result, latency } = completion;
        let op = OpId(token.0);
        if let Kind::Read { offset } = kind {
            let latency_ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
            self.read_ns[op.0 as usize] = latency_ns;
            if result.is_err() && self.journal.is_some() {
                let block = self.geometry.block_at(offset);
                self.bad[op.0 as usize] = Some(block);
                self.suspects.timed(block, latency_ns, true);
            }
        }
        let result = result.map_err(|failure| self.fault(&failure));
        self.events.push(match kind {
            Kind::Read { .. } => Event::Read(op, result),
            Kind::Write { .. } => Event::Wrote(op, result),
            Kind::Flush => Event::Flushed(result),
        });
        if let Some(buffer) = buffer {
            self.give_back(op, buffer, false);
        }
    }

    fn give_back(&mut self, op: OpId, buffer: Buffer, poisoned: bool) {
        if let Some(id) = self.wide.id(op.0) {
            return self.wide.give_back(id, buffer, poisoned);
        }
        self.poisoned[op.0 as usize] = poisoned;
        let before = self.buffers[op.0 as usize].replace(buffer);
        assert!(before.is_none(), "{op:?} has one buffer");
    }

    pub(super) fn take(&mut self, op: OpId) -> Buffer {
        self.buffers[op.0 as usize].take().unwrap_or_else(|| panic!("{op:?} has its buffer when it is used"))
    }

    /// How long to wait for something to happen; `None` for as long as it takes.
    fn patience(&self) -> Option<Duration> {
        // Inline pools have their results ready, and wake nobody.
        let inline = |outstanding: usize, alive: usize| outstanding > 0 && alive == 0;
        let put_off = !self.seal_jobs.is_empty() || !self.verify_jobs.is_empty();
        if !self.events.is_empty()
            || put_off
            || inline(self.seal.outstanding(), self.seal.alive())
            || inline(self.verify.outstanding(), self.verify.alive())
        {
            return Some(Duration::ZERO);
        }
        let now = self.clock.now().mono_ns;
        let wake = self.engine.next_wake().map(|wake| Duration::from_nanos(wake.saturating_sub(now)));
        let firing = self.firing.as_ref().map(|(_, since)| self.deadline.saturating_sub(since.elapsed()));
        [wake, self.publish_in(), firing].into_iter().flatten().min()
    }

    /// How long until the status is to be put up; `None` while it would say nothing new.
    pub(super) fn publish_in(&self) -> Option<Duration> {
        let since = self.published.map_or(board::INTERVAL, |last| last.elapsed());
        self.unpublished.then(|| board::INTERVAL.saturating_sub(since))
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

    pub(super) fn publish(&mut self) {
        self.unpublished = !self.board.put(self.snapshot(), self.heard);
        self.published = Some(Instant::now());
    }

    /// The engine is done, or nothing can be done any more. What is in flight is cancelled as the ring is dropped.
    fn finish(mut self, outcome: Outcome) -> Finish {
        // Nobody reads what is asked from here on, though the kernel may hold the process for long: it is to be refused.
        self.inbox = crossbeam_channel::never();
        // Where the ledger's save hangs the event log would hang too, and with it the end.
        let log_hangs = self.journal.as_mut().is_some_and(Journal::settles_beside);
        let state_hangs = self.engine.status().stuck_save_s.is_some() || log_hangs;
        if let Some(journal) = self.journal.as_mut().filter(|_| !state_hangs) {
            journal
                .note(&super::notes::Note::Ended { outcome: format!("{outcome:?}"), exit_code: outcome.exit_code() });
            // Already told in the trouble below, and nothing acts on this line.
            drop(journal.settle());
            let trouble = journal.take_trouble();
            trouble.into_iter().for_each(|trouble| self.warn(trouble));
        }
        let (mut snapshot, judgement) = (self.snapshot(), self.judgement.take());
        self.board.put_last(snapshot.clone());
        let in_flight = self.ring.in_flight();
        drop(self);
        let left_behind = in_flight.get();
        if left_behind > 0 {
            let s = if left_behind == 1 { "" } else { "s" };
            snapshot.warnings.push(format!(
                "{left_behind} request{s} did not come back from the kernel: the target stays locked until they do, and \
                 the kernel may hold this process as long"
            ));
        }
        Finish { outcome, judgement, snapshot, left_behind }
    }
}
