//! What is written down about a run: event log, evidence, latch, known findings, verdict.
//!
//! The order within one finding: evidence, then its line in the event log, then the latch, then the key that keeps it
//! from being told again. A cut anywhere in between tells the finding once more; in another order it could be forgotten.
//!
//! Lines are made durable together, by [`Journal::settle`], before anything acts on them: a thousand findings of one
//! check cost one flush of the log, not a thousand. The line of a trigger is made durable beside everything else, by
//! [`Journal::settle_beside`]: nothing but the trigger's command acts on it, and the disk under test need not wait.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use crossbeam_channel::TryRecvError;
use serde::Serialize;
use serde_json::Value;

use super::context::Context;
use super::error::DaemonError;
use super::exhibit::Exhibit;
use super::known::Known;
use super::neighbours::Neighbours;
use super::notes::{Note, boot_id};
use super::scribe::Scribe;
use crate::engine::Record;
use crate::ledger::state_dir::{Layout, replace_durably};
use crate::report::event_log::{EventLog, LogError};
use crate::report::evidence::{Evidence, EvidenceRoom, Kept};
use crate::report::{Finding, FindingKey, Judgement, quarantine};
use crate::vocabulary::RunId;

pub(super) struct Journal {
    layout: Layout,
    log: EventLog,
    room: EvidenceRoom,
    known: Known,
    /// Lines that something will act on, appended since the last settlement.
    unsettled: Vec<Value>,
    /// One of them could not be appended at all.
    lost: bool,
    /// Keys of findings among them.
    reported: Vec<FindingKey>,
    /// Why lines that were noted since this was last taken are not on record.
    unrecorded: Option<String>,
    /// The first of all such reasons: what was lost then is not noted again by this process.
    gap: Option<String>,
    /// Flushes the log beside; none where everything is flushed in place.
    pub(super) scribe: Option<Scribe>,
    /// The lines that it is at.
    beside: Option<Vec<Value>>,
    latched: bool,
    boot_id: Option<String>,
    /// Who looks, at what; known once the ring is open.
    pub(super) context: Option<Context>,
    /// What could not be written down since it was last asked for.
    trouble: Vec<String>,
}

impl Journal {
    /// Opens everything, and says what there was to remark.
    pub(super) fn open(layout: &Layout) -> Result<(Journal, Vec<String>), DaemonError> {
        let dir = layout.dir();
        let (log, found) = EventLog::open(dir)?;
        let room = EvidenceRoom::open(dir)?;
        let known = Known::open(dir).map_err(|source| DaemonError::State { path: dir.join("known.jsonl"), source })?;
        let mut remarks = Vec::new();
        if found.torn {
            remarks.push("the event log's last line was cut short".to_owned());
        }
        if found.damaged > 0 {
            remarks.push(format!("{} lines of the event log are damaged", found.damaged));
        }
        let journal = Journal {
            layout: layout.clone(),
            log,
            room,
            known,
            unsettled: Vec::new(),
            lost: false,
            reported: Vec::new(),
            unrecorded: None,
            gap: None,
            scribe: None,
            beside: None,
            latched: false,
            boot_id: boot_id(),
            context: None,
            trouble: Vec::new(),
        };
        Ok((journal, remarks))
    }

    /// Writes down what the engine did. What nothing acts on is not waited for.
    pub(super) fn record(&mut self, record: &Record) {
        match record {
            Record::PassWritten { .. } | Record::WriteFailed { .. } => {
                self.mention(record);
            }
            _ => self.note(record),
        }
    }

    /// Appends a line that is durable at the next settlement.
    pub(super) fn note(&mut self, event: &impl Serialize) {
        match serde_json::to_value(event) {
            Ok(value) => {
                self.lost |= !self.mention(&value);
                self.unsettled.push(value);
            }
            Err(error) => self.trouble("cannot write an event down", &error),
        }
    }

    fn mention(&mut self, event: &impl Serialize) -> bool {
        let appended = self.log.append(SystemTime::now(), event);
        if let Err(error) = &appended {
            self.trouble("an event is not in the log", error);
        }
        appended.is_ok()
    }

    /// Makes durable what was noted since the last time. What was lost to an error on the way is appended once more: a
    /// flush that follows a failed one vouches for nothing older.
    ///
    /// # Errors
    /// In words. The events are not, or not for certain, durable; nothing may act on them.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        self.settles_beside();
        if self.unsettled.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.room.note_left_out() {
            self.trouble("how much evidence was left out is not written down", &error);
        }
        let lines = std::mem::take(&mut self.unsettled);
        let keys = std::mem::take(&mut self.reported);
        let settled = match std::mem::take(&mut self.lost) {
            true => self.append_durable(&lines),
            false => self.log.flush().or_else(|error| {
                tracing::error!("{}: trying once more", chain(&error));
                self.append_durable(&lines)
            }),
        };
        if let Err(error) = settled {
            let why = chain(&error);
            self.trouble("the event log is not durable", &error);
            self.unrecorded.get_or_insert_with(|| why.clone());
            self.gap.get_or_insert_with(|| why.clone());
            return Err(why);
        }
        self.remember(&keys);
        Ok(())
    }

    /// Begins to make durable what was noted, on the scribe's thread. Where that cannot be, it is left to the next
    /// [`Journal::settle`], which comes before whatever acts on it.
    pub(super) fn settle_beside(&mut self) {
        let plain = !self.lost && self.reported.is_empty() && !self.settles_beside();
        let Some(scribe) = self.scribe.as_ref().filter(|_| plain && !self.unsettled.is_empty()) else { return };
        let Some(flush) = self.log.flush_beside() else { return };
        if scribe.jobs.try_send(Box::new(flush)).is_ok() {
            self.beside = Some(std::mem::take(&mut self.unsettled));
        }
    }

    /// Whether lines are still being made durable beside. Once they are not, they are durable, or noted anew for the next
    /// settlement.
    pub(super) fn settles_beside(&mut self) -> bool {
        let (Some(scribe), Some(_)) = (&self.scribe, &self.beside) else { return false };
        let ended = match scribe.done.try_recv() {
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => Err(io::Error::other("its thread died")),
            Ok(ended) => ended,
        };
        let lines = self.beside.take().expect("looked at above");
        if let Err(error) = ended {
            tracing::error!("the event log is not durable: {error}: trying once more");
            self.unsettled.splice(0..0, lines);
            self.lost = true;
        }
        false
    }

    /// Why something that was noted since the last time is not on record, whoever's settlement it was that failed.
    pub(super) fn take_unrecorded(&mut self) -> Option<String> {
        self.unrecorded.take()
    }

    /// Why the record has a gap, if it has one.
    pub(super) fn gap(&self) -> Option<&str> {
        self.gap.as_deref()
    }

    fn append_durable(&mut self, lines: &[Value]) -> Result<(), LogError> {
        lines.iter().try_for_each(|line| self.log.append(SystemTime::now(), line).map(drop))?;
        self.log.flush()
    }

    fn remember(&mut self, keys: &[FindingKey]) {
        if keys.is_empty() {
            return;
        }
        let remembered = keys.iter().try_for_each(|key| self.known.append(key)).and_then(|()| self.known.flush());
        if let Err(source) = remembered {
            let path = self.known.path().to_owned();
            self.trouble("findings will be reported again", &DaemonError::State { path, source });
        }
    }

    /// Keeps the evidence of a finding, notes it, and latches the target where that is asked for.
    pub(super) fn report(
        &mut self,
        finding: &Finding,
        exhibit: &Exhibit<'_>,
        neighbours: Option<&mut Neighbours>,
        latch: bool,
    ) {
        let evidence = if finding.known { None } else { self.keep(finding, exhibit, neighbours) };
        let note = serde_json::to_value(Note::Finding {
            finding,
            evidence: evidence.as_deref().map(|path| path.display().to_string()),
            boot_id: self.boot_id.as_deref(),
        });
        match note {
            Ok(note) => self.note(&note),
            Err(error) => self.trouble("cannot write a finding down", &error),
        }
        if !finding.known {
            self.reported.push(finding.key());
        }
        if latch && !finding.known {
            self.latch(&format!("{} at block {}: {}", finding.class, finding.block, finding.detail), finding);
        }
    }

    /// Notes a finding of which there is nothing to keep.
    pub(super) fn report_without_contents(&mut self, finding: &Finding) {
        let boot_id = self.boot_id.clone();
        self.note(&Note::Finding { finding, evidence: None, boot_id: boot_id.as_deref() });
        self.reported.push(finding.key());
    }

    /// Sets the latch, once.
    pub(super) fn latch(&mut self, reason: &str, finding: &impl Serialize) {
        if self.latched {
            return;
        }
        match quarantine::set(self.layout.dir(), SystemTime::now(), reason, finding) {
            Ok(_) => self.latched = true,
            Err(error) => self.trouble("the target is not latched", &error),
        }
    }

    fn keep(
        &mut self,
        finding: &Finding,
        exhibit: &Exhibit<'_>,
        neighbours: Option<&mut Neighbours>,
    ) -> Option<PathBuf> {
        if self.room.is_full() {
            self.room.leave_out();
            return None;
        }
        if let Some(context) = &mut self.context {
            context.look_again();
        }
        let beside = exhibit.beside(finding, neighbours);
        let context = self.context.as_ref();
        let (summary, diff) = (exhibit.summary(finding, context), exhibit.diff(finding));
        let circumstances = exhibit.circumstances(finding, context, &beside);
        let evidence = Evidence {
            finding: &circumstances,
            found: exhibit.found,
            expected: exhibit.expected.as_ref().map(|expected| expected.bytes.as_slice()),
            summary: &summary,
            diff: &diff,
            before: beside.before.as_deref(),
            after: beside.after.as_deref(),
        };
        match self.room.keep(&evidence) {
            Ok(Kept::At { path, .. }) => Some(path),
            Ok(Kept::LeftOut(_)) => None,
            Err(error) => {
                self.trouble("a finding's evidence is lost, the finding stands", &error);
                None
            }
        }
    }

    /// Writes the verdict down: `verdict.json` durably, and a line.
    pub(super) fn judged(&mut self, target: &str, run_id: RunId, judgement: &Judgement) {
        #[derive(Serialize)]
        struct Verdict<'a> {
            schema: u32,
            target: &'a str,
            run_id: RunId,
            at: String,
            #[serde(flatten)]
            judgement: &'a Judgement,
        }
        let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let path = self.layout.verdict();
        let written = serde_json::to_vec_pretty(&Verdict { schema: 1, target, run_id, at, judgement })
            .map_err(std::io::Error::from)
            .and_then(|json| replace_durably(&path, &json));
        if let Err(source) = written {
            self.trouble("the verdict is not written down", &DaemonError::State { path, source });
        }
        self.reported.extend(&judgement.unlisted);
        self.note(&Note::of_verdict(judgement));
    }

    /// What could not be written down since the last time.
    pub(super) fn take_trouble(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trouble)
    }

    fn trouble(&mut self, what: &str, error: &dyn std::error::Error) {
        let words = format!("{what}: {}", chain(error));
        tracing::error!("{words}");
        self.trouble.push(words);
    }
}

/// An error and its causes, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

#[cfg(test)]
mod tests;
