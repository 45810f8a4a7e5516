//! Reads, writes, flushes and saves that do not return.
//!
//! A read of several adjacent blocks past its deadline accuses none of them: each is asked for alone (see `spans`).
//!
//! An I/O past its deadline is reported once, with its age, and stays what it is: only its completion frees it, and that
//! is told too. Neither a trigger nor a stop waits for it, and neither promises anything that it would have promised.
//!
//! A save past its deadline is no finding: the state directory is not the disk under test. It is shown, and who needs it
//! done is told that it is not: a trigger's command does not run, and a stop ends with "the state could not be saved".

use super::action::{Action, Outcome, Record};
use super::engine::{Engine, Goal, Phase};
use super::event::OpId;
use super::operations::{Operation, Stage, Task};
use super::settings::Mode;
use super::status::StuckIo;
use super::trigger::Trigger;
use crate::ledger::Legal;
use crate::report::{Finding, Occasion, Persistence};
use crate::tag::{Class, Span};
use crate::vocabulary::{Block, Now};

/// Deadlines are looked at this often within one deadline: an I/O is reported at most a quarter late.
const LOOKS: u64 = 4;

/// The age that is shown of what is stuck is right to a part in so many, and to an hour.
const AGE_SHOWN: u64 = 16;
const AGE_SHOWN_NS: u64 = 3_600_000_000_000;

/// How long a save may still take once somebody has asked twice to stop: a person waits as long.
pub(super) const HURRIED_NS: u64 = 5_000_000_000;

/// Stands for what an I/O that does not return has read, so that a read error of the same block, later, is not taken
/// for something that was reported before.
const STUCK: u64 = u64::from_be_bytes(*b"stuckI/O");

impl Engine {
    /// Deadlines are of the disk's time: while this process itself was stopped or busy with something else, nobody was
    /// there to take an answer.
    pub(super) fn forgive_absence(&mut self, now: Now) {
        let absent = now.mono_ns.saturating_sub(self.ops.clock);
        if self.ops.clock > 0 && absent > self.settings.deadline_ns / 2 {
            self.ops.postpone(absent);
            self.spans.postpone(absent);
            self.flush_since += if self.flush_stuck { 0 } else { absent };
            self.saves.postpone(absent);
        }
    }

    /// When deadlines are to be looked at next. What is past its deadline is told: only its age is still shown, and that
    /// matters less the older it is.
    pub(super) fn deadlines_due(&self) -> Option<u64> {
        let stuck = self.ops.stuck() + self.spans.stuck();
        let moving = self.in_flight() > stuck || self.flushing && !self.flush_stuck || self.saves.in_flight();
        if moving {
            return Some(self.deadlines_watched_at);
        }
        let age = self.oldest_stuck_since().map(|since| self.ops.clock.saturating_sub(since))?;
        Some(self.deadlines_watched_at.max(self.ops.clock.saturating_add((age / AGE_SHOWN).min(AGE_SHOWN_NS))))
    }

    pub(super) fn watch_deadlines(&mut self, now: Now, actions: &mut Vec<Action>) {
        if now.mono_ns < self.deadlines_watched_at {
            return;
        }
        let deadline = self.settings.deadline_ns.max(LOOKS);
        let for_saves = if self.hurried { deadline.min(HURRIED_NS) } else { deadline };
        self.deadlines_watched_at = now.mono_ns + for_saves / LOOKS;
        if let Some(before) = now.mono_ns.checked_sub(for_saves) {
            self.saves.watch(before);
        }
        let Some(before) = now.mono_ns.checked_sub(deadline) else { return };
        let overdue: Vec<OpId> = self.ops.overdue(before).collect();
        for op in overdue {
            self.ops.get_mut(op).stuck = true;
            let operation = self.ops.get(op);
            let what = in_a_word(operation.stage);
            let (block, age) = (place(operation), now.mono_ns - operation.since);
            let occasion = self.occasion(&operation.task);
            self.report_stuck(now, what, Some(block), age, occasion, actions);
        }
        self.watch_spans(now, before, actions);
        if self.flushing && !self.flush_stuck && self.flush_since <= before {
            self.flush_stuck = true;
            self.conclude_awaiting(now, actions);
            self.report_stuck(now, "flush", None, now.mono_ns - self.flush_since, Occasion::Scan, actions);
        }
    }

    /// Nothing is going on but what does not return.
    pub(super) fn nothing_but_stuck(&self) -> bool {
        if !self.rereads_later.is_empty() {
            return false;
        }
        let some = self.ops.stuck() + self.spans.stuck() > 0 || self.flush_stuck;
        some && self.ops.only_stuck_active() && self.spans.only_stuck() && (!self.flushing || self.flush_stuck)
    }

    /// What hangs is not waited for, and that is on record.
    pub(super) fn note_undrained(&self, actions: &mut Vec<Action>) {
        if self.nothing_but_stuck() {
            let stuck = self.ops.stuck() + self.spans.stuck() + u32::from(self.flush_stuck);
            actions.push(Action::Record(Record::NotDrained { stuck }));
        }
    }

    /// A read or write ends: where it was reported as stuck, that is over.
    pub(super) fn note_return(&self, now: Now, op: OpId, actions: &mut Vec<Action>) {
        let operation = self.ops.get(op);
        if operation.stuck {
            let age_ns = now.mono_ns.saturating_sub(operation.since);
            actions.push(self.returned(in_a_word(operation.stage), place(operation), None, age_ns));
        }
    }

    pub(super) fn returned(&self, operation: &'static str, block: Block, blocks: Option<u32>, age_ns: u64) -> Action {
        Action::Record(Record::IoReturned {
            operation,
            block: Some(block),
            blocks,
            offset: Some(self.geometry.offset_of(block)),
            after_ms: age_ns / 1_000_000,
        })
    }

    pub(super) fn note_flush_return(&mut self, now: Now, actions: &mut Vec<Action>) {
        if std::mem::take(&mut self.flush_stuck) {
            let after_ms = now.mono_ns.saturating_sub(self.flush_since) / 1_000_000;
            let record = Record::IoReturned { operation: "flush", block: None, blocks: None, offset: None, after_ms };
            actions.push(Action::Record(record));
        }
    }

    /// Whoever waits for a save that is past its deadline waits no longer.
    pub(super) fn give_up_hung_save(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Some((number, since)) = self.saves.stuck() else { return };
        let age = now.mono_ns.saturating_sub(since) as f64 / 1e9;
        let why = format!(
            "the save of checkpoint {number} has not returned for {age:.1} s: the state directory does not answer"
        );
        if self.trigger.as_ref().is_some_and(Trigger::is_saving) {
            self.trigger_unsaved(why.clone());
        }
        let quiet = self.ops.none_active() && !self.flushing || self.nothing_but_stuck();
        match &self.phase {
            Phase::Draining(Goal::Stop(_)) if quiet && self.trigger.is_none() => {}
            Phase::Closing { .. } => {}
            _ => return,
        }
        self.note_undrained(actions);
        self.exit(Outcome::StateNotSaved(why), actions);
    }

    fn oldest_stuck_since(&self) -> Option<u64> {
        let flush = self.flush_stuck.then_some(self.flush_since);
        let op = self.ops.oldest_stuck().map(|operation| operation.since);
        [flush, op, self.spans.oldest_stuck().map(|(since, _)| since)].into_iter().flatten().min()
    }

    /// The one that has not returned for longest.
    pub(super) fn oldest_stuck(&self) -> Option<StuckIo> {
        let flush = self.flush_stuck.then_some((self.flush_since, "flush", None));
        let other = self.ops.oldest_stuck().map(|operation| {
            (operation.since, in_a_word(operation.stage), Some(self.geometry.offset_of(place(operation))))
        });
        let wide = self.spans.oldest_stuck();
        let wide = wide.map(|(since, span)| (since, "read", Some(self.geometry.offset_of(span.first()))));
        let oldest = flush.into_iter().chain(other).chain(wide).min_by_key(|(since, ..)| *since);
        oldest.map(|(since, operation, offset)| StuckIo {
            operation: operation.to_owned(),
            offset,
            age_s: self.age_s(since),
        })
    }

    /// On what occasion something is met.
    pub(super) fn occasion(&self, task: &Task) -> Occasion {
        match task {
            Task::ReadBack { .. } => Occasion::ReadBack,
            Task::Write { .. } => Occasion::BeforeOverwrite,
            Task::Scan => Occasion::Scan,
            Task::Judge | Task::Survey | Task::Evidence(_) if self.patrols() => Occasion::Patrol,
            Task::Judge | Task::Survey | Task::Evidence(_) => Occasion::Check,
        }
    }

    /// Seconds from then to this step.
    pub(super) fn age_s(&self, since: u64) -> f64 {
        self.ops.clock.saturating_sub(since) as f64 / 1e9
    }

    /// A read or write of one block, or the flush, is past its deadline.
    fn report_stuck(
        &mut self,
        now: Now,
        what: &str,
        block: Option<Block>,
        age_ns: u64,
        occasion: Occasion,
        actions: &mut Vec<Action>,
    ) {
        let seconds = age_ns as f64 / 1e9;
        let detail = match block {
            Some(block) => format!("stuck: the {what} of block {block} has not returned for {seconds:.1} s"),
            None => format!("stuck: the {what} has not returned for {seconds:.1} s"),
        };
        // A flush is of no block: it is told where the region begins.
        let offset = block.map_or(self.geometry.offset, |block| self.geometry.offset_of(block));
        let legal = block.map(|block| self.legal(block));
        let finding = self.stuck_finding(now, (block.unwrap_or(Block(0)), offset), legal.as_ref(), detail, occasion);
        actions.push(Action::Report(Box::new(finding), None));
        self.new_findings += 1;
        // A check ends, and says so; it does nothing else.
        match self.settings.mode {
            Mode::Check => self.stop(Outcome::Incomplete),
            Mode::BurnIn | Mode::Powercut | Mode::Patrol => self.act_on_finding(),
        }
    }

    /// A wide read does not return, and that is not for any one of its blocks: it is told where it began.
    pub(super) fn tell_stuck_span(&mut self, now: Now, span: &Span, age_ns: u64, actions: &mut Vec<Action>) {
        let (first, last, seconds) = (span.first(), span.last(), age_ns as f64 / 1e9);
        let detail = format!("stuck: the read of blocks {first} to {last} has not returned for {seconds:.1} s");
        let place = (first, self.geometry.offset_of(first));
        let finding = self.stuck_finding(now, place, None, detail, self.occasion(&Task::Judge));
        actions.push(Action::Report(Box::new(finding), None));
        self.new_findings += 1;
    }

    /// `legal` is of the block that it is a finding of, where there is one.
    fn stuck_finding(
        &self,
        now: Now,
        (block, offset): (Block, u64),
        legal: Option<&Legal>,
        detail: String,
        occasion: Occasion,
    ) -> Finding {
        let guarantee = legal.and_then(Legal::guarantee);
        Finding {
            class: Class::Unreadable,
            block,
            offset,
            expected_seq: legal.and_then(Legal::expected),
            found_seq: None,
            found: None,
            expected: None,
            reads: Vec::new(),
            persistence: Persistence::Persistent,
            proved_by: guarantee.map(|guarantee| guarantee.proved_by),
            known: false,
            detail,
            guarantee,
            home: None,
            confirmed: None,
            errno: None,
            occasion,
            cuts: self.cuts(),
            contents: STUCK,
            wall_ns: now.wall_ns,
        }
    }
}

/// The block that it reads or writes: a triage may be reading another than its own.
fn place(operation: &Operation) -> Block {
    operation.triage.as_ref().and_then(|triage| triage.home).unwrap_or(operation.block)
}

fn in_a_word(stage: Stage) -> &'static str {
    if stage == Stage::Writing { "write" } else { "read" }
}
