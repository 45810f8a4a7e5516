//! The engine over a perfect disk, step by step. What happens on an imperfect one is the simulator's to show.

mod checks;
mod doubts;
mod patrols;
mod resets;
mod spans;
mod triggers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Action, Command, Engine, Event, Fault, Mode, OpId, Outcome, Settings, SpanId, Startup};
use crate::ledger::Checkpoint;
use crate::report::{Judgement, Overall, Persistence};
use crate::tag::{Inspector, Span};
use crate::vocabulary::{Block, Digest, Geometry, Now, Order, Promise, RunId};

const RUN: RunId = RunId([9; 16]);

fn geometry(blocks: u64) -> Geometry {
    Geometry {
        offset: 0,
        length: (1 << 20) + blocks * 4096,
        block_size: 4096,
        atom: 1024,
        order: Order::Random,
        digest: Digest::Crc32c,
    }
}

struct Bench {
    engine: Engine,
    inspector: Inspector,
    disk: BTreeMap<Block, Vec<u8>>,
    buffers: Vec<Vec<u8>>,
    wide: BTreeMap<SpanId, (Span, Vec<u8>)>,
    slot: Checkpoint,
    now: Now,
    pending: VecDeque<Event>,
    judged: Vec<Judgement>,
    reports: Vec<crate::report::Finding>,
    fail_saves: bool,
    /// Writes, or flushes, that never return.
    hang_writes: bool,
    hang_flushes: bool,
    hang_saves: bool,
    /// Takes no write.
    frozen: Option<Block>,
    /// Cannot be read alone, once; until then no wide read of it can either.
    fail_read: Option<Block>,
    /// A wide read of it never returns; alone it does where this says so.
    hang_read: Option<(Block, bool)>,
    /// What hangs, to be let go.
    hung: Vec<Event>,
    records: Vec<super::Record>,
    fired: u32,
    /// Blocks that were read, alone or in a span.
    read: Vec<Block>,
    /// Of a patrol, as they were saved.
    positions: Vec<crate::ledger::Position>,
    /// Findings told before each of them.
    told_before: Vec<usize>,
    /// Reads that touch it fail.
    dead: Option<Block>,
    /// The disk as it is left by the next command, which cuts its power.
    after_command: Option<BTreeMap<Block, Vec<u8>>>,
}

fn io_error() -> Fault {
    Fault { errno: 5, end_of_file: false, removed: false, message: "Input/output error".to_owned() }
}

impl Bench {
    fn new(blocks: u64, settings: Settings) -> Self {
        let slot = Checkpoint::first(settings.promise, 0);
        Self::restart(blocks, settings, slot, BTreeMap::new())
    }

    fn restart(blocks: u64, settings: Settings, slot: Checkpoint, disk: BTreeMap<Block, Vec<u8>>) -> Self {
        let saved = Some(Checkpoint::decode(slot.number, &slot.encode()).unwrap());
        let geometry = geometry(blocks);
        let startup = Startup { geometry, run: RUN, saved, known: Vec::new(), position: None, nonce_seed: slot.number };
        Self::of(startup, settings, slot, disk)
    }

    fn patrol(
        blocks: u64,
        settings: Settings,
        slot: Checkpoint,
        disk: BTreeMap<Block, Vec<u8>>,
        position: Option<crate::ledger::Position>,
    ) -> Self {
        let saved = Some(slot.clone());
        let nonce_seed = slot.number;
        let startup = Startup { geometry: geometry(blocks), run: RUN, saved, known: Vec::new(), position, nonce_seed };
        Self::of(startup, settings, slot, disk)
    }

    fn of(startup: Startup, settings: Settings, slot: Checkpoint, disk: BTreeMap<Block, Vec<u8>>) -> Self {
        let geometry = startup.geometry;
        let engine = Engine::new(startup, settings);
        let buffers = vec![vec![0; 4096]; engine.operations() as usize];
        Bench {
            engine,
            inspector: Inspector::new(geometry, RUN),
            disk,
            buffers,
            wide: BTreeMap::new(),
            slot,
            now: Now::default(),
            pending: VecDeque::new(),
            judged: Vec::new(),
            reports: Vec::new(),
            fail_saves: false,
            hang_writes: false,
            hang_flushes: false,
            hang_saves: false,
            frozen: None,
            fail_read: None,
            hang_read: None,
            hung: Vec::new(),
            records: Vec::new(),
            fired: 0,
            read: Vec::new(),
            positions: Vec::new(),
            told_before: Vec::new(),
            dead: None,
            after_command: None,
        }
    }

    /// Steps until the engine exits, or so many times.
    fn run(&mut self, steps: usize) -> Option<Outcome> {
        for _ in 0..steps {
            let events: Vec<Event> = self.pending.drain(..).collect();
            let mut actions = Vec::new();
            self.engine.step(self.now, &events, &mut actions);
            self.now.mono_ns += 1_000_000;
            for action in actions {
                if let Some(outcome) = self.act(action) {
                    return Some(outcome);
                }
            }
            if let Some(wake) = self.engine.next_wake().filter(|_| self.pending.is_empty()) {
                self.now.mono_ns = self.now.mono_ns.max(wake);
            }
        }
        None
    }

    fn act(&mut self, action: Action) -> Option<Outcome> {
        let buffer = |op: OpId| op.0 as usize;
        match &action {
            Action::Read(_, block) => self.read.push(*block),
            Action::ReadSpan(_, span) => self.read.extend(span.blocks()),
            _ => {}
        }
        let event = match action {
            Action::Seal(op, block, claim) => {
                self.inspector.sealer().seal(block, &claim, &mut self.buffers[buffer(op)]);
                Event::Sealed(op)
            }
            Action::Write { op, block, .. } if self.hang_writes => {
                self.disk.insert(block, self.buffers[buffer(op)].clone());
                self.hung.push(Event::Wrote(op, Ok(())));
                return None;
            }
            Action::Flush if self.hang_flushes => return None,
            Action::Save(_) if self.hang_saves => return None,
            Action::Write { op, block, .. } if self.frozen == Some(block) => Event::Wrote(op, Ok(())),
            Action::Read(op, block) if self.hang_read == Some((block, false)) => {
                self.hung.push(Event::Read(op, Ok(())));
                return None;
            }
            Action::ReadSpan(id, span) => {
                let touched = |block: Block| (span.first()..=span.last()).contains(&block);
                let fails = self.fail_read.or(self.dead).is_some_and(touched);
                let hangs = self.hang_read.is_some_and(|(block, _)| touched(block));
                let block = |number| self.disk.get(&Block(number)).cloned().unwrap_or_else(|| vec![0; 4096]);
                let bytes = (span.first().0..=span.last().0).flat_map(block).collect();
                self.wide.insert(id, (span, bytes));
                let event = Event::ReadSpan(id, if fails { Err(io_error()) } else { Ok(()) });
                if hangs {
                    self.hung.push(event);
                    return None;
                }
                event
            }
            Action::InspectSpan(id, by) => {
                let (span, bytes) = self.wide.get_mut(&id).expect("it was read");
                Event::InspectedSpan(id, self.inspector.inspect_span(bytes, span, &by, |_, _| {}))
            }
            Action::SurveySpan(id) => {
                let (span, bytes) = self.wide.get_mut(&id).expect("it was read");
                Event::SurveyedSpan(id, self.inspector.survey_span(bytes, span))
            }
            Action::Read(op, block) if self.fail_read == Some(block) => {
                self.fail_read = None;
                Event::Read(op, Err(io_error()))
            }
            Action::Read(op, block) if self.dead == Some(block) => Event::Read(op, Err(io_error())),
            Action::Write { op, block, .. } => {
                self.disk.insert(block, self.buffers[buffer(op)].clone());
                Event::Wrote(op, Ok(()))
            }
            Action::Read(op, block) => {
                self.buffers[buffer(op)] = self.disk.get(&block).cloned().unwrap_or_else(|| vec![0; 4096]);
                Event::Read(op, Ok(()))
            }
            Action::Inspect(op, legal) => {
                Event::Inspected(op, self.inspector.inspect(&self.buffers[buffer(op)], &legal))
            }
            Action::Survey(op, block) => Event::Surveyed(op, self.inspector.survey(&self.buffers[buffer(op)], block)),
            Action::Flush => Event::Flushed(Ok(())),
            Action::Save(_) if self.fail_saves => {
                let fault = Fault { errno: 28, end_of_file: false, removed: false, message: "no space".to_owned() };
                let Action::Save(checkpoint) = action else { unreachable!() };
                Event::Saved(checkpoint.number, Err(fault))
            }
            Action::Save(checkpoint) => {
                self.slot = *checkpoint;
                Event::Saved(self.slot.number, Ok(()))
            }
            Action::SavePosition(position) => {
                self.positions.push(*position);
                self.told_before.push(self.reports.len());
                Event::PositionSaved(if self.fail_saves { Err(io_error()) } else { Ok(()) })
            }
            Action::Fire(_) => {
                self.fired += 1;
                self.disk = self.after_command.take().unwrap_or_else(|| self.disk.clone());
                Event::Fired(super::Fired::Done)
            }
            Action::Judged(judgement) => {
                self.judged.push(*judgement);
                return None;
            }
            Action::Report(finding, _) => {
                self.reports.push(*finding);
                return None;
            }
            Action::Record(record) => {
                self.records.push(record);
                return None;
            }
            Action::Exit(outcome) => return Some(outcome),
        };
        self.pending.push_back(event);
        None
    }
}

fn settings(passes: Option<u64>) -> Settings {
    Settings { passes, queue_depth: 8, readback_lag: 8 * 4096, ..Settings::default() }
}

#[test]
fn passes_are_written_and_read_back_and_the_stop_is_clean() {
    for promise in [Promise::Flush, Promise::Fua, Promise::Ack] {
        for blocks in [1, 2, 3, 5, 40] {
            for retention in [false, true] {
                let settings = Settings { promise, retention, ..settings(Some(3)) };
                let mut bench = Bench::new(blocks, settings);
                assert_eq!(bench.run(100_000), Some(Outcome::Kept), "{promise:?} {blocks}");
                assert_eq!(bench.reports, []);
                assert!(bench.slot.clean);
                let written = 3 * blocks;
                assert_eq!((bench.slot.durable().0, bench.slot.reserved.0), (written, written));
                assert_eq!(bench.engine.status().bytes.written, written * 4096);
                assert!(bench.engine.status().bytes.verified >= written * 4096, "each write is read back");
            }
        }
    }
}

#[test]
fn a_check_after_a_clean_stop_finds_every_block_intact() {
    let mut bench = Bench::new(13, settings(Some(2)));
    assert_eq!(bench.run(100_000), Some(Outcome::Kept));
    for ignore_state in [false, true] {
        let settings = Settings { mode: Mode::Check, ignore_state, ..settings(None) };
        let mut check = Bench::restart(13, settings, bench.slot.clone(), bench.disk.clone());
        assert_eq!(check.run(1000), Some(Outcome::Kept));
        let judgement = check.judged.pop().unwrap();
        assert_eq!((judgement.verdict, judgement.blocks.intact), (Overall::Intact, 13));
    }
}

#[test]
fn a_kill_at_any_step_is_survived_and_the_run_goes_on() {
    for steps in 1..120 {
        let mut bench = Bench::new(13, settings(None));
        assert_eq!(bench.run(steps), None);
        let mut again = Bench::restart(13, settings(Some(2)), bench.slot, bench.disk);
        assert_eq!(again.run(100_000), Some(Outcome::Kept), "killed after {steps} steps");
        assert_eq!(again.reports, []);
    }
}

#[test]
fn a_clean_stop_without_a_write_does_not_lower_the_reservation_it_inherited() {
    let mut bench = Bench::new(13, settings(None));
    assert_eq!(bench.run(20), None);
    let inherited = bench.slot.reserved;
    let mut again = Bench::restart(13, settings(None), bench.slot, bench.disk);
    while again.engine.status().phase != "beginning an epoch" {
        assert_eq!(again.run(1), None);
    }
    again.pending.push_back(Event::Command(Command::Stop));
    assert_eq!(again.run(1000), Some(Outcome::Kept));
    assert!(again.slot.reserved >= inherited);
}

#[test]
fn a_trigger_whose_save_fails_does_not_run_its_command() {
    let mut bench = Bench::new(13, settings(None));
    assert_eq!(bench.run(50), None);
    bench.fail_saves = true;
    bench.pending.push_back(Event::Command(Command::Trigger(super::Reason::Control)));
    assert_eq!(bench.run(10_000), Some(Outcome::StateNotSaved("no space".to_owned())));
}

#[test]
fn a_lost_write_is_found_and_stops_the_run() {
    let mut bench = Bench::new(13, settings(Some(2)));
    assert_eq!(bench.run(100_000), Some(Outcome::Kept));
    let mut later = Bench::restart(13, settings(Some(1)), bench.slot.clone(), bench.disk.clone());
    assert_eq!(later.run(100_000), Some(Outcome::Kept));
    let (&block, old) = bench.disk.iter().nth(4).unwrap();
    later.disk.insert(block, old.clone());
    let mut check = Bench::restart(13, Settings { mode: Mode::Check, ..settings(None) }, later.slot, later.disk);
    assert_eq!(check.run(1000), Some(Outcome::Broken));
    let judgement = check.judged.pop().unwrap();
    assert_eq!(judgement.blocks.findings, 1);
    assert_eq!((judgement.findings[0].class, judgement.findings[0].block), (crate::tag::Class::LostWrite, block));
}

#[test]
fn a_stop_does_not_wait_for_a_flush_that_hangs() {
    let mut bench = Bench::new(13, settings(None));
    assert_eq!(bench.run(50), None);
    bench.hang_flushes = true;
    bench.pending.push_back(Event::Command(Command::Stop));
    assert_eq!(bench.run(10_000), Some(Outcome::Broken), "the flush is reported as stuck");
    assert!(!bench.slot.clean && bench.reports[0].detail.contains("flush has not returned"), "{:?}", bench.reports);
}

#[test]
fn a_trigger_and_a_stop_do_not_wait_for_a_write_that_hangs() {
    let trigger = super::OnFinding::Trigger;
    let mut bench = Bench::new(13, Settings { on_finding: trigger, ..settings(None) });
    assert_eq!(bench.run(50), None);
    bench.hang_writes = true;
    assert_eq!(bench.run(10_000), Some(Outcome::Broken));
    assert_eq!((bench.fired, bench.slot.clean), (1, false));
}

#[test]
fn a_write_that_returns_after_all_is_told_and_counts_like_any_other() {
    let mut bench = Bench::new(13, Settings { on_finding: super::OnFinding::Continue, ..settings(None) });
    assert_eq!(bench.run(50), None);
    bench.hang_writes = true;
    assert_eq!(bench.run(500), None);
    let told = bench.engine.status();
    assert_eq!((told.stuck as usize, told.oldest_stuck.is_some()), (bench.reports.len(), true), "{told:?}");
    assert!(told.stuck_in_words().unwrap().contains("the oldest a write at byte "), "{told:?}");
    bench.hang_writes = false;
    bench.pending.extend(std::mem::take(&mut bench.hung));
    assert_eq!(bench.run(50), None);
    let returned = |record: &&super::Record| matches!(record, super::Record::IoReturned { .. });
    assert_eq!(bench.records.iter().filter(returned).count(), bench.reports.len());
    assert_eq!((bench.engine.status().stuck, bench.engine.status().oldest_stuck), (0, None));
    bench.pending.push_back(Event::Command(Command::Stop));
    assert_eq!(bench.run(1000), Some(Outcome::Broken));
    assert!(bench.slot.clean, "all that was issued has returned, and the last flush covers it");
}

#[test]
fn a_read_error_of_a_block_whose_read_once_hung_is_news() {
    let mut bench = Bench::new(13, settings(None));
    assert_eq!(bench.run(50), None);
    bench.hang_writes = true;
    assert_eq!(bench.run(10_000), Some(Outcome::Broken));
    let stuck = bench.reports[0].clone();
    let unreadable = crate::report::Finding { contents: 0, ..stuck.clone() };
    assert_ne!(stuck.key(), unreadable.key());
}

#[test]
fn a_save_that_hangs_is_no_finding_and_a_stop_says_that_the_state_could_not_be_saved() {
    for (at_once, longest_s) in [(false, 100), (true, 10)] {
        let mut bench = Bench::new(13, settings(None));
        assert_eq!(bench.run(50), None);
        bench.hang_saves = true;
        let command = if at_once { Command::StopNow } else { Command::Stop };
        let asked = bench.now.mono_ns;
        bench.pending.push_back(Event::Command(command));
        let Some(Outcome::StateNotSaved(why)) = bench.run(10_000) else { panic!("{:?}", bench.records) };
        assert!(why.contains("the state directory does not answer"), "{why}");
        assert!(bench.now.mono_ns - asked < longest_s * 1_000_000_000, "at once: {at_once}");
        assert_eq!(bench.reports, []);
    }
}

#[test]
fn a_trigger_whose_save_hangs_does_not_run_its_command() {
    let mut bench = Bench::new(13, settings(None));
    assert_eq!(bench.run(50), None);
    bench.hang_saves = true;
    bench.pending.push_back(Event::Command(Command::Trigger(super::Reason::Control)));
    assert!(matches!(bench.run(10_000), Some(Outcome::StateNotSaved(_))));
    assert_eq!(bench.fired, 0);
}

#[test]
fn a_trigger_fires_although_a_new_epoch_waits_for_a_write_that_hangs() {
    let mut bench = Bench::new(13, Settings { on_finding: super::OnFinding::Continue, ..settings(None) });
    bench.hang_flushes = true;
    while !bench.engine.flushing {
        assert_eq!(bench.run(1), None);
    }
    bench.hang_writes = true;
    assert_eq!(bench.run(5), None);
    let fault = Fault { errno: 5, end_of_file: false, removed: false, message: "EIO".to_owned() };
    bench.pending.push_back(Event::Flushed(Err(fault)));
    assert_eq!(bench.run(300), None);
    assert_eq!(bench.engine.status().phase, "draining for a new epoch");
    bench.pending.push_back(Event::Command(Command::Trigger(super::Reason::Control)));
    assert_eq!(bench.run(1000), Some(Outcome::Broken), "it has fired, and then the run ends");
    let undrained = |record: &super::Record| matches!(record, super::Record::NotDrained { .. });
    assert!(bench.fired == 1 && bench.records.iter().any(undrained), "{:?}", bench.records);
    assert!(!bench.slot.clean, "what was issued did not return");
}

#[test]
fn a_process_that_was_stopped_itself_calls_no_write_stuck() {
    let mut bench = Bench::new(13, settings(None));
    for _ in 0..40 {
        assert_eq!(bench.run(1), None);
        bench.now.mono_ns += 600_000_000_000;
    }
    bench.pending.push_back(Event::Command(Command::Stop));
    assert_eq!(bench.run(1000), Some(Outcome::Kept));
    assert_eq!(bench.reports, []);
}

#[test]
fn a_command_that_cuts_the_disks_power_is_followed_by_a_check_which_finds_a_flush_that_lied() {
    let resume = Settings { trigger_then: super::Then::Resume, trigger_command: true, ..settings(None) };
    let mut bench = Bench::new(40, resume);
    assert_eq!(bench.run(200), None);
    let mut old = bench.disk.clone();
    assert_eq!(bench.run(400), None);
    // Everything that was flushed since is gone, but for what vouches for it.
    let newest = bench.disk.keys().next().copied().unwrap();
    old.insert(newest, bench.disk[&newest].clone());
    bench.after_command = Some(old);
    bench.pending.push_back(Event::Command(Command::Trigger(super::Reason::Control)));
    assert_eq!(bench.run(100_000), Some(Outcome::Broken));
    assert!(bench.judged.last().is_some_and(|judgement| judgement.blocks.findings > 10), "{:?}", bench.judged);
}

#[test]
fn a_start_that_judges_the_window_alone_reads_every_other_block_before_it_overwrites_it() {
    let mut bench = Bench::new(40, settings(Some(1)));
    assert_eq!(bench.run(100_000), Some(Outcome::Kept));
    let old = bench.disk.clone();
    let mut later = Bench::restart(40, settings(Some(1)), bench.slot, bench.disk);
    assert_eq!(later.run(100_000), Some(Outcome::Kept));
    let after_a_cut = Checkpoint { clean: false, ..later.slot };
    for mode in [Mode::BurnIn, Mode::Powercut] {
        let window = super::OnStart::Window;
        let on_finding = super::OnFinding::Continue;
        let settings = Settings { mode, on_start: window, on_finding, passes: Some(1), ..settings(None) };
        let mut again = Bench::restart(40, settings, after_a_cut.clone(), old.clone());
        assert_eq!(again.run(100_000), Some(Outcome::Broken));
        assert_eq!(again.reports.len(), 40, "every block is older than it may be, and each is told once");
    }
}

/// A home was only looked at when nobody else was reading it, and a check with a deep queue reads it at just that time.
#[test]
fn two_blocks_that_changed_places_are_both_misdirected_and_confirmed() {
    let mut bench = Bench::new(6, settings(Some(2)));
    assert_eq!(bench.run(100_000), Some(Outcome::Kept));
    let mut disk = bench.disk.clone();
    disk.insert(Block(2), bench.disk[&Block(3)].clone());
    disk.insert(Block(3), bench.disk[&Block(2)].clone());
    let mut check = Bench::restart(6, Settings { mode: Mode::Check, ..settings(None) }, bench.slot, disk);
    assert_eq!(check.run(10_000), Some(Outcome::Broken));
    let told = check.judged[0].findings.iter().map(|finding| (finding.class, finding.home, finding.confirmed));
    let mut told: Vec<_> = told.collect();
    told.sort_by_key(|(_, home, _)| *home);
    let confirmed = |home| (crate::tag::Class::Misdirected, Some(Block(home)), Some(true));
    assert_eq!(told, [confirmed(2), confirmed(3)]);
}

/// The simulator's seed 8075: all was judged, half of it was told, and a second SIGTERM ended the run with exit status 0.
#[test]
fn a_stop_while_evidence_is_gathered_tells_the_rest_and_ends_as_broken() {
    let mut bench = Bench::new(13, settings(Some(2)));
    assert_eq!(bench.run(100_000), Some(Outcome::Kept));
    let mut later = Bench::restart(13, settings(None), bench.slot.clone(), bench.disk.clone());
    assert_eq!(later.run(100), None);
    later.pending.push_back(Event::Command(Command::StopNow));
    assert_eq!(later.run(100), Some(Outcome::Kept));
    // Every block is put back to what it was before: more findings than one queue of reads can hold.
    for (on_finding, command) in [
        (super::OnFinding::Stop, Command::StopNow),
        (super::OnFinding::Stop, Command::Stop),
        (super::OnFinding::Continue, Command::StopNow),
        (super::OnFinding::Continue, Command::Stop),
    ] {
        let settings = Settings { on_finding, queue_depth: 2, ..settings(None) };
        let mut check = Bench::restart(13, settings, later.slot.clone(), bench.disk.clone());
        for _ in 0..1000 {
            if check.reports.is_empty() {
                assert_eq!(check.run(1), None);
            }
        }
        check.pending.push_back(Event::Command(command.clone()));
        assert_eq!(check.run(100), Some(Outcome::Broken), "{on_finding:?}, {command:?}");
        let judgement = check.judged.pop().unwrap();
        assert_eq!(judgement.verdict, Overall::Violated);
        assert!(judgement.findings.len() > 4, "{}", judgement.findings.len());
        let told: BTreeSet<_> = check.reports.iter().map(|report| report.block).collect();
        assert_eq!(told, judgement.findings.iter().map(|finding| finding.block).collect());
    }
}

/// The simulator's seed 9965: what was reported did not show any more when the check started over.
#[test]
fn a_finding_that_was_told_decides_the_end_though_the_check_starts_over_and_does_not_find_it() {
    let mut bench = Bench::new(13, settings(Some(2)));
    assert_eq!(bench.run(100_000), Some(Outcome::Kept));
    let mut later = Bench::restart(13, settings(None), bench.slot.clone(), bench.disk.clone());
    assert_eq!(later.run(100), None);
    later.pending.push_back(Event::Command(Command::StopNow));
    assert_eq!(later.run(100), Some(Outcome::Kept));
    let settings = Settings { queue_depth: 2, on_finding: super::OnFinding::Continue, ..settings(None) };
    let mut check = Bench::restart(13, settings, later.slot, bench.disk);
    for _ in 0..1000 {
        if check.reports.is_empty() {
            assert_eq!(check.run(1), None);
        }
    }
    check.disk = later.disk;
    check.pending.push_back(Event::Command(Command::DeviceReset("back again".to_owned())));
    assert_eq!(check.run(200), None);
    assert!(check.judged.iter().all(|judgement| judgement.verdict == Overall::Intact), "{:?}", check.judged);
    check.pending.push_back(Event::Command(Command::Stop));
    assert_eq!(check.run(1000), Some(Outcome::Broken));
}
