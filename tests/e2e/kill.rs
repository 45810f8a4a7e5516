//! kill -9 at random moments under load: every restart finds nothing wrong, and goes on.
//!
//! The page cache survives a kill, so this tests the restart and not the disk. Half of the kills come from here at a
//! random time; half from the trigger's own command, so that they fall around the saving of a trigger.

use std::time::{Duration, Instant};

use super::room::{MIB, Room, random};

const ORDERS: [&str; 2] = ["sequential", "random"];
const PROMISES: [&str; 2] = ["flush", "fua"];
const TRIGGER_IO: [&str; 4] = ["continue", "hold", "drain", "flush"];

fn kills() -> usize {
    std::env::var("SCRUBD_KILLS").map_or(100, |kills| kills.parse().expect("SCRUBD_KILLS is a number"))
}

#[test]
fn every_restart_after_kill_9_finds_nothing_wrong_and_goes_on() {
    let begun = Instant::now();
    // `ack` is refused on files.
    let worlds = ORDERS.iter().flat_map(|order| PROMISES.iter().map(move |promise| (order, promise)));
    let worlds: Vec<(String, String)> =
        worlds.map(|(order, promise)| (format!("order={order}"), format!("promise={promise}"))).collect();
    let mut survived = 0;
    let share = kills().div_ceil(worlds.len());
    std::thread::scope(|scope| {
        let runs: Vec<_> = worlds.iter().map(|world| scope.spawn(|| kill_often(world, share))).collect();
        survived = runs.into_iter().map(|run| run.join().unwrap()).sum();
    });
    println!("{survived} kills survived in {:?}", begun.elapsed());
    assert!(survived >= kills());
}

fn kill_often((order, promise): &(String, String), times: usize) -> usize {
    let sets = [order.as_str(), promise, "flush_every=1MiB", "verify.readback_lag=1MiB", "queue_depth=16"];
    let room = Room::new(9 * MIB, &sets);
    let mut durable = 0;
    for kill in 0..times {
        if kill % 2 == 0 {
            kill_from_outside(&room)
        } else {
            kill_by_trigger(&room, TRIGGER_IO[kill / 2 % 4])
        }
        let verdict = room.assert_intact();
        let now = verdict["frontiers"]["durable"].as_u64().unwrap();
        assert!(now >= durable, "the durable frontier went back from {durable} to {now}: {verdict:#}");
        durable = now;
    }
    let ended = room.run(&["--passes", "1", "--json"]).with_code(0).json();
    assert!(ended["frontiers"]["durable"].as_u64().unwrap() > durable, "it goes on: {ended:#}");
    assert!(!room.target_state().join("QUARANTINE").exists());
    room.assert_intact();
    times
}

fn kill_from_outside(room: &Room) {
    let mut running = room.start_run(&[]);
    // Before the first ledger there is a label and nothing else: a check then says that nothing is proved, not "intact".
    running.until("the first ledger", || !room.events().is_empty());
    std::thread::sleep(Duration::from_millis(20 + random(600)));
    let ended_by_itself = running.child.try_wait().unwrap();
    assert_eq!(ended_by_itself, None, "it ended before it was killed:\n{}", running.said());
    running.child.kill().unwrap();
    running.ended().with_code(128 + 9);
}

fn kill_by_trigger(room: &Room, io: &str) {
    let (io, writes) = (format!("trigger.io={io}"), format!("trigger.writes={}", 1 + random(400)));
    let command = r#"trigger.command=["/bin/sh", "-c", "kill -9 $PPID"]"#;
    room.start_run(&["--set", &io, "--set", &writes, "--set", command]).ended().with_code(128 + 9);
}
