//! Reads, writes and flushes that do not return.
//!
//! An I/O past its deadline is reported once, with its age, and stays what it is: only its completion frees it. A stop
//! does not wait for it.

use super::action::{Action, Outcome};
use super::engine::Engine;
use super::event::OpId;
use super::operations::{Stage, Task};
use super::settings::Mode;
use crate::ledger::Rule;
use crate::report::{Finding, Occasion, Persistence};
use crate::tag::Class;
use crate::vocabulary::{Block, Now};

/// Deadlines are looked at this often within one deadline: an I/O is reported at most a quarter late.
const LOOKS: u64 = 4;

impl Engine {
    /// Deadlines are of the disk's time: while this process itself was stopped or busy with something else, nobody was
    /// there to take an answer.
    pub(super) fn forgive_absence(&mut self, now: Now) {
        let absent = now.mono_ns.saturating_sub(self.ops.clock);
        if self.ops.clock > 0 && absent > self.settings.deadline_ns / 2 {
            self.ops.postpone(absent);
            self.flush_since += absent;
        }
    }

    pub(super) fn watch_deadlines(&mut self, now: Now, actions: &mut Vec<Action>) {
        if now.mono_ns < self.deadlines_watched_at {
            return;
        }
        let deadline = self.settings.deadline_ns.max(LOOKS);
        self.deadlines_watched_at = now.mono_ns + deadline / LOOKS;
        let Some(before) = now.mono_ns.checked_sub(deadline) else { return };
        let overdue: Vec<OpId> = self.ops.overdue(before).collect();
        for op in overdue {
            let operation = self.ops.get_mut(op);
            operation.stuck = true;
            let what = if operation.stage == Stage::Writing { "write" } else { "read" };
            let (block, age, occasion) = (operation.block, now.mono_ns - operation.since, occasion(&operation.task));
            self.report_stuck(now, what, Some(block), age, occasion, actions);
        }
        if self.flushing && !self.flush_stuck && self.flush_since <= before {
            self.flush_stuck = true;
            self.conclude_awaiting(now, actions);
            self.report_stuck(now, "flush", None, now.mono_ns - self.flush_since, Occasion::Scan, actions);
        }
    }

    /// Nothing is going on but what does not return.
    pub(super) fn nothing_but_stuck(&self) -> bool {
        let some = self.ops.stuck() > 0 || self.flush_stuck;
        some && self.ops.only_stuck_active() && (!self.flushing || self.flush_stuck)
    }

    fn report_stuck(
        &mut self,
        now: Now,
        what: &str,
        block: Option<Block>,
        age_ns: u64,
        occasion: Occasion,
        actions: &mut Vec<Action>,
    ) {
        // A flush is of no block: it is told where the region begins.
        let at = block.unwrap_or(Block(0));
        let legal = self.legal(at);
        let guarantee = match legal.rule {
            Rule::AtLeast(guarantee) if block.is_some() => Some(guarantee),
            _ => None,
        };
        let finding = Finding {
            class: Class::Unreadable,
            block: at,
            offset: block.map_or(self.geometry.offset, |block| self.geometry.offset_of(block)),
            expected_seq: block.and_then(|_| legal.expected()),
            found_seq: None,
            found: None,
            expected: None,
            reads: Vec::new(),
            persistence: Persistence::Persistent,
            proved_by: guarantee.map(|guarantee| guarantee.proved_by),
            known: false,
            detail: format!("stuck: the {what} has not returned for {:.1} s", age_ns as f64 / 1e9),
            guarantee,
            home: None,
            confirmed: None,
            errno: None,
            occasion,
            cuts: self.cuts(),
            contents: 0,
            wall_ns: now.wall_ns,
        };
        actions.push(Action::Report(Box::new(finding), None));
        self.new_findings += 1;
        // A check ends, and says so; it does nothing else.
        match self.settings.mode {
            Mode::Check => self.stop(Outcome::Incomplete),
            Mode::BurnIn | Mode::Powercut => self.act_on_finding(),
        }
    }
}

pub(super) fn occasion(task: &Task) -> Occasion {
    match task {
        Task::ReadBack { .. } => Occasion::ReadBack,
        Task::Write { .. } => Occasion::BeforeOverwrite,
        Task::Scan => Occasion::Scan,
        Task::Judge | Task::Survey | Task::Evidence(_) => Occasion::Check,
    }
}
