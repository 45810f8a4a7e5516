//! The rig is what it says: requests really overlap, flushes and O_DSYNC arrive, and scrubd does use io_uring.

use super::rig::{MIB, Rig};

macro_rules! needs {
    ($rig:expr) => {
        match $rig {
            Ok(rig) => rig,
            Err(why) => return super::mount::skipped(&why),
        }
    };
}
pub(crate) use needs;

fn started(rig: &Rig) -> serde_json::Value {
    rig.events().into_iter().rfind(|event| event["event"] == "started").expect("the start is in the log")
}

#[test]
fn thirty_two_writes_are_in_flight_at_once_through_io_uring() {
    let rig = needs!(Rig::new(33 * MIB, 4096, 1, &["mode=powercut", "queue_depth=32", "flush_every=16MiB"]));
    rig.init();
    {
        let mut held = rig.store();
        (held.0.slowness, held.0.even) = (20_000, true);
    }
    let mut running = rig.start(&["run"]);
    // That it is filled at all is up to the scheduler of a busy machine; that it is never more than full is not.
    running.until("a full queue", || {
        let counts = rig.store().store().counts;
        counts.writes >= 400 && counts.most_writes_in_flight >= 32
    });
    let counts = rig.store().store().counts;
    println!("in flight: {counts:?}");
    assert_eq!(counts.most_writes_in_flight, 32, "as many as the queue is deep, and no more");
    assert_eq!(counts.largest_write, 64 << 10, "a block is one request");
    let ring = &started(&rig)["ring"];
    assert_eq!((&ring["engine"], &ring["direct"]), (&"io_uring".into(), &true.into()), "{ring:#}");
    rig.store().0.slowness = 1;
    let cut = rig.cut(running, 1);
    println!("at the cut: {cut:?}");
    rig.assert_intact();
}

#[test]
fn a_write_under_fua_says_so_itself_and_one_under_flush_does_not() {
    for (promise, dsync) in [("fua", true), ("flush", false)] {
        let promise = format!("promise={promise}");
        let rig = needs!(Rig::new(5 * MIB, 4096, 1, &["mode=powercut", "flush_every=1MiB", &promise]));
        rig.init();
        let before = rig.store().store().counts;
        let mut running = rig.start(&["run"]);
        running.until("200 writes", || rig.store().store().counts.writes >= before.writes + 200);
        let cut = rig.cut(running, 2);
        let after = rig.store().store().counts;
        let (writes, said) = (after.writes - before.writes, after.dsync_writes - before.dsync_writes);
        println!(
            "{promise}: {writes} writes, {said} with O_DSYNC, {} flushes, {cut:?}",
            after.flushes - before.flushes
        );
        assert_eq!(said, if dsync { writes } else { 0 });
        assert_eq!(after.flushes - before.flushes >= 4, !dsync, "only the one promise needs flushes");
        rig.assert_intact();
    }
}
