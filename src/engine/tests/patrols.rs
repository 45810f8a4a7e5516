//! The patrol: it goes on where it stopped, tells at once, keeps its pace, and leaves everything as it was.

use super::*;
use crate::engine::{OnFinding, Record};
use crate::ledger::{JudgedBy, Position};
use crate::schedule::Pace;
use crate::tag::Class;
use crate::vocabulary::Seq;

const BLOCKS: u64 = 24;
const SIZE: u64 = 4096;

fn settings() -> Settings {
    Settings {
        mode: Mode::Patrol,
        span_bytes: 2 * SIZE as u32,
        queue_depth: 2,
        on_finding: OnFinding::Continue,
        passes: Some(1),
        ..Settings::default()
    }
}

/// A disk on which two passes were written, and the ledger of that.
fn written() -> (Checkpoint, BTreeMap<Block, Vec<u8>>) {
    let mut bench = Bench::new(BLOCKS, Settings { passes: Some(2), readback_lag: 0, ..Settings::default() });
    assert_eq!(bench.run(10_000), Some(Outcome::Kept));
    (bench.slot, bench.disk)
}

fn patrol(settings: Settings, position: Option<Position>) -> Bench {
    let (slot, disk) = written();
    Bench::patrol(BLOCKS, settings, slot, disk, position)
}

fn beginnings(bench: &Bench) -> Vec<(u64, u64)> {
    let begun = bench.records.iter().filter_map(|record| match record {
        Record::PatrolBegan { pass, from, .. } => Some((*pass, from.0)),
        _ => None,
    });
    begun.collect()
}

#[test]
fn a_pass_over_what_is_intact_ends_as_kept_and_saves_no_ledger() {
    let mut bench = patrol(settings(), None);
    let before = bench.slot.clone();
    assert_eq!(bench.run(1000), Some(Outcome::Kept));
    assert_eq!((bench.slot.number, bench.slot.encode()), (before.number, before.encode()));
    let judged = bench.judged.last().unwrap();
    assert_eq!((judged.verdict, judged.blocks.intact), (Overall::Intact, BLOCKS));
    let saved = bench.positions.last().unwrap();
    assert_eq!((saved.pass, saved.next, saved.began_wall_ns), (1, Block(0), 0), "the next pass begins when it begins");
    assert_eq!(beginnings(&bench), [(0, 0)]);
}

#[test]
fn without_a_pace_and_without_a_number_of_passes_it_is_one() {
    let mut bench = patrol(Settings { passes: None, ..settings() }, None);
    assert_eq!(bench.run(1000), Some(Outcome::Kept));
    assert_eq!(beginnings(&bench), [(0, 0)]);
}

#[test]
fn with_a_pace_it_goes_round_until_it_is_stopped() {
    let patrol_at = Pace { pass_ns: Some(100_000_000), rate: None };
    let mut bench = patrol(Settings { passes: None, patrol: patrol_at, ..settings() }, None);
    assert_eq!(bench.run(1000), None);
    bench.pending.push_back(Event::Command(Command::Stop));
    assert_eq!(bench.run(1000), Some(Outcome::Kept));
    assert!(beginnings(&bench).len() > 3, "{:?}", beginnings(&bench));
}

#[test]
fn stopped_in_the_middle_it_goes_on_there_and_counts_the_whole_pass() {
    let slow = Settings { patrol: Pace { rate: Some(2 * SIZE), pass_ns: None }, ..settings() };
    let mut bench = patrol(slow, None);
    assert_eq!(bench.run(20), None);
    bench.pending.push_back(Event::Command(Command::Stop));
    assert_eq!(bench.run(100), Some(Outcome::Kept));
    let stopped = *bench.positions.last().unwrap();
    assert!(stopped.next > Block(1) && stopped.next < Block(BLOCKS - 2), "{stopped:?}");
    assert_eq!(bench.judged.last().unwrap().verdict, Overall::Incomplete);

    let mut next = patrol(settings(), Some(stopped));
    next.now.wall_ns = 5;
    assert_eq!(next.run(1000), Some(Outcome::Kept));
    assert_eq!(beginnings(&next), [(0, stopped.next.0)]);
    assert!(next.read.iter().all(|block| *block >= stopped.next), "{:?}", next.read);
    assert_eq!(next.judged.last().unwrap().blocks.intact, BLOCKS);
}

#[test]
fn a_position_of_another_ledger_begins_the_pass_again() {
    let (slot, _) = written();
    let blocks = crate::report::BlockCounts { total: BLOCKS, intact: 7, ..Default::default() };
    let ours =
        Position { next: Block(7), counts: blocks, pass: 3, ..Position::first(RUN, JudgedBy::of(Some(&slot)), BLOCKS) };
    let others = [
        (Position { judged_by: JudgedBy { number: slot.number + 1, ..ours.judged_by }, ..ours }, (3, 0)),
        (Position { judged_by: JudgedBy { nonce: 1, ..ours.judged_by }, ..ours }, (3, 0)),
        (Position { run: RunId([1; 16]), ..ours }, (0, 0)),
        (ours, (3, 7)),
    ];
    for (position, begins) in others {
        let mut bench = patrol(settings(), Some(position));
        assert_eq!(bench.run(1000), Some(Outcome::Kept));
        assert_eq!(beginnings(&bench), [begins], "{position:?}");
    }
}

#[test]
fn what_is_found_is_told_before_the_position_passes_it() {
    let (slot, mut disk) = written();
    disk.get_mut(&Block(9)).unwrap()[100] ^= 1;
    let mut bench = Bench::patrol(BLOCKS, Settings { on_finding: OnFinding::Stop, ..settings() }, slot, disk, None);
    assert_eq!(bench.run(1000), Some(Outcome::Broken));
    assert_eq!(bench.reports.len(), 1);
    assert_eq!((bench.reports[0].block, bench.reports[0].reads.len()), (Block(9), 4));
    for (position, told) in bench.positions.iter().zip(&bench.told_before) {
        assert!(*told as u64 >= position.counts.findings, "{position:?}");
    }
    let stopped = bench.positions.last().unwrap();
    assert!(stopped.next <= Block(BLOCKS) && stopped.counts.findings == u64::from(stopped.next > Block(9)));
}

/// The survey and the first pass meet a block that cannot be read; the second pass reads it well.
#[test]
fn what_was_told_in_one_pass_is_not_told_again_by_the_next_that_reads_it_well() {
    let (slot, disk) = written();
    let unclean = Checkpoint { clean: false, verified: Seq(0), ..slot };
    let twice = Settings { passes: Some(2), ..settings() };
    let mut bench = Bench::patrol(BLOCKS, twice, unclean, disk, None);
    bench.dead = Some(Block(9));
    while bench.judged.is_empty() {
        assert_eq!(bench.run(1), None);
    }
    bench.dead = None;
    assert_eq!(bench.run(1000), Some(Outcome::Broken));
    let told: Vec<_> = bench.reports.iter().map(|finding| (finding.block, finding.class)).collect();
    assert_eq!(told, [(Block(9), Class::Unreadable)]);
    let verdicts: Vec<_> = bench.judged.iter().map(|judged| (judged.verdict, judged.blocks.findings)).collect();
    assert_eq!(verdicts, [(Overall::Violated, 1), (Overall::Intact, 0)]);
}

/// A cut of the power under a living patrol: what was read before may have been in a cache. That it begins again is saved
/// before it does: a kill must not have the next patrol go on further than this one stands.
#[test]
fn after_a_reset_all_is_judged_again_unless_writing_had_ended_cleanly() {
    for clean in [true, false] {
        let (slot, disk) = written();
        let slow = Settings { patrol: Pace { rate: Some(SIZE), pass_ns: None }, ..settings() };
        let saved = Checkpoint { clean, verified: if clean { slot.verified } else { Seq(0) }, ..slot };
        let mut bench = Bench::patrol(BLOCKS, slow, saved, disk, None);
        while !bench.read.contains(&Block(12)) {
            assert_eq!(bench.run(1), None);
            bench.now.mono_ns += 1_000_000_000;
        }
        // All that was begun is judged: it stands there.
        assert_eq!(bench.run(5), None);
        let before = bench.positions.last().map(|position| position.next);
        assert!(before > Some(Block(0)), "{before:?}");
        bench.pending.push_back(Event::Command(Command::DeviceReset("it lost its power".to_owned())));
        while beginnings(&bench).len() < 2 {
            assert_eq!(bench.run(1), None);
            bench.now.mono_ns += 1_000_000_000;
        }
        let (_, again) = beginnings(&bench)[1];
        assert_eq!(again > 12, clean, "from {again}");
        assert!(clean || again == 0, "from {again}");
        let saved = bench.positions.last().map(|position| position.next);
        assert!(clean || saved == Some(Block(0)), "{saved:?}");
    }
}

/// Each block was written a second time and that was flushed; a block that holds the first write is a lost write.
#[test]
fn an_old_write_is_a_lost_write_even_where_a_cut_left_a_witness() {
    let (slot, mut disk) = written();
    let mut first = Bench::new(BLOCKS, Settings { passes: Some(1), readback_lag: 0, ..Settings::default() });
    assert_eq!(first.run(10_000), Some(Outcome::Kept));
    disk.insert(Block(4), first.disk[&Block(4)].clone());
    let unclean = Checkpoint { clean: false, verified: Seq(0), ..slot };
    let mut bench = Bench::patrol(BLOCKS, settings(), unclean, disk, None);
    assert_eq!(bench.run(1000), Some(Outcome::Broken));
    let classes: Vec<Class> = bench.reports.iter().map(|finding| finding.class).collect();
    assert_eq!(classes, [Class::LostWrite]);
}

#[test]
fn a_target_that_was_never_written_has_nothing_to_find() {
    let slot = Checkpoint::first(Promise::Flush, 0);
    let mut bench = Bench::patrol(BLOCKS, settings(), slot, BTreeMap::new(), None);
    assert_eq!(bench.run(1000), Some(Outcome::Kept));
    let judged = bench.judged.last().unwrap();
    assert_eq!((judged.verdict, judged.blocks.unwritten), (Overall::Intact, BLOCKS));
}

#[test]
fn a_pass_over_nothing_with_no_ledger_is_not_called_intact() {
    let startup =
        Startup { geometry: geometry(BLOCKS), run: RUN, saved: None, known: Vec::new(), position: None, nonce_seed: 1 };
    let slot = Checkpoint::first(Promise::Flush, 0);
    let mut bench = Bench::patrol(BLOCKS, settings(), slot, BTreeMap::new(), None);
    bench.engine = Engine::new(startup, settings());
    assert_eq!(bench.run(1000), Some(Outcome::Incomplete));
    assert_eq!(bench.judged.last().unwrap().verdict, Overall::Incomplete);
}

#[test]
fn the_pace_is_kept_and_the_lag_is_told() {
    let pass_ns = 24_000_000_000;
    let paced = Settings { patrol: Pace { pass_ns: Some(pass_ns), rate: None }, ..settings() };
    let mut bench = patrol(paced, None);
    bench.now.wall_ns = 1_000;
    assert_eq!(bench.run(10), None);
    assert!(bench.read.len() < 10, "{:?}", bench.read);
    assert_eq!(bench.run(1000), Some(Outcome::Kept));
    let took = bench.now.mono_ns;
    assert!(took > pass_ns * 22 / 24 && took < pass_ns + 1_000_000_000, "{took}");

    // Begun an hour ago, by the clock on the wall, and nothing was read since.
    let hour = 3_600_000_000_000;
    let (slot, disk) = written();
    let begun = Position { began_wall_ns: 7, ..Position::first(RUN, JudgedBy::of(Some(&slot)), BLOCKS) };
    let paced = Settings { patrol: Pace { pass_ns: Some(2 * hour), rate: Some(SIZE) }, ..settings() };
    let mut bench = Bench::patrol(BLOCKS, paced, slot, disk, Some(begun));
    bench.now.wall_ns = 7 + hour;
    assert_eq!(bench.run(2), None);
    let lag_s = bench.engine.status().patrol.unwrap().lag_s.unwrap();
    assert!(lag_s > 2000.0 && lag_s < 3601.0, "{lag_s}");
    // It catches up to where it should be, halfway, at a block a second.
    while bench.engine.status().patrol.unwrap().next < BLOCKS / 2 {
        assert_eq!(bench.run(1), None);
    }
    let seconds = bench.now.mono_ns / 1_000_000_000;
    assert!((8..15).contains(&seconds), "{seconds}");
}

#[test]
fn a_clock_that_went_back_leaves_the_pass_on_time() {
    let (slot, disk) = written();
    let counts = crate::report::BlockCounts { total: BLOCKS, intact: 12, ..Default::default() };
    let begun = Position {
        began_wall_ns: 1 << 60,
        next: Block(12),
        counts,
        ..Position::first(RUN, JudgedBy::of(Some(&slot)), BLOCKS)
    };
    let paced = Settings { patrol: Pace { pass_ns: Some(24_000_000_000), rate: None }, ..settings() };
    let mut bench = Bench::patrol(BLOCKS, paced, slot, disk, Some(begun));
    bench.now.wall_ns = 1;
    assert_eq!(bench.run(1), None);
    let lag_s = bench.engine.status().patrol.unwrap().lag_s.unwrap();
    assert!((-2.0..=0.0).contains(&lag_s), "{lag_s}");
    assert_eq!(bench.run(1000), Some(Outcome::Kept));
    assert!(bench.now.mono_ns > 10_000_000_000);
}

#[test]
fn the_position_is_saved_every_ten_seconds_and_a_kill_costs_no_more() {
    let slow = Settings { patrol: Pace { rate: Some(SIZE / 2), pass_ns: None }, ..settings() };
    let mut bench = patrol(slow, None);
    let mut newest = Block(0);
    while bench.run(1).is_none() {
        let at = bench.engine.status().patrol.unwrap().next;
        newest = bench.positions.last().map_or(newest, |position| position.next);
        let behind = at.saturating_sub(newest.0);
        assert!(behind <= 8 || at == 0 || newest.0 == 0, "{behind} blocks of 2 s each would be read again");
    }
    assert!(bench.positions.len() > 3, "{:?}", bench.positions);
}

#[test]
fn positions_that_cannot_be_saved_end_the_patrol_and_are_named() {
    let slow = Settings { patrol: Pace { rate: Some(SIZE / 8), pass_ns: None }, ..settings() };
    let mut bench = patrol(slow, None);
    bench.fail_saves = true;
    let outcome = bench.run(10_000);
    assert!(matches!(outcome, Some(Outcome::StateNotSaved(_))), "{outcome:?}");
    assert!(bench.records.iter().any(|record| matches!(record, Record::PositionNotSaved { .. })));
}

#[test]
fn paused_it_reads_nothing_and_asks_for_no_wake() {
    let mut bench = patrol(Settings { patrol: Pace { rate: Some(SIZE), pass_ns: None }, ..settings() }, None);
    assert_eq!(bench.run(10), None);
    bench.pending.push_back(Event::Command(Command::Pause));
    assert_eq!(bench.run(60), None);
    let read = bench.read.len();
    assert_eq!(bench.run(60), None);
    assert_eq!((bench.read.len(), bench.engine.next_wake()), (read, None));
    assert_eq!(bench.engine.status().phase, "paused");
    bench.pending.push_back(Event::Command(Command::Resume));
    assert_eq!(bench.run(1000), Some(Outcome::Kept));
}

#[test]
fn a_new_pace_is_taken_over() {
    let mut bench = patrol(Settings { patrol: Pace { rate: Some(1), pass_ns: None }, ..settings() }, None);
    assert_eq!(bench.run(20), None);
    let quick = Settings { patrol: Pace::default(), ..settings() };
    bench.pending.push_back(Event::Command(Command::Reload(Box::new(quick))));
    let before = bench.now.mono_ns;
    assert_eq!(bench.run(1000), Some(Outcome::Kept));
    assert!(bench.now.mono_ns < before + 1_000_000_000);
}

/// The read of one block does not return, the others are judged; then the patrol ends, and says why.
#[test]
fn a_read_that_does_not_return_is_told_and_the_rest_is_judged() {
    let (slot, disk) = written();
    let mut bench = Bench::patrol(BLOCKS, Settings { queue_depth: 4, ..settings() }, slot, disk, None);
    bench.hang_read = Some((Block(5), false));
    assert_eq!(bench.run(3000), Some(Outcome::Broken));
    assert!(bench.reports.iter().any(|finding| finding.detail.starts_with("stuck:") && finding.block == Block(5)));
    let judged = bench.judged.last().unwrap();
    assert!(judged.blocks.intact >= BLOCKS - 3 && judged.verdict == Overall::Incomplete, "{judged:#?}");
}
