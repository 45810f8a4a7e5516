//! The engine itself: what it remembers, and how a step goes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use super::Startup;
use super::action::{Action, Outcome, Record};
use super::check::Check;
use super::event::{Command, Event, Fault, Fired, OpId, Reason};
use super::known::Known;
use super::operations::{Operations, Stage};
use super::patrol::Patrol;
use super::saves::Saves;
use super::settings::{FlushEvery, Mode, OnFinding, Settings};
use super::spans::Spans;
use super::trigger::Trigger;
use crate::ledger::{Ledger, Recovered};
use crate::report::{BlockCounts, ByteCounts};
use crate::schedule::Schedule;
use crate::vocabulary::{Geometry, Now, Seq};

/// What the engine is at.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Judging what is on the disk; nothing is written.
    Checking,
    /// The checkpoint that begins an epoch is being saved; nothing is issued.
    Opening { why: String, tries: u32 },
    /// Writing and reading back.
    Running,
    /// Nothing is assigned any more; once all is quiet, the goal follows.
    Draining(Goal),
    /// The last flush, then the last save.
    Closing { outcome: Outcome, flushed: bool, saved: Option<u64> },
    /// It is over.
    Ended,
}

/// What a drain is for.
#[derive(Clone, Debug)]
pub(super) enum Goal {
    /// A new epoch, and why.
    Epoch(String),
    /// The device may have lost its power: a check as after any cut, and then a new epoch.
    Check(String),
    /// The end.
    Stop(Outcome),
}

/// All decisions of one target. See the module for what it promises.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(super) settings: Settings,
    pub(super) geometry: Geometry,
    pub(super) schedule: Schedule,
    pub(super) nonce_seed: u64,
    pub(super) phase: Phase,
    pub(super) ops: Operations,
    pub(super) spans: Spans,
    pub(super) check: Check,
    pub(super) recovered: Recovered,
    /// Where a patrol stands; of other modes it stands still.
    pub(super) patrol: Patrol,
    /// The living ledger, from the first epoch on.
    pub(super) ledger: Option<Ledger>,
    pub(super) saves: Saves,
    /// The next write to be assigned.
    pub(super) next: Seq,
    /// Sealed writes that wait for a place in the queue, the lowest number first.
    pub(super) ready: BinaryHeap<Reverse<(Seq, OpId)>>,
    /// R as it was when the epoch began: a clean stop lowers R only when writing got that far. Earlier epochs, of this
    /// process too, may have issued anything below it.
    pub(super) inherited: Seq,
    /// Writing stops here (`passes`).
    pub(super) end: Option<Seq>,
    /// The next write to be read back, and those being read.
    pub(super) read_back: Seq,
    pub(super) reading_back: BTreeSet<Seq>,
    pub(super) scan: Option<super::walk::Walk>,
    /// Some tag was ahead of the ledger while running: what was not written since is judged by nothing any more.
    pub(super) distrusted: bool,
    /// A flush is in flight, and the number that failed in a row.
    pub(super) flushing: bool,
    pub(super) flush_failures: u32,
    /// When the oldest completion that no flush covers was seen.
    pub(super) unflushed_since: Option<u64>,
    pub(super) trigger: Option<Trigger>,
    pub(super) command_failed: Option<String>,
    pub(super) paused: bool,
    /// No write is assigned before this time (`rate`).
    pub(super) write_not_before: u64,
    pub(super) issued_since_start: u64,
    pub(super) known: Known,
    pub(super) new_findings: u64,
    pub(super) broken: bool,
    /// Why it is known that the device does not exist any more.
    pub(super) removed: Option<String>,
    pub(super) bytes: ByteCounts,
    pub(super) checked: Option<BlockCounts>,
    pub(super) failed_flushes: u64,
    pub(super) failed_writes: u64,
    pub(super) started: Option<u64>,
    /// Operations whose block, or the home of its contents, is to be read again as soon as the queue has room.
    pub(super) rereads: VecDeque<OpId>,
    /// Those that wait for a time, soonest first.
    pub(super) rereads_later: VecDeque<(u64, OpId)>,
    /// Triages that are done but for the flush in flight.
    pub(super) awaiting_flush: Vec<OpId>,
    /// Triages whose last read, of a home, is judged.
    pub(super) homes_read: Vec<OpId>,
    /// The newest pass that was written and is not on record yet.
    pub(super) passed: Option<u64>,
    pub(super) pass_record_not_before: u64,
    /// The promise has become stronger: the epoch waits for a flush.
    pub(super) flush_before_epoch: bool,
    /// Why the check that is going on was begun.
    pub(super) why_epoch: String,
    /// When the flush in flight was submitted, and whether it is past its deadline.
    pub(super) flush_since: u64,
    pub(super) flush_stuck: bool,
    /// Asked to stop at once: a save that hangs is waited for only shortly.
    pub(super) hurried: bool,
    /// When deadlines are looked at next.
    pub(super) deadlines_watched_at: u64,
}

impl Engine {
    /// An engine at its start: the first step begins with the check that the settings ask for.
    ///
    /// # Panics
    /// When the geometry holds no block or the queue depth is 0; the configuration refuses both.
    #[must_use]
    pub fn new(startup: Startup, settings: Settings) -> Self {
        assert!(settings.queue_depth > 0, "a queue has at least one place");
        let Startup { geometry, run, saved, known, position, nonce_seed } = startup;
        let schedule = Schedule::new(&geometry, run);
        let saved = saved.filter(|_| !settings.ignore_state);
        let patrol = Patrol::plan(&geometry, run, saved.as_ref(), position, &settings);
        let believed = patrol.believes(saved.as_ref());
        let mut check = Check::plan(&geometry, &schedule, believed, &settings);
        check.distrusted = believed.is_none() && saved.is_some();
        let recovered = match saved {
            Some(saved) => Recovered::from_saved(schedule, saved),
            None => Recovered::rebuilt(schedule, settings.promise, None, &crate::ledger::Attestation::default()),
        };
        let ops = Operations::new(settings.queue_depth * 2 + settings.more_operations);
        let spans = Spans::new(settings.span_bytes, geometry.block_size, settings.queue_depth);
        Engine {
            settings,
            geometry,
            schedule,
            nonce_seed,
            phase: Phase::Checking,
            ops,
            spans,
            check,
            saves: Saves::default(),
            next: recovered.durable(),
            recovered,
            patrol,
            ledger: None,
            ready: BinaryHeap::new(),
            inherited: Seq(0),
            end: None,
            read_back: Seq(0),
            reading_back: BTreeSet::new(),
            scan: None,
            distrusted: false,
            flushing: false,
            flush_failures: 0,
            unflushed_since: None,
            trigger: None,
            command_failed: None,
            paused: false,
            write_not_before: 0,
            issued_since_start: 0,
            known: Known::from_oldest(known),
            new_findings: 0,
            broken: false,
            removed: None,
            bytes: ByteCounts::default(),
            checked: None,
            failed_flushes: 0,
            failed_writes: 0,
            started: None,
            rereads: VecDeque::new(),
            rereads_later: VecDeque::new(),
            awaiting_flush: Vec::new(),
            homes_read: Vec::new(),
            passed: None,
            pass_record_not_before: 0,
            flush_before_epoch: false,
            why_epoch: "start".to_owned(),
            flush_since: 0,
            flush_stuck: false,
            hurried: false,
            deadlines_watched_at: 0,
        }
    }

    /// How many operations there are, and so how many buffers of one block the shell provides.
    #[must_use]
    pub fn operations(&self) -> u32 {
        self.ops.count()
    }

    /// How many wide reads there are, and so how many buffers of [`Settings::span_bytes`] the shell provides while one
    /// is used. None where a block is as large.
    #[must_use]
    pub fn spans(&self) -> u32 {
        self.spans.count()
    }

    /// Takes in what happened and says what is to be done. Call it once at the start without events, then whenever
    /// something happened, and at [`Engine::next_wake`].
    pub fn step(&mut self, now: Now, events: &[Event], actions: &mut Vec<Action>) {
        self.started.get_or_insert(now.mono_ns);
        self.forgive_absence(now);
        self.ops.clock = now.mono_ns;
        for event in events {
            if matches!(self.phase, Phase::Ended) {
                return;
            }
            self.absorb(now, event, actions);
        }
        self.conclude_homes(now, actions);
        self.watch_deadlines(now, actions);
        self.give_up_hung_save(now, actions);
        self.advance(now, actions);
    }

    /// When the engine wants to be stepped although nothing happened, in monotonic nanoseconds.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        // What was due by the time of the last step was done then, or waits for an event.
        let later = |at: &u64| *at > self.ops.clock;
        let flush = match (self.settings.flush_every, self.unflushed_since) {
            (FlushEvery::Nanoseconds(interval), Some(since)) if !self.flushing => Some(since + interval),
            _ => None,
        };
        let running = matches!(self.phase, Phase::Running);
        let while_running = [Some(self.write_not_before), flush, self.saves.due_at()].map(|at| at.filter(|_| running));
        while_running
            .into_iter()
            .chain([self.saves.retry_at(), self.deadlines_due(), self.patrol_wake(), self.reads_wake()])
            .flatten()
            .filter(later)
            .min()
    }

    fn absorb(&mut self, now: Now, event: &Event, actions: &mut Vec<Action>) {
        if let Some(fault) = event.of_a_removed_device() {
            self.device_removed(&fault.message, actions);
            if matches!(self.phase, Phase::Ended) {
                return;
            }
        }
        match event {
            Event::Sealed(op) => self.sealed(*op),
            Event::Wrote(op, result) => self.wrote(now, *op, result, actions),
            Event::Read(op, result) => self.read(now, *op, result, actions),
            Event::Inspected(op, inspection) => self.inspected(now, *op, inspection, actions),
            Event::Surveyed(op, claims) => self.surveyed(now, *op, claims, actions),
            Event::ReadSpan(span, result) => self.span_read(now, *span, result, actions),
            Event::InspectedSpan(span, inspections) => self.span_inspected(now, *span, inspections, actions),
            Event::SurveyedSpan(span, claims) => self.span_surveyed(*span, claims),
            Event::Flushed(result) => self.flushed(now, result, actions),
            Event::Saved(number, result) => self.saved(now, *number, result, actions),
            Event::PositionSaved(result) => self.position_saved(now, result, actions),
            Event::Fired(fired) => self.fired(fired, actions),
            Event::Command(command) => self.command(now, command, actions),
        }
    }

    /// Does all that can be done now: what changes the phase, or begins or ends a trigger, may make more possible, and
    /// no event need come to say so.
    fn advance(&mut self, now: Now, actions: &mut Vec<Action>) {
        while !matches!(self.phase, Phase::Ended) {
            let before = (std::mem::discriminant(&self.phase), self.trigger.is_some(), self.check.concluded);
            self.advance_once(now, actions);
            if (std::mem::discriminant(&self.phase), self.trigger.is_some(), self.check.concluded) == before {
                return;
            }
        }
    }

    /// Each part leaves alone what is not its turn.
    fn advance_once(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.trigger_holds_everything(now, actions) {
            return;
        }
        self.submit_rereads(actions);
        match &self.phase {
            Phase::Checking if self.settings.mode == Mode::Patrol => self.advance_patrol(now, actions),
            Phase::Checking => self.advance_check(now, actions),
            Phase::Opening { .. } => self.advance_opening(now, actions),
            Phase::Running => {
                self.advance_read_back(actions);
                self.advance_writes(now, actions);
                self.advance_scan(actions);
                self.advance_flush(now, actions);
                self.advance_saves(now, actions);
                self.finish_passes();
            }
            Phase::Draining(_) => self.advance_drain(now, actions),
            Phase::Closing { .. } => self.advance_closing(now, actions),
            Phase::Ended => {}
        }
    }

    fn command(&mut self, now: Now, command: &Command, actions: &mut Vec<Action>) {
        match command {
            Command::Stop => self.stop(Outcome::Kept),
            Command::StopNow => self.stop_now(now, actions),
            Command::Trigger(reason) => self.begin_trigger(reason.clone()),
            Command::Pause => self.paused = true,
            Command::Resume => self.paused = false,
            Command::DeviceReset(why) => self.device_reset(why.clone(), actions),
            Command::Reload(settings) => self.reload(settings),
        }
    }

    /// The device lost power, was reset or came back: a cut under the living process.
    pub(super) fn device_reset(&mut self, why: String, actions: &mut Vec<Action>) {
        actions.push(Action::Record(Record::DeviceReset { why: why.clone() }));
        match self.phase {
            // What was read before may no longer be there.
            Phase::Checking => self.check.start_over(),
            // What was judged was to be made durable by the flush that this epoch waits for.
            Phase::Opening { .. } if self.flush_before_epoch => {
                self.exit(
                    Outcome::DeviceErrors(format!("the device was reset before the promise could change: {why}")),
                    actions,
                );
            }
            // Nothing was issued in this epoch yet, but what an earlier flush made durable may have gone only now.
            Phase::Opening { .. } => self.phase = Phase::Draining(Goal::Check(why)),
            Phase::Ended => {}
            Phase::Running | Phase::Draining(_) | Phase::Closing { .. } => {
                self.ledger_mut().distrust_window();
                // A save that calls the end clean may be on its way already: another one follows it.
                if let Phase::Closing { saved, .. } = &mut self.phase {
                    *saved = None;
                }
                if let Phase::Draining(Goal::Epoch(_)) = self.phase {
                    self.phase = Phase::Draining(Goal::Check(why));
                } else {
                    self.begin_drain(Goal::Check(why));
                }
            }
        }
    }

    /// The device was taken away, and does not come back to this process. That is no broken promise; what it had in its
    /// cache is gone, and nothing that fails from here on says anything of a block.
    fn device_removed(&mut self, why: &str, actions: &mut Vec<Action>) {
        if self.removed.is_none() {
            self.removed = Some(why.to_owned());
            self.device_reset(why.to_owned(), actions);
            self.stop(Outcome::DeviceErrors(why.to_owned()));
        }
    }

    /// Takes over what may change while running; the rest was refused where the settings were read.
    fn reload(&mut self, settings: &Settings) {
        let kept = self.settings.clone();
        self.settings = Settings {
            mode: kept.mode,
            promise: kept.promise,
            queue_depth: kept.queue_depth,
            more_operations: kept.more_operations,
            span_bytes: kept.span_bytes,
            passes: kept.passes,
            ignore_state: kept.ignore_state,
            on_start: kept.on_start,
            ..settings.clone()
        };
        self.write_not_before = 0;
        self.patrol.change_pace(settings);
    }

    /// Ends the run cleanly as soon as nothing is in the way.
    pub(super) fn stop(&mut self, outcome: Outcome) {
        match &self.phase {
            Phase::Checking => {
                self.check.stop_asked = true;
                self.check.outcome = outcome;
            }
            // A stop that is already under way keeps its reason, unless the new one is worse.
            Phase::Draining(Goal::Stop(first)) if first.exit_code() != 0 => {}
            Phase::Closing { .. } | Phase::Ended => {}
            _ => self.phase = Phase::Draining(Goal::Stop(outcome)),
        }
    }

    /// Lets what is in flight end, then follows the goal. A stop is never replaced by a new epoch.
    pub(super) fn begin_drain(&mut self, goal: Goal) {
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Draining(goal);
        }
    }

    fn advance_drain(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Phase::Draining(goal) = self.phase.clone() else { return };
        match goal {
            Goal::Stop(outcome) => {
                // Writes that have their number are finished, so that the window closes without holes; not into a disk
                // that does not answer.
                if self.ops.stuck() == 0 {
                    self.submit_ready(actions);
                }
                let hung = self.nothing_but_stuck();
                let quiet = self.ops.none_active() && !self.flushing || hung;
                if quiet && !self.saves.in_flight() && self.trigger.is_none() {
                    // A promise that was to become stronger did not: nothing was issued, and what is saved stays.
                    if self.flush_before_epoch {
                        return self.exit(outcome, actions);
                    }
                    // A flush would wait behind what does not return.
                    let flushed = self.ledger.is_none() || hung;
                    self.note_undrained(actions);
                    self.phase = Phase::Closing { outcome, flushed, saved: None };
                    self.advance_closing(now, actions);
                }
            }
            Goal::Check(why) => {
                self.discard_sealed();
                if self.ops.none_active() && !self.flushing && !self.saves.in_flight() {
                    self.check_again(why, now);
                }
            }
            Goal::Epoch(why) => {
                self.discard_sealed();
                if self.ops.none_active() && !self.flushing && !self.saves.in_flight() {
                    self.open_epoch(why);
                    self.advance_opening(now, actions);
                }
            }
        }
    }

    /// Throws away what was sealed and not issued: its numbers are issued again in the next epoch.
    pub(super) fn discard_sealed(&mut self) {
        for Reverse((_, op)) in std::mem::take(&mut self.ready) {
            self.ops.finish(op);
        }
    }

    /// Whether what is sealed now is not issued any more.
    pub(super) fn discards_sealed(&self) -> bool {
        matches!(self.phase, Phase::Draining(Goal::Epoch(_) | Goal::Check(_)))
    }

    /// From the living ledger, with all that it knows of the window, back to where a start after a cut begins.
    fn check_again(&mut self, why: String, now: Now) {
        let ledger = self.ledger.take().expect("it was running");
        self.inherited = self.inherited.max(ledger.reserved());
        let left = ledger.checkpoint(ledger.checkpoint_number(), ledger.reserved(), false, now);
        self.check = Check::plan(&self.geometry, &self.schedule, Some(&left), &self.settings);
        self.check.from_saved = false;
        self.restart_trigger();
        self.recovered = Recovered::from_saved(self.schedule, left);
        self.scan = None;
        self.why_epoch = why;
        self.phase = Phase::Checking;
    }

    fn advance_closing(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Phase::Closing { outcome, flushed, saved } = self.phase.clone() else { return };
        let Some(ledger) = &self.ledger else {
            return self.exit(outcome, actions);
        };
        if !flushed && !self.flush_stuck {
            if !self.flushing {
                self.submit_flush(actions);
            }
            return;
        }
        if saved.is_none() && !self.saves.in_flight() {
            // The device was reset, or the trigger's command may have cut its power, and no check has followed yet:
            // that is a cut, and the next start judges the whole region.
            let complete = ledger.durable() == ledger.issued() && !ledger.is_distrusted();
            let reserved = match complete && ledger.issued() >= self.inherited {
                true => ledger.issued(),
                false => ledger.reserved(),
            };
            let number = self.saves.submit(ledger, reserved, complete, now, actions);
            self.phase = Phase::Closing { outcome, flushed, saved: Some(number) };
        }
    }

    /// A clean stop's save is done, or has failed.
    pub(super) fn closed(&mut self, result: &Result<(), Fault>, actions: &mut Vec<Action>) {
        let Phase::Closing { outcome, .. } = self.phase.clone() else { return };
        let outcome = match result {
            Err(fault) if outcome != Outcome::Broken => Outcome::StateNotSaved(fault.message.clone()),
            _ => outcome,
        };
        if let Some(ledger) = &self.ledger {
            actions.push(Action::Record(Record::Stopped { durable: ledger.durable() }));
        }
        self.exit(outcome, actions);
    }

    /// Saves the ledger as it is and ends without waiting for what is in flight.
    fn stop_now(&mut self, now: Now, actions: &mut Vec<Action>) {
        // Its save, if one is in flight, becomes the last one; its command does not run.
        self.trigger = None;
        (self.hurried, self.deadlines_watched_at) = (true, 0);
        let outcome = match &self.phase {
            Phase::Draining(Goal::Stop(outcome)) | Phase::Closing { outcome, .. } => outcome.clone(),
            _ => Outcome::Kept,
        };
        match &self.ledger {
            None if self.patrols() => self.end_patrol_now(now, actions),
            None if matches!(self.phase, Phase::Checking) && self.check.found_all() => {
                self.check.stop_asked = true;
                self.conclude_stopped(now, actions);
            }
            None => self.exit(outcome, actions),
            // A promise that was to become stronger did not.
            Some(_) if self.flush_before_epoch => self.exit(outcome, actions),
            Some(ledger) if !self.saves.in_flight() => {
                let reserved = ledger.reserved();
                let number = self.saves.submit(ledger, reserved, false, now, actions);
                self.phase = Phase::Closing { outcome, flushed: true, saved: Some(number) };
            }
            // A save is in flight and holds what can be known: the end of it is the end.
            Some(_) => {
                self.phase = Phase::Closing { outcome, flushed: true, saved: Some(self.saves.newest_number()) };
            }
        }
    }

    /// The end. Where several outcomes apply, the worst one counts.
    pub(super) fn exit(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        let failed = self.command_failed.take().map(Outcome::CommandFailed);
        let outcome = match (outcome, &self.removed) {
            (Outcome::Kept | Outcome::Incomplete, Some(why)) => Outcome::DeviceErrors(why.clone()),
            (outcome, _) => outcome,
        };
        let worst = match (self.broken, &outcome, failed) {
            (true, ..) => Outcome::Broken,
            (_, Outcome::Kept | Outcome::Incomplete, Some(failed)) => failed,
            _ => outcome,
        };
        self.phase = Phase::Ended;
        actions.push(Action::Exit(worst));
    }

    pub(super) fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().expect("an epoch has been opened")
    }

    pub(super) fn ledger_mut(&mut self) -> &mut Ledger {
        self.ledger.as_mut().expect("an epoch has been opened")
    }

    /// What follows a finding that was not known before.
    pub(super) fn act_on_finding(&mut self) {
        self.broken = true;
        match self.settings.on_finding {
            OnFinding::Continue => {}
            OnFinding::Stop => self.stop(Outcome::Broken),
            OnFinding::Trigger => self.begin_trigger(Reason::Finding),
        }
    }

    /// The end of a trigger's command.
    fn fired(&mut self, fired: &Fired, actions: &mut Vec<Action>) {
        let how = match fired {
            Fired::Done => None,
            Fired::Missing(why) => Some(format!("missing: {why}")),
            Fired::Failed(why) => Some(format!("failed: {why}")),
            Fired::TimedOut(why) => Some(format!("timed out: {why}")),
            Fired::Unrecorded(why) => {
                self.trigger_unsaved(why.clone());
                return;
            }
        };
        actions.push(Action::Record(Record::CommandEnded { how: how.clone().unwrap_or_else(|| "done".to_owned()) }));
        self.command_failed = self.command_failed.take().or(how);
        self.end_trigger();
    }

    /// Reads and writes in flight.
    pub(super) fn in_flight(&self) -> u32 {
        self.ops.in_flight() + self.spans.reading()
    }

    pub(super) fn in_stage(&self, op: OpId, stage: Stage) -> bool {
        self.ops.get(op).stage == stage
    }

    pub(super) fn block_bytes(&self) -> u64 {
        u64::from(self.geometry.block_size)
    }
}
