//! An honest disk that loses its cache: no cut may lead to a finding.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::fault::{Fault, Plan};
use super::mount::skipped;
use super::rig::{MIB, Rig, Running};

/// One way to run scrubd.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) order: &'static str,
    pub(crate) promise: &'static str,
    pub(crate) block_size: &'static str,
    pub(crate) mode: &'static str,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) cuts: u64,
    pub(crate) during_recovery: u64,
    pub(crate) writes_in_flight: usize,
    pub(crate) most_in_flight: usize,
    pub(crate) volatile_atoms: usize,
    pub(crate) rolled_back: u64,
    pub(crate) interrupted: u64,
    pub(crate) durable: u64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.cuts += other.cuts;
        self.during_recovery += other.during_recovery;
        self.writes_in_flight += other.writes_in_flight;
        self.most_in_flight = self.most_in_flight.max(other.most_in_flight);
        self.volatile_atoms += other.volatile_atoms;
        self.rolled_back += other.rolled_back;
        self.interrupted += other.interrupted;
    }
}

pub(crate) fn cuts_wanted(by_itself: u64) -> u64 {
    std::env::var("SCRUBD_FUSE_CUTS").map_or(by_itself, |cuts| cuts.parse().expect("SCRUBD_FUSE_CUTS is a number"))
}

pub(crate) fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for order in ["sequential", "random"] {
        for promise in ["flush", "fua"] {
            for (block_size, mode) in
                [("4KiB", "powercut"), ("64KiB", "burn-in"), ("4KiB", "burn-in"), ("64KiB", "powercut")]
            {
                worlds.push(World { order, promise, block_size, mode });
            }
        }
    }
    worlds
}

impl World {
    pub(crate) fn sets(&self) -> Vec<String> {
        let World { order, promise, block_size, mode } = self;
        let strings = [("order", order), ("promise", promise), ("block_size", block_size), ("mode", mode)];
        let mut sets: Vec<String> = strings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let often = if *block_size == "4KiB" { "flush_every=256KiB" } else { "flush_every=1MiB" };
        sets.extend([often.into(), "verify.readback_lag=1MiB".into(), "queue_depth=32".into()]);
        sets
    }
}

#[test]
fn no_cut_of_an_honest_disk_leads_to_a_finding() {
    let begun = Instant::now();
    let worlds = worlds();
    let share = cuts_wanted(128).div_ceil(worlds.len() as u64);
    let (next, sums, unfit) = (AtomicUsize::new(0), Mutex::new(Sums::default()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(world) = worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let seed = 1000 + next.load(Ordering::Relaxed) as u64;
                    match cut_often(world, share, seed) {
                        Ok(of_world) => sums.lock().unwrap().add(of_world),
                        Err(why) => *unfit.lock().unwrap() = Some(why),
                    }
                }
            });
        }
    });
    if let Some(why) = unfit.into_inner().unwrap() {
        return skipped(&why);
    }
    let sums = sums.into_inner().unwrap();
    println!("honest, file: {}", told(&sums, begun.elapsed()));
    assert!(sums.cuts >= cuts_wanted(128).max(100));
    assert!(sums.most_in_flight >= 16, "the cuts hit writes in flight");
    assert!(sums.rolled_back > 0 && sums.interrupted > 0, "the cache was lost: {sums:?}");
    assert!(sums.during_recovery > 0, "some cuts hit the recovery");
}

pub(crate) fn told(sums: &Sums, time: Duration) -> String {
    format!(
        "{} cuts ({} during recovery), writes in flight at a cut: mean {:.1}, most {}; {} volatile atoms, \
         {} blocks rolled back, {} interrupted, 0 findings, {time:.1?}",
        sums.cuts,
        sums.during_recovery,
        sums.writes_in_flight as f64 / sums.cuts as f64,
        sums.most_in_flight,
        sums.volatile_atoms,
        sums.rolled_back,
        sums.interrupted,
    )
}

/// The device says that it failed: what it did not promise it may lose, so that this too is honest.
#[test]
fn no_cut_of_a_disk_that_admits_its_failures_leads_to_a_finding() {
    let begun = Instant::now();
    let mut sums = Sums::default();
    for (number, promise) in (0..).zip(["promise=flush", "promise=fua"]) {
        let sets = [promise, "mode=powercut", "flush_every=512KiB", "queue_depth=32"];
        let rig = match Rig::new(5 * MIB, 512, number, &sets) {
            Ok(rig) => rig,
            Err(why) => return skipped(&why),
        };
        rig.init();
        sums.durable = 0;
        for cut in 0..cuts_wanted(128).div_ceil(16) {
            let which = format!("{promise}, failing, cut {cut}");
            let mut running = rig.start(&["run"]);
            let before = rig.store().store().counts;
            running.until("the first write", || rig.store().store().counts.writes > before.writes);
            // From here on, as a flush that fails before the first epoch ends it at once.
            let writes = Plan::new(Fault::WriteError, 11, u64::MAX).thrice_in_a_row_at_the_most();
            let plans = vec![Plan::new(Fault::FlushError, 3, u64::MAX), writes];
            rig.store().store_mut().plans = plans;
            let wanted = before.writes + 20 + Chance(cut).below(300);
            running.until("writes before the cut", || rig.store().store().counts.writes >= wanted);
            judge_cut(&rig, running, Chance((700 + number) << 32 | cut).word(), false, &mut sums, &which);
            rig.store().store_mut().plans.clear();
        }
        let struck = rig.store().store().struck.clone();
        let failed = |fault| struck.iter().filter(|(struck, _)| *struck == fault).count();
        println!("{promise}: {} flushes and {} writes failed", failed(Fault::FlushError), failed(Fault::WriteError));
        assert!(failed(Fault::WriteError) > 0);
        assert_eq!(failed(Fault::FlushError) > 0, promise == "promise=flush");
        finish(&rig, promise);
    }
    println!("honest, with errors that it admits: {}", told(&sums, begun.elapsed()));
}

/// After all cuts: nothing was ever found, and it goes on.
fn finish(rig: &Rig, which: &str) {
    let found: Vec<_> = rig.events().into_iter().filter(|event| event["event"] == "finding").collect();
    assert!(found.is_empty(), "{which}: {found:#?}");
    assert!(!rig.target_state().join("QUARANTINE").exists(), "{which}");
    rig.scrubd(&["run", "--passes", "1"]).with_code(0);
    rig.assert_intact();
}

fn cut_often(world: &World, times: u64, seed: u64) -> Result<Sums, String> {
    let sets = world.sets();
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    let rig = Rig::new(5 * MIB, 4096, seed, &sets)?;
    rig.init();
    let mut sums = Sums::default();
    for cut in 0..times {
        cut_once(&rig, Chance(seed << 32 | cut).word(), &mut sums, &format!("{world:?} seed {seed} cut {cut}"));
    }
    finish(&rig, &format!("{world:?}"));
    Ok(sums)
}

/// Runs, cuts, judges. Every eighth cut comes while the last one is still being recovered from.
pub(crate) fn cut_once(rig: &Rig, seed: u64, sums: &mut Sums, which: &str) {
    let mut chance = Chance(seed);
    let before = rig.store().store().counts;
    let in_recovery = sums.cuts % 8 == 7;
    let wanted = if in_recovery { 1 + chance.below(40) } else { 1 + chance.below(400) };
    let mut running = rig.start(&["run"]);
    running.until("I/O before the cut", || {
        let counts = rig.store().store().counts;
        let done = if in_recovery { counts.reads - before.reads } else { counts.writes - before.writes };
        done >= wanted
    });
    let wrote = rig.store().store().counts.writes > before.writes;
    judge_cut(rig, running, chance.word(), !wrote, sums, which);
}

fn judge_cut(rig: &Rig, running: Running, seed: u64, in_recovery: bool, sums: &mut Sums, which: &str) {
    let cut = rig.cut(running, seed);
    assert!(rig.store().store().broken(4096).is_empty(), "the rig broke a promise by itself: {which}");
    let ended = rig.check();
    assert_eq!(ended.code, 0, "{which}: a false alarm?\n{}\n{}", ended.out, ended.err);
    let verdict = ended.json();
    assert_eq!(
        (&verdict["verdict"], &verdict["blocks"]["findings"]),
        (&"intact".into(), &0.into()),
        "{which}: {verdict:#}"
    );
    let durable = verdict["frontiers"]["durable"].as_u64().unwrap();
    assert!(durable >= sums.durable, "{which}: the durable frontier went back from {}: {verdict:#}", sums.durable);
    sums.add(Sums {
        cuts: 1,
        during_recovery: u64::from(in_recovery),
        writes_in_flight: cut.writes_in_flight,
        most_in_flight: cut.writes_in_flight,
        volatile_atoms: cut.volatile_atoms,
        rolled_back: verdict["blocks"]["rolled_back"].as_u64().unwrap(),
        interrupted: verdict["blocks"]["interrupted"].as_u64().unwrap(),
        durable: 0,
    });
    sums.durable = durable;
}
