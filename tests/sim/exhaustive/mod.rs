//! Tiny worlds, exhausted: the real engine, cut after each of its steps, with every subset of what was volatile and
//! every fate of the save in flight; and then cut once more, and again, during the recovery.
//!
//! A world has 2 to 4 blocks of two atoms and is written three times over, under each promise, order and depth, by
//! schedules without chance (`tiny`). After each step of the engine the world is copied, once for each disk that the cut
//! may leave (`explore`, `subsets`), and a check judges it. What it must say is computed straight from the design
//! (`law`) from what passed between engine and world (`scribe`): verdict, counts, frontiers, and block by block class,
//! expected and found write and proof (`judge`). On the disk of an honest device there is never a finding. Every
//! checkpoint that any engine saves is compared with the scribe's own ledger.
//!
//! The lying twin: vectors of versions in which an atom is older than the newest that the disk has acknowledged as
//! durable. It is named as the law says, or the rule is counted by which nobody could prove it; where the saved ledger
//! knows of the guarantee there is no such rule.
//!
//! What has too many subsets is capped, and the output says how often. Four million worlds in about a minute on two
//! idle cores. `SCRUBD_SIM_EXHAUSTIVE=wide` goes through more worlds with higher caps, for half an hour or more;
//! `SCRUBD_SIM_EXHAUSTIVE=N` takes the N-th world of a test's list alone, as its failure says.

mod explore;
mod judge;
mod law;
mod scribe;
mod subsets;
mod tally;
mod tiny;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use scrubd::engine::{Mode, OnStart};
use scrubd::tag::Class;
use scrubd::vocabulary::{Order, Promise};

use crate::history::Before;
use explore::{Limits, explore};
use tally::Tally;
use tiny::{SCHEDULES, Tiny};

fn asked() -> String {
    std::env::var("SCRUBD_SIM_EXHAUSTIVE").unwrap_or_default()
}

fn is_replay() -> bool {
    asked().parse::<usize>().is_ok()
}

fn is_wide() -> bool {
    asked() == "wide"
}

/// Every combination of what matters most; what matters less goes round.
fn grid(blocks: &[u64], depths: &[u32], promises: &[(Promise, Promise)], schedules: &[usize]) -> Vec<Tiny> {
    let mut worlds = Vec::new();
    let mut add = |blocks, depth, (promise, then), order, mode, schedule| {
        let nth = worlds.len();
        let other = if mode == Mode::BurnIn { Mode::Powercut } else { Mode::BurnIn };
        worlds.push(Tiny {
            blocks,
            depth,
            promise,
            then: (then, if nth % 4 == 1 { other } else { mode }),
            order,
            mode,
            retention: nth % 3 == 1,
            flush_every: [1, 2, 3, blocks][(nth / 2 + schedule) % 4],
            lag: (nth / 3) as u64 % 3,
            on_start: [OnStart::AfterCut, OnStart::Window, OnStart::Always][(nth / 5) % 3],
            before: before(nth / 7),
            schedule,
            passes: 3,
        });
    };
    for &blocks in blocks {
        for &depth in depths {
            for &promises in promises {
                for order in [Order::Sequential, Order::Random] {
                    for mode in [Mode::Powercut, Mode::BurnIn] {
                        schedules.iter().for_each(|&schedule| add(blocks, depth, promises, order, mode, schedule));
                    }
                }
            }
        }
    }
    worlds
}

const PROMISES: [Promise; 3] = [Promise::Flush, Promise::Fua, Promise::Ack];

/// A start after a cut holds the disk to what the one before it did.
fn kept() -> Vec<(Promise, Promise)> {
    PROMISES.map(|promise| (promise, promise)).to_vec()
}

/// It may hold the disk to anything else.
fn changed() -> Vec<(Promise, Promise)> {
    let other = |first| PROMISES.into_iter().filter(move |then| *then != first).map(move |then| (first, then));
    PROMISES.into_iter().flat_map(other).collect()
}

/// Seldom garbage: to find out that an atom is none of the run's own, every bit of its tag is tried for a flip.
fn before(nth: usize) -> Before {
    match nth % 12 {
        11 => Before::Garbage,
        nth if nth % 2 == 0 => Before::Zeros,
        _ => Before::OtherRun,
    }
}

/// All worlds over all cores; what came of them.
fn exhaust(name: &str, worlds: &[Tiny], limits: Limits) -> Tally {
    let only: Option<usize> = asked().parse().ok();
    let (next, started) = (AtomicUsize::new(0), Instant::now());
    let gathered = Mutex::new((Tally::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    let Some(tiny) = worlds.get(nth) else { return };
                    if only.is_some_and(|only| only != nth) {
                        continue;
                    }
                    let told = catch_unwind(AssertUnwindSafe(|| explore(*tiny, limits)));
                    let told =
                        told.unwrap_or_else(|panic| Err(format!("panicked: {:?}", panic.downcast_ref::<String>())));
                    let mut gathered = gathered.lock().expect("no panic while it is held");
                    match told {
                        Ok(tally) => gathered.0.add(&tally),
                        Err(why) => gathered.1.push((nth, why)),
                    }
                }
            });
        }
    });
    let (tally, failures) = gathered.into_inner().expect("no panic while it was held");
    tally.print(name, started.elapsed().as_secs_f64());
    for (nth, why) in failures.iter().take(3) {
        let (schedule, _) = SCHEDULES[worlds[*nth].schedule];
        println!("world {nth}, {schedule}, {:?}: {why}", worlds[*nth]);
        println!("  replay: SCRUBD_SIM_EXHAUSTIVE={nth} cargo test --test sim {name} -- --nocapture\n");
    }
    assert!(failures.is_empty(), "{} of {} tiny worlds failed", failures.len(), worlds.len());
    tally
}

#[test]
fn every_cut_of_a_tiny_run_with_every_subset_is_judged_right() {
    let (honest, lying) = if is_wide() { (1 << 16, 1 << 10) } else { (4096, 64) };
    let limits = Limits { honest: [honest, 0, 0], lying: [lying, 0, 0], onward: [0; 3], writes: 0, kills: false };
    let schedules: Vec<usize> = (0..SCHEDULES.len()).collect();
    let worlds = grid(&[2, 3, 4], &[2, 3, 4], &kept(), &schedules);
    let tally = exhaust("every_cut_of_a_tiny_run_with_every_subset_is_judged_right", &worlds, limits);
    if !is_replay() {
        assert_nothing_was_left_out(&tally);
    }
}

#[test]
fn two_cuts_in_a_row_with_every_subset_of_both_are_judged_right() {
    let limits = Limits { honest: [4096, 4096, 0], lying: [0, 8, 0], onward: [1, 0, 0], writes: 3, kills: false };
    let depths: &[u32] = if is_wide() { &[2, 3, 4] } else { &[2] };
    let schedules: &[usize] = if is_wide() { &[0, 1, 2, 3, 4, 5, 6, 7] } else { &[0, 5] };
    let worlds = grid(&[2], depths, &kept(), schedules);
    let tally = exhaust("two_cuts_in_a_row_with_every_subset_of_both_are_judged_right", &worlds, limits);
    assert_eq!(tally.honest_subsets.capped(), 0, "small enough to be exhausted");
}

#[test]
fn a_promise_that_changes_between_two_cuts_is_judged_right() {
    let limits = Limits { honest: [4096, 4096, 0], lying: [0, 8, 0], onward: [3, 0, 0], writes: 3, kills: false };
    let schedules: &[usize] = if is_wide() { &[0, 1, 2, 3, 4, 5, 6, 7] } else { &[3] };
    let worlds = grid(&[2], &[2], &changed(), schedules);
    exhaust("a_promise_that_changes_between_two_cuts_is_judged_right", &worlds, limits);
}

#[test]
fn a_kill_and_then_a_cut_is_judged_right() {
    let limits = Limits { honest: [0, 4096, 0], lying: [0, 8, 0], onward: [0; 3], writes: 4, kills: true };
    let depths: &[u32] = if is_wide() { &[2, 3, 4] } else { &[2] };
    let schedules: &[usize] = if is_wide() { &[0, 1, 2, 3, 4, 5, 6, 7] } else { &[0, 3] };
    let worlds = grid(&[2, 3], depths, &[kept(), changed()].concat(), schedules);
    let tally = exhaust("a_kill_and_then_a_cut_is_judged_right", &worlds, limits);
    assert!(is_replay() || tally.kills > 1000);
}

#[test]
fn three_cuts_in_a_row_are_judged_right() {
    let onward = if is_wide() { [3, 7, 0] } else { [41, 17, 0] };
    let limits = Limits { honest: [256, 256, 64], lying: [0, 0, 8], onward, writes: 4, kills: false };
    let promises = [kept(), changed()].concat();
    let worlds = grid(&[2, 3], &[3], &promises, &[2, 6]);
    exhaust("three_cuts_in_a_row_are_judged_right", &worlds, limits);
}

/// An exhaustion that no longer goes anywhere would be silent too.
fn assert_nothing_was_left_out(tally: &Tally) {
    assert!(tally.verdicts.iter().all(|blocks| *blocks > 0), "a verdict never came: {:?}", tally.verdicts);
    assert!(tally.proved_by_the_disk > 0 && tally.checkpoints_compared > 0);
    for class in [Class::LostWrite, Class::Unserializable, Class::Torn, Class::Zeroed, Class::Foreign, Class::Corrupt] {
        assert!(tally.named.contains_key(&class), "no lie was named {class}");
    }
    assert!(tally.unprovable.len() >= 2, "{:?}", tally.unprovable);
}
