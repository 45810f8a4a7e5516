//! Many adjacent blocks in one read: what a bad one among them means for the others.

use super::*;
use crate::engine::Record;
use crate::report::Persistence;
use crate::tag::Class;
use crate::vocabulary::Seq;

/// A check of 40 blocks that were written twice and stopped cleanly.
fn check_of(spoil: impl FnOnce(&mut BTreeMap<Block, Vec<u8>>), settings: Settings) -> Bench {
    let mut written = Bench::new(40, super::settings(Some(2)));
    assert_eq!(written.run(100_000), Some(Outcome::Kept));
    spoil(&mut written.disk);
    let settings = Settings { mode: Mode::Check, ..settings };
    Bench::restart(40, settings, written.slot.clone(), written.disk.clone())
}

fn failed_wide_reads(bench: &Bench) -> usize {
    bench.records.iter().filter(|record| matches!(record, Record::ReadFailedBeside { .. })).count()
}

#[test]
fn a_check_of_neighbours_is_one_read_and_counts_each_of_them() {
    let mut check = check_of(|_| {}, settings(None));
    assert_eq!(check.run(1000), Some(Outcome::Kept));
    assert_eq!(check.wide.len(), 1);
    let judgement = &check.judged[0];
    assert_eq!((judgement.verdict, judgement.blocks.intact), (Overall::Intact, 40));
    assert_eq!(judgement.bytes.verified, 40 * 4096);
    assert_eq!(check.records, []);
}

#[test]
fn damaged_blocks_among_good_ones_are_read_again_alone_and_each_is_told_once() {
    // More of them than there are operations to look at them.
    let spoil = |disk: &mut BTreeMap<Block, Vec<u8>>| disk.values_mut().skip(3).take(30).for_each(|b| b[700] ^= 1);
    let mut check = check_of(spoil, settings(None));
    assert_eq!(check.run(10_000), Some(Outcome::Broken));
    let judgement = &check.judged[0];
    assert_eq!((judgement.blocks.intact, judgement.blocks.findings), (10, 30));
    let mut found: Vec<_> = judgement.findings.iter().map(|finding| finding.block.0).collect();
    found.sort_unstable();
    assert_eq!(found, (3..33).collect::<Vec<_>>());
    for finding in &judgement.findings {
        assert_eq!((finding.class, finding.persistence), (Class::Corrupt, Persistence::Persistent));
        assert_eq!(finding.reads.len(), 4, "the span's sight of it, and three of its own");
    }
    assert_eq!(failed_wide_reads(&check), 0);
}

/// With one read for many blocks an error of one is an error of all: it must not become a finding of the others, nor of
/// that one where it reads well alone.
#[test]
fn a_wide_read_that_fails_accuses_nobody_and_is_on_record() {
    let mut check = check_of(|_| {}, settings(None));
    check.fail_read = Some(Block(17));
    assert_eq!(check.run(10_000), Some(Outcome::Broken));
    let judgement = &check.judged[0];
    let found: Vec<_> = judgement.findings.iter().map(|f| (f.block.0, f.class, f.persistence)).collect();
    assert_eq!(found, [(17, Class::Unreadable, Persistence::Transient)], "it failed alone, too");
    assert_eq!((judgement.blocks.intact, failed_wide_reads(&check)), (39, 1));

    let mut check = check_of(|_| {}, settings(None));
    let mut failed = false;
    while !failed {
        assert_eq!(check.run(1), None);
        for event in &mut check.pending {
            if let Event::ReadSpan(_, result) = event {
                (*result, failed) = (Err(io_error()), true);
            }
        }
    }
    assert_eq!(check.run(10_000), Some(Outcome::Kept));
    assert_eq!((check.judged[0].blocks.intact, failed_wide_reads(&check)), (40, 1));
    assert_eq!(check.reports, []);
}

#[test]
fn a_wide_read_that_hangs_is_told_and_its_blocks_are_asked_for_one_by_one() {
    // Alone, block 5 hangs too: that is the finding, and the only one.
    let mut check = check_of(|_| {}, settings(None));
    check.hang_read = Some((Block(5), false));
    assert_eq!(check.run(10_000), Some(Outcome::Broken));
    let told: Vec<_> = check.reports.iter().map(|report| (report.block.0, report.detail.clone())).collect();
    assert!(matches!(&told[..], [(5, detail)] if detail.starts_with("stuck: the read of block 5 ")), "{told:?}");
    assert_eq!((check.judged[0].verdict, failed_wide_reads(&check)), (Overall::Incomplete, 1));

    // Alone, each of them answers: nothing is wrong with any, but a read that never returns is no kept promise either.
    let mut check = check_of(|_| {}, settings(None));
    check.hang_read = Some((Block(5), true));
    assert_eq!(check.run(10_000), Some(Outcome::Broken));
    let told: Vec<_> = check.reports.iter().map(|report| report.detail.clone()).collect();
    assert!(matches!(&told[..], [detail] if detail.starts_with("stuck: the read of blocks 0 to 39 ")), "{told:?}");
    let judgement = &check.judged[0];
    assert_eq!((judgement.verdict, judgement.blocks.intact, failed_wide_reads(&check)), (Overall::Incomplete, 40, 1));
}

#[test]
fn a_wide_read_that_is_late_is_not_judged_when_it_returns_but_that_is_told() {
    let on_start = crate::engine::OnStart::Always;
    let mut check = check_of(|_| {}, settings(None));
    check = Bench::restart(40, Settings { on_start, ..settings(Some(1)) }, check.slot.clone(), check.disk.clone());
    check.hang_read = Some((Block(5), true));
    while failed_wide_reads(&check) == 0 {
        assert_eq!(check.run(1), None);
    }
    // What was hung is let go while the blocks are read alone.
    check.hang_read = None;
    check.pending.extend(check.hung.drain(..));
    assert_eq!(check.run(100_000), Some(Outcome::Kept));
    assert_eq!(check.reports, []);
    assert_eq!(check.judged[0].blocks.intact, 40);
    let returned = |record: &Record| matches!(record, Record::IoReturned { blocks: Some(40), .. });
    assert_eq!(check.records.iter().filter(|record| returned(record)).count(), 1);
}

/// A queue of one place is full of the wide read that hangs: none of its blocks can be asked for.
#[test]
fn where_a_hung_wide_read_fills_the_queue_it_is_told_with_its_blocks() {
    for depth in [1, 2] {
        let mut check = check_of(|_| {}, Settings { queue_depth: depth, ..settings(None) });
        check.hang_read = Some((Block(5), false));
        assert_eq!(check.run(10_000), Some(Outcome::Broken));
        assert_eq!(check.reports.len(), 1);
        let whole = check.reports[0].detail.starts_with("stuck: the read of blocks 0 to 39 ");
        assert_eq!(whole, depth == 1, "{:?}", check.reports);
        assert_eq!(check.judged[0].verdict, Overall::Incomplete);
    }
}

#[test]
fn the_record_of_wide_reads_that_fail_is_bounded() {
    let settings = Settings { span_bytes: 2 * 4096, ..settings(None) };
    let mut written = Bench::new(1200, settings.clone());
    assert_eq!(written.run(1_000), None);
    let slot = written.slot.clone();
    let check = Settings { mode: Mode::Check, ignore_state: true, ..settings };
    let mut check = Bench::restart(1200, check, slot, written.disk.clone());
    let mut ended = None;
    while ended.is_none() {
        for event in &mut check.pending {
            if let Event::ReadSpan(_, result) = event {
                *result = Err(io_error());
            }
        }
        ended = check.run(1);
    }
    // 600 in the survey and 600 in the judgement: the first 256, the 512th and the 1024th.
    assert_eq!(failed_wide_reads(&check), 258);
}

/// What a loss of power leaves after so many passes and a few writes, where 20 may have been issued. `spoil` is told which
/// blocks they are of.
fn after_a_cut(
    blocks: u64,
    passes: u64,
    settings: Settings,
    spoil: impl FnOnce(&mut BTreeMap<Block, Vec<u8>>, &dyn Fn(Block) -> bool),
) -> Bench {
    let mut written = Bench::new(blocks, super::settings((passes > 0).then_some(passes)));
    if passes > 0 {
        assert_eq!(written.run(100_000), Some(Outcome::Kept));
        written = Bench::restart(blocks, super::settings(None), written.slot.clone(), written.disk.clone());
    }
    let durable = blocks * passes;
    while written.engine.status().bytes.written < 6 * 4096 {
        assert_eq!(written.run(1), None);
    }
    let reserved = Seq(durable + 20);
    assert!(written.engine.status().next < reserved);
    let saved = Checkpoint { reserved, ..written.slot.clone() };
    assert!(!saved.clean && saved.durable() == Seq(durable), "{saved:?}");
    let schedule = crate::schedule::Schedule::new(&geometry(blocks), RUN);
    let open = |block| schedule.newest_below(saved.reserved, block).is_some_and(|seq| seq >= saved.durable());
    spoil(&mut written.disk, &open);
    Bench::restart(blocks, Settings { span_bytes: 4 * 4096, ..settings }, saved, written.disk.clone())
}

fn check_after_a_cut(spoil: impl FnOnce(&mut BTreeMap<Block, Vec<u8>>, &dyn Fn(Block) -> bool)) -> Bench {
    after_a_cut(40, 1, Settings { mode: Mode::Check, ..settings(None) }, spoil)
}

/// Flips a bit of a block in the first wide read of it; whether that was now.
fn spoil_in_flight(bench: &mut Bench, victim: Block) -> bool {
    let touched = bench.wide.values_mut().find(|(span, _)| (span.first()..=span.last()).contains(&victim));
    let Some((span, bytes)) = touched else { return false };
    bytes[(victim.0 - span.first().0) as usize * 4096 + 700] ^= 1;
    true
}

#[test]
fn after_a_cut_each_block_is_read_once() {
    let mut open_blocks = 0;
    let mut check = check_after_a_cut(|_, open| open_blocks = (0..40).filter(|block| open(Block(*block))).count());
    assert!((5..40).contains(&open_blocks), "{open_blocks}");
    assert_eq!(check.run(1000), Some(Outcome::Kept));
    assert_eq!(check.read, (0..40).map(Block).collect::<Vec<_>>());
    let judgement = &check.judged[0];
    let blocks = judgement.blocks;
    assert_eq!((judgement.verdict, blocks.intact + blocks.rolled_back), (Overall::Intact, 40));
    assert_eq!(judgement.bytes.verified, 40 * 4096);
}

#[test]
fn what_seems_wrong_before_all_witnesses_are_heard_is_kept_in_mind_and_told_by_its_name() {
    // Fewer of them than are remembered, and more.
    for count in [5, 38] {
        let mut damaged = Vec::new();
        let mut check = check_after_a_cut(|disk, _| {
            for (block, bytes) in disk.iter_mut().skip(2).take(count) {
                bytes[700] ^= 1;
                damaged.push(*block);
            }
        });
        assert_eq!(check.run(10_000), Some(Outcome::Broken));
        let judgement = &check.judged[0];
        let mut found: Vec<_> = judgement.findings.iter().map(|finding| finding.block).collect();
        found.sort_unstable();
        assert_eq!(found, damaged);
        assert!(judgement.findings.iter().all(|finding| finding.class == Class::Corrupt));
        assert_eq!(judgement.blocks.findings + judgement.blocks.intact + judgement.blocks.rolled_back, 40);
    }
}

/// A path that fails once: a block in the window or not, its first read is judged, and no second one makes good.
#[test]
fn a_bad_first_read_is_told_although_the_next_is_good() {
    for in_window in [false, true] {
        let mut victim = None;
        let mut check =
            check_after_a_cut(|_, open| victim = (0..40).map(Block).find(|block| open(*block) == in_window));
        let victim = victim.expect("the window is of some of the blocks");
        let mut spoilt = false;
        let outcome = (0..1000).find_map(|_| {
            spoilt = spoilt || spoil_in_flight(&mut check, victim);
            check.run(1)
        });
        assert_eq!(outcome, Some(Outcome::Broken), "{in_window}");
        let found: Vec<_> = check.judged[0].findings.iter().map(|f| (f.block, f.class, f.persistence)).collect();
        assert_eq!(found, [(victim, Class::Corrupt, Persistence::Transient)]);
        let blocks = check.judged[0].blocks;
        assert_eq!(blocks.findings + blocks.intact + blocks.rolled_back, 40);
    }
}

/// What was seen wrong once is told at the end; a check that is stopped before does not end as if nothing were.
#[test]
fn a_check_that_is_stopped_after_a_bad_first_read_acquits_nobody() {
    let stopped_after = |steps| {
        let mut victim = None;
        let settings = Settings { queue_depth: 1, ..settings(None) };
        // In the first pass, where writes of the window may be lost: such blocks are read once more, before it.
        let mut bench = after_a_cut(40, 0, settings, |disk, open| {
            victim = disk.keys().copied().rfind(|block| open(*block));
            disk.retain(|block, _| Some(*block) >= victim);
        });
        let mut spoilt = false;
        for _ in 0..steps {
            spoilt = spoilt || spoil_in_flight(&mut bench, victim.expect("a window"));
            if let Some(outcome) = bench.run(1) {
                return outcome;
            }
        }
        bench.pending.push_back(Event::Command(Command::Stop));
        bench.run(1000).expect("a stop ends the run")
    };
    let outcomes: Vec<_> = (1..120).map(stopped_after).collect();
    let seen = outcomes.iter().position(|outcome| *outcome != Outcome::Kept).expect("it is seen at some time");
    assert!(seen > 0 && outcomes.contains(&Outcome::Incomplete), "{outcomes:?}");
    assert!(outcomes[seen..].iter().all(|outcome| *outcome != Outcome::Kept), "{outcomes:?}");
    assert_eq!(outcomes.last(), Some(&Outcome::Broken));
}

/// More lost writes than are remembered until D is fixed: the rest of the region is surveyed and judged in two passes.
#[test]
fn more_lost_writes_than_are_remembered_are_all_found_and_each_block_counts_once() {
    let mut lost = Vec::new();
    let settings = Settings { mode: Mode::Check, queue_depth: 1, ..settings(None) };
    let mut check = after_a_cut(400, 1, settings, |disk, open| {
        for number in (0..400).map(Block).filter(|block| !open(*block)).step_by(5) {
            // What was there before the run.
            disk.insert(number, (0..4096u32).map(|at| (at * at / 7) as u8).collect());
            lost.push(number);
        }
    });
    let mut phases = std::collections::BTreeSet::new();
    let outcome = (0..10_000).find_map(|_| {
        phases.insert(check.engine.status().phase);
        check.run(1)
    });
    assert_eq!(outcome, Some(Outcome::Broken));
    assert!(phases.contains("surveying the window") && phases.contains("checking the region"), "{phases:?}");
    let judgement = &check.judged[0];
    let mut found: Vec<_> = judgement.findings.iter().map(|finding| finding.block).collect();
    found.sort_unstable();
    assert_eq!(found, lost);
    assert!(judgement.findings.iter().all(|finding| finding.class == Class::LostWrite), "{judgement:#?}");
    let blocks = judgement.blocks;
    assert_eq!(blocks.findings + blocks.intact + blocks.rolled_back, 400);
}
