//! Findings, verdicts and numbers in words, for people. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use super::causes::CauseList;
use super::finding::{Finding, Persistence};
use super::judgement::{BlockCounts, Frontiers, Judgement, MAX_LISTED, Overall};
use crate::ledger::{Guarantee, ProvedBy, State};
use crate::tag::Class;
use crate::vocabulary::{Promise, RunId, Seq};

/// Findings told one by one where their causes are told before: a screen of them.
const SHOWN_GROUPED: usize = 20;

/// A number with its thousands apart: `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number and its noun: `1 block`, `2 blocks`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A size in the largest unit that it fills: `12 B`, `64.0 KiB`, `1.5 TiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10) as usize;
    // Exact enough: a double holds 53 bits, and one decimal is shown.
    format!("{:.1} {}", bytes as f64 / (1u64 << (10 * power)) as f64, UNITS[power - 1])
}

/// Bytes per second; `-` where no time has passed.
#[must_use]
pub fn rate(amount: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.001 { "-".to_owned() } else { format!("{}/s", bytes((amount as f64 / seconds) as u64)) }
}

/// A time, as precise as a person wants it: `0.2s`, `59.9s`, `3min 20s`, `2h 5min`, `3d 4h`.
#[must_use]
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", time.as_secs_f64()),
        60..3600 => format!("{}min {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A wall-clock time, to the second: `2026-03-01T12:00:00Z`.
#[must_use]
pub fn wall(unix_ns: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_nanos(unix_ns);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// What the disk is held to, by its name.
#[must_use]
pub fn promise(promise: Promise) -> &'static str {
    match promise {
        Promise::Ack => "ack",
        Promise::Fua => "fua",
        Promise::Flush => "flush",
    }
}

/// Which knowledge sufficed.
#[must_use]
pub fn proof(proved_by: ProvedBy) -> &'static str {
    match proved_by {
        ProvedBy::Checkpoint => "the saved ledger",
        ProvedBy::Disk => "tags on the disk itself",
        ProvedBy::Witness => "the witness",
    }
}

fn overall(verdict: Overall, findings: u64) -> String {
    match verdict {
        Overall::Intact => "intact: every promise was kept".to_owned(),
        Overall::Violated if findings == 0 => "VIOLATED: a promise was broken".to_owned(),
        Overall::Violated => format!("VIOLATED: {}", counted(findings, "finding")),
        Overall::Incomplete => "incomplete: not every block was judged".to_owned(),
    }
}

/// What an intact disk may be praised for where no ledger says what was promised: not for every promise.
fn by_tags_alone(durable: Option<Seq>) -> &'static str {
    match durable {
        Some(durable) if durable.0 > 0 => "every promise that the tags on the disk prove was kept",
        _ => "what is there is whole, but nothing says what was promised",
    }
}

/// What became of the saved ledger, and what that means for the verdict.
#[must_use]
pub fn state(state: State) -> &'static str {
    match state {
        State::Current => "current",
        State::Stale => {
            "stale: the disk has seen a newer one than was found here, which is no fault of the disk; judged by what \
             the tags on the disk prove"
        }
        State::Missing => "missing or not used: judged by what the tags on the disk prove",
    }
}

/// A verdict in full: the conclusion first, then the numbers, then each finding.
#[must_use]
pub fn verdict(target: &str, run: RunId, judgement: &Judgement) -> String {
    let BlockCounts { total, intact, rolled_back, interrupted, unwritten, findings } = judgement.blocks;
    let number = |frontier: Option<Seq>| frontier.map_or_else(|| "unknown".to_owned(), |seq| count(seq.0));
    let Frontiers { durable, issued, reserved } = judgement.frontiers;
    let elapsed = Duration::try_from_secs_f64(judgement.elapsed_s).unwrap_or_default();
    let verified = judgement.bytes.verified;
    let mut lines = vec![
        match judgement.verdict {
            // Each block was read, and there was nothing to judge it by.
            Overall::Incomplete if unwritten == total => {
                format!("{target}: incomplete: nothing proves what should be here")
            }
            Overall::Intact if judgement.proved_by == ProvedBy::Disk && judgement.state != State::Current => {
                format!("{target}: intact: {}", by_tags_alone(durable))
            }
            verdict => format!("{target}: {}", overall(verdict, findings)),
        },
        format!("  run        {run}"),
        format!("  promise    {}, proved by {}", promise(judgement.promise), proof(judgement.proved_by)),
        format!("  ledger     {}", state(judgement.state)),
        format!("  frontiers  durable {}, issued {}, reserved {}", number(durable), number(issued), number(reserved)),
        format!(
            "  blocks     {}: {} intact, {} rolled back, {} interrupted, {} unwritten, {}",
            count(total),
            count(intact),
            count(rolled_back),
            count(interrupted),
            count(unwritten),
            counted(findings, "finding")
        ),
        format!("  read       {} in {} ({})", bytes(verified), time(elapsed), rate(verified, elapsed)),
    ];
    if rolled_back + interrupted > 0 {
        lines.push("             rolled back and interrupted blocks are losses that the promise allows".to_owned());
    }
    if judgement.known > 0 {
        lines.push(format!("  known      {} of the findings reported before", count(judgement.known)));
    }
    lines.extend(classes(&judgement.classes));
    lines.extend(causes(&judgement.causes));
    lines.extend(listed(&judgement.findings, findings, !judgement.causes.listed.is_empty()));
    lines.join("\n")
}

/// Findings by class, where there are several.
fn classes(classes: &BTreeMap<Class, u64>) -> Option<String> {
    let told: Vec<String> = classes.iter().map(|(class, number)| format!("{} {class}", count(*number))).collect();
    (classes.values().sum::<u64>() > 1).then(|| format!("  classes    {}", told.join(", ")))
}

/// What findings have in common, a line each.
#[must_use]
pub fn causes(list: &CauseList) -> Vec<String> {
    let mut lines: Vec<String> = list.listed.iter().map(|cause| format!("  in common  {}", cause.words)).collect();
    if list.further > 0 {
        let (findings, causes) = (counted(list.further_findings, "finding"), counted(list.further, "group"));
        lines.push(format!("  in common  and {findings} more in {causes} or more"));
    }
    if !lines.is_empty() && list.alone > 0 {
        lines.push(format!("  in common  {} with nothing in common with another", counted(list.alone, "finding")));
    }
    lines
}

/// Findings one by one: so many that a person reads them, where their causes are told.
#[must_use]
pub fn listed(findings: &[Finding], total: u64, grouped: bool) -> Vec<String> {
    let shown = findings.len().min(if grouped { SHOWN_GROUPED } else { MAX_LISTED });
    let mut lines: Vec<String> = findings[..shown].iter().map(finding).collect();
    let (in_json, all) = (findings.len() as u64, total.max(findings.len() as u64));
    if all > shown as u64 {
        let left = count(all - shown as u64);
        lines.push(match in_json > shown as u64 {
            true if in_json == all => format!("  and {left} more; --json lists all {}", count(in_json)),
            true => format!("  and {left} more; --json lists the first {}", count(in_json)),
            false => format!("  and {left} more, beyond the first {MAX_LISTED}"),
        });
    }
    lines
}

/// A finding in one or two lines, indented by two.
#[must_use]
pub fn finding(finding: &Finding) -> String {
    let Finding { class, block, offset, persistence, known, .. } = finding;
    let how = match persistence {
        Persistence::Persistent => "",
        Persistence::Transient => ", transient (a later read was good: the path, not the medium)",
        Persistence::Unstable => ", unstable (each read differs)",
    };
    let known = if *known { ", known" } else { "" };
    let head = format!("  block {block} at byte {offset}: {class}{how}{known}: {}", accusation(finding));
    let home = match (finding.home, finding.confirmed) {
        (Some(home), Some(true)) => format!("; block {home}, where it belongs, lacks it"),
        (Some(home), Some(false)) => format!("; block {home}, where it belongs, has it too"),
        (Some(home), None) => format!("; it belongs to block {home}"),
        (None, _) => String::new(),
    };
    let errno = finding.errno.filter(|&errno| errno != 0);
    let errno = errno.map(|errno| format!("; {}", std::io::Error::from_raw_os_error(errno))).unwrap_or_default();
    let evidence = format!("{}{home}{errno}", finding.detail);
    let evidence = evidence.trim_start_matches("; ");
    if evidence.is_empty() { head } else { format!("{head}\n      {evidence}") }
}

/// `write 41 found, 44 guaranteed by flush 12 …`
fn accusation(finding: &Finding) -> String {
    let found = match finding.found_seq {
        Some(seq) => format!("write {seq} found"),
        // What was never read cannot be said to lack a write.
        None if finding.class == Class::Unreadable => "not read".to_owned(),
        None => "no write of this run recognised".to_owned(),
    };
    match (&finding.guarantee, finding.expected_seq) {
        (Some(guarantee), _) => format!("{found}, {} guaranteed by {}", guarantee.seq, guarantor(guarantee)),
        (None, Some(expected)) => format!("{found}, {expected} expected"),
        (None, None) => format!("{found}, nothing of it was guaranteed"),
    }
}

fn guarantor(guarantee: &Guarantee) -> String {
    match guarantee.flush {
        Some(flush) => format!("flush {} at {}", flush.number, wall(flush.wall_ns)),
        None => proof(guarantee.proved_by).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Occasion;
    use super::super::judgement::ByteCounts;
    use super::*;
    use crate::ledger::FlushRecord;
    use crate::tag::Class;
    use crate::vocabulary::Block;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 12, 123, 1234, 1_234_567].map(count), ["0", "12", "123", "1,234", "1,234,567"]);
        let sizes = [0, 1023, 1024, 65_536, (3 << 40) / 2, u64::MAX];
        assert_eq!(sizes.map(bytes), ["0 B", "1023 B", "1.0 KiB", "64.0 KiB", "1.5 TiB", "16.0 EiB"]);
        let times = [0.04, 59.94, 200.0, 7500.0, 273_600.0].map(Duration::from_secs_f64);
        assert_eq!(times.map(time), ["0.0s", "59.9s", "3min 20s", "2h 5min", "3d 4h"]);
        assert_eq!(rate(1 << 20, Duration::from_secs(2)), "512.0 KiB/s");
        assert_eq!(rate(1 << 20, Duration::ZERO), "-");
        assert_eq!([counted(1, "block"), counted(2, "block")], ["1 block", "2 blocks"]);
    }

    fn lost_write() -> Finding {
        let flush = FlushRecord { number: 12, durable: Seq(48), wall_ns: 1_772_366_400_000_000_000 };
        let guarantee =
            Guarantee { seq: Seq(44), proved_by: ProvedBy::Checkpoint, flush: Some(flush), attested: false };
        Finding {
            class: Class::LostWrite,
            block: Block(17),
            offset: 2_162_688,
            expected_seq: Some(Seq(44)),
            found_seq: Some(Seq(41)),
            found: None,
            expected: None,
            reads: Vec::new(),
            persistence: Persistence::Persistent,
            proved_by: Some(ProvedBy::Checkpoint),
            known: false,
            detail: "atoms 0-127 hold write 41".to_owned(),
            guarantee: Some(guarantee),
            home: None,
            confirmed: None,
            errno: None,
            occasion: Occasion::Check,
            cuts: 0,
            contents: 0,
            wall_ns: 0,
        }
    }

    #[test]
    fn a_finding_names_the_write_and_the_flush_that_guaranteed_it() {
        let told = finding(&lost_write());
        let expected = "  block 17 at byte 2162688: lost_write: write 41 found, 44 guaranteed by flush 12 at \
                        2026-03-01T12:00:00Z\n      atoms 0-127 hold write 41";
        assert_eq!(told, expected);
        let nothing = Finding { found_seq: None, guarantee: None, detail: String::new(), ..lost_write() };
        assert!(finding(&nothing).ends_with("lost_write: no write of this run recognised, 44 expected"));
    }

    #[test]
    fn a_block_that_was_not_read_is_not_said_to_lack_a_write() {
        let unreadable = Finding {
            class: Class::Unreadable,
            found_seq: None,
            guarantee: None,
            errno: Some(5),
            detail: String::new(),
            ..lost_write()
        };
        assert!(finding(&unreadable).contains("unreadable: not read, 44 expected\n      Input/output error"));
    }

    #[test]
    fn what_json_lists_in_full_is_not_called_the_first_of_more() {
        let findings = vec![lost_write(); 30];
        assert!(listed(&findings, 30, true).ends_with(&["  and 10 more; --json lists all 30".to_owned()]));
        assert!(listed(&findings, 40, true).ends_with(&["  and 20 more; --json lists the first 30".to_owned()]));
    }

    #[test]
    fn without_a_ledger_not_every_promise_is_said_to_be_kept() {
        let judgement = |durable, state, proved_by| Judgement {
            verdict: Overall::Intact,
            promise: Promise::Flush,
            state,
            proved_by,
            frontiers: Frontiers { durable: Some(Seq(durable)), issued: Some(Seq(9)), reserved: None },
            blocks: BlockCounts { total: 9, intact: 9, rolled_back: 0, interrupted: 0, unwritten: 0, findings: 0 },
            bytes: ByteCounts { written: 0, verified: 9 << 16 },
            elapsed_s: 0.5,
            known: 0,
            classes: BTreeMap::new(),
            causes: CauseList::default(),
            findings: Vec::new(),
            unlisted: Vec::new(),
        };
        for (durable, state, proved_by, words) in [
            (9, State::Current, ProvedBy::Checkpoint, "bay3: intact: every promise was kept\n"),
            (9, State::Current, ProvedBy::Disk, "bay3: intact: every promise was kept\n"),
            (9, State::Stale, ProvedBy::Disk, "bay3: intact: every promise that the tags on the disk prove was kept\n"),
            (
                0,
                State::Missing,
                ProvedBy::Disk,
                "bay3: intact: what is there is whole, but nothing says what was promised\n",
            ),
        ] {
            let told = verdict("bay3", RunId([1; 16]), &judgement(durable, state, proved_by));
            assert!(told.starts_with(words), "{words}\n{told}");
        }
    }

    #[test]
    fn a_verdict_says_what_is_known_and_what_is_not() {
        let judgement = Judgement {
            verdict: Overall::Violated,
            promise: Promise::Flush,
            state: State::Stale,
            proved_by: ProvedBy::Disk,
            frontiers: Frontiers { durable: Some(Seq(4500)), issued: Some(Seq(4600)), reserved: None },
            blocks: BlockCounts { total: 24, intact: 22, rolled_back: 1, interrupted: 0, unwritten: 0, findings: 1 },
            bytes: ByteCounts { written: 0, verified: 24 << 16 },
            elapsed_s: 0.5,
            known: 1,
            classes: BTreeMap::from([(Class::LostWrite, 1)]),
            causes: CauseList::default(),
            findings: vec![Finding { known: true, ..lost_write() }],
            unlisted: Vec::new(),
        };
        let told = verdict("bay3", RunId([1; 16]), &judgement);
        for words in [
            "bay3: VIOLATED: 1 finding\n",
            "ledger     stale: the disk has seen a newer one",
            "durable 4,500, issued 4,600, reserved unknown",
            "24: 22 intact, 1 rolled back, 0 interrupted, 0 unwritten, 1 finding\n",
            "1.5 MiB in 0.5s (3.0 MiB/s)",
            "known      1 of the findings reported before",
            "block 17 at byte 2162688: lost_write, known: write 41 found",
        ] {
            assert!(told.contains(words), "{words}\n{told}");
        }
    }
}
