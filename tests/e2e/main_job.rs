//! The README's first command, twice, and what `check` says then.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;
use std::time::Duration;

use super::decoder::{DATA, tag};
use super::room::{MIB, Room, contents, is_root, skipped};

#[test]
fn the_main_job_twice_continues_one_run_and_check_says_intact() {
    let room = Room::new(64 * MIB, &[]);
    let first = room.run(&["--duration", "2s", "--json"]).with_code(0).json();
    assert_eq!(first["verdict"], "intact", "{first:#}");
    assert!(first["bytes"]["written"].as_u64() > Some(0) && first["bytes"]["verified"].as_u64() > Some(0), "{first:#}");
    let length = fs::metadata(room.file()).unwrap().len();
    assert_eq!(length, 64 * MIB);

    let second = room.run(&["--duration", "2s", "--json"]).with_code(0).json();
    assert_eq!(second["run_id"], first["run_id"]);
    assert!(second["frontiers"]["durable"].as_u64() > first["frontiers"]["durable"].as_u64(), "{second:#}");

    let before = contents(&room.state());
    let verdict = room.assert_intact();
    assert_eq!(verdict["state"], "current");
    assert_eq!(verdict["proved_by"], "checkpoint");
    assert_eq!(verdict["run_id"], first["run_id"]);
    assert_eq!(verdict["frontiers"], second["frontiers"]);
    assert_eq!(verdict["blocks"]["total"], (64 * MIB - DATA) / 65536);
    assert_eq!(contents(&room.state()), before, "check changes nothing");
    room.scrubd(&["check"]).with_code(0).saying("disk.img: intact: every promise was kept");
}

#[test]
fn every_block_says_who_it_is_as_a_second_decoder_reads_it() {
    let room = Room::new(4 * MIB, &["block_size=64KiB", "atom=512", "order=sequential"]);
    let verdict = room.run(&["--passes", "2", "--json"]).with_code(0).json();
    let file = room.read_file();
    for (block, bytes) in (0..).zip(file[DATA as usize..].chunks_exact(65536)) {
        for (index, atom) in (0..).zip(bytes.chunks_exact(512)) {
            let tag = tag(atom).unwrap();
            assert!(tag.sound);
            assert_eq!((tag.block, tag.atom, tag.block_size, tag.atom_size), (block, index, 65536, 512));
            assert_eq!(tag.run, verdict["run_id"].as_str().unwrap());
            assert_eq!(tag.seq % 48, block, "sequential order of 48 blocks");
            assert!(tag.durable <= tag.seq && tag.seq < verdict["frontiers"]["durable"].as_u64().unwrap());
        }
    }
}

#[test]
fn a_run_without_json_ends_with_words_and_check_without_state_makes_none() {
    let room = Room::new(8 * MIB, &[]);
    room.run(&["--passes", "1"]).with_code(0).saying("intact");
    fs::remove_dir_all(room.state()).unwrap();
    let verdict = room.assert_intact();
    assert_eq!((&verdict["state"], &verdict["proved_by"]), (&"missing".into(), &"disk".into()));
    assert_eq!(verdict["frontiers"]["reserved"], serde_json::Value::Null);
    assert!(!room.state().exists(), "a check that makes a state directory changes something");
}

#[test]
fn the_main_job_works_for_an_unprivileged_user() {
    const NOBODY: u32 = 65534;
    let room = Room::new(16 * MIB, &[]);
    if !is_root() {
        // Then every other test is this one.
        return;
    }
    if Command::new("setpriv").arg("--version").output().is_err() {
        return skipped("the main job as nobody: setpriv (util-linux) is not installed");
    }
    // The build directory is root's own.
    let program = room.path("scrubd");
    fs::copy(env!("CARGO_BIN_EXE_scrubd"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(room.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(room.dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let as_nobody = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(room.command(words).get_args());
        room.start(command).ended()
    };
    for _ in 0..2 {
        as_nobody(&["run", "--size", "16MiB", "--duration", "1s"]).with_code(0);
    }
    as_nobody(&["check"]).with_code(0).saying("intact");
    assert_eq!(fs::metadata(room.file()).unwrap().uid(), NOBODY);
}

#[test]
fn what_is_held_by_a_daemon_is_not_checked() {
    let room = Room::new(16 * MIB, &["rate=4MiB/s"]);
    let mut running = room.start_run(&["--duration", "60s"]);
    running.until("a first epoch", || !room.events().is_empty());
    let begun = std::time::Instant::now();
    room.scrubd(&["check"]).with_code(75).saying("held");
    assert!(begun.elapsed() > Duration::from_secs(3), "taking it is retried, as a killed ring lets go late");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.ended().with_code(0);
    room.assert_intact();
}
