//! Everything that can be wrong with a state directory, one thing at a time.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ledgers::{number, room_after_passes, rot, slot_file};
use super::room::{Room, contents, copy_dir, is_root, skipped};

/// A slot's bytes with its checksum made anew, as the page at the head of slots.rs says: over 0..96 and 128..T.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = (128 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize).div_ceil(4096) * 4096;
    let covered = [&bytes[..96], &bytes[128..end]].concat();
    bytes[96..128].copy_from_slice(blake3::hash(&covered).as_bytes());
    bytes
}

fn change_slot(room: &Room, index: usize, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(slot_file(room, index)).unwrap();
    change(&mut bytes);
    fs::write(slot_file(room, index), bytes).unwrap();
}

fn newer_format(room: &Room, index: usize) {
    change_slot(room, index, |bytes| {
        bytes[8] = 9;
        *bytes = resealed(std::mem::take(bytes));
    });
}

fn other_device(room: &Room, index: usize) {
    change_slot(room, index, |bytes| {
        bytes[40] ^= 1;
        *bytes = resealed(std::mem::take(bytes));
    });
}

fn replace_dir_by_file(room: &Room) {
    fs::remove_dir_all(room.target_state()).unwrap();
    fs::write(room.target_state(), "a file").unwrap();
}

fn in_state(room: &Room, name: &str) -> PathBuf {
    room.target_state().join(name)
}

const TAGS: &str = "judging by what the tags on the disk prove";

/// What was done to the state directory; the `state` and the words of `check`, which always says intact; exit status and
/// words of `run`.
type Case = (&'static str, fn(&Room), &'static str, &'static str, i32, &'static str);

/// Whatever is wrong with the ledger is called by its name, and is never a fault of the disk.
const TABLE: &[Case] = &[
    ("nothing", |_| {}, "current", "intact", 0, "intact"),
    (
        "the older slot is torn",
        |r| rot(r, older(r)),
        "current",
        "a torn or damaged checkpoint: its checksum",
        0,
        "its checksum",
    ),
    (
        "the newer slot is torn",
        |r| rot(r, 1 - older(r)),
        "current",
        "a torn or damaged checkpoint: its checksum",
        0,
        "its checksum",
    ),
    ("both are torn", |r| (rot(r, 0), rot(r, 1)).0, "missing", TAGS, 0, "no ledger of this run"),
    (
        "one is gone",
        |r| fs::remove_file(slot_file(r, 0)).unwrap(),
        "current",
        "ledger.0: missing",
        0,
        "ledger.0: missing",
    ),
    (
        "one is of no length",
        |r| fs::write(slot_file(r, 1), "").unwrap(),
        "current",
        "ledger.1: missing",
        0,
        "ledger.1: missing",
    ),
    (
        "both are of no length",
        |r| [0, 1].map(|i| fs::write(slot_file(r, i), "").unwrap())[0],
        "missing",
        TAGS,
        0,
        "no ledger of this run",
    ),
    (
        "one is cut short",
        |r| change_slot(r, 0, |b| b.truncate(100)),
        "current",
        "it ends after 100 of 128 bytes",
        0,
        "it ends after 100",
    ),
    (
        "one is something else",
        |r| fs::write(slot_file(r, 1), vec![b'x'; 5000]).unwrap(),
        "current",
        "it does not begin as a checkpoint does",
        0,
        "it does not begin",
    ),
    (
        "one is a directory",
        |r| (fs::remove_file(slot_file(r, 0)).unwrap(), fs::create_dir(slot_file(r, 0)).unwrap()).0,
        "current",
        "ledger.0: cannot be read",
        73,
        "cannot open",
    ),
    (
        "one is of another device",
        |r| other_device(r, 0),
        "current",
        "saved for another device",
        77,
        "somebody put this directory together",
    ),
    (
        "both are of another device",
        |r| (other_device(r, 0), other_device(r, 1)).0,
        "missing",
        "saved for another device",
        77,
        "saved for another device",
    ),
    (
        "the newer one is of a newer scrubd",
        |r| newer_format(r, 1 - older(r)),
        "current",
        "made by a newer scrubd",
        77,
        "go on with the newer scrubd",
    ),
    (
        "both are of a newer scrubd",
        |r| (newer_format(r, 0), newer_format(r, 1)).0,
        "missing",
        "made by a newer scrubd",
        77,
        "format version 9",
    ),
    ("all of it is gone", |r| fs::remove_dir_all(r.state()).unwrap(), "missing", TAGS, 0, "no ledger of this run"),
    ("the directory is a file", replace_dir_by_file, "missing", "is no directory", 73, "--state-dir"),
    (
        "target.json is garbage",
        |r| fs::write(in_state(r, "target.json"), "{]").unwrap(),
        "current",
        "target.json is damaged",
        0,
        "target.json is damaged",
    ),
    ("target.json names another run", rename_run, "current", "the ledger is believed", 0, "the ledger is believed"),
    (
        "known.jsonl is garbage",
        |r| fs::write(in_state(r, "known.jsonl"), "a\nb\n").unwrap(),
        "current",
        "2 lines of known.jsonl cannot be read",
        0,
        "2 lines of known.jsonl",
    ),
    (
        "the event log is torn",
        |r| cut(&in_state(r, "events.jsonl"), 7),
        "current",
        "intact",
        0,
        "last line was cut short",
    ),
    (
        "the event log has garbage",
        |r| append(&in_state(r, "events.jsonl"), b"abc\n\xff\xfe\n"),
        "current",
        "intact",
        0,
        "2 lines of the event log are damaged",
    ),
    // A number that is missing was lost in a cut before it was durable: nothing acted on it.
    ("the event log has a gap", |r| without_line(&in_state(r, "events.jsonl"), 1), "current", "intact", 0, "intact"),
    (
        "the event log is gone",
        |r| fs::remove_file(in_state(r, "events.jsonl")).unwrap(),
        "current",
        "intact",
        0,
        "intact",
    ),
];

fn older(room: &Room) -> usize {
    usize::from(number(room, 1) < number(room, 0))
}

fn rename_run(room: &Room) {
    let path = in_state(room, "target.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json["run_id"] = "ff".repeat(16).into();
    fs::write(path, json.to_string()).unwrap();
}

fn cut(path: &Path, bytes: usize) {
    let text = fs::read(path).unwrap();
    fs::write(path, &text[..text.len() - bytes]).unwrap();
}

fn append(path: &Path, bytes: &[u8]) {
    fs::write(path, [&fs::read(path).unwrap(), bytes].concat()).unwrap();
}

fn without_line(path: &Path, number: usize) {
    let text = fs::read_to_string(path).unwrap();
    let left: Vec<&str> = text.lines().enumerate().filter(|(at, _)| *at != number).map(|(_, line)| line).collect();
    fs::write(path, left.join("\n") + "\n").unwrap();
}

#[test]
fn whatever_becomes_of_the_state_directory_is_named_and_never_held_against_the_disk() {
    let room = room_after_passes();
    let disk = room.read_file();
    copy_dir(&room.state(), &room.path("kept"));
    for (what, done, state, words, code, run_words) in TABLE {
        fs::remove_dir_all(room.state()).unwrap_or_else(|why| panic!("{what}: {why}"));
        copy_dir(&room.path("kept"), &room.state());
        done(&room);
        println!("{what}");
        let before = contents(&room.state());
        let checked = room.scrubd(&["check", "--json"]).with_code(0).saying(words);
        let verdict = checked.json();
        assert_eq!(
            (&verdict["verdict"], &verdict["state"]),
            (&"intact".into(), &Value::from(*state)),
            "{what}: {checked:?}"
        );
        assert!(contents(&room.state()) == before && room.read_file() == disk, "{what}: check changed something");
        let ran = room.run(&["--passes", "1"]).with_code(*code).saying(run_words);
        assert!(!ran.err.contains("a promise is broken"), "{what}: {ran:?}");
        if *code == 0 {
            assert_ne!(room.read_file(), disk, "{what}: it goes on");
            assert_eq!(room.assert_intact()["state"], "current", "{what}");
            fs::write(room.file(), &disk).unwrap();
        } else {
            assert!(
                contents(&room.state()) == before && room.read_file() == disk,
                "{what}: a refusal changed something"
            );
        }
    }
}

#[test]
fn a_state_directory_on_a_read_only_file_system_serves_a_check_and_no_run() {
    let room = room_after_passes();
    let (disk, state) = (room.read_file(), room.state());
    let bind = |words: &[&str]| {
        let mut command = std::process::Command::new(words[0]);
        command.args(&words[1..]).arg(&state).output().is_ok_and(|output| output.status.success())
    };
    let source = state.to_str().unwrap();
    if !is_root() || !bind(&["mount", "--bind", source]) {
        return skipped("a read-only state directory: bind mounts need root");
    }
    let read_only = bind(&["mount", "-o", "remount,bind,ro"]);
    let checked = room.scrubd(&["check", "--json"]);
    let ran = room.run(&["--passes", "1"]);
    assert!(bind(&["umount"]) && read_only);
    assert_eq!(checked.with_code(0).json()["state"], "current");
    ran.with_code(73).saying("read-only").saying("--state-dir");
    assert!(room.read_file() == disk);
}
