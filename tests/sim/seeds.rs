//! Many seeds over all cores. A failure prints its seed and the line that replays it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::history::{Told, live};
use crate::oracles::Covered;
use crate::plan::MORE_OPERATIONS;

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

fn run(honest: bool, name: &str, first: u64, count: u64, must_be_covered: &[&str]) {
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
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= count {
                        return;
                    }
                    let seed = first + nth;
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
        "{name} at commit {}: {count} histories, {:.0} a second, {:.0} steps each",
        commit(),
        count as f64 / took,
        steps as f64 / count as f64
    );
    covered.0.iter().for_each(|(what, times)| println!("  {times:>10}  {what}"));
    failures.sort_by_key(|(seed, _)| *seed);
    for (seed, why) in &failures {
        println!(
            "seed {seed} at commit {}: {why}\n  replay: SCRUBD_SIM_SEED={seed} cargo test --test sim {name} -- --nocapture\n",
            commit()
        );
    }
    for (kind, (times, seed)) in &kinds {
        println!("{times:>6} failures, seed {seed} among them: {kind}");
    }
    let failed: u64 = kinds.values().map(|(times, _)| times).sum();
    assert_eq!(failed, 0, "{failed} of {count} {name} failed");
    // A handful of seeds cannot get everywhere.
    if count >= 3000 {
        let never = |what: &&&str| covered.0.get(**what).is_none_or(|times| *times == 0);
        let missing: Vec<_> = EVERYWHERE.iter().chain(must_be_covered).filter(never).collect();
        assert!(missing.is_empty(), "never happened in {count} {name}: {missing:?}");
    }
}

/// The commit that is checked out; the tests may run from a copy that is no clone.
fn commit() -> String {
    let asked = std::process::Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short=12", "HEAD"])
        .output();
    let answer = asked.ok().filter(|output| output.status.success());
    answer.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What a failure has in common with others of its kind: its first words, without the numbers.
fn kind_of(why: &str) -> String {
    why.chars().filter(|c| !c.is_ascii_digit()).take(70).map(|c| if c == '\n' { ' ' } else { c }).collect()
}

fn seeds() -> u64 {
    number("SCRUBD_SIM_SEEDS").unwrap_or(SEEDS)
}

/// What both kinds of history must come to.
const EVERYWHERE: &[&str] = &[
    "judged intact",
    "judged rolled back",
    "judged interrupted",
    "judged unwritten",
    "verdict Intact",
    "verdict Incomplete",
    "state Current",
    "state Stale",
    "state Missing",
    "stale state recognised",
    "checked without state",
    "failed flush",
    "failed write",
    "failed save",
    "proved by the disk",
    "pass boundary inside the window",
    "reissued seq",
    "first pass over foreign tags",
    "device reset",
    "patrol from the start",
    "patrol gone on with",
    "patrol pass ended",
    "patrol cut",
    "patrol ended as it should",
    "position saved",
    "position not saved",
    "killed",
    "wide read",
    "seen in a wide read: RolledBack",
    "seen in a wide read: Interrupted",
    "seen in a wide read: Unwritten",
    "heard in a wide read: whole",
    "heard in a wide read: in parts",
    "power cut",
    "trigger fired",
    "wall clock jumped",
    "machine slept",
    "newest slot lost",
    "state directory gone",
    "older state put back",
    "state troubled under a living engine",
    "cut during recovery",
    "cut in a trigger's save",
    "cut in a trigger's command",
    "cut before an epoch was durable",
    "cut in a survey of the window",
    "cut in a survey of the region",
    "cut in a drain",
    "cut in a clean stop",
    "fault FailedFlush",
    "fault FailedWrite",
    "fault FailedSave",
    "fault DeviceGone",
    "fault LyingSave",
    "fault ShortWrite",
    "fault ShortRead",
    "fault InterruptedWrite",
    "fault InterruptedRead",
    "fault LateWrite",
    "fault LateRead",
    "fault LateFlush",
    "fault LateSave",
    "corner: R stays up across a cut",
    "corner: a clean stop lowers R",
    "corner: a clean stop below the inherited R",
    "corner: a failed flush ends the epoch",
    "corner: a failed save is tried again in the same slot",
    "corner: a failed write is tried again with the same bytes",
    "corner: an epoch above all that a lost state knew of",
    "corner: flushed although a lower write is open",
    "corner: one witness alone, not judged by",
    "corner: the promise has become stronger",
    "corner: the promise has become weaker",
    "corner: two witnesses above the saved D",
];

#[test]
fn honest_histories() {
    run(true, "honest_histories", 0, seeds() * 2 / 3, &["copies of a mirror differ"]);
}

/// As the daemon sets the engine for small blocks: with more sealed and judged beside the queue.
#[test]
fn honest_histories_with_more_operations() {
    run(true, "honest_histories_with_more_operations", MORE_OPERATIONS, seeds() / 10, &[]);
}

#[test]
fn lying_histories_with_more_operations() {
    run(false, "lying_histories_with_more_operations", MORE_OPERATIONS, seeds() / 20, &[]);
}

#[test]
fn lying_histories() {
    run(
        false,
        "lying_histories",
        0,
        seeds() / 3,
        &[
            "verdict Violated",
            "judged lost_write",
            "judged unserializable",
            "judged torn",
            "judged shorn",
            "judged misdirected",
            "judged phantom",
            "judged corrupt",
            "judged zeroed",
            "judged foreign",
            "judged unreadable",
            "judged unstable",
            "found at Check",
            "found at ReadBack",
            "found at BeforeOverwrite",
            "found at Scan",
            "found at Patrol",
            "found Persistent",
            "found Transient",
            "found Unstable",
            "cut with I/O stuck",
            "wide read that failed",
            "wide read past its deadline",
            "wide read returned after its deadline",
            "wide read told as stuck",
            "seen in a wide read: lost_write",
            "seen in a wide read: unserializable",
            "seen in a wide read: torn",
            "seen in a wide read: shorn",
            "seen in a wide read: misdirected",
            "seen in a wide read: phantom",
            "seen in a wide read: corrupt",
            "seen in a wide read: zeroed",
            "seen in a wide read: foreign",
            "fault LyingFlush",
            "fault LostWrite",
            "fault PartialWrite",
            "fault MisdirectedWrite",
            "fault BitFlip",
            "fault Zeroed",
            "fault OldContent",
            "fault TornContent",
            "fault Shorn",
            "fault ReadError",
            "fault UnreadableBlock",
            "fault EndOfFile",
            "fault GarbledRead",
            "fault UnstableBlock",
            "fault BitRot",
            "fault Phantom",
            "fault Foreign",
            "fault OtherGeometry",
            "corner: I/O past its deadline",
            "corner: a known finding is listed again",
            "corner: misdirected, and its home lacks it",
            "corner: the end of the file where the region goes on",
        ],
    );
}
