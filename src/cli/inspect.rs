//! `scrubd inspect`: one block on one screen.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::args::Args;
use super::exit::{BROKEN, Failure, USAGE};
use super::{chosen, state, talk};
use crate::ledger::{Attestation, Legal, Recovered, Rule};
use crate::report::atoms::{self, AtomRun, Difference};
use crate::report::text::{self, bytes};
use crate::ring::Buffer;
use crate::tag::{Broken, Inspector, Verdict};
use crate::target::{self, Access, LOCK_WAIT, OpenTarget};
use crate::vocabulary::{Block, Digest, Promise};

/// Runs of atoms that are told on a screen of 24 lines; a block of a few writes has as many.
const RUNS_TOLD: usize = 6;

/// Width of a screen; one column is for the mark of what does not fit.
const COLUMNS: usize = 99;

pub(crate) fn run(args: &Args, block: u64) -> Result<u8, Failure> {
    let settings = chosen::target(args)?;
    let layout = state::layout(&settings.state_dir)?;
    let known = state::remembered(&layout);
    let target = target::open(&chosen::spec(&settings), Access::ReadOnly, LOCK_WAIT, known.as_ref())?;
    target.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let blocks = target.geometry.blocks();
    if block >= blocks {
        let message = format!("block {block} is beyond the region: it has {blocks} blocks, 0 to {}", blocks - 1);
        return Err(Failure::new(USAGE, message));
    }
    let loaded = state::look(&layout, &target);
    loaded.remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
    let bytes = match read(&target, Block(block)) {
        Ok(bytes) => bytes,
        Err(why) => return Ok(unreadable(args, &settings.name, &target, Block(block), &why)),
    };
    let view = View::of(&target, Block(block), &bytes, loaded, settings.promise);
    talk::result(&if args.common.json { view.json(&settings.name) } else { view.words(&settings.name) });
    Ok(if view.broken().is_some() { BROKEN } else { 0 })
}

fn read(target: &OpenTarget, block: Block) -> std::io::Result<Buffer> {
    let mut bytes = Buffer::new(target.geometry.block_size as usize);
    bytes.poison();
    target.file.read_exact_at(&mut bytes, target.geometry.offset_of(block))?;
    Ok(bytes)
}

fn unreadable(args: &Args, name: &str, target: &OpenTarget, block: Block, why: &std::io::Error) -> u8 {
    let offset = target.geometry.offset_of(block);
    talk::result(&match args.common.json {
        true => {
            let (run_id, detail) = (target.run_id, why.to_string());
            serde_json::json!({
                "schema": 1, "target": name, "run_id": run_id, "block": block, "offset": offset,
                "verdict": "unreadable", "detail": detail,
            })
            .to_string()
        }
        false => {
            format!("{name}: block {block}: unreadable\n  where      byte {offset} of the target\n  error      {why}")
        }
    });
    BROKEN
}

struct View {
    inspector: Inspector,
    legal: Legal,
    /// Which knowledge the legal set comes from.
    known_from: String,
    verdict: Verdict,
    runs: Vec<AtomRun>,
    difference: Option<Difference>,
}

impl View {
    fn of(target: &OpenTarget, block: Block, bytes: &[u8], loaded: state::Loaded, promise: Promise) -> Self {
        let geometry = target.geometry;
        let inspector = Inspector::new(geometry, target.run_id);
        let mut disk = Attestation::default();
        let promise = loaded.checkpoint.as_ref().map_or(promise, |checkpoint| checkpoint.promise);
        let claims = inspector.survey(bytes, block);
        claims.iter().for_each(|(claim, atoms)| disk.add(claim, *atoms, promise));
        let schedule = *inspector.schedule();
        let (recovered, known_from) = match loaded.checkpoint {
            Some(saved) => {
                let (number, at) = (saved.number, text::wall(saved.wall_ns));
                let mut recovered = Recovered::from_saved(schedule, saved.clone());
                if claims.iter().any(|(claim, _)| recovered.is_outrun_by(claim)) {
                    let stale =
                        format!("checkpoint {number} of {at} is older than this block: judged by the block alone");
                    (Recovered::rebuilt(schedule, promise, Some(saved), &disk), stale)
                } else {
                    recovered.attest(&disk);
                    (recovered, format!("checkpoint {number} of {at}"))
                }
            }
            None => {
                (Recovered::rebuilt(schedule, promise, None, &disk), "this block alone: there is no ledger".to_owned())
            }
        };
        let legal = recovered.legal(block);
        let verdict = inspector.inspect(bytes, &legal).verdict;
        let atom = geometry.atom as usize;
        let expectation = inspector.expectation(bytes, &legal).filter(|expected| expected != bytes);
        let with_digest = geometry.digest == Digest::Blake3;
        let difference = expectation.map(|expected| atoms::difference(bytes, &expected, atom, with_digest));
        View { inspector, verdict, known_from, runs: atoms::atom_runs(bytes, block, atom), difference, legal }
    }

    fn broken(&self) -> Option<&Arc<Broken>> {
        match &self.verdict {
            Verdict::Broken(broken) => Some(broken),
            _ => None,
        }
    }

    fn verdict_name(&self) -> String {
        match &self.verdict {
            Verdict::Intact => "intact".to_owned(),
            Verdict::RolledBack => "rolled_back".to_owned(),
            Verdict::Interrupted => "interrupted".to_owned(),
            Verdict::Unwritten => "unwritten".to_owned(),
            Verdict::Broken(broken) => broken.class.to_string(),
        }
    }

    /// One screen of it.
    fn words(&self, target: &str) -> String {
        let geometry = self.inspector.sealer().geometry();
        let block = self.legal.block;
        let (offset, size) = (geometry.offset_of(block), bytes(geometry.block_size.into()));
        let atoms = format!("{} atoms of {} B", geometry.atoms(), geometry.atom);
        let mut screen = Screen::new(format!("{target}: block {block}: {}", self.verdict_name()));
        screen.say("where", &format!("byte {offset} of the target, {size} in {atoms}"), 1);
        screen.say("run", &self.inspector.sealer().run().to_string(), 1);
        screen.say("expected", &self.expected(), 3);
        screen.say("known from", &self.known_from, 2);
        let pass = |seq| self.inspector.schedule().pass_of(seq);
        for (at, run) in self.runs.iter().take(RUNS_TOLD).enumerate() {
            screen.say(if at == 0 { "holds" } else { "" }, &run.brief(pass), 1);
        }
        if self.runs.len() > RUNS_TOLD {
            screen.say("", &format!("and {} more runs of atoms; --json tells all", self.runs.len() - RUNS_TOLD), 1);
        }
        let sealed = self.runs.iter().find_map(|run| Some((run, run.said()?)));
        if let Some((run, said)) = sealed {
            let (when, promise) = (text::wall(said.wall_ns), text::promise(said.promise));
            let knowing = format!("durable {} by {promise}, checkpoint {}", said.durable, said.checkpoint);
            let tag = format!("atom {}: {when}, {knowing}, nonce {:016x}, run {}", run.first, said.nonce, said.run_id);
            screen.say("its tag", &tag, 2);
        }
        if let Some(broken) = self.broken().filter(|broken| !broken.detail.is_empty()) {
            screen.say("finding", &broken.detail, 3);
        }
        if let Some(difference) = &self.difference {
            // The sum, and the first field with its bytes.
            let lines = difference.words();
            for (at, line) in lines.iter().take(4).enumerate() {
                screen.say(if at == 0 { "differs" } else { "" }, line, 1);
            }
        }
        screen.lines.join("\n")
    }

    fn expected(&self) -> String {
        let newest = match self.legal.newest_issued {
            Some(seq) => format!("; the newest known to have been issued is {seq}"),
            None => "; none is known to have been issued".to_owned(),
        };
        let reserved = self.legal.reserved.map(|seq| format!("; nothing at or above {seq}")).unwrap_or_default();
        let pass = |seq| self.inspector.schedule().pass_of(seq);
        match self.legal.rule {
            Rule::Exactly(issue) => format!("exactly write {}{newest}{reserved}", issue.seq),
            Rule::AtLeast(guarantee) => {
                let flush =
                    guarantee.flush.map(|flush| format!(", flush {} at {}", flush.number, text::wall(flush.wall_ns)));
                let (flush, seq, by) = (flush.unwrap_or_default(), guarantee.seq, text::proof(guarantee.proved_by));
                format!("write {seq} (pass {}) or a later one, proved by {by}{flush}{newest}{reserved}", pass(seq))
            }
            Rule::Anything => format!("anything: no write of this block is guaranteed{newest}{reserved}"),
        }
    }

    fn json(&self, target: &str) -> String {
        let geometry = self.inspector.sealer().geometry();
        let block = self.legal.block;
        let value = serde_json::json!({
            "schema": 1,
            "target": target,
            "run_id": self.inspector.sealer().run(),
            "block": block,
            "offset": geometry.offset_of(block),
            "verdict": self.verdict_name(),
            "expected_seq": self.legal.expected(),
            "newest_issued": self.legal.newest_issued,
            "reserved": self.legal.reserved,
            "found_seq": self.broken().and_then(|broken| broken.found).map(|issue| issue.seq),
            "known_from": self.known_from,
            "detail": self.broken().map(|broken| broken.detail.clone()),
            "atoms": self.runs,
            "difference": self.difference,
        });
        value.to_string()
    }
}

/// Lines of at most [`COLUMNS`], each thing within as many as it may have.
struct Screen {
    lines: Vec<String>,
}

impl Screen {
    fn new(title: String) -> Self {
        Screen { lines: vec![title] }
    }

    /// Says something under a heading, on `most` lines at the most.
    fn say(&mut self, heading: &str, words: &str, most: usize) {
        let mut line = format!("  {heading:<10} ");
        let mut told = 1;
        for word in words.split(' ') {
            if line.chars().count() + word.chars().count() > COLUMNS {
                if told == most {
                    line.push('…');
                    break;
                }
                told += 1;
                self.lines.push(std::mem::replace(&mut line, " ".repeat(13)).trim_end().to_owned());
            }
            line.push_str(word);
            line.push(' ');
        }
        self.lines.push(line.trim_end().to_owned());
    }
}
