//! Exit codes and refusals that need no load.

use std::fs;

use super::room::{MIB, Room, contents};

#[test]
fn usage_errors_exit_64() {
    let room = Room::new(4 * MIB, &[]);
    room.scrubd(&["frobnicate"]).with_code(64);
    room.scrubd(&["run", "--passes", "0"]).with_code(64);
    room.scrubd(&["inspect"]).with_code(64).saying("--block");
}

#[test]
fn an_existing_file_without_a_label_is_refused_and_not_changed() {
    let room = Room::new(4 * MIB, &[]);
    let data: Vec<u8> = (0..4 * MIB).map(|at| (at % 251) as u8).collect();
    fs::write(room.file(), &data).unwrap();
    room.run(&["--passes", "1"]).with_code(77).saying("label");
    room.scrubd(&["check"]).with_code(77);
    room.scrubd(&["inspect", "--block", "0"]).with_code(77);
    // The size is the file's own: init of an existing file needs only to be told twice.
    room.scrubd(&["init"]).with_code(77).saying("--confirm");
    room.scrubd(&["init", "--confirm", "something else"]).with_code(77).saying("not confirmed");
    assert!(room.read_file() == data, "a refusal changes not one byte");
    let path = room.file().display().to_string();
    room.scrubd(&["init", "--confirm", &path]).with_code(0).saying("is labelled");
    room.run(&["--passes", "1"]).with_code(0);
    room.assert_intact();
}

#[test]
fn init_makes_file_label_and_state_and_a_check_of_it_is_intact() {
    let room = Room::new(4 * MIB, &[]);
    let made = room.scrubd(&["init", "--size", "4MiB", "--json"]).with_code(0).json();
    let verdict = room.assert_intact();
    assert_eq!(verdict["run_id"], made["run_id"]);
    assert_eq!((&verdict["state"], &verdict["blocks"]["unwritten"]), (&"current".into(), &48.into()), "{verdict:#}");
    room.scrubd(&["init", "--size", "4MiB"]).with_code(77).saying("run");
}

#[test]
fn keys_that_contradict_the_label_are_configuration_errors() {
    let room = Room::new(4 * MIB, &[]);
    room.run(&["--passes", "1"]).with_code(0);
    for (set, words) in [
        ("block_size=4KiB", "contradicts the label"),
        ("order=sequential", "contradicts the label"),
        ("promise=ack", "power-loss protection"),
        ("verify.readback_lag=4KiB", "at least one block"),
        ("verify.thread=1", "verify.threads"),
    ] {
        room.run(&["--passes", "1", "--set", set]).with_code(78).saying(words);
    }
    room.scrubd(&["check", "--set", "block_size=4KiB"]).with_code(78).saying("contradicts the label");
}

#[test]
fn a_target_that_is_not_there_is_named() {
    let room = Room::new(4 * MIB, &[]);
    room.scrubd(&["check"]).with_code(78).saying("no such file");
    room.scrubd(&["run"]).with_code(78).saying("no size");
    room.scrubd(&["status"]).with_code(75).saying("no daemon listens");
    room.scrubd(&["pause"]).with_code(75);
    assert!(!room.file().exists());
}

#[test]
fn check_and_inspect_of_a_sound_file_change_nothing_anywhere() {
    let room = Room::new(4 * MIB, &[]);
    room.run(&["--passes", "2"]).with_code(0);
    let before = (contents(&room.state()), room.read_file());
    room.assert_intact();
    let inspected = room.scrubd(&["inspect", "--block", "7", "--json"]).with_code(0).json();
    assert_eq!((&inspected["verdict"], &inspected["block"]), (&"intact".into(), &7.into()), "{inspected:#}");
    room.scrubd(&["inspect", "--block", "7"]).with_code(0).saying("block 7: intact");
    assert!(before == (contents(&room.state()), room.read_file()));
}

#[test]
fn configuration_is_checked_and_shown_with_origins() {
    let room = Room::new(4 * MIB, &["queue_depth=7"]);
    room.scrubd(&["config", "check"]).with_code(0).saying("valid");
    room.scrubd(&["config", "show"]).with_code(0).saying("queue_depth = 7  # --set queue_depth=7");
    let shown = room.scrubd(&["config", "show", "--json"]).with_code(0).json();
    assert_eq!(shown["targets"]["disk.img"]["queue_depth"]["value"], "7", "{shown:#}");
    room.scrubd(&["config", "check", "--set", "queue_depth=0"]).with_code(78).saying("queue_depth");
}

#[test]
fn pause_resume_status_and_reload_reach_the_daemon() {
    let room = Room::new(16 * MIB, &[]);
    let mut running = room.start_run(&[]);
    let written = || {
        let status = room.scrubd(&["status", "--json"]);
        if status.code == 0 { status.json()["engine"]["bytes"]["written"].as_u64() } else { None }
    };
    running.until("something written", || written() > Some(0));
    room.scrubd(&["status"]).with_code(0).saying("frontiers");
    room.scrubd(&["pause"]).with_code(0);
    running.until("a pause", || {
        let before = written();
        std::thread::sleep(std::time::Duration::from_millis(300));
        before == written()
    });
    let paused = written();
    room.scrubd(&["resume"]).with_code(0);
    running.until("more written", || written() > paused);
    room.scrubd(&["reload"]).with_code(0);
    running.signal(nix::sys::signal::Signal::SIGINT);
    running.ended().with_code(0);
    room.assert_intact();
}
