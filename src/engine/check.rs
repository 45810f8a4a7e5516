//! The check: everything is judged by address, and the window heard along with it, or before where it alone is judged at
//! once, and by a patrol; from the ledger while it holds, else from the tags alone.
//!
//! Findings are told at the end, not when they are met: until the last block was read, some tag may still show that
//! the saved ledger is older than the disk, and then nothing that was judged by it counts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::action::{Action, Outcome, Record};
use super::engine::{Engine, Phase};
use super::event::OpId;
use super::known::MAX_KNOWN;
use super::operations::{Stage, Task};
use super::route::Route;
use super::settings::{Mode, OnFinding, OnStart, Settings};
use super::sift::Sift;
use super::walk::Walk;
use crate::ledger::{Attestation, Checkpoint, Recovered, State};
use crate::report::causes::{CauseList, Causes};
use crate::report::{BlockCounts, Finding, FindingKey, Frontiers, Judgement, MAX_LISTED, Overall, Persistence};
use crate::schedule::Schedule;
use crate::tag::{Broken, Class, Inspection, Span, Verdict};
use crate::vocabulary::{Block, Geometry, Now, Seq};

/// Blocks looked at after a clean stop: those that would be written next. Had somebody gone on with a newer copy of the
/// state, they would show it.
const PROBED: u64 = 16;

/// Findings of a check whose contents are read again for evidence.
const MAX_EVIDENCE: usize = 256;

/// A check begins anew so often because a read said that the device was gone; then that is what it finds. Each time it
/// waits twice as long, 7 s in all: a driver takes its time to remove a disk that was pulled out, or to find it again.
const MAX_GONE: u32 = 3;
const GONE_FOR_NS: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckStage {
    /// Judging what no witness can change, and hearing those in the window.
    Sift,
    /// Hearing the witnesses in the window, to fix D.
    SurveyWindow,
    /// Hearing all witnesses: there is no ledger to trust.
    SurveyAll,
    /// Where the rest is scanned while running.
    JudgeWindow,
    /// What the sift has left.
    JudgeLeft,
    JudgeAll,
    /// After a clean stop: a few blocks, to see that the ledger is the newest.
    Probe,
    /// Reading again what was found, for its evidence.
    Evidence,
}

/// A block in which a span showed something wrong, to be looked at alone.
#[derive(Clone, Debug)]
pub(super) struct Suspect {
    pub(super) block: Block,
    pub(super) broken: Arc<Broken>,
}

#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) stage: CheckStage,
    pub(super) route: Route,
    /// What spans of this stage are judged by, once there are any.
    judged_by: Option<Arc<Recovered>>,
    /// Blocks whose span could not be read, and suspects that no operation was free for. No span is begun while there
    /// are any, so that there are never more than the spans in flight hold: 8 of 256 blocks of 4 KiB.
    pub(super) alone: VecDeque<Block>,
    pub(super) suspects: VecDeque<Suspect>,
    pub(super) sift: Sift,
    window: (Seq, Seq),
    pub(super) attestation: Attestation,
    pub(super) counts: BlockCounts,
    /// The first of the findings; `causes` has taken in all.
    pub(super) found: Vec<Finding>,
    pub(super) causes: Causes,
    /// Findings that were reported before.
    pub(super) known: u64,
    /// New findings that are not among `found`, as far as they can be remembered.
    unlisted: Vec<FindingKey>,
    evidence: VecDeque<Finding>,
    /// Blocks that a survey could not read, or not at once, or not well.
    pub(super) unsurveyed: BTreeMap<Block, Finding>,
    /// Only the window is judged; the rest is scanned while running.
    window_only: bool,
    /// After a clean stop only a few blocks are judged.
    probe_only: bool,
    pub(super) distrust: Option<String>,
    /// The saved ledger does not hold, and all tags are heard for that.
    pub(super) distrusted: bool,
    again: bool,
    /// Times that it began anew because a read said that the device was gone.
    pub(super) gone: u32,
    /// When it may read, after it began anew for that.
    pub(super) not_before: u64,
    /// It is over, and a trigger is all that is still to come.
    pub(super) concluded: bool,
    pub(super) stop_asked: bool,
    /// What it judges by is what is saved; else the living ledger knew more, and a trigger waits until that is saved.
    pub(super) from_saved: bool,
    /// How it ends when it is stopped early.
    pub(super) outcome: Outcome,
}

impl Check {
    pub(super) fn plan(
        geometry: &Geometry,
        schedule: &Schedule,
        saved: Option<&Checkpoint>,
        settings: &Settings,
    ) -> Self {
        let check_only = matches!(settings.mode, Mode::Check | Mode::Patrol);
        // A promise that changes is judged over the whole region, under the old one, before the new one counts.
        let promise_changes = saved.is_some_and(|saved| saved.promise != settings.promise);
        let window_only = saved.is_some() && settings.on_start == OnStart::Window && !check_only && !promise_changes;
        let whole = check_only || settings.on_start == OnStart::Always || promise_changes;
        let (stage, window) = match saved {
            None => (CheckStage::SurveyAll, (Seq(0), Seq(0))),
            Some(saved) if saved.clean && !whole => {
                (CheckStage::Probe, (saved.durable(), Seq(saved.durable().0 + PROBED.min(schedule.blocks()))))
            }
            Some(saved) => {
                let window = (saved.durable(), saved.reserved);
                // A patrol's first reads are of weeks: it hears the window first.
                let once = !window_only && settings.mode != Mode::Patrol && Sift::has_room_for(window);
                (if once { CheckStage::Sift } else { CheckStage::SurveyWindow }, window)
            }
        };
        let route = match stage {
            CheckStage::SurveyAll | CheckStage::Sift => Route::All { at: 0 },
            _ => Route::window(schedule, window.0, window.1),
        };
        Check {
            stage,
            route,
            judged_by: None,
            alone: VecDeque::new(),
            suspects: VecDeque::new(),
            sift: Sift::new(settings.span_bytes / geometry.block_size),
            window,
            attestation: Attestation::default(),
            counts: BlockCounts { total: schedule.blocks(), ..BlockCounts::default() },
            found: Vec::new(),
            causes: Causes::new(*geometry),
            known: 0,
            unlisted: Vec::new(),
            evidence: VecDeque::new(),
            unsurveyed: BTreeMap::new(),
            window_only,
            probe_only: stage == CheckStage::Probe,
            distrust: None,
            distrusted: false,
            again: false,
            gone: 0,
            not_before: 0,
            concluded: false,
            stop_asked: false,
            from_saved: true,
            outcome: Outcome::Kept,
        }
    }

    pub(super) fn attestation(&self) -> &Attestation {
        &self.attestation
    }

    /// Starts over once what is in flight has ended: the device may have lost its power in between.
    pub(super) fn start_over(&mut self) {
        self.again = true;
    }

    /// Counts a read that says that the device is gone, at this time. False once that has been so too often.
    pub(super) fn may_start_over_for_an_error(&mut self, clock: u64) -> bool {
        // All that was in flight fails together: once for each beginning.
        if !self.again && self.gone < MAX_GONE {
            self.not_before = clock + (GONE_FOR_NS << self.gone);
        }
        self.gone += u32::from(!self.again);
        self.gone <= MAX_GONE
    }

    pub(super) fn progress(&self, schedule: &Schedule) -> f64 {
        self.route.progress(schedule)
    }

    pub(super) fn stage_in_words(&self) -> &'static str {
        match self.stage {
            CheckStage::Sift => "checking the region, and surveying the window",
            CheckStage::SurveyWindow => "surveying the window",
            CheckStage::SurveyAll => "surveying the region",
            CheckStage::JudgeWindow => "checking the window",
            CheckStage::JudgeLeft => "checking what is left",
            CheckStage::JudgeAll => "checking the region",
            CheckStage::Probe => "looking whether the state is current",
            CheckStage::Evidence => "gathering evidence",
        }
    }

    pub(super) fn surveys(&self) -> bool {
        matches!(self.stage, CheckStage::SurveyWindow | CheckStage::SurveyAll)
    }

    /// Every block was judged, something was found, and only evidence is still being read.
    pub(super) fn found_all(&self) -> bool {
        self.stage == CheckStage::Evidence && !self.concluded
    }

    pub(super) fn enter(&mut self, stage: CheckStage, route: Route) {
        self.stage = stage;
        self.route = route;
        self.judged_by = None;
    }

    /// What spans are judged by: it does not change within a stage.
    pub(super) fn judged_by(&mut self, recovered: &Recovered) -> Arc<Recovered> {
        let sifts = self.stage == CheckStage::Sift;
        let by = || Arc::new(if sifts { recovered.while_hearing() } else { recovered.clone() });
        Arc::clone(self.judged_by.get_or_insert_with(by))
    }

    /// Nothing more is begun: it ends, or begins anew.
    pub(super) fn is_interrupted(&self) -> bool {
        self.stop_asked || self.distrust.is_some() || self.again
    }

    /// What is read now is read again.
    pub(super) fn starts_over(&self) -> bool {
        self.again
    }

    /// Blocks from `first` to `last` that a survey could not read.
    pub(super) fn unsurveyed_in(&self, first: Block, last: Block) -> Vec<Block> {
        self.unsurveyed.range(first..=last).map(|(block, _)| *block).collect()
    }

    pub(super) fn remember_unsurveyed(&mut self, finding: Finding) {
        if self.unsurveyed.len() < MAX_LISTED {
            self.unsurveyed.insert(finding.block, finding);
        }
    }

    pub(super) fn is_unreadable_within(&self, span: &Span) -> bool {
        let within = |finding: &Finding| (span.first()..=span.last()).contains(&finding.block);
        self.found.iter().any(|finding| finding.class == Class::Unreadable && within(finding))
    }

    pub(super) fn count_intact(&mut self, blocks: u64) {
        self.counts.intact += blocks;
    }

    pub(super) fn count(&mut self, verdict: &Verdict) {
        let counter = match verdict {
            Verdict::Intact => &mut self.counts.intact,
            Verdict::RolledBack => &mut self.counts.rolled_back,
            Verdict::Interrupted => &mut self.counts.interrupted,
            Verdict::Unwritten => &mut self.counts.unwritten,
            Verdict::Broken(_) => unreachable!("a mismatch is counted once it is diagnosed"),
        };
        *counter += 1;
    }
}

impl Engine {
    pub(super) fn advance_check(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.check.concluded {
            return self.end_concluded(actions);
        }
        loop {
            if !self.check.is_interrupted() && !self.paused {
                self.feed_check(now, actions);
            }
            if self.check.is_interrupted() || !self.paused {
                self.give_up_hung_spans(now, actions);
            }
            let interrupted = self.check.is_interrupted();
            let exhausted = interrupted || self.check_is_exhausted();
            let hung = self.check.stop_asked && self.nothing_but_stuck();
            // What is to be written must not have a read of it in flight; a check writes nothing, and ends without it.
            let read = self.spans.none_active() || self.settings.mode == Mode::Check && self.spans.only_stuck();
            let quiet = self.ops.none_active() && read || hung;
            if !quiet || !exhausted || !matches!(self.phase, Phase::Checking) {
                return;
            }
            if self.check.stop_asked {
                return self.conclude_stopped(now, actions);
            }
            if self.check.again {
                self.plan_anew();
            } else if let Some(why) = self.check.distrust.take() {
                self.distrust_saved(why, actions);
            } else if self.paused || !self.next_stage(now, actions) {
                return;
            }
        }
    }

    /// The same check from its beginning, by the same ledger. What tags have attested to before stands, even where these
    /// are gone now.
    pub(super) fn plan_anew(&mut self) {
        let current = self.recovered.state() == State::Current && !self.check.distrusted;
        let saved = self.recovered.saved().filter(|_| current).cloned();
        if let Some(saved) = saved.clone() {
            self.recovered = Recovered::from_saved(self.schedule, saved);
        }
        let Check { from_saved, gone, not_before, distrusted, .. } = self.check;
        let attestation = std::mem::take(&mut self.check.attestation).once_more();
        let plan = Check::plan(&self.geometry, &self.schedule, saved.as_ref(), &self.settings);
        self.check = Check { from_saved, gone, not_before, distrusted, attestation, ..plan };
    }

    pub(super) fn check_is_exhausted(&self) -> bool {
        match self.check.stage {
            CheckStage::Evidence => self.check.evidence.is_empty(),
            _ => {
                let Check { route, alone, suspects, .. } = &self.check;
                let done = route.is_done(&self.schedule) || self.check.sifted_enough();
                done && alone.is_empty() && suspects.is_empty()
            }
        }
    }

    /// Reads on as far as the queue has room.
    fn feed_check(&mut self, now: Now, actions: &mut Vec<Action>) {
        if now.mono_ns < self.check.not_before {
            return;
        }
        self.start_suspects(now, actions);
        // What they ask for was not there when the others' reads were submitted, and no event need follow.
        self.submit_rereads(actions);
        while self.in_flight() < self.settings.queue_depth {
            let fed = match self.check.stage {
                CheckStage::Evidence => self.feed_evidence(actions),
                _ if !self.check.alone.is_empty() => self.feed_alone(actions),
                _ => self.feed_span(actions),
            };
            if !fed {
                return;
            }
        }
    }

    /// A block whose span could not be read.
    pub(super) fn feed_alone(&mut self, actions: &mut Vec<Action>) -> bool {
        let Some(block) = self.check.alone.front().copied() else { return false };
        let began = self.read_alone(block, actions);
        if began {
            self.check.alone.pop_front();
        }
        began
    }

    fn feed_evidence(&mut self, actions: &mut Vec<Action>) -> bool {
        let Some(block) = self.check.evidence.front().map(|finding| finding.block) else { return false };
        if self.ops.free() == 0 || self.ops.is_held(block) {
            return false;
        }
        let finding = self.check.evidence.pop_front().expect("looked at above");
        let op = self.ops.start(Task::Evidence(Box::new(finding)), block).expect("nobody holds it, and one is free");
        self.ops.enter(op, Stage::Reading);
        actions.push(Action::Read(op, block));
        true
    }

    /// What follows a stage whose blocks are all done. False when the check is over.
    pub(super) fn next_stage(&mut self, now: Now, actions: &mut Vec<Action>) -> bool {
        let (from, to) = self.check.window;
        match self.check.stage {
            CheckStage::Sift => {
                let above = self.check.end_sift(&self.schedule);
                let route = Route::window_above(&self.schedule, from, to, above);
                self.check.enter(CheckStage::SurveyWindow, route);
            }
            CheckStage::SurveyWindow => {
                self.recovered.attest(&self.check.attestation);
                match (self.check.window_only, self.check.sift.above()) {
                    (true, _) => self.check.enter(CheckStage::JudgeWindow, Route::window(&self.schedule, from, to)),
                    // D is fixed: the window is judged with everything else, in one way over the region.
                    (false, None) => self.check.enter(CheckStage::JudgeAll, Route::All { at: 0 }),
                    (false, Some(_)) => self.judge_what_was_heard(now),
                }
            }
            CheckStage::JudgeLeft => {
                let above = self.check.sift.above().expect("the sift's own stage");
                self.check.enter(CheckStage::JudgeAll, Route::All { at: above.0 });
            }
            CheckStage::SurveyAll => {
                let promise = self.recovered.saved().map_or(self.settings.promise, |saved| saved.promise);
                let stale = self.recovered.saved().cloned();
                self.recovered = Recovered::rebuilt(self.schedule, promise, stale, &self.check.attestation);
                self.check.enter(CheckStage::JudgeAll, Route::All { at: 0 });
            }
            CheckStage::JudgeWindow | CheckStage::JudgeAll | CheckStage::Probe => {
                return self.after_judging(now, actions);
            }
            CheckStage::Evidence => {
                // Without contents, and behind the others: the room for evidence is for those that have some.
                for finding in self.check.found.iter().skip(MAX_EVIDENCE) {
                    actions.push(Action::Report(Box::new(finding.clone()), None));
                }
                self.conclude_check(now, true, actions);
                return false;
            }
        }
        true
    }

    fn after_judging(&mut self, now: Now, actions: &mut Vec<Action>) -> bool {
        if self.settings.mode == Mode::Check {
            self.tell_hung_spans(now, actions);
        }
        if self.settings.mode == Mode::Check || self.check.found.is_empty() {
            self.conclude_check(now, true, actions);
            return false;
        }
        self.check.evidence = self.check.found.iter().take(MAX_EVIDENCE).cloned().collect();
        self.check.stage = CheckStage::Evidence;
        true
    }

    /// What was judged by does not hold, the saved ledger or what was heard: everything that was judged by it is forgotten, and
    /// all tags are heard.
    pub(super) fn distrust_saved(&mut self, why: String, actions: &mut Vec<Action>) {
        actions.push(Action::Record(match self.recovered.state() {
            State::Current => Record::StateDistrusted { why },
            State::Stale | State::Missing => Record::HeardAgain { why },
        }));
        let mut check = Check::plan(&self.geometry, &self.schedule, None, &self.settings);
        check.stop_asked = self.check.stop_asked;
        check.from_saved = self.check.from_saved;
        check.gone = self.check.gone;
        check.distrusted = true;
        check.attestation = std::mem::take(&mut self.check.attestation).once_more();
        self.check = check;
    }

    /// The check is not finished. Once every block was judged it is only evidence that is lacking: what was found is told
    /// without, and the run does not end as if nothing were.
    pub(super) fn conclude_stopped(&mut self, now: Now, actions: &mut Vec<Action>) {
        let judged = self.check.found_all();
        if judged {
            let untold = self.ops.evidence_in_flight().chain(&self.check.evidence);
            actions.extend(untold.map(|finding| Action::Report(Box::new(finding.clone()), None)));
        }
        self.conclude_check(now, judged, actions);
    }

    fn conclude_check(&mut self, now: Now, complete: bool, actions: &mut Vec<Action>) {
        let silent = self.check.probe_only && self.check.found.is_empty() && complete;
        // An interrupted check may yet have met a tag that is ahead of the ledger: it accuses nobody.
        let findings = if complete { std::mem::take(&mut self.check.found) } else { Vec::new() };
        let hangs = self.spans.stuck() > 0;
        let whole = complete && !self.check.window_only && !self.check.probe_only && !hangs;
        let broken = complete && self.check.counts.findings > 0;
        let new = if complete { self.check.counts.findings - self.check.known } else { 0 };
        let unlisted = if complete { std::mem::take(&mut self.check.unlisted) } else { Vec::new() };
        let new_keys: Vec<_> = findings.iter().map(Finding::key).chain(unlisted.iter().copied()).collect();
        if !silent {
            self.checked = Some(self.check.counts);
            let verdict = match (broken, whole) {
                (true, _) => Overall::Violated,
                (_, true) => Overall::Intact,
                _ => Overall::Incomplete,
            };
            actions.push(Action::Judged(Box::new(self.judgement(now, verdict, (whole, complete), findings, unlisted))));
        }
        if self.settings.mode == Mode::Check {
            // A read that does not return was reported when it was met.
            self.broken = broken || self.new_findings > 0;
            return self.exit(if complete { Outcome::Kept } else { Outcome::Incomplete }, actions);
        }
        if !complete {
            // Something was met that nobody may be accused of yet: not "all promises kept" either.
            let suspects = self.check.counts.findings > 0 || self.check.has_unsettled();
            let outcome = if suspects && self.check.outcome == Outcome::Kept {
                Outcome::Incomplete
            } else {
                self.check.outcome.clone()
            };
            return self.exit(outcome, actions);
        }
        self.remember_all(&new_keys);
        if new > 0 {
            self.new_findings += new;
            self.act_on_finding();
            if self.settings.on_finding != OnFinding::Continue {
                // Nothing is written any more and nothing needs saving: the state stays as it was found.
                self.check.concluded = true;
                return self.end_concluded(actions);
            }
        }
        if self.check.stop_asked {
            return self.exit(self.check.outcome.clone(), actions);
        }
        self.start_run(whole);
    }

    fn end_concluded(&mut self, actions: &mut Vec<Action>) {
        if self.check.stop_asked {
            self.exit(Outcome::Broken, actions);
        }
    }

    /// From judging to writing: P = D, in a new epoch.
    fn start_run(&mut self, judged_all: bool) {
        let ledger = self.recovered.restart(&self.check.attestation, judged_all);
        self.inherited = self.inherited.max(ledger.reserved());
        let more = self.settings.passes.map(|passes| passes.saturating_mul(self.schedule.blocks()));
        self.end = self.end.or(more.map(|writes| Seq(ledger.durable().0.saturating_add(writes))));
        self.ledger = Some(ledger);
        if self.check.window_only {
            self.scan = Some(Walk::All { at: 0 });
        }
        self.flush_before_epoch = self.settings.promise > self.recovered.promise();
        let why = std::mem::replace(&mut self.why_epoch, "start".to_owned());
        self.open_epoch(why);
    }

    pub(super) fn judgement(
        &self,
        now: Now,
        verdict: Overall,
        (whole, complete): (bool, bool),
        findings: Vec<Finding>,
        unlisted: Vec<FindingKey>,
    ) -> Judgement {
        let current = self.recovered.state() == State::Current;
        let saved = self.recovered.saved().filter(|_| current);
        let known = saved.map(|saved| saved.window.end()).or(self.check.attestation.highest_seq().map(Seq::next));
        // What the disk attests to was issued, whether the saved window knew of it or not.
        let issued = known.max(Some(self.recovered.durable()));
        Judgement {
            verdict,
            promise: self.recovered.promise(),
            state: self.recovered.state(),
            proved_by: self.recovered.proved_by(),
            frontiers: Frontiers {
                durable: Some(self.recovered.durable()),
                issued,
                reserved: self.recovered.reserved(),
            },
            blocks: self.check.counts,
            bytes: self.bytes,
            elapsed_s: (now.mono_ns - self.started.unwrap_or(now.mono_ns)) as f64 / 1e9,
            // An interrupted check accuses nobody, and has nothing to say about what it met.
            known: if complete { self.check.known } else { 0 },
            classes: self.check.causes.by_class().clone().into_iter().filter(|_| complete).collect(),
            causes: match complete {
                true => self.check.causes.conclude(Some(&self.check.counts).filter(|_| whole)),
                false => CauseList::default(),
            },
            findings,
            unlisted,
        }
    }

    /// A block of the check in which nothing is wrong.
    pub(super) fn judged(&mut self, op: OpId, inspection: &Inspection) {
        if !self.readable_at_last(self.ops.get(op).block) {
            self.check.count(&inspection.verdict);
        }
        self.ops.finish(op);
    }

    /// Whether a survey could not read a block that the judgement has read well: that is told with it.
    pub(super) fn readable_at_last(&mut self, block: Block) -> bool {
        let finding = self.check.unsurveyed.remove(&block);
        let unread = finding.is_some();
        if let Some(finding) = finding {
            self.found_in_check(Finding { persistence: Persistence::Transient, ..finding });
        }
        unread
    }

    /// A block of the check with a broken promise, diagnosed.
    pub(super) fn found_in_check(&mut self, mut finding: Finding) {
        if self.patrols() {
            return self.keep_untold(finding);
        }
        // Remembered once it is told: a check that starts over from the tags finds it again.
        finding.known = self.known.contains(&finding.key());
        self.check.counts.findings += 1;
        self.check.known += u64::from(finding.known);
        self.check.causes.add(&finding);
        if self.check.found.len() < MAX_LISTED {
            self.check.found.push(finding);
        } else if !finding.known && self.check.unlisted.len() < MAX_KNOWN {
            self.check.unlisted.push(finding.key());
        }
    }
}
