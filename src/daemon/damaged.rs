//! The target itself is damaged: its label is gone, or it ends before its region does. Nothing can be written to it; the blocks that
//! are cut off are told one by one.

use std::time::SystemTime;

use super::Job;
use super::journal::Journal;
use super::notes::Note;
use crate::engine::OnFinding;
use crate::ledger::{Legal, Recovered};
use crate::report::{Finding, MAX_LISTED, Occasion, Persistence};
use crate::schedule::Schedule;
use crate::tag::Class;
use crate::target::{LabelState, OpenTarget, Shrunk};
use crate::vocabulary::{Block, LABEL_AREA};

/// What is wrong, in words; `None` when nothing is.
pub(super) fn in_words(target: &OpenTarget) -> Option<String> {
    if let LabelState::Gone { fault, .. } = &target.label {
        return Some(format!("the label is gone from what is proven to be the same target: {fault}"));
    }
    let shrunk = target.shrunk?;
    let (first, blocks) = (first_beyond(target, shrunk), target.geometry.blocks());
    let lost = match blocks - first {
        0 => "no block of it".to_owned(),
        lost => format!("blocks {first} to {}, {lost} of {blocks}", blocks - 1),
    };
    Some(format!(
        "the target ends at byte {}, before its region does at {}: {lost} cut off",
        shrunk.size, shrunk.expected_end
    ))
}

/// The first block that is not whole any more.
fn first_beyond(target: &OpenTarget, shrunk: Shrunk) -> u64 {
    let geometry = &target.geometry;
    let whole = shrunk.size.saturating_sub(geometry.offset + LABEL_AREA) / u64::from(geometry.block_size);
    whole.min(geometry.blocks())
}

/// Writes it down, block by block as far as findings are listed, and latches the target where findings do that. Gives
/// the number of blocks that are cut off.
pub(super) fn report(journal: &mut Journal, job: &Job, why: &str) -> u64 {
    let note = Note::TargetDamaged { why };
    journal.note(&note);
    let first = job.target.shrunk.map_or(u64::MAX, |shrunk| first_beyond(&job.target, shrunk));
    let blocks = job.target.geometry.blocks();
    let schedule = Schedule::new(&job.target.geometry, job.target.run_id);
    let ledger = job.saved.clone().map(|saved| Recovered::from_saved(schedule, saved));
    for block in (first..blocks).take(MAX_LISTED) {
        journal.report_without_contents(&cut_off(job, ledger.as_ref(), Block(block), why));
    }
    if job.engine.on_finding == OnFinding::Stop {
        journal.latch(why, &note);
    }
    // What fails is in the journal's trouble, and the exit status says broken either way.
    drop(journal.settle());
    blocks.saturating_sub(first)
}

fn cut_off(job: &Job, ledger: Option<&Recovered>, block: Block, why: &str) -> Finding {
    let geometry = &job.target.geometry;
    let legal = ledger.map(|ledger| ledger.legal(block));
    let guarantee = legal.as_ref().and_then(Legal::guarantee);
    Finding {
        class: Class::Unreadable,
        block,
        offset: geometry.offset_of(block),
        expected_seq: legal.and_then(|legal| legal.expected()),
        expected: None,
        found_seq: None,
        found: None,
        persistence: Persistence::Persistent,
        proved_by: guarantee.map(|guarantee| guarantee.proved_by),
        known: false,
        detail: format!("end of file or device: {why}"),
        guarantee,
        home: None,
        confirmed: None,
        errno: None,
        occasion: Occasion::Check,
        reads: Vec::new(),
        cuts: job.saved.as_ref().map_or(0, |saved| saved.totals.cuts + u64::from(!saved.clean)),
        contents: 0,
        wall_ns: now_ns(),
    }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
