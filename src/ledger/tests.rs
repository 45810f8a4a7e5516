//! What the ledger remembers and what it rebuilds, number by number: the boundaries that a history seldom stands on.

use super::window::Window;
use super::{
    Acquaintance, Attestation, Checkpoint, EpochRecord, Epochs, FlushRecord, Guarantee, Ledger, Legal, MAX_FLUSHES,
    MAX_WINDOW, ProvedBy, Recovered, Rule, Standing, State, WriteState,
};
use crate::schedule::Schedule;
use crate::vocabulary::{Block, Claim, Digest, Epoch, Geometry, Issue, Now, Order, Promise, RunId, Seq};

const OLD: Epoch = Epoch { number: 3, nonce: 30 };
const LAST: Epoch = Epoch { number: 4, nonce: 40 };
const NOW: Now = Now { mono_ns: 1, wall_ns: 7 };

/// By address, so that block 1 of four is written by 1, 5, 9, …
fn schedule(blocks: u64) -> Schedule {
    let length = (1 << 20) + blocks * 4096;
    let (order, digest) = (Order::Sequential, Digest::Crc32c);
    Schedule::new(&Geometry { offset: 0, length, block_size: 4096, atom: 1024, order, digest }, RunId([5; 16]))
}

fn record(epoch: Epoch, restart: u64, reserved: u64, last_checkpoint: u64) -> EpochRecord {
    EpochRecord { epoch, restart: Seq(restart), reserved: Seq(reserved), last_checkpoint }
}

fn epochs() -> Epochs {
    Epochs::from_records(vec![record(OLD, 0, 8, 3), record(LAST, 8, 40, 5)]).unwrap()
}

fn flush(number: u64, durable: u64) -> FlushRecord {
    FlushRecord { number, durable: Seq(durable), wall_ns: number }
}

/// D = 10; writes 10 and 12 were issued, 11 is durable above an open one; cut off.
fn saved() -> Checkpoint {
    Checkpoint {
        number: 5,
        clean: false,
        reserved: Seq(40),
        verified: Seq(9),
        window: Window::with_states(Seq(10), [WriteState::Issued, WriteState::Durable, WriteState::Issued]),
        epochs: epochs(),
        flushes: vec![flush(1, 4), flush(2, 9), flush(3, 10)],
        ..Checkpoint::first(Promise::Flush, 0)
    }
}

fn claim(epoch: Epoch, seq: u64, durable: u64, checkpoint: u64) -> Claim {
    let issue = Issue { seq: Seq(seq), epoch };
    Claim { issue, durable: Seq(durable), promise: Promise::Flush, checkpoint, wall_ns: 0 }
}

/// What a disk attests to on which each of these claims is made by two whole atoms.
fn disk(claims: &[Claim]) -> Attestation {
    let mut disk = Attestation::default();
    claims.iter().for_each(|claim| disk.add(claim, 2, Promise::Flush));
    disk
}

fn rebuilt(saved: Option<Checkpoint>, claims: &[Claim]) -> Recovered {
    Recovered::rebuilt(schedule(4), Promise::Flush, saved, &disk(claims))
}

#[test]
fn a_frontier_is_attested_once_two_whole_atoms_claim_it_or_more() {
    let mut disk = Attestation::default();
    assert_eq!((disk.highest_seq(), disk.highest_checkpoint(), disk.frontier(LAST)), (None, 0, None));
    disk.add(&claim(LAST, 20, 9, 6), 1, Promise::Flush);
    assert_eq!((disk.highest_seq(), disk.highest_checkpoint(), disk.frontier(LAST)), (Some(Seq(20)), 6, None));
    disk.add(&claim(LAST, 12, 11, 4), 1, Promise::Flush);
    assert_eq!((disk.highest_seq(), disk.highest_checkpoint()), (Some(Seq(20)), 6));
    assert_eq!(disk.frontier(LAST), Some(Seq(9)), "11 is claimed by one atom alone");
    disk.add(&claim(LAST, 12, 10, 4), 1, Promise::Flush);
    assert_eq!(disk.frontier(LAST), Some(Seq(10)));
    assert_eq!(disk.frontier(OLD), None);
}

#[test]
fn what_was_attested_before_a_reset_stands_and_one_atom_heard_twice_is_one() {
    let (high, higher) = (claim(LAST, 12, 11, 5), claim(LAST, 13, 12, 6));
    let mut before = disk(&[high]);
    before.add(&higher, 1, Promise::Flush);
    let mut after = before.once_more();
    assert_eq!((after.frontier(LAST), after.highest_seq()), (Some(Seq(11)), Some(Seq(13))));
    after.add(&higher, 1, Promise::Flush);
    assert_eq!(after.frontier(LAST), Some(Seq(11)), "the same atom");
    after.add(&higher, 1, Promise::Flush);
    assert_eq!((after.frontier(LAST), after.highest_checkpoint()), (Some(Seq(12)), 6));
}

#[test]
fn a_frontier_earned_under_a_weaker_promise_or_above_its_own_write_attests_to_nothing() {
    let frontier = |promise, held_to, durable| {
        let mut disk = Attestation::default();
        disk.add(&Claim { promise, ..claim(LAST, 20, durable, 6) }, 4, held_to);
        assert_eq!((disk.highest_seq(), disk.highest_checkpoint()), (Some(Seq(20)), 6), "it was written all the same");
        disk.frontier(LAST)
    };
    assert_eq!(frontier(Promise::Ack, Promise::Flush, 9), None);
    assert_eq!(frontier(Promise::Fua, Promise::Flush, 9), None);
    assert_eq!(frontier(Promise::Flush, Promise::Flush, 9), Some(Seq(9)));
    assert_eq!(frontier(Promise::Flush, Promise::Ack, 9), Some(Seq(9)));
    assert_eq!(frontier(Promise::Flush, Promise::Flush, 20), Some(Seq(20)));
    assert_eq!(frontier(Promise::Flush, Promise::Flush, 21), None);
}

#[test]
fn a_saved_ledger_is_believed_until_the_disk_attests_to_more() {
    let mut recovered = Recovered::from_saved(schedule(4), saved());
    let told = |r: &Recovered| (r.state(), r.durable(), r.reserved(), r.proved_by());
    assert_eq!(told(&recovered), (State::Current, Seq(10), Some(Seq(40)), ProvedBy::Checkpoint));
    recovered.attest(&disk(&[claim(OLD, 7, 7, 3)]));
    assert_eq!(told(&recovered), (State::Current, Seq(10), Some(Seq(40)), ProvedBy::Checkpoint));
    recovered.attest(&disk(&[claim(LAST, 12, 11, 5)]));
    assert_eq!(told(&recovered), (State::Current, Seq(11), Some(Seq(40)), ProvedBy::Disk));
}

#[test]
fn a_guarantee_names_its_proof_its_flush_and_whether_a_later_block_attests_to_it() {
    let mut recovered = Recovered::from_saved(schedule(4), saved());
    recovered.attest(&disk(&[claim(LAST, 12, 11, 5)]));
    let legal = |block| recovered.legal(Block(block));
    let rule = |seq, proved_by, flush, attested| Rule::AtLeast(Guarantee { seq: Seq(seq), proved_by, flush, attested });
    assert_eq!(legal(0).rule, rule(8, ProvedBy::Checkpoint, Some(flush(2, 9)), false), "8 was verified since");
    assert_eq!(legal(1).rule, rule(9, ProvedBy::Checkpoint, Some(flush(3, 10)), true));
    assert_eq!(legal(2).rule, rule(10, ProvedBy::Disk, None, true));
    assert_eq!(legal(3).rule, rule(11, ProvedBy::Checkpoint, None, false), "the attested frontier ends below it");
    let issued = |block| legal(block).newest_issued;
    assert_eq!([issued(0), issued(1), issued(3)], [Some(Seq(12)), Some(Seq(9)), Some(Seq(11))]);
}

#[test]
fn a_stale_ledger_is_rebuilt_from_the_epochs_that_went_on_without_it() {
    let forgotten = Epoch { number: 1, nonce: 10 };
    let next = Epoch { number: 5, nonce: 50 };
    let known = [claim(forgotten, 3, 2, 1), claim(OLD, 7, 6, 3)];
    let durable = |claims: &[Claim]| rebuilt(Some(saved()), &[&known, claims].concat()).durable();
    assert_eq!(durable(&[claim(LAST, 24, 20, 6), claim(next, 34, 30, 9)]), Seq(20), "two went on: the smaller one");
    assert_eq!(durable(&[claim(LAST, 24, 20, 5), claim(next, 34, 30, 9)]), Seq(30), "a checkpoint that was known");
    let twin = Epoch { number: 4, nonce: 41 };
    assert_eq!(durable(&[claim(twin, 24, 22, 2), claim(next, 34, 30, 9)]), Seq(22), "another of the same number");
    assert_eq!(durable(&[]), Seq(0));
    let none = Checkpoint { epochs: Epochs::default(), ..saved() };
    assert_eq!(rebuilt(Some(none), &known).durable(), Seq(2), "it knew of none: all went on without it");
}

#[test]
fn without_a_ledger_the_newest_epoch_counts_and_from_a_fork_on_all() {
    let of = |number, nonce, durable| claim(Epoch { number, nonce }, 40, durable, 1);
    let straight = [of(1, 1, 3), of(2, 2, 9), of(3, 3, 12)];
    let recovered = rebuilt(None, &straight);
    assert_eq!((recovered.state(), recovered.durable(), recovered.reserved()), (State::Missing, Seq(12), None));
    assert_eq!(recovered.proved_by(), ProvedBy::Disk);
    let forked = [of(1, 1, 3), of(2, 2, 9), of(2, 3, 7), of(3, 4, 12)];
    assert_eq!(rebuilt(None, &forked).durable(), Seq(7));
}

#[test]
fn what_a_stale_ledger_says_of_d_is_no_proof_though_the_disk_says_the_same() {
    let recovered = rebuilt(Some(saved()), &[claim(LAST, 12, 10, 6)]);
    assert_eq!((recovered.state(), recovered.durable()), (State::Stale, saved().durable()));
    assert_eq!(recovered.proved_by(), ProvedBy::Disk);
    assert!(recovered.saved().is_some());
}

#[test]
fn a_restart_counts_the_cut_and_keeps_what_is_known_of_earlier_epochs() {
    let three_cuts = || {
        let mut saved = saved();
        saved.totals.cuts = 3;
        saved
    };
    let seen = disk(&[claim(LAST, 12, 10, 7)]);
    let mut ledger = Recovered::from_saved(schedule(4), three_cuts()).restart(&seen, false);
    assert_eq!(ledger.totals().cuts, 4);
    assert_eq!((ledger.durable(), ledger.reserved(), ledger.verified()), (Seq(10), Seq(40), Seq(9)));
    assert_eq!((ledger.checkpoint_number(), ledger.epochs().records().len()), (7, 2));
    assert_eq!(ledger.newest_flush(), Some(&flush(3, 10)));
    ledger.flush_submitted();
    ledger.flush_succeeded(NOW);
    assert_eq!(ledger.newest_flush().map(|flush| flush.number), Some(4), "numbered within the run");
    let clean = Checkpoint { clean: true, ..three_cuts() };
    let ledger = Recovered::from_saved(schedule(4), clean).restart(&seen, true);
    assert_eq!((ledger.totals().cuts, ledger.verified()), (3, Seq(10)), "a clean stop is no cut");
}

#[test]
fn a_restart_without_a_current_ledger_reserves_above_all_that_may_have_been_issued() {
    let seen = [claim(LAST, 100, 10, 17)];
    let ledger = rebuilt(Some(saved()), &seen).restart(&disk(&seen), false);
    assert_eq!((ledger.durable(), ledger.reserved()), (Seq(10), Seq(101 + MAX_WINDOW)));
    assert_eq!((ledger.checkpoint_number(), ledger.epochs().records().len(), ledger.newest_flush()), (17, 0, None));
    let low = [claim(LAST, 12, 10, 6)];
    let ledger = rebuilt(Some(saved()), &low).restart(&disk(&low), false);
    assert_eq!(ledger.reserved(), Seq(40 + MAX_WINDOW), "the stale reservation was higher");
    let nothing = rebuilt(None, &[]).restart(&disk(&[]), false);
    assert_eq!((nothing.durable(), nothing.reserved()), (Seq(0), Seq(MAX_WINDOW)));
}

#[test]
fn the_next_epoch_is_above_any_in_the_state_or_on_the_disk() {
    let next = |saved, claims: &[Claim]| rebuilt(saved, claims).next_epoch(&disk(claims));
    assert_eq!(next(None, &[]), 1);
    assert_eq!(next(Some(saved()), &[]), 5);
    assert_eq!(next(Some(saved()), &[claim(Epoch { number: 9, nonce: 1 }, 12, 10, 6)]), 10);
    assert_eq!(next(Some(saved()), &[claim(OLD, 7, 6, 3)]), 5);
}

#[test]
fn an_epoch_is_known_by_its_nonce_and_by_no_later_checkpoint_than_ours() {
    let epochs = epochs();
    assert_eq!(epochs.acquaintance(&claim(LAST, 12, 10, 5)), Acquaintance::Known(epochs.records()[1]));
    assert_eq!(epochs.acquaintance(&claim(LAST, 12, 10, 6)), Acquaintance::Ahead);
    assert_eq!(epochs.acquaintance(&claim(Epoch { nonce: 41, ..LAST }, 12, 10, 5)), Acquaintance::Ahead);
    assert_eq!(epochs.acquaintance(&claim(Epoch { number: 5, nonce: 1 }, 12, 10, 1)), Acquaintance::Ahead);
    assert_eq!(epochs.acquaintance(&claim(Epoch { number: 2, nonce: 1 }, 2, 1, 1)), Acquaintance::Forgotten);
    assert_eq!(Epochs::default().acquaintance(&claim(LAST, 12, 10, 5)), Acquaintance::Ahead);
    let recovered = Recovered::from_saved(schedule(4), saved());
    assert!(recovered.is_outrun_by(&claim(LAST, 12, 10, 6)) && !recovered.is_outrun_by(&claim(LAST, 12, 10, 5)));
    assert!(!rebuilt(Some(saved()), &[]).is_outrun_by(&claim(LAST, 12, 10, 6)), "it is known to be stale");
}

#[test]
fn two_epochs_of_one_number_are_no_table() {
    assert!(Epochs::from_records(vec![record(OLD, 0, 8, 3), record(OLD, 8, 9, 4)]).is_err());
}

#[test]
fn an_epoch_is_forgotten_when_all_it_issued_and_the_restart_of_the_next_are_not_above_the_floor() {
    let kept = |reserved, restart, floor| {
        let mut epochs = Epochs::from_records(vec![record(OLD, 0, reserved, 3)]).unwrap();
        epochs.begin(record(LAST, restart, 40, 5), Seq(floor));
        epochs.records().len()
    };
    assert_eq!(kept(8, 8, 8), 1);
    assert_eq!(kept(9, 8, 8), 2, "it may have issued 8");
    assert_eq!(kept(8, 9, 8), 2, "the next one guarantees nothing of 8");
    assert_eq!(kept(8, 9, 9), 1);
}

#[test]
fn a_tag_that_names_an_unknown_checkpoint_is_ahead_of_a_running_ledger_too() {
    let only = Issue { seq: Seq(9), epoch: LAST };
    let legal = Legal {
        block: Block(1),
        rule: Rule::Exactly(only),
        newest_issued: Some(Seq(9)),
        reserved: Some(Seq(40)),
        issued_below: Some(Seq(13)),
        epochs: epochs().into(),
    };
    assert_eq!(legal.standing(&claim(LAST, 9, 4, 5)), Standing::Legal);
    assert_eq!(legal.standing(&claim(LAST, 13, 4, 6)), Standing::Ahead);
    assert_eq!(legal.standing(&claim(LAST, 13, 4, 5)), Standing::NeverIssued);
    assert_eq!(legal.standing(&claim(OLD, 5, 4, 3)), Standing::Older);
}

/// A ledger of four blocks that has begun an epoch at write 8 of a run whose reservation is 200.
fn living() -> Ledger {
    let from = Checkpoint { flushes: Vec::new(), ..saved() };
    let mut ledger = Ledger::restart(schedule(4), Promise::Flush, &from, Seq(8), Seq(200));
    ledger.begin_epoch(Epoch { number: 5, nonce: 50 }, Promise::Flush);
    ledger
}

#[test]
fn a_ledger_issues_below_its_reservation_and_within_four_passes_or_64_writes() {
    let ledger = living();
    assert_eq!((ledger.issued(), ledger.verified(), ledger.reservable()), (Seq(8), Seq(8), Seq(8 + 64)));
    assert!(ledger.may_issue(Seq(71)) && !ledger.may_issue(Seq(72)), "64 writes above D, and no more");
    let limit = |blocks| Ledger::restart(schedule(blocks), Promise::Flush, &saved(), Seq(0), Seq(0)).reservable().0;
    assert_eq!([limit(16), limit(17), limit(100), limit(1 << 20)], [64, 68, 400, MAX_WINDOW]);
    let low = Ledger::restart(schedule(4), Promise::Flush, &saved(), Seq(8), Seq(10));
    assert!(low.may_issue(Seq(9)) && !low.may_issue(Seq(10)), "R itself is not reserved");
}

#[test]
fn a_flush_counts_what_completed_before_it_and_takes_the_next_number() {
    let mut ledger = living();
    (8..12).for_each(|seq| ledger.issue(Seq(seq)));
    [8, 9, 9, 11].iter().for_each(|&seq| ledger.complete(Seq(seq)));
    assert_eq!((ledger.unflushed(), ledger.flushing()), (3, false), "told twice, it completed once");
    ledger.flush_submitted();
    ledger.complete(Seq(10));
    assert_eq!((ledger.unflushed(), ledger.flushing()), (1, true));
    ledger.flush_succeeded(NOW);
    assert_eq!((ledger.durable(), ledger.state(Seq(10)), ledger.flushing()), (Seq(10), WriteState::Completed, false));
    assert_eq!(ledger.newest_flush(), Some(&FlushRecord { number: 1, durable: Seq(10), wall_ns: 7 }));
    ledger.flush_submitted();
    ledger.flush_failed();
    assert_eq!((ledger.durable(), ledger.is_distrusted(), ledger.flushing()), (Seq(10), true, false));
    ledger.begin_epoch(Epoch { number: 6, nonce: 60 }, Promise::Flush);
    ledger.flush_submitted();
    ledger.flush_succeeded(NOW);
    assert_eq!(ledger.newest_flush().map(|flush| flush.number), Some(3), "the failed one was the second");
}

#[test]
fn nothing_is_guaranteed_by_a_distrusted_epoch_under_any_promise() {
    for promise in [Promise::Flush, Promise::Fua, Promise::Ack] {
        let mut ledger = living();
        ledger.begin_epoch(Epoch { number: 6, nonce: 60 }, promise);
        ledger.issue(Seq(8));
        ledger.distrust_window();
        ledger.complete(Seq(8));
        assert_eq!((ledger.unflushed(), ledger.state(Seq(8))), (0, WriteState::Completed), "{promise:?}");
    }
}

#[test]
fn the_newest_flushes_are_kept_and_the_oldest_of_them_guarantees_nothing_by_name() {
    let mut ledger = living();
    for _ in 0..MAX_FLUSHES + 1 {
        let seq = ledger.durable();
        let from = ledger.checkpoint_number() + 1;
        ledger.issue(seq);
        ledger.complete(seq);
        ledger.flush_submitted();
        ledger.flush_succeeded(NOW);
        ledger.saved(from, Seq(200));
    }
    let flushes = ledger.checkpoint(100, Seq(200), false, NOW).flushes;
    let numbers: Vec<u64> = flushes.iter().map(|flush| flush.number).collect();
    assert_eq!(numbers, (2..=MAX_FLUSHES as u64 + 1).collect::<Vec<_>>());
    assert_eq!(ledger.durable(), Seq(8 + 65));
    // The first remembered made everything below 10 durable, so the one of 9 or 8 is not known; that of 10 is the next.
    let covering = |seq| super::ledger::oldest_covering(flushes.iter(), Seq(seq)).map(|flush| flush.number);
    assert_eq!([covering(8), covering(9), covering(10), covering(11)], [None, None, Some(3), Some(4)]);
    assert_eq!([covering(72), covering(73)], [Some(65), None]);
}

#[test]
fn what_was_read_back_never_goes_back_and_never_beyond_what_was_issued() {
    let mut ledger = living();
    (8..12).for_each(|seq| ledger.issue(Seq(seq)));
    for (frontier, verified) in [(10, 10), (9, 10), (90, 12)] {
        ledger.read_back_below(Seq(frontier));
        assert_eq!(ledger.verified(), Seq(verified));
    }
    ledger.begin_epoch(Epoch { number: 6, nonce: 60 }, Promise::Flush);
    assert_eq!(ledger.verified(), Seq(8), "what is issued again has to be read again");
}

#[test]
fn the_counts_of_a_run_move_along_and_are_saved() {
    let mut ledger = living();
    ledger.totals_mut().written += 4096;
    assert_eq!(ledger.totals().written, 4096);
    assert_eq!(ledger.checkpoint(9, Seq(200), true, NOW).totals, ledger.totals());
}

#[test]
fn an_epoch_remembers_those_that_may_have_left_something_one_pass_back() {
    let of = |number, restart, reserved| record(Epoch { number, nonce: number }, restart, reserved, number);
    let epochs = Epochs::from_records(vec![of(1, 0, 8), of(2, 8, 9), of(3, 9, 14)]).unwrap();
    let begun = |restart: u64| {
        let from = Checkpoint { epochs: epochs.clone(), ..saved() };
        let mut ledger = Ledger::restart(schedule(4), Promise::Flush, &from, Seq(restart), Seq(200));
        ledger.begin_epoch(Epoch { number: 4, nonce: 4 }, Promise::Flush);
        ledger.epochs().records()[0].epoch.number
    };
    // Write 14 is of pass 3, so what lies below 8, where pass 2 begins, has been overwritten in full.
    assert_eq!(begun(14), 2);
    assert_eq!(begun(11), 1);
    assert_eq!(begun(16), 3);
}

/// The ledger is of one of two epochs that share a number; the tags of the other show that it is stale. Which of them was the
/// last to write nobody knows, and what the other one has proved may have been written over lawfully.
#[test]
fn with_a_stale_ledger_the_epoch_that_it_knows_contends_with_one_of_the_same_number() {
    let other = Epoch { nonce: LAST.nonce ^ 1, ..LAST };
    let of_both = rebuilt(Some(saved()), &[claim(other, 23, 22, 6), claim(LAST, 11, 10, 5)]);
    assert_eq!((of_both.state(), of_both.durable()), (State::Stale, Seq(10)));
    let of_the_other = rebuilt(Some(saved()), &[claim(other, 23, 22, 6), claim(OLD, 7, 7, 3)]);
    assert_eq!(of_the_other.durable(), Seq(22), "what was before both is in both");
}
