//! The patrol: a check that goes round and round at a pace, tells what it finds when it finds it, and remembers where it
//! is. It writes nothing to the target and saves no ledger, so that P, D, R and the epochs stay what they were.
//!
//! It begins as any check does: the window is heard first, so that what a cut took lawfully is no finding. What follows
//! is judged by address, from where the last patrol stopped.
//!
//! A check tells its findings at the end, in case some tag shows until then that the ledger is older than the disk. A
//! patrol of two weeks cannot wait: its position would pass over what a kill makes it forget. It need not wait either. An
//! older ledger promises less, never something else: what was written since it names an epoch or a checkpoint that the
//! ledger has not heard of, in the very block that was written. A block that shows no such tag and breaks what the older
//! ledger knows to be promised breaks it all the same. Where a block does show one nobody is accused, all tags are heard,
//! and the pass begins again.
//!
//! The position is taken only in moments when all that was begun is judged, and told where there is something to tell:
//! what stands below it is dealt with. After a loss of power under a living patrol it goes back to the first block, unless
//! writing had ended in a clean stop: what was judged may have been read from a cache.

use std::collections::VecDeque;

use super::action::{Action, Outcome, Record};
use super::check::CheckStage;
use super::deadline::HURRIED_NS;
use super::engine::{Engine, Phase};
use super::event::{Fault, OpId};
use super::patrol_status::PatrolStatus;
use super::route::Route;
use super::settings::{Mode, Settings};
use crate::ledger::{Checkpoint, JudgedBy, Position, State};
use crate::report::causes::Causes;
use crate::report::{BlockCounts, Finding, MAX_LISTED, Overall};
use crate::schedule::Pacer;
use crate::vocabulary::{Block, Geometry, Now, RunId};

/// What a kill makes a patrol read again at the most: two small fsyncs each so often are nothing.
const SAVE_EVERY_NS: u64 = 10_000_000_000;

/// Failed saves of the position in a row before the patrol ends.
const MAX_FAILURES: u32 = 4;

/// Where a patrol stands.
#[derive(Clone, Debug)]
pub(super) struct Patrol {
    /// As it is saved, or is to be.
    position: Position,
    pacer: Pacer,
    /// The pacer knows when the pass began.
    begun: bool,
    /// The first block judged since the survey. The rest of the pass was judged before.
    from: Block,
    /// Blocks below that, judged good earlier in the pass, in which the survey found something.
    below: u64,
    /// Passes until it ends; `None` for no end.
    left: Option<u64>,
    /// Why it stands there.
    why: &'static str,
    /// The position has changed since it was handed over.
    unsaved: bool,
    /// It went back to the first block, and what is saved does not: nothing is judged by it until that is durable. A kill
    /// would have the next patrol go on where this one no longer stands.
    goes_back: bool,
    /// A save is in flight, since then.
    saving: Option<u64>,
    saved_at: u64,
    failures: u32,
    /// Met where nothing can be told.
    untold: VecDeque<Finding>,
    /// Something was read that no verdict has spoken of.
    unspoken: bool,
    /// All that is left is to save the position.
    ending: Option<Outcome>,
}

impl Patrol {
    pub(super) fn plan(
        geometry: &Geometry,
        run: RunId,
        saved: Option<&Checkpoint>,
        position: Option<Position>,
        settings: &Settings,
    ) -> Self {
        let (judged_by, blocks) = (JudgedBy::of(saved), geometry.blocks());
        let first = Position::first(run, judged_by, blocks);
        let ours = position.filter(|position| position.run == run && position.counts.total == blocks);
        let (position, why) = match ours {
            None => (first, "none was saved before"),
            Some(position) if position.judged_by == judged_by && position.next > Block(0) => {
                (position, "it stopped there")
            }
            Some(position) if position.judged_by == judged_by => (position, "the one before was ended"),
            // What was judged in this pass may have been written over.
            Some(Position { pass, ended_wall_ns, .. }) => {
                (Position { pass, ended_wall_ns, ..first }, "the target was written to since")
            }
        };
        let left = settings.passes.or((!settings.patrol.is_paced()).then_some(1));
        Patrol {
            position,
            pacer: Pacer::new(settings.patrol, blocks, geometry.block_size, 0, 0),
            begun: false,
            from: Block(0),
            below: 0,
            left,
            why,
            unsaved: false,
            goes_back: false,
            saving: None,
            saved_at: 0,
            failures: 0,
            untold: VecDeque::new(),
            unspoken: true,
            ending: None,
        }
    }

    /// The ledger that the check begins with: none where it is known to be stale.
    pub(super) fn believes<'a>(&self, saved: Option<&'a Checkpoint>) -> Option<&'a Checkpoint> {
        saved.filter(|_| !self.position.stale)
    }

    pub(super) fn change_pace(&mut self, settings: &Settings) {
        self.pacer.change(settings.patrol);
    }

    /// When a save of the position that is in flight counts as stuck.
    fn save_deadline(&self, deadline_ns: u64, hurried: bool) -> Option<u64> {
        let patience = if hurried { deadline_ns.min(HURRIED_NS) } else { deadline_ns };
        self.saving.map(|since| since.saturating_add(patience))
    }

    pub(super) fn stuck_save_since(&self, clock: u64, deadline_ns: u64) -> Option<u64> {
        self.saving.filter(|since| clock.saturating_sub(*since) >= deadline_ns)
    }

    pub(super) fn pass(&self) -> u64 {
        self.position.pass
    }

    /// `most_blocks`: of one read, by which it may be ahead and yet on time.
    pub(super) fn status(&self, clock: u64, next: u64, most_blocks: u32) -> PatrolStatus {
        let lag = |next| self.pacer.lag_ns(clock, next);
        let at_most_on_time = lag(next.saturating_sub(u64::from(most_blocks))).map(|lag| lag.min(0));
        let Position { began_wall_ns, ended_wall_ns, .. } = self.position;
        let seconds = |ns: i128| ns as f64 / 1e9;
        PatrolStatus {
            next,
            began_wall_ns,
            ended_wall_ns: (ended_wall_ns > 0).then_some(ended_wall_ns),
            rate: self.pacer.pace().rate,
            pass_time_s: self.pacer.pace().pass_ns.map(|ns| seconds(ns.into())),
            lag_s: lag(next).max(at_most_on_time).filter(|_| self.begun).map(seconds),
        }
    }
}

impl Engine {
    pub(super) fn patrols(&self) -> bool {
        self.settings.mode == Mode::Patrol
    }

    pub(super) fn patrol_judges(&self) -> bool {
        self.patrols() && self.check.stage == CheckStage::JudgeAll
    }

    /// The next block that it will begin with.
    pub(super) fn patrol_at(&self) -> u64 {
        match self.check.route {
            Route::All { at } if self.patrol_judges() => at,
            _ => self.patrol.position.next.0,
        }
    }

    pub(super) fn advance_patrol(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.check.starts_over() && self.may_have_lost_what_it_read() {
            self.go_back(now, actions);
        }
        loop {
            self.tell_untold(actions);
            if self.patrol.ending.is_some() {
                return self.advance_patrols_end(now, actions);
            }
            let waits = self.feed_patrol(now, actions);
            let quiet = self.ops.none_active() && self.spans.none_active();
            let hung = !quiet && self.nothing_but_stuck();
            if !quiet && !hung || !matches!(self.phase, Phase::Checking) {
                return;
            }
            let anew = self.check.starts_over() || self.check.distrust.is_some();
            let exhausted = self.check_is_exhausted();
            if quiet && !anew {
                self.note_position(now, actions);
            }
            // Wide reads that hang hold nothing up: their blocks were read alone.
            if self.patrol_judges() && exhausted && !anew && self.ops.none_active() {
                self.end_pass(now, actions);
            } else if self.check.stop_asked {
                self.end_patrol(now, actions);
            } else if hung && !waits {
                if self.tell_hung_spans(now, actions) {
                    self.act_on_finding();
                }
                self.stop(Outcome::Incomplete);
            } else if !quiet {
                return;
            } else if self.check.starts_over() {
                // From where the position stands: what was judged since is judged again.
                self.plan_anew();
                self.patrol.why = "the device was reset, or may have lost its power";
            } else if let Some(why) = self.check.distrust.take() {
                let current = self.recovered.state() == State::Current;
                self.distrust_saved(why, actions);
                self.patrol.position.stale |= current;
                self.go_back(now, actions);
                self.patrol.why = match current {
                    true => "the saved ledger is not to be trusted",
                    false => "not all tags had been heard",
                };
            } else if exhausted && !self.paused && !self.patrol_judges() && !self.patrol.goes_back {
                self.next_stage(now, actions);
                if self.patrol_judges() {
                    self.begin_judging(now, actions);
                }
            } else {
                return;
            }
        }
    }

    /// Reads on, as far as queue and pace have room. True where more is to come without any of that returning.
    fn feed_patrol(&mut self, now: Now, actions: &mut Vec<Action>) -> bool {
        if self.paused && !self.check.stop_asked {
            return true;
        }
        // What was met is looked at before it stops, unless there is more to it than that.
        let stops = self.check.stop_asked && self.check.outcome == Outcome::Kept && !self.check.starts_over();
        if self.check.is_interrupted() && !stops {
            return false;
        }
        if now.mono_ns < self.check.not_before {
            return true;
        }
        self.start_suspects(now, actions);
        self.submit_rereads(actions);
        while self.in_flight() < self.settings.queue_depth {
            // A stop does not wait for these: on a disk that fails there may be hundreds, at seconds each. They stand above the
            // position.
            if !stops && !self.check.alone.is_empty() {
                if !self.feed_alone(actions) {
                    return false;
                }
                continue;
            }
            if stops || self.check.route.is_done(&self.schedule) {
                return false;
            }
            if self.awaits_position(now) && !self.nothing_but_stuck() {
                return true;
            }
            if self.patrol_due() > now.mono_ns {
                return true;
            }
            if !self.feed_span(actions) {
                return false;
            }
            let blocks = match actions.last() {
                Some(Action::ReadSpan(_, span)) => span.count(),
                _ => 1,
            };
            self.patrol.unspoken = true;
            self.patrol.pacer.reads(now.mono_ns, u64::from(blocks) * self.block_bytes());
        }
        false
    }

    /// When it may read on.
    fn patrol_due(&self) -> u64 {
        match self.patrol_judges() {
            true => self.patrol.pacer.due(self.patrol_at()),
            false => self.patrol.pacer.due_by_rate(),
        }
    }

    /// The position is to be saved, and for that all that was begun must be judged.
    fn awaits_position(&self, now: Now) -> bool {
        let Patrol { position, saving, saved_at, .. } = &self.patrol;
        self.patrol_judges()
            && saving.is_none()
            && now.mono_ns >= saved_at.saturating_add(SAVE_EVERY_NS)
            && self.patrol_at() != position.next.0
            && !(self.ops.none_active() && self.spans.none_active())
    }

    /// When the patrol wants to be stepped although nothing happened.
    pub(super) fn patrol_wake(&self) -> Option<u64> {
        if !self.patrols() || !matches!(self.phase, Phase::Checking) {
            return None;
        }
        let Patrol { saved_at, unsaved, saving, .. } = &self.patrol;
        let deadline = self.patrol.save_deadline(self.settings.deadline_ns, self.hurried);
        let moved = *unsaved || self.patrol_judges() && self.patrol_at() != self.patrol.position.next.0;
        let save = (moved && saving.is_none()).then_some(saved_at.saturating_add(SAVE_EVERY_NS));
        let reads = !self.paused && !self.check.is_interrupted() && !self.check.route.is_done(&self.schedule);
        let due = (reads && self.patrol.ending.is_none()).then(|| self.patrol_due());
        let later = |at: &u64| *at > self.ops.clock;
        [deadline, save, due].into_iter().flatten().filter(later).min()
    }

    /// All that was begun is judged.
    fn note_position(&mut self, now: Now, actions: &mut Vec<Action>) {
        let dealt_with = self.check.suspects.is_empty() && self.check.alone.is_empty();
        if self.patrol_judges() && dealt_with && self.patrol.position.next.0 != self.patrol_at() {
            self.settle_below();
            let (next, counts) = (self.patrol_at(), self.check.counts);
            debug_assert_eq!(sum(&counts), next, "each block below is counted once: {counts:?}");
            self.patrol.position = Position { next: Block(next), counts, ..self.patrol.position };
            self.patrol.unsaved = true;
            // It came further: the device is there, and what it was weeks ago is no part of the next time.
            self.check.gone = 0;
        }
        if now.mono_ns >= self.patrol.saved_at.saturating_add(SAVE_EVERY_NS) {
            self.save_position(now, actions);
        }
    }

    /// Where writing did not end in a clean stop, what was judged before a reset may have been read from a cache that is
    /// gone.
    fn may_have_lost_what_it_read(&self) -> bool {
        let ended_cleanly = self.recovered.saved().is_some_and(|saved| saved.clean);
        !ended_cleanly && self.patrol.position.next > Block(0)
    }

    /// The pass begins again.
    fn go_back(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.patrol.position = self.patrol.position.again();
        (self.patrol.unsaved, self.patrol.goes_back) = (true, true);
        self.save_position(now, actions);
    }

    fn save_position(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.patrol.unsaved && self.patrol.saving.is_none() {
            (self.patrol.unsaved, self.patrol.saving) = (false, Some(now.mono_ns));
            actions.push(Action::SavePosition(Box::new(self.patrol.position)));
        }
    }

    pub(super) fn position_saved(&mut self, now: Now, result: &Result<(), Fault>, actions: &mut Vec<Action>) {
        let Patrol { saving, saved_at, failures, unsaved, goes_back, ending, .. } = &mut self.patrol;
        assert!(saving.take().is_some(), "the position was being saved");
        *saved_at = now.mono_ns;
        let Err(fault) = result else {
            *failures = 0;
            // What was saved is as it was before, where it went back in the meantime.
            *goes_back &= *unsaved;
            if *goes_back {
                self.save_position(now, actions);
            }
            return;
        };
        let why = fault.message.clone();
        actions.push(Action::Record(Record::PositionNotSaved { why: why.clone() }));
        (*failures, *unsaved) = (*failures + 1, true);
        if let Some(ending) = ending {
            (*ending, *unsaved) = (Outcome::StateNotSaved(why), false);
        } else if *failures >= MAX_FAILURES {
            self.stop(Outcome::StateNotSaved(why));
        }
    }

    /// From hearing to judging, at the position.
    fn begin_judging(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.recovered.judge_what_is_long_past();
        let Position { next, counts, .. } = self.patrol.position;
        (self.patrol.from, self.patrol.below) = (next, 0);
        self.check.route = Route::All { at: next.0 };
        self.check.counts = counts;
        self.check.known = counts.findings;
        if next > Block(0) {
            // They were judged before, and what the survey has met since is told with them.
            let unread = self.check.unsurveyed_in(Block(0), Block(next.0 - 1));
            self.check.alone.extend(unread);
        }
        if !self.patrol.begun {
            self.patrol.begun = true;
            self.begin_schedule(now);
        }
        self.tell_beginning(actions);
    }

    /// Where the schedule stands, by the clock on the wall: it has run on while nobody was there.
    fn begin_schedule(&mut self, now: Now) {
        let Position { began_wall_ns, next, .. } = self.patrol.position;
        let blocks = self.schedule.blocks();
        let elapsed = match began_wall_ns {
            0 => 0,
            // The clock went back: nothing says how long ago that was. The pass is on time.
            began if began > now.wall_ns => {
                let pass_ns = u128::from(self.settings.patrol.pass_ns.unwrap_or(0));
                u64::try_from(pass_ns * u128::from(next.0) / u128::from(blocks)).expect("a part of it")
            }
            began => now.wall_ns - began,
        };
        self.patrol.pacer = Pacer::new(self.settings.patrol, blocks, self.geometry.block_size, now.mono_ns, elapsed);
        // 0 stands for a pass that has not begun.
        self.patrol.position.began_wall_ns = now.wall_ns.saturating_sub(elapsed).max(1);
    }

    fn tell_beginning(&self, actions: &mut Vec<Action>) {
        let Position { pass, next, .. } = self.patrol.position;
        let why = self.patrol.why.to_owned();
        actions.push(Action::Record(Record::PatrolBegan { pass, from: next, blocks: self.schedule.blocks(), why }));
    }

    /// A block is looked at and something is wrong with it.
    pub(super) fn found_in_patrol(&mut self, finding: Finding, op: Option<OpId>, actions: &mut Vec<Action>) {
        // It is judged again: by the tags, or because the device went away in between.
        if self.check.starts_over() || self.check.distrust.is_some() {
            return;
        }
        let mut finding = finding;
        // Told, and not once more when a later pass reads it well.
        self.check.unsurveyed.remove(&finding.block);
        finding.known = !self.known.remember(finding.key());
        let known = finding.known;
        if finding.block < self.patrol.from {
            self.patrol.below += 1;
        } else {
            self.check.counts.findings += 1;
        }
        self.check.known += u64::from(known);
        self.check.causes.add(&finding);
        if self.check.found.len() < MAX_LISTED {
            self.check.found.push(finding.clone());
        }
        actions.push(Action::Report(Box::new(finding), op));
        if !known {
            self.new_findings += 1;
            self.act_on_finding();
        }
    }

    /// To be told in the next step, without contents.
    pub(super) fn keep_untold(&mut self, finding: Finding) {
        // One for each block that the survey could not read, and remembers.
        assert!(self.patrol.untold.len() < MAX_LISTED, "they are told in each step");
        self.patrol.untold.push_back(finding);
    }

    fn tell_untold(&mut self, actions: &mut Vec<Action>) {
        while let Some(finding) = self.patrol.untold.pop_front() {
            self.found_in_patrol(finding, None, actions);
        }
    }

    /// Every block was judged in this pass.
    fn end_pass(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.tell_hung_spans(now, actions) {
            self.act_on_finding();
        }
        let whole = self.spans.stuck() == 0;
        let nothing = self.proves_nothing();
        self.speak(now, whole && !nothing, actions);
        let Position { pass, began_wall_ns, .. } = self.patrol.position;
        // It is damaged, whoever was told before, as a check says each time.
        self.broken |= self.check.counts.findings > 0;
        let blocks = self.check.counts;
        actions.push(Action::Record(Record::PassPatrolled { pass, blocks, began_wall_ns }));
        self.patrol.position = self.patrol.position.next_pass(now.wall_ns);
        self.patrol.unsaved = true;
        self.save_position(now, actions);
        self.check.enter(CheckStage::JudgeAll, Route::All { at: 0 });
        self.check.counts = self.patrol.position.counts;
        (self.patrol.from, self.patrol.below, self.check.known) = (Block(0), 0, 0);
        self.check.found.clear();
        self.check.unsurveyed.clear();
        self.check.causes = Causes::new(self.geometry);
        self.patrol.left = self.patrol.left.map(|left| left.saturating_sub(1));
        if self.check.stop_asked {
            return;
        }
        if self.patrol.left == Some(0) {
            return self.stop(if whole && !nothing { Outcome::Kept } else { Outcome::Incomplete });
        }
        self.patrol.pacer.begin_next(now.mono_ns);
        let ago = self.patrol.pacer.elapsed_ns(now.mono_ns);
        let began = u64::try_from((i128::from(now.wall_ns) - ago).max(1)).unwrap_or(u64::MAX);
        self.patrol.position.began_wall_ns = began;
        self.patrol.why = "the one before was ended";
        self.tell_beginning(actions);
    }

    /// As in a check: no ledger, and no block of this run. The target is fresh, or everything is gone.
    fn proves_nothing(&self) -> bool {
        let counts = &self.check.counts;
        self.recovered.state() == State::Missing && counts.unwritten == counts.total
    }

    /// What the survey found in blocks that were judged good before is worse: counted once, as what it is.
    fn settle_below(&mut self) {
        let BlockCounts { intact, findings, .. } = self.check.counts;
        let below = std::mem::take(&mut self.patrol.below).min(intact);
        self.check.counts = BlockCounts { intact: intact - below, findings: findings + below, ..self.check.counts };
    }

    /// The verdict over a pass, or over what there is of it.
    fn speak(&mut self, now: Now, whole: bool, actions: &mut Vec<Action>) {
        self.patrol.unspoken = false;
        self.settle_below();
        let verdict = match (self.check.counts.findings, whole) {
            (1.., _) => Overall::Violated,
            (0, true) => Overall::Intact,
            (0, false) => Overall::Incomplete,
        };
        self.checked = Some(self.check.counts);
        let found = std::mem::take(&mut self.check.found);
        actions.push(Action::Judged(Box::new(self.judgement(now, verdict, (whole, true), found, Vec::new()))));
    }

    /// It was asked to stop, or can't go on.
    fn end_patrol(&mut self, now: Now, actions: &mut Vec<Action>) {
        let unseen = !self.check.suspects.is_empty() || !self.check.alone.is_empty();
        let outcome = match self.check.outcome.clone() {
            // Something was met that nobody may be accused of yet.
            Outcome::Kept if unseen => Outcome::Incomplete,
            outcome => outcome,
        };
        self.note_undrained(actions);
        if self.patrol.unspoken {
            self.speak(now, false, actions);
        }
        self.patrol.ending = Some(outcome);
    }

    /// Ends without waiting for anything. The position that was saved last counts.
    pub(super) fn end_patrol_now(&mut self, now: Now, actions: &mut Vec<Action>) {
        let outcome = self.patrol.ending.clone().unwrap_or(Outcome::Kept);
        if self.patrol.unspoken {
            self.speak(now, false, actions);
        }
        self.exit(outcome, actions);
    }

    fn advance_patrols_end(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.save_position(now, actions);
        match self.patrol.save_deadline(self.settings.deadline_ns, self.hurried) {
            None => {
                let outcome = self.patrol.ending.clone().expect("it ends");
                self.exit(outcome, actions);
            }
            Some(deadline) if now.mono_ns >= deadline => {
                let why = "the save of the patrol's position has not returned: the state directory does not answer";
                self.exit(Outcome::StateNotSaved(why.to_owned()), actions);
            }
            Some(_) => {}
        }
    }
}

fn sum(counts: &BlockCounts) -> u64 {
    let BlockCounts { intact, rolled_back, interrupted, unwritten, findings, .. } = counts;
    intact + rolled_back + interrupted + unwritten + findings
}
