//! Slots as the crate writes them, read by the page.

use proptest::prelude::*;
use scrubd::ledger::slots::{self, Expected, IdentityHash, SlotBytes};
use scrubd::ledger::{Checkpoint, Ledger};
use scrubd::schedule::Schedule;
use scrubd::vocabulary::{Digest, Epoch, Now, Order, Promise, RunId, Seq};

use super::decoder::slot;
use super::{RUN, geometry};

const IDENTITY: &str = "device\nS3Z8NB0K\nnaa.5000c500a1b2c3d4\n1000204886016\n0";

fn owner() -> Expected {
    Expected { run_id: RUN, identity: IdentityHash::of(IDENTITY) }
}

fn now(wall_ns: u64) -> Now {
    Now { mono_ns: 0, wall_ns }
}

/// Two epochs, a cut between them, two flushes, and a window with each of the four states in it.
pub(super) fn lived_in() -> Checkpoint {
    let schedule = Schedule::new(&geometry(100, 4096, 512, Order::Random, Digest::Crc32c), RUN);
    let first = Checkpoint::first(Promise::Flush, 1);
    let mut ledger = Ledger::restart(schedule, Promise::Flush, &first, Seq(0), Seq(0));
    ledger.begin_epoch(Epoch { number: 1, nonce: u64::MAX }, Promise::Flush);
    ledger.saved(2, Seq(64));
    for seq in 0..5 {
        ledger.issue(Seq(seq));
        ledger.complete(Seq(seq));
    }
    ledger.flush_submitted();
    ledger.flush_succeeded(now(1000));
    ledger.read_back_below(Seq(4));
    ledger.begin_epoch(Epoch { number: 4, nonce: 0x1122_3344_5566_7788 }, Promise::Flush);
    ledger.saved(6, Seq(64));
    // 5 stays in flight, so that D stays below it; 6 becomes durable, 7 completed, 8 unissued, 9 issued.
    [5, 6, 7, 9].into_iter().for_each(|seq| ledger.issue(Seq(seq)));
    ledger.complete(Seq(6));
    ledger.flush_submitted();
    ledger.flush_succeeded(now(2000));
    ledger.complete(Seq(7));
    let totals = ledger.totals_mut();
    (totals.written, totals.verified, totals.cuts) = (0x0102_0304_0506, 0x0708_090A_0B0C, 3);
    ledger.checkpoint(7, Seq(80), false, now(3000))
}

pub(super) fn sealed(number: u64, payload: &[u8]) -> Vec<u8> {
    slots::seal(number, &owner(), payload).expect("fits").as_bytes().to_vec()
}

#[test]
fn every_number_of_a_ledger_is_where_the_page_says() {
    let slot = slot::read(&sealed(7, &lived_in().encode())).unwrap().unwrap();
    assert_eq!((slot.number, slot.run, slot.identity), (7, RUN.0, owner().identity.0));
    let found = slot::checkpoint(&slot.payload).unwrap();
    let expected = slot::Checkpoint {
        promise: 3,
        clean: false,
        wall_ns: 3000,
        durable: 5,
        reserved: 80,
        verified: 4,
        bytes_written: 0x0102_0304_0506,
        bytes_verified: 0x0708_090A_0B0C,
        cuts: 3,
        flushes: vec![[1, 5, 1000], [2, 5, 2000]],
        epochs: vec![[1, u64::MAX, 0, 64, 2], [4, 0x1122_3344_5566_7788, 5, 80, 7]],
        window: vec![1, 3, 2, 0, 1],
    };
    assert_eq!(found, expected);
}

#[test]
fn promises_and_a_clean_stop_are_the_bytes_of_the_page() {
    for (promise, byte) in [(Promise::Ack, 1), (Promise::Fua, 2), (Promise::Flush, 3)] {
        let found = slot::checkpoint(&Checkpoint::first(promise, 9).encode()).unwrap();
        assert_eq!((found.promise, found.clean, found.wall_ns), (byte, true, 9));
        assert!(found.window.is_empty() && found.epochs.is_empty() && found.flushes.is_empty());
    }
}

#[test]
fn the_newest_slot_is_the_one_that_the_crate_takes() {
    let torn = [&sealed(9, &[1; 9000])[..4096], &sealed(8, &[2; 9000])[4096..]].concat();
    let other_run = Expected { run_id: RunId([9; 16]), ..owner() };
    let other_device = Expected { identity: IdentityHash::of("file"), ..owner() };
    let files = [
        Vec::new(),
        vec![0; 300],
        vec![1; 100],
        sealed(5, b"five"),
        [sealed(6, b"six"), vec![7; 5000]].concat(),
        sealed(6, b"another six"),
        torn,
        slots::seal(10, &other_run, b"x").unwrap().as_bytes().to_vec(),
        slots::seal(10, &other_device, b"x").unwrap().as_bytes().to_vec(),
    ];
    for zero in &files {
        for one in &files {
            let read = [SlotBytes::Read(zero.clone()), SlotBytes::Read(one.clone())];
            let choice = slots::newest_valid(&read, &owner());
            let theirs = choice.newest().map(|saved| (saved.number, saved.payload.clone()));
            let ours = slot::newest([zero, one], RUN.0, IDENTITY).map(|slot| (slot.number, slot.payload));
            assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn any_flipped_bit_of_a_slot_is_noticed_and_so_is_any_cut() {
    let whole = sealed(7, &lived_in().encode());
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(slot::read(&damaged).is_err(), "bit {bit}");
    }
    assert!((1..whole.len()).all(|length| slot::read(&whole[..length]).is_err()));
    assert_eq!(slot::read(&[]), Ok(None));
}

#[test]
fn a_checkpoint_that_breaks_a_rule_is_refused_by_both() {
    let whole = lived_in().encode();
    let epochs_at = 80 + 24 * 2;
    let broken = [
        (0, 4),         // promise
        (1, 2),         // clean stop
        (2, 1),         // zeros
        (15, 0x80),     // a number above 2^63
        (24, 6),        // R below D + W
        (32, 11),       // V above D + W
        (64, 9),        // W against the length
        (67, 1),        // W above its bound
        (68, 1),        // F against the length
        (epochs_at, 4), // epochs that do not ascend
        (epochs_at + 7, 0x80),
    ];
    for (at, byte) in broken {
        let mut damaged = whole.clone();
        damaged[at] = byte;
        assert!(slot::checkpoint(&damaged).is_err(), "byte {at}");
        assert!(Checkpoint::decode(7, &damaged).is_err(), "byte {at}");
    }
    // Nonces may be anything, and so may the four bytes that are zero.
    for at in [epochs_at + 15, 76] {
        let mut other = whole.clone();
        other[at] = 0xFF;
        assert!(slot::checkpoint(&other).is_ok() && Checkpoint::decode(7, &other).is_ok(), "byte {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn payloads_of_any_length_come_back(number: u64, payload in prop::collection::vec(any::<u8>(), 0..20_000)) {
        let slot = slot::read(&sealed(number, &payload)).unwrap().unwrap();
        prop_assert_eq!((slot.number, slot.payload), (number, payload));
    }
}
