//! A ledger that is stale, torn, missing or somebody else's is survived, and called by its name.

use std::fs;

use serde_json::Value;

use super::decoder;
use super::room::{MIB, Room, copy_dir};

pub(crate) fn room_after_passes() -> Room {
    let room = Room::new(5 * MIB, &["flush_every=512KiB"]);
    // Twice: what the second writes attests at least to all of the first, however slow a flush is.
    room.run(&["--passes", "1"]).with_code(0);
    room.run(&["--passes", "1"]).with_code(0);
    room
}

pub(crate) fn slot_file(room: &Room, index: usize) -> std::path::PathBuf {
    room.target_state().join(format!("ledger.{index}"))
}

pub(crate) fn number(room: &Room, index: usize) -> u64 {
    decoder::slot(&fs::read(slot_file(room, index)).unwrap()).unwrap().number
}

pub(crate) fn rot(room: &Room, index: usize) {
    let mut bytes = fs::read(slot_file(room, index)).unwrap();
    bytes[200] ^= 0x40;
    fs::write(slot_file(room, index), bytes).unwrap();
}

/// It goes on whatever was found, and the next check finds its own ledger again.
fn goes_on(room: &Room, words: &str) {
    let before = room.check().1["frontiers"]["durable"].as_u64();
    room.run(&["--passes", "1"]).with_code(0).saying(words);
    let verdict = room.assert_intact();
    assert_eq!(verdict["state"], "current", "{verdict:#}");
    assert!(verdict["frontiers"]["durable"].as_u64() > before, "{verdict:#}");
}

#[test]
fn an_old_state_directory_put_back_is_stale_and_never_blamed_on_the_disk() {
    let room = room_after_passes();
    copy_dir(&room.state(), &room.path("old"));
    room.run(&["--passes", "3"]).with_code(0);
    fs::remove_dir_all(room.state()).unwrap();
    copy_dir(&room.path("old"), &room.state());
    let verdict = room.assert_intact();
    assert_eq!((&verdict["state"], &verdict["proved_by"]), (&"stale".into(), &"disk".into()), "{verdict:#}");
    assert_eq!(verdict["frontiers"]["reserved"], Value::Null, "a stale ledger knows no reservation");
    room.scrubd(&["check"]).with_code(0).saying("stale");
    goes_on(&room, "stale");
}

#[test]
fn one_rotten_slot_is_survived_by_the_other_and_told() {
    for newest in [true, false] {
        let room = room_after_passes();
        let (zero, one) = (number(&room, 0), number(&room, 1));
        rot(&room, usize::from((one > zero) == newest));
        let ended = room.scrubd(&["check", "--json"]).with_code(0).saying("a torn or damaged checkpoint");
        assert_eq!(ended.json()["verdict"], "intact", "{ended:?}");
        goes_on(&room, "a torn or damaged checkpoint");
    }
}

#[test]
fn with_both_slots_rotten_the_tags_alone_are_judged_by() {
    let room = room_after_passes();
    rot(&room, 0);
    rot(&room, 1);
    let verdict = room.assert_intact();
    assert_eq!((&verdict["state"], &verdict["proved_by"]), (&"missing".into(), &"disk".into()), "{verdict:#}");
    goes_on(&room, "no ledger of this run");
}

#[test]
fn a_state_directory_that_is_gone_is_missing_and_survived() {
    let room = room_after_passes();
    fs::remove_dir_all(room.state()).unwrap();
    let verdict = room.assert_intact();
    assert_eq!((&verdict["state"], &verdict["proved_by"]), (&"missing".into(), &"disk".into()), "{verdict:#}");
    room.scrubd(&["check"]).with_code(0).saying("no ledger of this run");
    goes_on(&room, "no ledger of this run");
}

#[test]
fn check_without_state_knows_as_much_as_the_disk_itself() {
    let room = room_after_passes();
    let with = room.assert_intact();
    let without = room.scrubd(&["check", "--no-state", "--json"]).with_code(0).json();
    assert_eq!((&without["state"], &without["verdict"]), (&"missing".into(), &"intact".into()), "{without:#}");
    let durable = |verdict: &Value| verdict["frontiers"]["durable"].as_u64().unwrap();
    assert!(durable(&without) <= durable(&with), "the disk cannot attest to the last flush");
    assert!(durable(&without) > 0, "and attests to those before");
}

#[test]
fn state_of_another_run_is_moved_aside_under_its_run_id() {
    let room = room_after_passes();
    let first = room.assert_intact()["run_id"].as_str().unwrap().to_owned();
    fs::remove_file(room.file()).unwrap();
    room.run(&["--passes", "1"]).with_code(0).saying("is kept in");
    let second = room.assert_intact()["run_id"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let kept = room.target_state().join("previous").join(&first);
    assert!(decoder::slot(&fs::read(kept.join("ledger.0")).unwrap()).is_some_and(|slot| slot.run == first));
}

#[test]
fn a_state_directory_that_cannot_be_used_is_said_before_anything_is_made() {
    let room = Room::new(5 * MIB, &[]);
    fs::write(room.state(), "a file where a directory should be").unwrap();
    room.run(&["--passes", "1"]).with_code(73).saying("--state-dir");
    assert!(!room.file().exists());
}
