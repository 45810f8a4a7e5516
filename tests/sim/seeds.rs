//! Many seeds over all cores. A failure prints its seed and the line that replays it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::history::{Told, live};
use crate::oracles::Covered;

/// Histories of a full run where the environment does not say otherwise: two thirds honest, one third lying.
const SEEDS: u64 = 10_000;

/// Failures told in full.
const TOLD: usize = 12;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn guarded(seed: u64, honest: bool, hashed: bool) -> Result<Told, String> {
    catch_unwind(AssertUnwindSafe(|| live(seed, honest, hashed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

fn run(honest: bool, name: &str, count: u64, must_be_covered: &[&str]) {
    if let Some(seed) = number("SCRUBD_SIM_SEED") {
        if let Err(why) = live(seed, honest, false) {
            panic!("seed {seed}: {why}");
        }
        return;
    }
    let (next, started) = (AtomicU64::new(0), Instant::now());
    let gathered = Mutex::new((Covered::default(), 0, Vec::new(), BTreeMap::<String, (u64, u64)>::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    // Now and then twice: the same seed must give the same history to the byte.
                    let hashed = seed % 50 == 7;
                    let mut told = guarded(seed, honest, hashed);
                    if let (true, Ok(first)) = (hashed, &told) {
                        let again = guarded(seed, honest, true);
                        if again.as_ref().map(|again| again.hash).ok() != Some(first.hash) {
                            told = Err("the same seed gave another history".to_owned());
                        }
                    }
                    let mut gathered = gathered.lock().expect("no panic while it is held");
                    match told {
                        Ok(told) => {
                            gathered.0.add(&told.covered);
                            gathered.1 += told.steps;
                        }
                        Err(why) => {
                            gathered.3.entry(kind_of(&why)).or_insert((0, seed)).0 += 1;
                            if gathered.2.len() < TOLD {
                                gathered.2.push((seed, why));
                            }
                        }
                    }
                }
            });
        }
    });
    let (covered, steps, mut failures, kinds) = gathered.into_inner().expect("no panic while it was held");
    let took = started.elapsed().as_secs_f64();
    println!(
        "{name}: {count} histories, {:.0} a second, {:.0} steps each",
        count as f64 / took,
        steps as f64 / count as f64
    );
    covered.0.iter().for_each(|(what, times)| println!("  {times:>10}  {what}"));
    failures.sort_by_key(|(seed, _)| *seed);
    for (seed, why) in &failures {
        println!("seed {seed}: {why}\n  replay: SCRUBD_SIM_SEED={seed} cargo test --test sim {name} -- --nocapture\n");
    }
    for (kind, (times, seed)) in &kinds {
        println!("{times:>6} failures, seed {seed} among them: {kind}");
    }
    let failed: u64 = kinds.values().map(|(times, _)| times).sum();
    assert_eq!(failed, 0, "{failed} of {count} {name} failed");
    // A handful of seeds cannot get everywhere.
    if count >= 1000 {
        let missing: Vec<_> = must_be_covered.iter().filter(|what| !covered.0.contains_key(**what)).collect();
        let zero = covered.0.iter().filter(|(_, times)| **times == 0).map(|(what, _)| what);
        assert!(missing.is_empty(), "never happened: {missing:?} (and zero: {:?})", zero.collect::<Vec<_>>());
    }
}

/// What a failure has in common with others of its kind: its first words, without the numbers.
fn kind_of(why: &str) -> String {
    why.chars().filter(|c| !c.is_ascii_digit()).take(70).map(|c| if c == '\n' { ' ' } else { c }).collect()
}

fn seeds() -> u64 {
    number("SCRUBD_SIM_SEEDS").unwrap_or(SEEDS)
}

#[test]
fn honest_histories() {
    run(
        true,
        "honest_histories",
        seeds() * 2 / 3,
        &[
            "judged intact",
            "judged rolled back",
            "judged interrupted",
            "judged unwritten",
            "failed flush",
            "failed write",
            "failed save",
            "proved by the disk",
            "pass boundary inside the window",
            "reissued seq",
            "cut during recovery",
            "stale state recognised",
            "state Missing",
            "first pass over foreign tags",
            "verdict Intact",
            "verdict Incomplete",
            "device reset",
            "killed",
            "power cut",
            "promise changed",
            "trigger fired",
        ],
    );
}

#[test]
fn lying_histories() {
    run(
        false,
        "lying_histories",
        seeds() / 3,
        &[
            "verdict Violated",
            "judged lost_write",
            "judged unserializable",
            "judged torn",
            "judged shorn",
            "judged misdirected",
            "judged corrupt",
            "judged zeroed",
            "judged foreign",
            "judged unreadable",
            "found at Check",
            "found at ReadBack",
            "found at BeforeOverwrite",
            "found at Scan",
        ],
    );
}
