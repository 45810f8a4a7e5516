//! What was read: judged, read again where it does not fit, and reported.

use std::sync::Arc;

use super::action::Action;
use super::check::Suspect;
use super::engine::{Engine, Phase};
use super::event::{Fault, OpId};
use super::hearing::outrun_in_words;
use super::operations::{Stage, Task};
use super::triage::{Diagnosis, Sighting, Triage, errno_of};
use super::walk::Walk;
use super::writes::device_is_gone;
use super::{Mode, Record};
use crate::ledger::{Epochs, Ledger, Legal, ProvedBy, Rule, WriteState};
use crate::report::{Finding, FindingKey, Occasion};
use crate::tag::{Claims, Class, Inspection, Verdict};
use crate::vocabulary::{Block, Issue, Now};

/// How long the last look at a block waits that could not be read.
const LAST_LOOK_NS: u64 = 1_000_000_000;

impl Engine {
    /// A read has ended. Only bytes that were read are judged.
    pub(super) fn read(&mut self, now: Now, op: OpId, result: &Result<(), Fault>, actions: &mut Vec<Action>) {
        assert!(self.in_stage(op, Stage::Reading), "{op:?} was reading");
        self.note_return(now, op, actions);
        self.ops.enter(op, Stage::Judging);
        if let Err(fault) = result
            && self.failed_with_the_device(fault, actions)
        {
            // What failed because the device went away says nothing of the block; the check that follows reads it again.
            if !matches!(self.ops.get(op).task, Task::Evidence(_)) {
                self.abandon_triage(op);
                return self.settled(now, op, None, actions);
            }
        }
        let operation = self.ops.get(op);
        let (block, home) = (operation.block, operation.triage.as_ref().and_then(|triage| triage.home));
        match (&operation.task, result) {
            (Task::Evidence(finding), result) => {
                let finding = finding.clone();
                // Once it is told, the end says so, even if the check has to start over and does not find it again.
                self.broken |= !finding.known;
                actions.push(Action::Report(finding, result.is_ok().then_some(op)));
                self.ops.finish(op);
            }
            (_, Err(_)) if home.is_some() => self.conclude_triage(now, op, actions),
            (_, Err(fault)) => self.sighted(now, op, Sighting::Unreadable(fault.clone()), actions),
            (_, Ok(())) if home.is_some() => actions.push(Action::Survey(op, home.unwrap_or(block))),
            (Task::Survey, Ok(())) => actions.push(Action::Survey(op, block)),
            (_, Ok(())) => {
                let legal = self.legal(block);
                actions.push(Action::Inspect(op, legal));
            }
        }
    }

    /// Whether a read failed because the device went away. One that comes back is no reason to blame a block. One that
    /// stays away although it was not removed is: a check does not begin anew for ever.
    pub(super) fn failed_with_the_device(&mut self, fault: &Fault, actions: &mut Vec<Action>) -> bool {
        if self.removed.is_some() {
            return true;
        }
        let checking = matches!(self.phase, Phase::Checking);
        let reset = device_is_gone(fault) && (!checking || self.check.may_start_over_for_an_error(self.ops.clock));
        if reset {
            self.device_reset(fault.message.clone(), actions);
        }
        reset
    }

    /// What may be in a block now.
    pub(super) fn legal(&self, block: Block) -> Legal {
        let Some(ledger) = self.ledger.as_ref().filter(|_| !matches!(self.phase, Phase::Checking)) else {
            return self.recovered.legal(block);
        };
        let legal = ledger.legal(block);
        if self.distrusted && !matches!(legal.rule, Rule::Exactly(_)) {
            return Legal {
                rule: Rule::Anything,
                reserved: None,
                newest_issued: None,
                epochs: Epochs::default().into(),
                ..legal
            };
        }
        legal
    }

    pub(super) fn inspected(&mut self, now: Now, op: OpId, inspection: &Inspection, actions: &mut Vec<Action>) {
        assert!(self.in_stage(op, Stage::Judging), "{op:?} was being judged");
        let checking = matches!(self.phase, Phase::Checking);
        if checking {
            self.hear_claims(op, &inspection.claims);
        }
        if self.shows_nothing() {
            self.abandon_triage(op);
            return self.settled(now, op, None, actions);
        }
        if self.ops.get(op).triage.is_some() {
            // A path that failed once, or a copy of a mirror, may have hidden until now how old the ledger is.
            let ahead = !checking && self.ahead_of_us(op, inspection, actions);
            let sighting = if ahead { Sighting::Fine } else { Sighting::of(inspection) };
            return self.sighted(now, op, sighting, actions);
        }
        self.bytes.verified += self.block_bytes();
        if let Some(ledger) = &mut self.ledger {
            ledger.totals_mut().verified += u64::from(self.geometry.block_size);
        }
        let ahead = !checking && self.ahead_of_us(op, inspection, actions);
        match &inspection.verdict {
            Verdict::Broken(broken) if !ahead => {
                self.sighted(now, op, Sighting::Broken(broken.clone()), actions);
            }
            _ => self.settled(now, op, Some(inspection), actions),
        }
    }

    /// A block that was not written in this epoch, of an epoch that the ledger has not heard of: the state was stale
    /// at the start and the blocks read then did not show it. The disk is not blamed.
    fn ahead_of_us(&mut self, op: OpId, inspection: &Inspection, actions: &mut Vec<Action>) -> bool {
        use crate::ledger::Standing;
        let block = self.ops.get(op).block;
        if !matches!(inspection.verdict, Verdict::Broken(_)) {
            return false;
        }
        // By the ledger itself: that it is distrusted by now must not make what was judged by it an accusation.
        let Some(legal) = self.ledger.as_ref().map(|ledger| ledger.legal(block)) else { return false };
        if matches!(legal.rule, Rule::Exactly(_)) {
            return false;
        }
        let ahead = inspection.claims.iter().find(|(claim, _)| legal.standing(claim) == Standing::Ahead);
        if let Some((claim, _)) = ahead
            && !std::mem::replace(&mut self.distrusted, true)
        {
            actions.push(Action::Record(Record::StateDistrusted { why: outrun_in_words(block, claim) }));
        }
        ahead.is_some()
    }

    /// One more look at a block in which something is, or was, wrong.
    pub(super) fn sighted(&mut self, now: Now, op: OpId, sighting: Sighting, actions: &mut Vec<Action>) {
        if self.shows_nothing() {
            self.abandon_triage(op);
            return self.settled(now, op, None, actions);
        }
        if let Sighting::Broken(broken) = &sighting
            && self.waits_for_its_name(broken)
            && self.ops.get(op).triage.is_none()
        {
            let block = self.ops.get(op).block;
            self.suspect(Suspect { block, broken: Arc::clone(broken) });
            return self.ops.finish(op);
        }
        let rereads = self.settings.rereads as usize;
        let operation = self.ops.get_mut(op);
        match &mut operation.triage {
            Some(triage) => triage.add(sighting),
            none => *none = Some(Box::new(Triage::new(sighting))),
        }
        let block = operation.block;
        let triage = operation.triage.as_ref().expect("set above");
        if triage.rereads() < rereads {
            return self.read_again(op);
        }
        // Misdirected contents: does their home lack them? Asked only where nobody is about to write there. A check writes
        // nowhere, so that its home may be read twice at a time: two blocks that changed places hold each other's.
        let stray = triage.stray_from().filter(|(home, _)| *home != block);
        let checking = matches!(self.phase, Phase::Checking);
        match stray {
            Some((home, _)) if self.ops.also_hold(op, home) || checking => {
                self.ops.get_mut(op).triage.as_mut().expect("set above").home = Some(home);
                self.read_again(op);
            }
            _ => self.conclude_triage(now, op, actions),
        }
    }

    /// At once; the last time, where no read has shown anything so far, after a while: a path that is being switched
    /// over, or a disk that was pulled out and is not yet known to be gone, fails for some moments.
    fn read_again(&mut self, op: OpId) {
        self.ops.enter(op, Stage::Waiting);
        let last = |triage: &Triage| triage.rereads() + 1 == self.settings.rereads as usize && triage.saw_nothing();
        if self.ops.get(op).triage.as_deref().is_some_and(last) {
            return self.rereads_later.push_back((self.ops.clock.saturating_add(LAST_LOOK_NS), op));
        }
        self.rereads.push_back(op);
    }

    /// When there is something to read that only waits for a time.
    pub(super) fn reads_wake(&self) -> Option<u64> {
        let checking = matches!(self.phase, Phase::Checking);
        let later = self.rereads_later.front().map(|(at, _)| *at);
        later.into_iter().chain(checking.then_some(self.check.not_before)).filter(|at| *at > self.ops.clock).min()
    }

    /// Reads again, within the queue's depth, and before anything new is read.
    pub(super) fn submit_rereads(&mut self, actions: &mut Vec<Action>) {
        while self.rereads_later.front().is_some_and(|(at, _)| *at <= self.ops.clock) {
            self.rereads.extend(self.rereads_later.pop_front().map(|(_, op)| op));
        }
        while self.in_flight() < self.settings.queue_depth {
            let Some(op) = self.rereads.pop_front() else { return };
            let operation = self.ops.get(op);
            let home = operation.triage.as_ref().and_then(|triage| triage.home);
            let block = home.unwrap_or(operation.block);
            self.ops.enter(op, Stage::Reading);
            actions.push(Action::Read(op, block));
        }
    }

    fn abandon_triage(&mut self, op: OpId) {
        let home = self.ops.get_mut(op).triage.take().and_then(|triage| triage.home);
        if let Some(home) = home {
            self.ops.release(op, home);
        }
    }

    /// After a reset or a failed flush, until the next epoch, completed writes may lawfully be gone: nothing that is
    /// read says anything.
    fn shows_nothing(&self) -> bool {
        !matches!(self.phase, Phase::Checking) && self.ledger.as_ref().is_some_and(Ledger::is_distrusted)
    }

    /// A block that a survey could not read at first has been read.
    pub(super) fn survey_succeeded(&mut self, now: Now, op: OpId, actions: &mut Vec<Action>) {
        self.ops.get_mut(op).triage.as_mut().expect("reads that failed").add(Sighting::Fine);
        self.conclude_triage(now, op, actions);
    }

    /// The home of misdirected contents was read.
    pub(super) fn home_surveyed(&mut self, op: OpId, claims: &Claims) {
        let triage = self.ops.get_mut(op).triage.as_mut().expect("a triage reads a home");
        let stray = triage.stray_from().map(|(_, issue)| issue);
        triage.confirmed = Some(!claims.iter().any(|(claim, _)| Some(claim.issue) == stray));
        self.homes_read.push(op);
    }

    /// The flush that some triages waited for has ended.
    pub(super) fn conclude_awaiting(&mut self, now: Now, actions: &mut Vec<Action>) {
        for op in std::mem::take(&mut self.awaiting_flush) {
            self.conclude_triage(now, op, actions);
        }
    }

    /// Triage that only waited for a home is concluded at the end of the events: see `step`.
    pub(super) fn conclude_homes(&mut self, now: Now, actions: &mut Vec<Action>) {
        for op in std::mem::take(&mut self.homes_read) {
            self.conclude_triage(now, op, actions);
        }
    }

    fn conclude_triage(&mut self, now: Now, op: OpId, actions: &mut Vec<Action>) {
        // The flush in flight may be about to say that completed writes were lost, and then this was one of them. One
        // that hangs is waited for only by what it is to make durable; a stop does not wait for either.
        let running = !matches!(self.phase, Phase::Checking);
        if running && self.flushing && (!self.flush_stuck || self.awaits_durability(op)) {
            self.ops.enter(op, Stage::Waiting);
            return self.awaiting_flush.push(op);
        }
        let triage = self.ops.get_mut(op).triage.take().expect("a triage is concluded once");
        if let Some(home) = triage.home {
            self.ops.release(op, home);
        }
        if self.shows_nothing() {
            return self.settled(now, op, None, actions);
        }
        if matches!(self.ops.get(op).task, Task::Survey) {
            let finding = self.finding(now, op, &triage.diagnosis(), None);
            return self.unsurveyed(op, finding);
        }
        let mut finding = self.finding(now, op, &triage.diagnosis(), triage.confirmed);
        if matches!(self.phase, Phase::Checking) {
            match self.patrols() {
                true => {
                    // Where a home was read, the buffer has that; and nothing where only a span was.
                    let read = triage.home.is_none() && triage.rereads() > 0;
                    self.found_in_patrol(finding, read.then_some(op), actions);
                }
                false => self.found_in_check(finding),
            }
            return self.ops.finish(op);
        }
        finding.known = !self.known.remember(finding.key());
        let known = finding.known;
        // Where a home was read, the buffer has that.
        actions.push(Action::Report(Box::new(finding), triage.home.is_none().then_some(op)));
        if !known {
            self.new_findings += 1;
            self.act_on_finding();
        }
        self.settled(now, op, None, actions);
    }

    /// The write that the block is held to has completed, and no flush since has succeeded.
    fn awaits_durability(&self, op: OpId) -> bool {
        let ledger = self.ledger();
        let rule = ledger.legal(self.ops.get(op).block).rule;
        matches!(rule, Rule::Exactly(issue) if ledger.state(issue.seq) < WriteState::Durable)
    }

    pub(super) fn remember_all(&mut self, keys: &[FindingKey]) {
        keys.iter().for_each(|key| {
            self.known.remember(*key);
        });
    }

    /// The block has been dealt with, whatever came of it.
    fn settled(&mut self, now: Now, op: OpId, inspection: Option<&Inspection>, actions: &mut Vec<Action>) {
        match (self.ops.get(op).task.clone(), inspection) {
            (Task::Judge, Some(inspection)) => self.judged(op, inspection),
            (Task::Write { .. }, _) => self.overwrite_read(now, op, inspection.is_some(), actions),
            // Where reading shows nothing the block is still to be read: by the next epoch, which begins with what was not.
            (Task::ReadBack { .. }, _) if self.shows_nothing() => self.ops.finish(op),
            (Task::Scan, _) if self.shows_nothing() => {
                let block = self.ops.get(op).block;
                self.ops.finish(op);
                if !self.scan.is_some_and(|walk| walk.is_ahead_at(block)) {
                    self.scan = Some(Walk::All { at: block.0 });
                }
            }
            (Task::ReadBack { seq }, _) => {
                self.ops.finish(op);
                self.reading_back.remove(&seq);
                let frontier = self.reading_back.first().copied().unwrap_or(self.read_back);
                self.ledger_mut().read_back_below(frontier);
            }
            (Task::Scan | Task::Judge | Task::Survey | Task::Evidence(_), _) => self.ops.finish(op),
        }
    }

    fn finding(&self, now: Now, op: OpId, diagnosis: &Diagnosis, confirmed: Option<bool>) -> Finding {
        let operation = self.ops.get(op);
        self.finding_in(now, operation.block, self.occasion(&operation.task), diagnosis, confirmed)
    }

    pub(super) fn finding_in(
        &self,
        now: Now,
        block: Block,
        occasion: Occasion,
        diagnosis: &Diagnosis,
        confirmed: Option<bool>,
    ) -> Finding {
        let legal = self.legal(block);
        let guarantee = legal.guarantee();
        let broken = diagnosis.broken.as_deref();
        let found = broken.and_then(|broken| broken.found);
        let detail = match (diagnosis.class, broken, &diagnosis.fault) {
            (Class::Unreadable, _, Some(fault)) if fault.end_of_file => {
                format!("end of file or device: {}", fault.message)
            }
            (Class::Unreadable, _, Some(fault)) => fault.message.clone(),
            (Class::Unstable, Some(broken), _) => format!("each read differs; the first: {}", broken.detail),
            (_, Some(broken), _) => broken.detail.clone(),
            _ => String::new(),
        };
        Finding {
            class: diagnosis.class,
            block,
            offset: self.geometry.offset_of(block),
            expected_seq: legal.expected(),
            expected: expected_issue(&legal),
            found_seq: found.map(|issue| issue.seq),
            found,
            persistence: diagnosis.persistence,
            proved_by: match legal.rule {
                Rule::AtLeast(guarantee) => Some(guarantee.proved_by),
                Rule::Exactly(_) => Some(ProvedBy::Checkpoint),
                Rule::Anything => None,
            },
            known: false,
            detail,
            guarantee,
            home: broken.and_then(|broken| broken.home),
            confirmed,
            errno: diagnosis.fault.as_ref().and_then(errno_of),
            occasion,
            reads: diagnosis.reads.clone(),
            cuts: self.cuts(),
            contents: broken.map_or(0, |broken| broken.contents),
            wall_ns: now.wall_ns,
        }
    }

    pub(super) fn cuts(&self) -> u64 {
        let saved = self.recovered.saved();
        let before = saved.map_or(0, |saved| saved.totals.cuts + u64::from(!saved.clean));
        self.ledger.as_ref().map_or(before, |ledger| ledger.totals().cuts)
    }

    /// Reads back what was written, `readback_lag` behind the writer; without a lag once writing is over.
    pub(super) fn advance_read_back(&mut self, actions: &mut Vec<Action>) {
        if self.settings.mode != Mode::BurnIn || self.paused || self.ledger().is_distrusted() {
            return;
        }
        let half = self.schedule.blocks() / 2;
        let lag =
            if self.end == Some(self.next) { 0 } else { (self.settings.readback_lag / self.block_bytes()).min(half) };
        let most = (self.settings.queue_depth / 2).max(1);
        while self.read_back.0 + lag < self.next.0
            && self.ops.reading() < most
            && self.ops.in_flight() < self.settings.queue_depth
        {
            let seq = self.read_back;
            let block = self.schedule.block_of(seq);
            // Overwritten, or about to be: it was, or is being, read before that.
            let replaced = self.schedule.newest_below(self.next, block) != Some(seq);
            if !replaced {
                if self.ledger().state(seq) < WriteState::Completed || self.ops.is_held(block) {
                    return;
                }
                let Some(op) = self.ops.start(Task::ReadBack { seq }, block) else { return };
                self.ops.enter(op, Stage::Reading);
                self.reading_back.insert(seq);
                actions.push(Action::Read(op, block));
            }
            self.read_back = seq.next();
            if self.reading_back.is_empty() {
                let frontier = self.read_back;
                self.ledger_mut().read_back_below(frontier);
            }
        }
    }

    /// Reads, with a quarter of the queue, what a start has left unread and nobody has written since.
    pub(super) fn advance_scan(&mut self, actions: &mut Vec<Action>) {
        let most = (self.settings.queue_depth / 4).max(1);
        while let Some(walk) = &mut self.scan
            && !self.paused
            && !self.ledger.as_ref().is_some_and(Ledger::is_distrusted)
            && self.ops.reading() < most
            && self.ops.in_flight() < self.settings.queue_depth
            && self.ops.free() > 0
        {
            let mut ahead = *walk;
            let Some(block) = ahead.next(&self.schedule) else {
                self.scan = None;
                return;
            };
            let restart = self.ledger().restart_point();
            let written = self.schedule.newest_below(self.next, block).is_some_and(|seq| seq >= restart);
            if !written {
                let Some(op) = self.ops.start(Task::Scan, block) else { return };
                self.ops.enter(op, Stage::Reading);
                actions.push(Action::Read(op, block));
            }
            self.scan = Some(ahead);
        }
    }
}

/// The issue that a block should at least hold, where the epochs tell which it was.
fn expected_issue(legal: &Legal) -> Option<Issue> {
    match legal.rule {
        Rule::Exactly(issue) => Some(issue),
        Rule::AtLeast(guarantee) => {
            let epoch = legal.epochs.required_for(guarantee.seq)?.epoch;
            Some(Issue { seq: guarantee.seq, epoch })
        }
        Rule::Anything => None,
    }
}
