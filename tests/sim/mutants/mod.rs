//! The detector is detected: engines, ledgers, verifiers, inspectors and disks that are wrong, each in one way, at the
//! seam where events and actions pass. Each must make the suite fail, and the table says which oracle caught it and how
//! many seeds it took. One mutant that is not wrong at all must survive every seed.

mod answers;
mod fields;
mod ledgers;
mod seam;
mod table;
mod verifiers;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use scrubd::engine::{Settings, Startup};
use scrubd::sim::{Core, Planned};

use crate::history::{Told, live, live_with, real};
use seam::{Faithful, Mutant, Mutation};

/// Seeds that a mutant may live through, honest and lying ones each: some two seconds of one core.
const BOUND: u64 = 3000;

/// Seeds that the faithful mutant must live through, each with the very history of the real engine.
const FAITHFUL: u64 = 500;

/// Makes the mutation of each start.
type Breed = Box<dyn Fn() -> Box<dyn Mutation> + Send + Sync>;

/// What is wrong.
enum Wrong {
    /// The core, in the histories of the seeds.
    Core(Breed),
    /// The core, in a story of its own: faults that the seeds do not hold.
    CoreIn(Breed, fn(crate::history::Make<'_>) -> Result<(), String>),
    /// The disk, which is claimed to be honest.
    Disk(Vec<Planned>),
}

/// A mutant, and the oracles that may catch it: any other would catch it by chance.
struct Suspect {
    name: &'static str,
    wrong: Wrong,
    by: &'static [&'static str],
}

/// How a mutant was caught.
struct Caught {
    oracle: String,
    seeds: u64,
    why: String,
}

fn core(breed: &Breed, startup: Startup, settings: Settings) -> Box<dyn Core> {
    Box::new(Mutant::new(startup, settings, breed()))
}

/// One history; a panic is an engine's or the world's own assertion, and not the word of an oracle.
fn one(seed: u64, honest: bool, wrong: &Wrong) -> Result<(), String> {
    let lived = || match wrong {
        Wrong::Core(breed) => live_with(seed, honest, false, &|startup, settings| core(breed, startup, settings), &[]),
        Wrong::CoreIn(breed, story) => {
            story(&|startup, settings| core(breed, startup, settings))?;
            Err("it lives".into())
        }
        Wrong::Disk(faults) => live_with(seed, true, false, &real, faults),
    };
    let lived = catch_unwind(AssertUnwindSafe(lived)).unwrap_or_else(|_| Err("panicked".into()));
    lived.map(|_: Told| ())
}

/// Which oracle an error is of. A standstill is noticed by the world, which stands for the oracle of progress.
fn oracle_of(why: &str) -> Option<String> {
    const STANDSTILLS: [&str; 3] = ["nothing is pending", "no end after", "woken again and again"];
    if STANDSTILLS.iter().any(|standstill| why.starts_with(standstill)) {
        return Some("progress".to_owned());
    }
    why.strip_prefix("oracle ")?.split_once(':').map(|(oracle, _)| oracle.to_owned())
}

/// Lives until an oracle speaks that may.
fn hunt(suspect: &Suspect) -> Result<Caught, String> {
    let mut others = BTreeMap::<String, u64>::new();
    let seeds = if matches!(suspect.wrong, Wrong::CoreIn(..)) { 1 } else { BOUND };
    for seed in 0..seeds {
        for honest in [true, false] {
            let Err(why) = one(seed, honest, &suspect.wrong) else { continue };
            let oracle = oracle_of(&why).unwrap_or_else(|| why.chars().take(60).collect());
            if suspect.by.contains(&oracle.as_str()) {
                return Ok(Caught { oracle, seeds: seed + 1, why });
            }
            *others.entry(oracle).or_default() += 1;
        }
    }
    Err(format!("{} survives {seeds} seeds of each kind; others said: {others:?}", suspect.name))
}

#[test]
fn every_mutant_is_caught_by_an_oracle() {
    let suspects = table::all();
    assert!(suspects.len() >= 60, "{} mutants", suspects.len());
    let (next, told) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    // Panics of mutants are expected, and are not to be told one by one.
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(suspect) = suspects.get(at) else { return };
                    let result = hunt(suspect);
                    told.lock().unwrap().insert(at, result);
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    println!("{:<58} {:<22} {:>6}", "mutant", "caught by", "seeds");
    let mut survivors = Vec::new();
    for (suspect, result) in suspects.iter().zip(told.values()) {
        match result {
            Ok(caught) => println!("{:<58} {:<22} {:>6}", suspect.name, caught.oracle, caught.seeds),
            Err(why) => survivors.push(why.clone()),
        }
        if let (Ok(caught), true) = (result, std::env::var("SCRUBD_SIM_WHY").is_ok()) {
            println!("    {}", caught.why.chars().take(300).collect::<String>());
        }
    }
    println!("{} mutants, {} survivors", suspects.len(), survivors.len());
    assert!(survivors.is_empty(), "{survivors:#?}");
}

/// Else it is the wrapper that fails, and not what is wrong with a mutant.
#[test]
fn a_mutant_that_is_not_wrong_lives_as_the_engine_does() {
    for seed in 0..FAITHFUL {
        for honest in [true, false] {
            let make =
                |startup, settings| -> Box<dyn Core> { Box::new(Mutant::new(startup, settings, Box::new(Faithful))) };
            let faithful = live_with(seed, honest, true, &make, &[]).unwrap();
            assert_eq!(faithful.hash, live(seed, honest, true).unwrap().hash, "seed {seed}");
        }
    }
    for field in fields::all() {
        fields::judged_right(&field, false, &real).unwrap();
    }
    fields::stuck_is_told(&real).unwrap();
}

#[test]
fn an_inspector_that_ignores_one_field_is_caught() {
    println!("{:<40} {:<28} caught by", "ignored field", "the whole inspector says");
    for field in fields::all() {
        fields::judged_right(&field, false, &real).unwrap();
        let ignored = fields::judged_right(&field, true, &real);
        if field.shows == fields::Shows::Nowhere {
            ignored.unwrap();
            println!("{:<40} {:<28} by nothing: it decides nothing", field.name, "nothing");
        } else {
            let oracle = oracle_of(&ignored.unwrap_err()).unwrap();
            println!("{:<40} {:<28} {oracle}", field.name, format!("{:?}", field.shows));
        }
    }
}
