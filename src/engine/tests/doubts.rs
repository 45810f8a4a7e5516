//! What may not be told yet, what must be told again, and what was told before.

use super::*;

/// A flush was past its deadline, and what it was to make durable was called lost before the flush had failed: the
/// device had been reset, and might lawfully have lost it.
#[test]
fn what_hinges_on_a_flush_that_hangs_is_told_once_that_has_returned() {
    for (returned, told) in [(Ok(()), true), (Err(io_error()), false)] {
        let on_finding = crate::engine::OnFinding::Continue;
        let mut bench = Bench::new(40, Settings { on_finding, readback_lag: 16 * 4096, ..settings(None) });
        assert_eq!(bench.run(300), None);
        let before = bench.disk.clone();
        bench.hang_flushes = true;
        assert_eq!(bench.run(20), None);
        // What was written since is gone.
        bench.disk = before;
        assert_eq!(bench.run(3000), None);
        assert!(bench.reports.iter().any(|report| report.detail.contains("flush has not returned")));
        let lost = |bench: &Bench| bench.reports.iter().any(|report| report.class == crate::tag::Class::LostWrite);
        assert!(!lost(&bench), "{:#?}", bench.reports);
        bench.hang_flushes = false;
        bench.pending.push_back(Event::Flushed(returned));
        bench.run(20);
        assert_eq!(lost(&bench), told, "{:#?}", bench.reports);
    }
}

/// Its contents were the same each time, and so it was told once: nobody acted on what the disk broke after that.
#[test]
fn a_block_that_takes_no_write_is_news_in_each_pass() {
    let on_finding = crate::engine::OnFinding::Continue;
    let mut bench = Bench::new(40, Settings { on_finding, ..settings(Some(3)) });
    bench.frozen = Some(Block(7));
    assert_eq!(bench.run(100_000), Some(Outcome::Broken));
    let told = bench.reports.iter().map(|report| (report.block, report.known));
    assert_eq!(told.collect::<Vec<_>>(), [(Block(7), false); 3]);
    let expected: BTreeSet<_> = bench.reports.iter().map(|report| report.expected_seq).collect();
    assert_eq!(expected.len(), 3);
}

/// A damaged block was being read again when a flush failed, and nothing more was heard of it: it counted as read back.
#[test]
fn a_damaged_block_is_told_although_a_flush_failed_while_it_was_looked_at() {
    let on_finding = crate::engine::OnFinding::Continue;
    let flush_every = crate::engine::FlushEvery::Nanoseconds(1);
    // The steps below are counted from a start that reads block by block.
    let settings = Settings { span_bytes: 4096, readback_lag: 30 * 4096, ..settings(None) };
    let mut bench = Bench::new(60, Settings { on_finding, flush_every, ..settings });
    assert_eq!(bench.run(300), None);
    let engine = &bench.engine;
    let damaged = engine.schedule.block_of(engine.read_back.next().next());
    assert!(engine.ledger().durable().0 > engine.read_back.0 + 4, "it is guaranteed, and not read back yet");
    bench.hang_flushes = true;
    bench.disk.get_mut(&damaged).unwrap()[2000] ^= 1;
    for _ in 0..100 {
        if bench.engine.awaiting_flush.is_empty() {
            assert_eq!(bench.run(1), None);
        }
    }
    assert!(!bench.engine.awaiting_flush.is_empty() && bench.reports.is_empty());
    bench.hang_flushes = false;
    bench.pending.push_back(Event::Flushed(Err(io_error())));
    assert_eq!(bench.run(300), None);
    let told: Vec<_> = bench.reports.iter().map(|report| (report.block, report.class)).collect();
    assert_eq!(told, [(damaged, crate::tag::Class::Corrupt)]);
}

/// The first read failed, the next ones showed how old the ledger is: by that ledger the block was a phantom, and the
/// finding said that it could not be read at all.
#[test]
fn a_read_again_that_shows_how_old_the_ledger_is_accuses_nobody() {
    let mut bench = Bench::new(60, settings(Some(1)));
    assert_eq!(bench.run(100_000), Some(Outcome::Kept));
    let old = bench.disk.clone();
    let mut later = Bench::restart(60, settings(Some(1)), bench.slot.clone(), bench.disk);
    assert_eq!(later.run(100_000), Some(Outcome::Kept));
    let retention = Settings { retention: true, on_finding: crate::engine::OnFinding::Continue, ..settings(None) };
    let mut stale = Bench::restart(60, retention, bench.slot, old);
    stale.engine.nonce_seed ^= 1;
    // Behind the blocks that are looked at after a clean stop.
    let block = stale.engine.schedule.block_of(crate::vocabulary::Seq(60 + 30));
    stale.disk.insert(block, later.disk[&block].clone());
    stale.fail_read = Some(block);
    assert_eq!(stale.run(100), None);
    let told: Vec<_> = stale.reports.iter().map(|report| (report.block, report.class, report.persistence)).collect();
    assert_eq!(told, [(block, crate::tag::Class::Unreadable, Persistence::Transient)]);
    let distrusted = |record: &crate::engine::Record| matches!(record, crate::engine::Record::StateDistrusted { .. });
    assert_eq!(stale.records.iter().filter(|record| distrusted(record)).count(), 1);
}

#[test]
fn a_block_that_a_survey_cannot_read_at_first_is_known_where_it_was_reported() {
    let mut bench = Bench::new(40, settings(None));
    assert_eq!(bench.run(100), None);
    let window = bench.engine.schedule.block_of(bench.slot.durable());
    let check = |known: Option<crate::report::FindingKey>| {
        let checking = Settings { mode: Mode::Check, ..settings(None) };
        let mut check = Bench::restart(40, checking, bench.slot.clone(), bench.disk.clone());
        known.map(|key| check.engine.known.remember(key));
        check.fail_read = Some(window);
        assert_eq!(check.run(1000), Some(Outcome::Broken));
        check.judged.remove(0).findings.remove(0)
    };
    let first = check(None);
    assert_eq!((first.block, first.persistence, first.known), (window, Persistence::Transient, false));
    assert!(check(Some(first.key())).known);
}

/// The other copy of a mirror shows, while it is judged by the tags alone, a block of an epoch that no tag had named: what that
/// epoch has written over nobody knows, and all tags are heard again.
#[test]
fn an_epoch_that_turns_up_only_when_judging_has_all_tags_heard_again() {
    let mut first = Bench::new(13, settings(Some(2)));
    assert_eq!(first.run(100_000), Some(Outcome::Kept));
    let mut second = Bench::restart(13, settings(Some(1)), first.slot.clone(), first.disk.clone());
    assert_eq!(second.run(100_000), Some(Outcome::Kept));
    let settings = Settings { mode: crate::engine::Mode::Check, ignore_state: true, ..settings(None) };
    let mut bench = Bench::restart(13, settings, first.slot.clone(), first.disk.clone());
    // Damage beside it makes the span show its claims.
    bench.disk.get_mut(&Block(3)).expect("written")[100] ^= 1;
    let (mut shown, mut ended) = (false, None);
    for _ in 0..1000 {
        if !shown && bench.engine.status().phase == "checking the region" {
            shown = true;
            let mut newer = second.disk[&Block(3)].clone();
            newer[100] ^= 1;
            bench.disk.insert(Block(3), newer);
        }
        ended = bench.run(1);
        if ended.is_some() {
            break;
        }
    }
    assert!(shown);
    let heard =
        bench.records.iter().filter(|record| matches!(record, crate::engine::Record::HeardAgain { .. })).count();
    assert_eq!(heard, 1, "{:?}", bench.records);
    assert_eq!(ended, Some(Outcome::Broken), "the damage is there all the same");
    let judged = bench.judged.last().expect("a verdict");
    let both_passes = Some(crate::vocabulary::Seq(26));
    assert_eq!(judged.frontiers.durable, both_passes, "the newest epoch attests to what was there when it began");
}
