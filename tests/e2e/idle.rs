//! A daemon with nothing to do sleeps, and wakes as soon as there is something.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use super::room::{MIB, Room, Running};

/// How often each thread has gone to sleep so far, by its number and name.
fn naps(running: &Running) -> BTreeMap<String, u64> {
    let mut naps = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{}/task", running.pid())).unwrap() {
        let task = task.unwrap().path();
        // A thread may end between being listed and being looked at.
        let (Ok(name), Ok(status)) = (fs::read_to_string(task.join("comm")), fs::read_to_string(task.join("status")))
        else {
            continue;
        };
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        let number = task.file_name().unwrap().to_string_lossy().into_owned();
        naps.insert(format!("{number} {}", name.trim()), count.trim().parse().unwrap());
    }
    naps
}

/// A thread that wakes up periodically, be it every two seconds, never lets three of them pass in peace. Not the time that
/// this takes is judged: where the machine is busy, the daemon comes to rest later.
#[test]
fn a_daemon_that_is_paused_wakes_up_for_nothing_at_all() {
    let mut room = Room::new(16 * MIB, &["flush_every=1s"]);
    room.sets.push(format!("trigger.file={}", room.path("cut").display()));
    let mut running = room.start_run(&[]);
    running.until("a first epoch", || room.events().iter().any(|event| event["event"] == "epoch_began"));
    room.scrubd(&["pause"]).with_code(0);
    let mut before = naps(&running);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_secs(3));
        let after = naps(&running);
        if after == before {
            return go_on(&room, running);
        }
        println!(
            "woken: {:?}",
            after.iter().filter(|(name, naps)| before.get(*name) != Some(naps)).collect::<Vec<_>>()
        );
        before = after;
    }
    panic!("a paused daemon never slept for three seconds");
}

/// It has not died: status, resume and trigger find it awake.
fn go_on(room: &Room, mut running: Running) {
    let status = room.scrubd(&["status", "--json"]).with_code(0).json();
    assert_eq!(status["engine"]["phase"], "paused", "{status:#}");
    let next = status["engine"]["next"].as_u64();
    room.scrubd(&["resume"]).with_code(0);
    running.until("a write", || room.scrubd(&["status", "--json"]).json()["engine"]["next"].as_u64() > next);
    room.scrubd(&["pause"]).with_code(0);
    let paused = room.scrubd(&["status", "--json"]).json();
    assert_eq!(paused["engine"]["phase"], "paused", "what was asked before is in the status: {paused:#}");
    fs::write(room.path("cut"), "").unwrap();
    running.ended().with_code(0);
    room.assert_intact();
}
