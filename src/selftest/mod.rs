//! The detector is detected: every class of fault is injected into a simulated disk, and the real engine must find each,
//! name it right and accuse nothing else. Pure.
//!
//! ```text
//! Case (what is done to the disk) → Stage (a world of its own) → engine → findings
//!        ↓                              ↓                                   ↓
//!      the script says what is wrong == the disk says so too        compared, block by block → Row
//! ```
//!
//! The table cannot flatter: what was injected is counted from the script and must be what the disk then really shows,
//! by where its atoms come from; what was detected is counted from what the engine reported. Neither the ledger nor the
//! verifier is asked what should have been found.

mod compare;
mod histories;
mod legal;
mod medium;
mod path;
mod promises;
mod stage;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use crate::engine::{Engine, Settings, Startup};
use crate::sim::Core;
use crate::tag::Class;
use crate::vocabulary::mix;

use compare::Tally;
use stage::Stage;

/// Makes what is tested: the engine, or a mutant of it that the table must not let pass.
pub type Make<'a> = &'a dyn Fn(Startup, Settings) -> Box<dyn Core>;

/// The real engine.
#[must_use]
pub fn engine(startup: Startup, settings: Settings) -> Box<dyn Core> {
    Box::new(Engine::new(startup, settings))
}

/// Problems that are told of one row: the first tell enough.
const PROBLEMS_TOLD: usize = 3;

/// One way of doing wrong, or of being lawful although it looks bad.
struct Case {
    /// What it must be called; `None` where nothing may be said.
    class: Option<Class>,
    how: &'static str,
    run: fn(&mut Stage<'_>) -> Result<Tally, String>,
}

/// One row of the table: blocks in which something was wrong, by what became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What it must be called; `None` where it is lawful and nothing may be said.
    pub class: Option<Class>,
    /// What was done, in words.
    pub how: &'static str,
    /// Blocks that were made wrong; of what is lawful, blocks (or histories) in which it happened.
    pub injected: u64,
    /// Those that were found.
    pub detected: u64,
    /// Those that were found and named right, evidence included.
    pub named: u64,
    /// Findings where nothing was wrong.
    pub false_alarms: u64,
    /// What is not as it should be, in words, with the seed of the round. Bounded.
    pub problems: Vec<String>,
}

impl Row {
    /// Whether everything that was injected, which is something, was found and named, and nothing else.
    #[must_use]
    pub fn is_right(&self) -> bool {
        let Row { injected, detected, named, false_alarms, ref problems, .. } = *self;
        injected > 0 && detected == injected && named == injected && false_alarms == 0 && problems.is_empty()
    }
}

/// The table.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// What all chance came from.
    pub seed: u64,
    /// Times that every case was tried.
    pub rounds: u64,
    /// One row a case.
    pub rows: Vec<Row>,
}

impl Table {
    /// Whether every row is right and every class of finding has one.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.rows.iter().all(Row::is_right) && self.untried().is_empty()
    }

    /// The classes of findings that no row stands for.
    #[must_use]
    pub fn untried(&self) -> Vec<Class> {
        let tried = |class: &Class| self.rows.iter().any(|row| row.class == Some(*class));
        CLASSES.into_iter().filter(|class| !tried(class)).collect()
    }
}

/// Every class of finding.
const CLASSES: [Class; 11] = [
    Class::Corrupt,
    Class::Zeroed,
    Class::LostWrite,
    Class::Unserializable,
    Class::Torn,
    Class::Shorn,
    Class::Misdirected,
    Class::Foreign,
    Class::Phantom,
    Class::Unreadable,
    Class::Unstable,
];

/// Tries every case `rounds` times over what `make` makes. Round `r` of seed `s` is round 0 of seed `s + r`, so that one
/// round can be replayed alone.
#[must_use]
pub fn run(seed: u64, rounds: u64, make: Make<'_>) -> Table {
    let cases = || {
        let faults = medium::CASES.iter().chain(promises::CASES).chain(path::CASES);
        faults.chain(legal::CASES).chain(histories::CASES)
    };
    let rows = (1..).zip(cases()).map(|(number, case)| {
        let Case { class, how, .. } = *case;
        let mut row = Row { class, how, injected: 0, detected: 0, named: 0, false_alarms: 0, problems: Vec::new() };
        for round in 0..rounds {
            let seed = seed.wrapping_add(round);
            row.add(seed, try_case(case, mix(seed) ^ mix(number), make));
        }
        row
    });
    Table { seed, rounds, rows: rows.collect() }
}

/// A panic is a wrong answer too, and the other rows are still worth having.
fn try_case(case: &Case, seed: u64, make: Make<'_>) -> Result<Tally, String> {
    let tried = catch_unwind(AssertUnwindSafe(|| (case.run)(&mut Stage::new(seed, make))));
    tried.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("without words")))
    })
}

impl Row {
    fn add(&mut self, seed: u64, tried: Result<Tally, String>) {
        let tally = tried.unwrap_or_else(|why| Tally { problems: vec![why], ..Tally::default() });
        self.injected += tally.injected;
        self.detected += tally.detected;
        self.named += tally.named;
        self.false_alarms += tally.false_alarms;
        let room = PROBLEMS_TOLD.saturating_sub(self.problems.len());
        let told = tally.problems.into_iter().take(room).map(|problem| format!("seed {seed}: {problem}"));
        self.problems.extend(told);
    }
}
