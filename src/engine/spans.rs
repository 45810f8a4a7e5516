//! Reads of a check that take many adjacent blocks at once.
//!
//! A span is judged only from bytes that its read transferred. Where that fails or does not return, nothing of it was
//! seen and nobody is accused: each of its blocks is read again alone, as all blocks were before there were spans, and
//! what is wrong with one alone is told of that one. A block in which a span shows something wrong is read again alone
//! too; that it was in a span is its first sight.
//!
//! Spans hold no block: they are read while nothing is written, and two reads of one block get along.

use std::sync::Arc;

use super::action::{Action, Outcome, Record};
use super::check::Suspect;
use super::engine::{Engine, Phase};
use super::event::{Fault, SpanId};
use super::operations::{Stage, Task};
use super::settings::Mode;
use super::triage::Sighting;
use crate::tag::{Claims, Inspections, Span, Verdict};
use crate::vocabulary::{Block, Now};

/// Spans being read or judged at once: 8 of 1 MiB are 8 MiB, about 0.6 ms of a disk of 14 GB/s, which is longer than
/// it takes to judge one.
const MAX_SPANS: u32 = 8;

/// Wide reads that failed and are told one by one; from there on the 512th, the 1024th, … of the run is.
const TOLD_ONE_BY_ONE: u64 = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpanStage {
    Reading,
    Judging,
}

#[derive(Clone, Debug)]
struct Wide {
    span: Span,
    stage: SpanStage,
    /// When its read was handed over, in monotonic nanoseconds.
    since: u64,
    /// Past its deadline: told, and its blocks are read alone. What it reads is not judged any more.
    stuck: bool,
    /// That it has not returned, although nothing else is left to be done, was told too.
    given_up: bool,
}

/// All spans.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    all: Vec<Option<Wide>>,
    /// Blocks that one may take.
    most_blocks: u32,
    reading: u32,
    /// Wide reads that have failed since the start.
    failed: u64,
}

impl Spans {
    pub(super) fn new(bytes: u32, block_size: u32, queue_depth: u32) -> Self {
        let most_blocks = (bytes / block_size).max(1);
        // As many being judged as are read, where the queue is short.
        let count = if most_blocks > 1 { MAX_SPANS.min(queue_depth.saturating_mul(2)) } else { 0 };
        Spans { all: vec![None; count as usize], most_blocks, reading: 0, failed: 0 }
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.all.len()).expect("bounded")
    }

    /// Blocks of the widest read that can be had now: where all spans hang, one.
    pub(super) fn most_blocks(&self) -> u32 {
        if self.all.iter().all(|wide| wide.as_ref().is_some_and(|wide| wide.stuck)) { 1 } else { self.most_blocks }
    }

    pub(super) fn reading(&self) -> u32 {
        self.reading
    }

    pub(super) fn none_active(&self) -> bool {
        self.all.iter().all(Option::is_none)
    }

    /// Nothing moves: what is there hangs.
    pub(super) fn only_stuck(&self) -> bool {
        self.all.iter().flatten().all(|wide| wide.stuck)
    }

    pub(super) fn stuck(&self) -> u32 {
        u32::try_from(self.all.iter().flatten().filter(|wide| wide.stuck).count()).expect("bounded")
    }

    /// The one that has been stuck for longest, and since when.
    pub(super) fn oldest_stuck(&self) -> Option<(u64, &Span)> {
        let stuck = self.all.iter().flatten().filter(|wide| wide.stuck);
        stuck.min_by_key(|wide| wide.since).map(|wide| (wide.since, &wide.span))
    }

    /// Moves the time at which everything was handed over.
    pub(super) fn postpone(&mut self, by_ns: u64) {
        self.all.iter_mut().flatten().filter(|wide| !wide.stuck).for_each(|wide| wide.since += by_ns);
    }

    fn begin(&mut self, span: Span, clock: u64) -> Option<SpanId> {
        let free = self.all.iter().position(Option::is_none)?;
        self.all[free] = Some(Wide { span, stage: SpanStage::Reading, since: clock, stuck: false, given_up: false });
        self.reading += 1;
        Some(SpanId(u32::try_from(free).expect("bounded")))
    }

    fn get_mut(&mut self, id: SpanId) -> &mut Wide {
        self.all[id.0 as usize].as_mut().unwrap_or_else(|| panic!("{id:?} is free"))
    }

    /// Its read has ended.
    fn read(&mut self, id: SpanId) -> Wide {
        let wide = self.get_mut(id);
        assert_eq!(wide.stage, SpanStage::Reading, "{id:?} was reading");
        wide.stage = SpanStage::Judging;
        let wide = wide.clone();
        self.reading -= 1;
        wide
    }

    /// Gives it back once nothing more is to come of it.
    fn finish(&mut self, id: SpanId) -> Span {
        let wide = self.all[id.0 as usize].take().unwrap_or_else(|| panic!("{id:?} is free"));
        assert_eq!(wide.stage, SpanStage::Judging, "{id:?} was being judged");
        wide.span
    }
}

impl Engine {
    /// Hands the next span over; false where that must wait.
    pub(super) fn feed_span(&mut self, actions: &mut Vec<Action>) -> bool {
        // What was seen so far is looked at first, so that what waits for that is bounded.
        if !self.check.suspects.is_empty() || self.check.sifted_enough() {
            return false;
        }
        let most = self.spans.most_blocks();
        let Some(ahead) = self.check.route.ahead(&self.schedule, most, self.geometry.block_size) else { return false };
        // A triage reads there, to see whether the block lacks contents that turned up elsewhere.
        let held = (ahead.first().0..=ahead.last().0).map(Block).find(|block| self.ops.is_held(*block));
        let Some(span) = held.map_or(Some(ahead.clone()), |held| ahead.before(held)) else { return false };
        if span.count() == 1 {
            let began = self.read_alone(span.first(), actions);
            if began {
                self.check.route.pass(&self.schedule, &span);
            }
            return began;
        }
        let Some(id) = self.spans.begin(span.clone(), self.ops.clock) else { return false };
        self.check.route.pass(&self.schedule, &span);
        actions.push(Action::ReadSpan(id, span));
        true
    }

    /// Reads one block into an operation of its own; false where there is none, or somebody holds the block.
    pub(super) fn read_alone(&mut self, block: Block, actions: &mut Vec<Action>) -> bool {
        let heard = self.check.surveys() || self.is_heard_in_the_sift(block);
        let task = if heard { Task::Survey } else { Task::Judge };
        let Some(op) = self.ops.start(task, block) else { return false };
        self.ops.enter(op, Stage::Reading);
        actions.push(Action::Read(op, block));
        true
    }

    /// A wide read has ended. Only bytes that were read are judged.
    pub(super) fn span_read(&mut self, now: Now, id: SpanId, result: &Result<(), Fault>, actions: &mut Vec<Action>) {
        assert!(matches!(self.phase, Phase::Checking), "only a check reads widely");
        let Wide { span, stuck, since, .. } = self.spans.read(id);
        if stuck {
            // Its blocks were read alone, or are about to be.
            self.spans.finish(id);
            let (block, blocks) = (span.first(), Some(span.count()));
            return actions.push(self.returned("read", block, blocks, now.mono_ns.saturating_sub(since)));
        }
        let Err(fault) = result else {
            return actions.push(match self.check.surveys() {
                true => Action::SurveySpan(id),
                false => Action::InspectSpan(id, self.check.judged_by(&self.recovered)),
            });
        };
        self.spans.finish(id);
        self.failed_with_the_device(fault, actions);
        // What failed because the device went away says nothing; the check that follows reads it again.
        if !self.check.starts_over() {
            self.read_each_alone(&span, fault.message.clone(), actions);
        }
    }

    /// Nothing of the span was seen.
    fn read_each_alone(&mut self, span: &Span, why: String, actions: &mut Vec<Action>) {
        self.check.alone.extend(span.blocks());
        self.spans.failed += 1;
        let nth = self.spans.failed;
        if nth <= TOLD_ONE_BY_ONE || nth.is_power_of_two() {
            let (block, blocks, offset) = (span.first(), span.count(), self.geometry.offset_of(span.first()));
            actions.push(Action::Record(Record::ReadFailedBeside { block, blocks, offset, why, nth }));
        }
    }

    /// The blocks of a span are judged.
    pub(super) fn span_inspected(
        &mut self,
        now: Now,
        id: SpanId,
        inspections: &Inspections,
        actions: &mut Vec<Action>,
    ) {
        let span = self.spans.finish(id);
        let told = u64::from(inspections.intact) + inspections.others.len() as u64;
        let heard = inspections.heard.len() as u64;
        assert_eq!(told + heard, u64::from(span.asked()), "each block of {id:?} is judged, or heard");
        self.bytes.verified += self.block_bytes() * told;
        let mut intact = u64::from(inspections.intact);
        for block in self.check.unsurveyed_in(span.first(), span.last()) {
            if inspections.others.binary_search_by_key(&block, |(block, _)| *block).is_err()
                && self.readable_at_last(block)
            {
                intact -= 1;
            }
        }
        self.check.count_intact(intact);
        for (block, inspection) in &inspections.others {
            for (claim, _) in inspection.claims.iter() {
                self.mistrust_if_outrun(*block, claim);
            }
            match &inspection.verdict {
                Verdict::Broken(broken) => self.suspect(Suspect { block: *block, broken: Arc::clone(broken) }),
                _ if self.readable_at_last(*block) => {}
                verdict => self.check.count(verdict),
            }
        }
        inspections.heard.iter().for_each(|(block, heard)| self.sifted(*block, heard));
        self.start_suspects(now, actions);
    }

    /// The witnesses in a span were heard.
    pub(super) fn span_surveyed(&mut self, id: SpanId, claims: &[(Block, Claims)]) {
        let span = self.spans.finish(id);
        assert_eq!(claims.len(), span.asked() as usize, "each block of {id:?} is heard");
        claims.iter().for_each(|(block, claims)| self.hear(*block, claims));
    }

    /// Blocks in which a span showed something wrong are looked at alone, as far as operations are free. One that is
    /// held waits: a triage reads it to see whether it lacks contents that turned up elsewhere, and ends of itself.
    pub(super) fn start_suspects(&mut self, now: Now, actions: &mut Vec<Action>) {
        let mut waiting = self.check.suspects.len();
        while waiting > 0 && self.ops.free() > 0 {
            waiting -= 1;
            let Some(suspect) = self.check.suspects.pop_front() else { return };
            match self.ops.start(Task::Judge, suspect.block) {
                Some(op) => self.sighted(now, op, Sighting::Broken(suspect.broken), actions),
                None => self.check.suspects.push_back(suspect),
            }
        }
    }

    /// Tells of wide reads past their deadline, and asks for their blocks one by one: the device may answer for those.
    pub(super) fn watch_spans(&mut self, now: Now, before: u64, actions: &mut Vec<Action>) {
        for at in 0..self.spans.all.len() {
            let Some(wide) = &mut self.spans.all[at] else { continue };
            if wide.stage != SpanStage::Reading || wide.stuck || wide.since > before {
                continue;
            }
            wide.stuck = true;
            let (span, age_ns) = (wide.span.clone(), now.mono_ns - wide.since);
            self.read_each_alone(&span, format!("it has not returned for {:.1} s", age_ns as f64 / 1e9), actions);
        }
    }

    /// Once nothing else moves, wide reads that have not returned are what is wrong, and that is told: there is no room
    /// to ask for their blocks, or these have answered and the disk is about to be written.
    pub(super) fn give_up_hung_spans(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.spans.stuck() == 0 {
            return;
        }
        let exhausted = self.check_is_exhausted();
        let idle =
            self.rereads.is_empty() && self.rereads_later.is_empty() && (exhausted || self.check.is_interrupted());
        let blocked = self.in_flight() >= self.settings.queue_depth || idle;
        // A check ends without them.
        let ends = exhausted && self.settings.mode == Mode::Check && !self.check.is_interrupted();
        if blocked && !ends && self.nothing_but_stuck() && self.tell_hung_spans(now, actions) {
            match self.settings.mode {
                Mode::Check => self.stop(Outcome::Incomplete),
                Mode::BurnIn | Mode::Powercut | Mode::Patrol => self.act_on_finding(),
            }
        }
    }

    /// Whether there were any that had not been told so.
    pub(super) fn tell_hung_spans(&mut self, now: Now, actions: &mut Vec<Action>) -> bool {
        let mut told = false;
        for at in 0..self.spans.all.len() {
            let Some(wide) = self.spans.all[at].as_mut().filter(|wide| wide.stuck && !wide.given_up) else { continue };
            wide.given_up = true;
            let (span, age_ns) = (wide.span.clone(), now.mono_ns - wide.since);
            // One of its blocks does not return alone either, or cannot be read: that is told, and was the reason.
            if self.ops.is_stuck_within(span.first(), span.last()) || self.check.is_unreadable_within(&span) {
                continue;
            }
            self.tell_stuck_span(now, &span, age_ns, actions);
            told = true;
        }
        told
    }
}
