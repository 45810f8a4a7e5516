//! `scrubd selftest`: whether scrubd is fit to accuse anybody on this machine.

use std::time::Instant;

use super::args::Selftest;
use super::exit::{Failure, INTERNAL};
use super::talk;
use crate::report::text::{self, count, counted};
use crate::selftest::{self, Row, Table};

const SCHEMA: u32 = 1;

pub(crate) fn run(options: &Selftest, with_json: bool) -> Result<u8, Failure> {
    let seed = match options.seed {
        Some(seed) => seed,
        None => chance()?,
    };
    // What goes wrong in a case is told in its row; a panic's own words would only stand between the rows.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let started = Instant::now();
    let table = selftest::run(seed, options.rounds, &selftest::engine);
    let elapsed = started.elapsed();
    std::panic::set_hook(hook);
    talk::result(&match with_json {
        true => json(&table, elapsed.as_secs_f64()),
        false => format!("{}\nin {}", words(&table), text::time(elapsed)),
    });
    if table.is_right() {
        return Ok(0);
    }
    let message = "the selftest failed: believe no verdict of this scrubd on this machine, and report the table above";
    Err(Failure::new(INTERNAL, message))
}

/// Short enough to be typed again.
fn chance() -> Result<u64, Failure> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|why| Failure::new(INTERNAL, format!("the kernel has no chance: {why}")))?;
    Ok(u32::from_le_bytes(bytes).into())
}

fn json(table: &Table, elapsed_s: f64) -> String {
    let verdict = if table.is_right() { "passed" } else { "failed" };
    serde_json::json!({
        "schema": SCHEMA, "selftest": verdict, "version": env!("CARGO_PKG_VERSION"), "seed": table.seed,
        "rounds": table.rounds, "elapsed_s": elapsed_s, "rows": table.rows, "untried": table.untried(),
    })
    .to_string()
}

/// The name in the first column of what is lawful.
const LAWFUL: &str = "(lawful)";

fn words(table: &Table) -> String {
    let mut lines = vec![line(["class", "what was done", "injected", "detected", "named", "false alarms"])];
    lines.extend(table.rows.iter().flat_map(row));
    lines.push(conclusion(table));
    lines.join("\n")
}

fn line([class, how, injected, detected, named, false_alarms]: [&str; 6]) -> String {
    format!("{class:<15} {how:<35} {injected:>8} {detected:>8} {named:>8} {false_alarms:>12}")
}

fn row(row: &Row) -> Vec<String> {
    let class = row.class.map_or_else(|| LAWFUL.to_owned(), |class| class.to_string());
    let numbers = [row.injected, row.detected, row.named, row.false_alarms].map(count);
    let [injected, detected, named, false_alarms] = numbers.each_ref().map(String::as_str);
    let mut lines = vec![line([&class, row.how, injected, detected, named, false_alarms])];
    if !row.is_right() {
        lines[0].push_str("  WRONG");
    }
    lines.extend(row.problems.iter().map(|problem| format!("  {problem}")));
    lines
}

fn conclusion(table: &Table) -> String {
    let seeded = format!("{}, seed {}", counted(table.rounds, "round"), table.seed);
    let wrong = table.rows.iter().filter(|row| !row.is_right()).count() as u64;
    let untried: Vec<String> = table.untried().iter().map(ToString::to_string).collect();
    match (wrong, untried.as_slice()) {
        (0, []) => format!("passed: all was found, named right, and nothing else was accused; {seeded}"),
        (0, untried) => format!("FAILED: never tried: {}; {seeded}", untried.join(", ")),
        (wrong, _) => format!(
            "FAILED: {} wrong; {seeded}; a problem's round again: scrubd selftest --seed S --rounds 1",
            if wrong == 1 { "1 row is".to_owned() } else { format!("{} rows are", count(wrong)) }
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Class;

    fn table(detected: u64, problems: &[&str]) -> Table {
        let problems = problems.iter().map(|&problem| problem.to_owned()).collect();
        let (class, how) = (Some(Class::Torn), "some of the atoms never land");
        Table {
            seed: 7,
            rounds: 1,
            rows: vec![Row { class, how, injected: 2, detected, named: detected, false_alarms: 0, problems }],
        }
    }

    #[test]
    fn a_row_that_is_wrong_is_marked_and_told_with_its_problems() {
        let told = words(&table(1, &["seed 7: missed: block 3"]));
        assert!(
            told.contains("1            0  WRONG\n  seed 7: missed: block 3\nFAILED: 1 row is wrong; 1 round"),
            "{told}"
        );
        let value: serde_json::Value = serde_json::from_str(&json(&table(1, &[]), 0.5)).unwrap();
        assert_eq!((&value["selftest"], &value["rows"][0]["class"]), (&"failed".into(), &"torn".into()), "{value}");
    }

    #[test]
    fn a_table_without_every_class_is_a_failure_however_right_its_rows_are() {
        let told = words(&table(2, &[]));
        assert!(!told.contains("WRONG") && told.contains("FAILED: never tried: corrupt, zeroed"), "{told}");
    }
}
