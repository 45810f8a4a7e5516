//! The target itself is damaged: its label is gone, or it ends before its region does. A finding without a block.

use super::journal::Journal;
use super::notes::Note;
use crate::engine::OnFinding;
use crate::target::{LabelState, OpenTarget};

/// What is wrong, in words; `None` when nothing is.
pub(super) fn in_words(target: &OpenTarget) -> Option<String> {
    if let LabelState::Gone { fault, .. } = &target.label {
        return Some(format!("the label is gone from what is proven to be the same target: {fault}"));
    }
    let shrunk = target.shrunk?;
    Some(format!("the target ends at byte {}, before its region does at {}", shrunk.size, shrunk.expected_end))
}

/// Writes it down, and latches the target where findings do that.
pub(super) fn report(journal: &mut Journal, why: &str, on_finding: OnFinding) {
    let note = Note::TargetDamaged { why };
    journal.note(&note);
    if on_finding == OnFinding::Stop {
        journal.latch(why, &note);
    }
    // What fails is in the journal's trouble, and the exit status says broken either way.
    drop(journal.settle());
}
