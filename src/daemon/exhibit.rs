//! All there is to show for one finding, made ready for its evidence.

use std::fmt::Write;

use serde::Serialize;

use super::context::Context;
use super::diff;
use super::neighbours::{Beside, Neighbours};
use crate::ledger::Legal;
use crate::report::Finding;
use crate::report::account::{Setting, account};
use crate::report::atoms::atom_runs;
use crate::tag::{Class, DIGEST, Inspector, UNTOLD_BY_ISSUE};
use crate::vocabulary::Digest;

/// Runs of atoms that are told; `found.bin` has all.
const RUNS_MAX: usize = 128;

/// What should have been in the block.
pub(super) struct Expected {
    pub(super) bytes: Vec<u8>,
    /// To the byte; else as far as the issue alone tells it.
    whole: bool,
}

/// Contents of a finding's block, and what should have been there.
pub(super) struct Exhibit<'a> {
    pub(super) inspector: &'a Inspector,
    /// Empty where nothing could be read.
    pub(super) found: &'a [u8],
    pub(super) expected: Option<Expected>,
    pub(super) latencies_ns: Vec<u64>,
}

/// `finding.json`.
#[derive(Serialize)]
pub(super) struct Circumstances<'a> {
    schema: u32,
    #[serde(flatten)]
    finding: &'a Finding,
    /// How long the reads took, in nanoseconds, the first one first; as many as are known.
    read_ns: &'a [u64],
    /// `expected.bin` is "whole", or "issue": zero where the issue alone does not tell it.
    expected_from: Option<&'static str>,
    neighbours: Option<&'a str>,
    context: Option<&'a Context>,
}

impl Expected {
    /// Of damaged contents what they were before, as they still tell it; else what the guaranteed issue alone tells.
    pub(super) fn of(inspector: &Inspector, finding: &Finding, judged: Option<(&Legal, &[u8])>) -> Option<Self> {
        let size = inspector.sealer().geometry().block_size as usize;
        let damaged = matches!(finding.class, Class::Corrupt | Class::Shorn | Class::Torn | Class::Unstable);
        let judged = judged.filter(|(_, found)| damaged && found.len() == size);
        if let Some(bytes) = judged.and_then(|(legal, found)| inspector.expectation(found, legal)) {
            return Some(Expected { bytes, whole: true });
        }
        let bytes = inspector.sealer().rebuild_from_issue(finding.block, finding.expected?);
        Some(Expected { bytes, whole: false })
    }
}

impl Exhibit<'_> {
    /// Reads the blocks beside it, unless reading is what hangs.
    pub(super) fn beside(&self, finding: &Finding, neighbours: Option<&mut Neighbours>) -> Beside {
        let hangs = finding.class == Class::Unreadable && finding.errno.is_none();
        match neighbours.filter(|_| !hangs) {
            Some(neighbours) => neighbours.of(finding.block),
            None => Beside { remark: Some("not read".to_owned()), ..Beside::default() },
        }
    }

    pub(super) fn circumstances<'b>(
        &'b self,
        finding: &'b Finding,
        context: Option<&'b Context>,
        beside: &'b Beside,
    ) -> Circumstances<'b> {
        let from = |expected: &Expected| if expected.whole { "whole" } else { "issue" };
        Circumstances {
            schema: 1,
            finding,
            read_ns: &self.latencies_ns,
            expected_from: self.expected.as_ref().map(from),
            neighbours: beside.remark.as_deref(),
            context,
        }
    }

    pub(super) fn summary(&self, finding: &Finding, context: Option<&Context>) -> String {
        let Some(context) = context else { return format!("{}\n", finding.detail) };
        let Context { identity, file_system, devices, scrubd, kernel, boot_id, started, direct, .. } = context;
        let mut stands_on = vec![format!("{}: {identity}", context.path)];
        stands_on.extend(
            file_system
                .as_ref()
                .map(|on| format!("file system {} of {} at {} ({})", on.kind, on.source, on.mount_point, on.options)),
        );
        stands_on.extend(devices.iter().map(ToString::to_string));
        if devices.is_empty() {
            stands_on.push("what device is beneath is not told by the kernel".to_owned());
        }
        let io = if *direct { "past the page cache" } else { "through the page cache, as far as is known" };
        let unknown = || "unknown".to_owned();
        let seen_by = [
            format!("scrubd {scrubd} since {started}, {} {io}", context.ring),
            format!(
                "Linux {}, boot {}",
                kernel.clone().unwrap_or_else(unknown),
                boot_id.clone().unwrap_or_else(unknown)
            ),
        ];
        let setting = Setting {
            target: &context.target,
            path: &context.path,
            run_id: context.run_id,
            geometry: &context.geometry,
            stands_on: &stands_on,
            seen_by: &seen_by,
            latencies_ns: &self.latencies_ns,
        };
        account(finding, &setting)
    }

    /// Which write each atom belongs to, then the bytes that differ from what should be there.
    pub(super) fn diff(&self, finding: &Finding) -> String {
        let geometry = self.inspector.sealer().geometry();
        let mut text = format!("{}\n", finding.detail);
        if self.found.len() != geometry.block_size as usize {
            text.push_str("\nnothing was read\n");
            return text;
        }
        let runs = atom_runs(self.found, finding.block, geometry.atom as usize);
        text.push_str("\nWhat each atom holds, with its bytes within the block\n");
        for run in runs.iter().take(RUNS_MAX) {
            let (from, to) = (run.first * geometry.atom, (run.last + 1) * geometry.atom - 1);
            let words = run.words(|seq| self.inspector.schedule().pass_of(seq));
            writeln!(text, "  {from}-{to}: {words}").expect("a string takes everything");
        }
        if runs.len() > RUNS_MAX {
            writeln!(text, "  and {} more, see found.bin", runs.len() - RUNS_MAX).expect("a string takes everything");
        }
        let Some(expected) = &self.expected else {
            text.push_str("\nWhat should be there cannot be rebuilt: nothing of this block was guaranteed\n");
            return text;
        };
        text.push_str(match expected.whole {
            true => "\nAgainst the block as it was before it was damaged, as its own tags tell it\n",
            false => "\nAgainst the guaranteed write, as far as its number tells it: some of each tag it does not\n",
        });
        text.push_str(&diff::in_words(&self.comparable(expected), self.found));
        text
    }

    /// What is not known differs from nothing.
    fn comparable(&self, expected: &Expected) -> Vec<u8> {
        let geometry = self.inspector.sealer().geometry();
        let mut bytes = expected.bytes.clone();
        if expected.whole {
            return bytes;
        }
        let atom = geometry.atom as usize;
        for start in (0..bytes.len()).step_by(atom) {
            for untold in UNTOLD_BY_ISSUE {
                let untold = start + untold.start..start + untold.end;
                bytes[untold.clone()].copy_from_slice(&self.found[untold]);
            }
        }
        if geometry.digest == Digest::Blake3 {
            bytes[DIGEST].copy_from_slice(&self.found[DIGEST]);
        }
        bytes
    }
}
