//! What the daemon itself puts into the event log, beside the engine's records.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ledger::{ProvedBy, State};
use crate::report::causes::CauseList;
use crate::report::{BlockCounts, ByteCounts, Finding, Frontiers, Judgement, Overall};
use crate::ring::Description;
use crate::tag::Class;
use crate::vocabulary::{Geometry, RunId};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Note<'a> {
    /// The data plane starts.
    Started {
        version: &'a str,
        pid: u32,
        target: &'a str,
        path: String,
        run_id: RunId,
        geometry: &'a Geometry,
        ring: &'a Description,
        boot_id: Option<String>,
    },
    /// Something about slots, state or target that somebody should know.
    Remark { text: &'a str },
    /// A promise was broken.
    Finding {
        #[serde(flatten)]
        finding: &'a Finding,
        evidence: Option<String>,
        boot_id: Option<&'a str>,
    },
    /// The label is gone, or the target is shorter than its region.
    TargetDamaged { why: &'a str },
    /// The whole is in `verdict.json`.
    Verdict {
        verdict: Overall,
        state: State,
        proved_by: ProvedBy,
        frontiers: Frontiers,
        blocks: BlockCounts,
        bytes: ByteCounts,
        elapsed_s: f64,
        known: u64,
        classes: BTreeMap<Class, u64>,
        causes: CauseList,
    },
    /// The process ends by itself.
    Ended { outcome: String, exit_code: u8 },
}

impl<'a> Note<'a> {
    pub(super) fn of_verdict(judgement: &Judgement) -> Note<'a> {
        let Judgement { verdict, state, proved_by, frontiers, blocks, bytes, elapsed_s, known, .. } = *judgement;
        let (classes, causes) = (judgement.classes.clone(), judgement.causes.clone());
        Note::Verdict { verdict, state, proved_by, frontiers, blocks, bytes, elapsed_s, known, classes, causes }
    }
}

/// Which boot this is: tells a finding after a power cut from one in the same life.
pub(super) fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// This boot, in four bytes; `None` where it is unknown.
pub(crate) fn boot() -> Option<u32> {
    let [first, second, third, fourth, ..] = *blake3::hash(boot_id()?.as_bytes()).as_bytes();
    Some(u32::from_le_bytes([first, second, third, fourth]))
}

/// A verdict in a line.
pub(super) fn verdict_in_words(judgement: &Judgement) -> String {
    let Judgement { verdict, blocks, known, .. } = judgement;
    let BlockCounts { total, intact, rolled_back, interrupted, unwritten, findings } = blocks;
    let word = match verdict {
        Overall::Intact => "intact",
        Overall::Violated => "violated",
        Overall::Incomplete => "incomplete",
    };
    format!(
        "{word}: of {total} blocks {intact} intact, {rolled_back} rolled back, {interrupted} interrupted, {unwritten} \
         unwritten, {findings} findings, {known} of them known from before"
    )
}
