//! Writing: numbers are assigned in order, sealed in any, issued as the queue has room, and made durable by flushes.

use std::cmp::Reverse;

use super::action::{Action, Outcome, Record};
use super::engine::{Engine, Goal, Phase};
use super::event::{Fault, OpId, Reason};
use super::operations::{Stage, Task};
use super::settings::{FlushEvery, Mode, OnFinding};
use crate::vocabulary::{Block, Claim, Issue, Now, Promise, Seq};

/// Tries of one write, with the same bytes, before the run ends.
const MAX_TRIES: u32 = 4;

/// Flushes that may fail in a row before the run ends; each costs an epoch.
const MAX_FLUSH_FAILURES: u32 = 3;

/// Written passes are recorded this often at the most: a region of one block goes round thousands of times a second.
const PASS_RECORD_NS: u64 = 10_000_000_000;

impl Engine {
    pub(super) fn advance_writes(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.submit_ready(actions);
        while matches!(self.phase, Phase::Running) && self.may_assign(now) {
            let seq = self.next;
            let block = self.schedule.block_of(seq);
            let read_first = self.is_read_first(seq, block);
            // What is read now shows nothing, and once it is overwritten it never will.
            if read_first && self.ledger().is_distrusted() {
                return;
            }
            // An earlier write of the block, or a read of it, is still open: numbers are assigned in order.
            let Some(op) = self.ops.start(Task::Write { seq }, block) else { return };
            self.next = seq.next();
            self.pace(now);
            self.note_pass();
            if read_first {
                self.ops.enter(op, Stage::Reading);
                actions.push(Action::Read(op, block));
            } else {
                self.seal(now, op, actions);
            }
        }
    }

    /// What a write replaces is read first where retention is asked for, or where it was not read back yet.
    fn is_read_first(&self, seq: Seq, block: Block) -> bool {
        let unscanned = self.scan.is_some_and(|walk| walk.is_ahead_at(block));
        let (retention, reads_back) = (self.settings.retention, self.settings.mode == Mode::BurnIn);
        if !retention && !reads_back && !unscanned {
            return false;
        }
        let prior = self.schedule.replaced_by(seq, block);
        prior.is_some_and(|prior| retention || unscanned || reads_back && prior >= self.read_back)
    }

    fn may_assign(&self, now: Now) -> bool {
        // Reading back keeps half a queue of operations for itself, or writing would crowd it out.
        let kept_free = if self.settings.mode == Mode::BurnIn { self.settings.queue_depth as usize / 2 } else { 0 };
        !self.paused
            && self.end.is_none_or(|end| self.next < end)
            && now.mono_ns >= self.write_not_before
            && self.ops.free() > kept_free
            && self.ops.in_flight() < self.settings.queue_depth
            && self.ledger().may_issue(self.next)
    }

    fn pace(&mut self, now: Now) {
        if let Some(rate) = self.settings.rate.filter(|rate| *rate > 0) {
            let cost = u128::from(self.block_bytes()) * 1_000_000_000 / u128::from(rate);
            let cost = u64::try_from(cost).unwrap_or(u64::MAX);
            // Idle time is not saved up beyond a tenth of a second.
            let from = self.write_not_before.max(now.mono_ns.saturating_sub(100_000_000));
            self.write_not_before = from.saturating_add(cost);
        }
    }

    fn note_pass(&mut self) {
        if self.next.0.is_multiple_of(self.schedule.blocks()) {
            self.passed = Some(self.next.0 / self.schedule.blocks() - 1);
        }
    }

    /// Puts the newest pass on record, just after a save: a state directory that hangs is met by a save first, which
    /// holds up nothing, and not by the event log, which would hold up everything.
    pub(super) fn record_pass(&mut self, now: Now, actions: &mut Vec<Action>) {
        if now.mono_ns >= self.pass_record_not_before
            && let Some(pass) = self.passed.take()
        {
            self.pass_record_not_before = now.mono_ns + PASS_RECORD_NS;
            actions.push(Action::Record(Record::PassWritten { pass }));
        }
    }

    fn seal(&mut self, now: Now, op: OpId, actions: &mut Vec<Action>) {
        let Task::Write { seq } = self.ops.get(op).task else { unreachable!("only writes are sealed") };
        let ledger = self.ledger();
        let claim = Claim {
            issue: Issue { seq, epoch: ledger.epoch() },
            durable: ledger.durable(),
            promise: ledger.promise(),
            checkpoint: ledger.checkpoint_number(),
            wall_ns: now.wall_ns,
        };
        self.ops.get_mut(op).claim = Some(claim);
        self.ops.enter(op, Stage::Sealing);
        actions.push(Action::Seal(op, self.ops.get(op).block, claim));
    }

    /// The block that a write replaces was read and dealt with.
    pub(super) fn overwrite_read(&mut self, now: Now, op: OpId, fine: bool, actions: &mut Vec<Action>) {
        // Not before a trigger after which the run goes on: a number that is never issued holds up all that follow it.
        let on_the_finding = self.trigger.as_ref().is_some_and(|trigger| trigger.reason == Reason::Finding);
        let ending = on_the_finding || !matches!(self.phase, Phase::Running);
        let keep_evidence = !fine && ending && self.settings.on_finding != OnFinding::Continue;
        if keep_evidence || self.discards_sealed() {
            // Its number stays unissued: what was found is not overwritten.
            self.ops.finish(op);
        } else {
            self.seal(now, op, actions);
        }
    }

    pub(super) fn sealed(&mut self, op: OpId) {
        assert!(self.in_stage(op, Stage::Sealing), "{op:?} was being sealed");
        if self.discards_sealed() {
            return self.ops.finish(op);
        }
        let Task::Write { seq } = self.ops.get(op).task else { unreachable!("only writes are sealed") };
        self.ops.enter(op, Stage::Ready);
        self.ready.push(Reverse((seq, op)));
    }

    /// Hands sealed blocks to the disk, lowest number first.
    pub(super) fn submit_ready(&mut self, actions: &mut Vec<Action>) {
        while self.ops.in_flight() < self.settings.queue_depth {
            let Some(Reverse((seq, op))) = self.ready.pop() else { return };
            let ledger = self.ledger_mut();
            ledger.issue(seq);
            let dsync = ledger.promise() == Promise::Fua;
            self.ops.enter(op, Stage::Writing);
            actions.push(Action::Write { op, block: self.ops.get(op).block, dsync });
            self.issued_since_start += 1;
            if self.settings.trigger_writes == Some(self.issued_since_start) {
                self.begin_trigger(Reason::Writes(self.issued_since_start));
            }
        }
    }

    pub(super) fn wrote(&mut self, now: Now, op: OpId, result: &Result<(), Fault>, actions: &mut Vec<Action>) {
        assert!(self.in_stage(op, Stage::Writing), "{op:?} was writing");
        self.note_return(now, op, actions);
        let Task::Write { seq } = self.ops.get(op).task else { unreachable!("only writes write") };
        let Err(fault) = result else {
            let bytes = self.block_bytes();
            self.bytes.written += bytes;
            let ledger = self.ledger_mut();
            ledger.complete(seq);
            ledger.totals_mut().written += bytes;
            self.unflushed_since.get_or_insert(now.mono_ns);
            return self.ops.finish(op);
        };
        self.failed_writes += 1;
        if device_is_gone(fault) {
            self.device_reset(fault.message.clone(), actions);
        }
        let operation = self.ops.get_mut(op);
        operation.tries += 1;
        let (tries, block) = (operation.tries, operation.block);
        actions.push(Action::Record(Record::WriteFailed { seq, block, why: fault.message.clone(), tries }));
        if tries < MAX_TRIES && self.removed.is_none() {
            // The same bytes again: it keeps its epoch. The operation still holds the block, so that no higher write of
            // it can go before.
            let dsync = self.ledger().promise() == Promise::Fua;
            self.ops.enter(op, Stage::Writing);
            actions.push(Action::Write { op, block, dsync });
            return;
        }
        self.ops.finish(op);
        self.stop(Outcome::DeviceErrors(format!(
            "write {seq} of block {block} failed {tries} times: {}",
            fault.message
        )));
    }

    /// Submits a flush when one is due.
    pub(super) fn advance_flush(&mut self, now: Now, actions: &mut Vec<Action>) {
        let ledger = self.ledger();
        let waiting = ledger.unflushed() as u64;
        if ledger.promise() != Promise::Flush || self.flushing || waiting == 0 {
            return;
        }
        let due = match self.settings.flush_every {
            FlushEvery::Bytes(bytes) => waiting * self.block_bytes() >= bytes,
            FlushEvery::Nanoseconds(interval) => {
                self.unflushed_since.is_some_and(|since| now.mono_ns >= since + interval)
            }
        };
        // The window is full, or as full as it can be reserved: only a flush moves D, and with it the reservation.
        let pressed = ledger.reservable() <= self.next;
        // Nothing more will complete that a later flush could cover.
        let idle = self.end == Some(self.next) && self.ops.writing() == 0;
        if due || pressed || idle {
            self.submit_flush(actions);
        }
    }

    pub(super) fn submit_flush(&mut self, actions: &mut Vec<Action>) {
        self.ledger_mut().flush_submitted();
        self.flushing = true;
        (self.flush_since, self.flush_stuck) = (self.ops.clock, false);
        self.unflushed_since = None;
        actions.push(Action::Flush);
    }

    pub(super) fn flushed(&mut self, now: Now, result: &Result<(), Fault>, actions: &mut Vec<Action>) {
        assert!(std::mem::take(&mut self.flushing), "a flush was in flight");
        self.note_flush_return(now, actions);
        let failure = match result {
            Ok(()) => {
                self.flush_failures = 0;
                self.ledger_mut().flush_succeeded(now);
                None
            }
            Err(fault) => {
                self.flush_failures += 1;
                self.failed_flushes += 1;
                self.ledger_mut().flush_failed();
                if device_is_gone(fault) {
                    self.device_reset(fault.message.clone(), actions);
                }
                actions.push(Action::Record(Record::FlushFailed { why: fault.message.clone() }));
                Some(fault.message.clone())
            }
        };
        self.trigger_flushed(failure.is_none());
        self.conclude_awaiting(now, actions);
        match (&self.phase, failure) {
            (Phase::Closing { outcome, .. }, failure) => {
                let outcome = match (outcome, failure) {
                    (Outcome::Kept, Some(why)) => Outcome::DeviceErrors(format!("the last flush failed: {why}")),
                    (outcome, _) => outcome.clone(),
                };
                self.phase = Phase::Closing { outcome, flushed: true, saved: None };
            }
            (Phase::Opening { .. }, Some(why)) => {
                self.exit(Outcome::DeviceErrors(format!("the flush before the first epoch failed: {why}")), actions);
            }
            (Phase::Opening { .. }, None) => self.flush_before_epoch = false,
            (Phase::Running, Some(why)) if self.flush_failures > MAX_FLUSH_FAILURES => {
                self.stop(Outcome::DeviceErrors(format!("{} flushes in a row failed: {why}", self.flush_failures)));
            }
            (Phase::Running, Some(why)) => self.begin_drain(Goal::Epoch(format!("a flush failed: {why}"))),
            _ => {}
        }
    }

    /// So many passes are written and read back: the run ends.
    pub(super) fn finish_passes(&mut self) {
        let written = self.end == Some(self.next) && self.ready.is_empty();
        let read_back =
            self.settings.mode != Mode::BurnIn || self.read_back == self.next && self.reading_back.is_empty();
        if written && read_back && self.ops.none_active() && self.scan.is_none() {
            self.stop(Outcome::Kept);
        }
    }
}

/// Errors with which the kernel says that the device went away or is being reset, rather than that it could not do what
/// was asked: what it had in its cache may be gone.
pub(super) fn device_is_gone(fault: &Fault) -> bool {
    const ENXIO: i32 = 6;
    const ENODEV: i32 = 19;
    const ESHUTDOWN: i32 = 108;
    const ENOMEDIUM: i32 = 123;
    [ENXIO, ENODEV, ESHUTDOWN, ENOMEDIUM].contains(&fault.errno)
}
