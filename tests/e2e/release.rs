//! `scrubd release`: what it takes away, and when it takes nothing.

use std::fs;
use std::os::unix::fs::FileExt;

use crate::room::{MIB, Room};

const SIZE: u64 = 8 * MIB;

fn room() -> Room {
    let room = Room::new(SIZE, &[]);
    room.run(&["--passes", "1"]).with_code(0);
    room
}

fn label_area(room: &Room) -> Vec<u8> {
    let mut bytes = vec![0; MIB as usize];
    fs::File::open(room.file()).unwrap().read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn without_the_right_confirmation_nothing_is_released() {
    let room = room();
    let (before, state) = (label_area(&room), fs::read_dir(room.target_state()).unwrap().count());
    room.scrubd(&["release"]).with_code(77).saying("--confirm").saying("can never be judged again");
    room.scrubd(&["release", "--confirm", "/dev/sdz"]).with_code(77).saying("not confirmed");
    assert!(label_area(&room) == before);
    assert_eq!(fs::read_dir(room.target_state()).unwrap().count(), state);
    room.scrubd(&["check"]).with_code(0);
}

#[test]
fn a_target_that_was_released_has_no_label_and_a_new_init_begins_a_new_run() {
    let room = room();
    let path = room.file().display().to_string();
    let told = room.scrubd(&["release", "--confirm", &path, "--json"]).with_code(0).json();
    assert!(label_area(&room).iter().all(|&byte| byte == 0), "both copies are gone");
    assert_eq!(fs::metadata(room.file()).unwrap().len(), SIZE, "the file is as long as before");
    let kept = std::path::PathBuf::from(told["state"].as_str().unwrap());
    assert_eq!(kept.file_name().unwrap().to_str(), told["run_id"].as_str());
    assert!(fs::read_to_string(kept.join("events.jsonl")).unwrap().contains("\"released\""));
    assert!(kept.join("ledger.0").exists() && !room.target_state().join("ledger.0").exists());
    // Nothing is held against a disk whose label was taken off on purpose.
    room.run(&[]).with_code(77).saying("never writes to an unlabelled");
    room.scrubd(&["check"]).with_code(77);
    room.scrubd(&["release", "--confirm", &path]).with_code(77);
    room.scrubd(&["init", "--confirm", &path]).with_code(0);
    room.run(&["--passes", "1"]).with_code(0);
}

#[test]
fn a_target_that_a_daemon_holds_is_not_released() {
    let room = room();
    let before = label_area(&room);
    let mut running = room.start_run(&[]);
    running.until("control socket", || room.target_state().join("control.sock").exists());
    let path = room.file().display().to_string();
    room.scrubd(&["release", "--confirm", &path]).with_code(75).saying("held by");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.ended().with_code(0);
    assert!(label_area(&room) == before);
}

#[test]
fn a_quarantined_target_is_looked_at_before_it_is_released() {
    let room = room();
    fs::write(room.target_state().join("QUARANTINE"), "").unwrap();
    let path = room.file().display().to_string();
    room.scrubd(&["release", "--confirm", &path]).with_code(65).saying("part of the evidence");
    assert!(label_area(&room).iter().any(|&byte| byte != 0));
    room.scrubd(&["quarantine", "clear"]).with_code(0);
    room.scrubd(&["release", "--confirm", &path]).with_code(0);
}
