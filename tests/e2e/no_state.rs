//! `check --no-state`: as much as the tags can tell, and a word about what they cannot.

use std::fs;

use super::decoder::{DATA, tag};
use super::ledgers::room_after_passes;
use super::room::{MIB, Room};

const BLOCK: usize = 64 << 10;
const ATOM: usize = 512;

#[test]
fn a_check_without_state_says_what_the_tags_cannot_tell() {
    let room = room_after_passes();
    let told =
        room.scrubd(&["check", "--no-state"]).with_code(0).saying("the tags prove what was promised below write ");
    assert!(told.out.contains("intact"), "{told:?}");
    let unflushed = Room::new(5 * MIB, &[]);
    unflushed.run(&["--passes", "1"]).with_code(0);
    unflushed.scrubd(&["check", "--no-state"]).with_code(0).saying("no tag says that anything was durable");
    // The label is left, and nothing else: with the ledger it is known to be a loss, without it nothing is known.
    let mut wiped = room.read_file();
    wiped[DATA as usize..].fill(0);
    fs::write(room.file(), wiped).unwrap();
    room.scrubd(&["check"]).with_code(65).saying("VIOLATED");
    let nothing = room.scrubd(&["check", "--no-state", "--json"]).with_code(75).saying("or everything is gone");
    assert_eq!(nothing.json()["verdict"], "incomplete", "{nothing:?}");
}

/// Damages the block at a place in the file; an older file is there to copy from.
type Damage = (&'static str, fn(&mut [u8], usize, &[u8]));

/// Not `shorn`: what an atom is shorn with may be of an epoch that no tag names any more. Without a ledger it is corrupt.
const DAMAGES: &[Damage] = &[
    ("corrupt", |file, at, _| file[at + 700] ^= 4),
    ("zeroed", |file, at, _| file[at..at + BLOCK].fill(0)),
    ("lost_write", |file, at, old| file[at..at + BLOCK].copy_from_slice(&old[at..at + BLOCK])),
    ("torn", |file, at, old| file[at..at + 4096].copy_from_slice(&old[at..at + 4096])),
    ("misdirected", |file, at, _| {
        let from = if at > DATA as usize { at - BLOCK } else { at + BLOCK };
        file.copy_within(from..from + BLOCK, at);
    }),
];

#[test]
fn where_the_tags_suffice_a_check_without_state_reaches_the_verdict_of_the_ledger() {
    let room = Room::new(5 * MIB, &["flush_every=512KiB"]);
    room.run(&["--passes", "1"]).with_code(0);
    let old = room.read_file();
    room.run(&["--passes", "1"]).with_code(0);
    // Half a pass more: its tags vouch for what the other half of the blocks holds.
    // Slowly, so that flushes end before the last blocks are sealed, whatever else the machine is at.
    room.run(&["--set", "trigger.writes=32", "--set", "trigger.then=exit", "--set", "rate=4MiB/s"]).with_code(0);
    let whole = room.read_file();
    let tags_alone = room.scrubd(&["check", "--no-state", "--json"]).with_code(0).json();
    let durable = tags_alone["frontiers"]["durable"].as_u64().unwrap();
    let vouched_for = |at: &usize| tag(&whole[*at..*at + ATOM]).unwrap().seq < durable;
    let at = (DATA as usize..whole.len()).step_by(BLOCK).find(vouched_for).expect("half of the blocks");
    for (class, damage) in DAMAGES {
        let mut damaged = whole.clone();
        damage(&mut damaged, at, &old);
        fs::write(room.file(), &damaged).unwrap();
        let found = |words: &[&str]| {
            let verdict = room.scrubd(words).with_code(65).json();
            assert_eq!(verdict["blocks"]["findings"], 1, "{class}: {verdict:#}");
            let finding = &verdict["findings"][0];
            ["class", "block", "offset", "expected_seq", "found_seq"].map(|member| finding[member].clone())
        };
        let (with, without) = (found(&["check", "--json"]), found(&["check", "--no-state", "--json"]));
        assert_eq!(with, without, "{class}");
        assert_eq!(with[0], *class, "{with:?}");
    }
}
