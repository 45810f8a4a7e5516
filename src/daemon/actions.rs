//! Doing what the engine says, in its order.

use std::time::{Duration, Instant};

use super::driver::{Driver, FLUSH, Told};
use super::error::DaemonError;
use super::exhibit::{Exhibit, Expected};
use super::journal::Journal;
use super::notes::verdict_in_words;
use super::work::{Look, SealJob, VerifyJob};
use crate::engine::{Action, Event, Fault, Fired, OnFinding, OpId, Outcome, Reason, Record};
use crate::report::{Finding, Judgement, notable};
use crate::ring::{Kind, Request, Token};
use crate::tag::contents_hash;
use crate::vocabulary::Block;

impl Driver {
    /// Does it all. `Some` when it is over.
    pub(super) fn perform(&mut self, actions: &mut Vec<Action>) -> Result<Option<Outcome>, DaemonError> {
        for action in actions.drain(..) {
            // What was noted is durable before anything that may follow from it.
            if !matches!(action, Action::Record(_) | Action::Report(..) | Action::Judged(_) | Action::Fire(_)) {
                // Why it failed is in the journal's trouble; the disk under test does not stop for it.
                drop(self.settle());
            }
            if let Some(outcome) = self.perform_one(action)? {
                return Ok(Some(outcome));
            }
        }
        drop(self.settle());
        Ok(None)
    }

    fn perform_one(&mut self, action: Action) -> Result<Option<Outcome>, DaemonError> {
        match action {
            Action::Seal(op, block, claim) => {
                let buffer = self.take(op);
                self.seal_jobs.push(SealJob { op, buffer, block, claim });
            }
            Action::Write { op, block, dsync } => {
                let kind = Kind::Write { offset: self.geometry.offset_of(block), dsync };
                self.submit(op, kind);
            }
            Action::Read(op, block) => {
                if !self.poisoned[op.0 as usize] {
                    self.buffers[op.0 as usize].as_mut().expect("a read has its buffer").poison();
                }
                let kind = Kind::Read { offset: self.geometry.offset_of(block) };
                self.submit(op, kind);
            }
            Action::Flush => self.ring.submit(Request { token: FLUSH, kind: Kind::Flush, buffer: None }),
            Action::Inspect(op, legal) => self.look(op, legal.block, Look::Judge(Box::new(legal))),
            Action::Survey(op, block) => self.look(op, block, Look::Hear(block)),
            Action::ReadSpan(id, span) => self.read_span(id, span),
            Action::InspectSpan(id, by) => self.inspect_span(id, by),
            Action::SurveySpan(id) => self.survey_span(id),
            Action::Save(checkpoint) => {
                let saver = self.saver.as_mut();
                saver.ok_or_else(|| DaemonError::Internal("a check saves nothing".to_owned()))?.save(checkpoint)?;
            }
            Action::SavePosition(position) => {
                if let Some(why) = self.journal.as_ref().and_then(Journal::gap) {
                    // What is not on record would be passed over: whoever begins here again would not find it.
                    let message = format!("a finding may be missing in the event log, and is not passed over: {why}");
                    let fault = Fault { errno: 0, end_of_file: false, removed: false, message };
                    self.events.push(Event::PositionSaved(Err(fault)));
                    return Ok(None);
                }
                let saver = self.saver.as_mut();
                let saver = saver.ok_or_else(|| DaemonError::Internal("a check saves nothing".to_owned()))?;
                saver.save_position(position)?;
            }
            Action::Report(finding, op) => {
                self.report(&finding, op);
                // Hundreds of them, each with its evidence, take seconds, in which there is something to show.
                self.board.turns();
                self.unpublished = true;
                if self.publish_in() == Some(Duration::ZERO) {
                    self.publish();
                }
            }
            Action::Record(record) => self.record(&record),
            Action::Judged(judgement) => self.judged(*judgement),
            Action::Fire(reason) => self.fire(reason)?,
            Action::Exit(outcome) => return Ok(Some(outcome)),
        }
        Ok(None)
    }

    fn submit(&mut self, op: OpId, kind: Kind) {
        let buffer = Some(self.take(op));
        self.ring.submit(Request { token: Token(op.0), kind, buffer });
    }

    fn look(&mut self, op: OpId, block: Block, look: Look) {
        let buffer = self.take(op);
        // A block that was bad when this operation read it last may be told from what it reads now, whatever was told of it,
        // or forgotten, meanwhile.
        let keep = self.journal.is_some() && (self.bad[op.0 as usize] == Some(block) || self.suspects.may_need(block));
        self.verify_jobs.push(VerifyJob { op, buffer, look, keep });
    }

    fn record(&mut self, record: &Record) {
        match record {
            Record::PassWritten { .. } => tracing::debug!("{record}"),
            Record::EpochBegan { .. }
            | Record::PatrolBegan { .. }
            | Record::PassPatrolled { .. }
            | Record::Stopped { .. }
            | Record::Triggered { .. }
            | Record::CommandEnded { .. } => tracing::info!("{record}"),
            Record::DeviceReset { .. } => tracing::warn!(target: notable::DEVICE_RESET, "{record}"),
            Record::SaveFailed { .. } => tracing::warn!(target: notable::SAVE_FAILED, "{record}"),
            _ => tracing::warn!("{record}"),
        }
        if matches!(record, Record::StateDistrusted { .. } | Record::HeardAgain { .. } | Record::DeviceReset { .. }) {
            // What was seen so far is judged anew.
            self.suspects.clear();
        }
        if matches!(record, Record::EpochBegan { .. }) {
            self.wide.let_go();
        }
        let only_the_command_acts_on_it = matches!(record, Record::Triggered { .. });
        if only_the_command_acts_on_it {
            // What was noted before is not, and may be acted on by anything.
            drop(self.settle());
        }
        let Some(journal) = &mut self.journal else { return };
        if only_the_command_acts_on_it {
            // What fails from here on may be this line, and counts when it fires.
            drop(journal.take_unrecorded());
        }
        journal.record(record);
        if only_the_command_acts_on_it {
            journal.settle_beside();
        }
    }

    fn report(&mut self, finding: &Finding, op: Option<OpId>) {
        let Finding { class, block, offset, detail, known, .. } = finding;
        tracing::error!(target: notable::FINDING, %class, %block, offset, known, "a promise is broken: {detail}");
        let suspect = self.suspects.take(finding.block);
        let latencies_ns = self.suspects.take_latencies(finding.block, finding.reads.len());
        let Some(journal) = &mut self.journal else { return };
        // Poison is nothing that was read.
        let read = op.filter(|op| !self.poisoned[op.0 as usize]);
        let buffer = read.and_then(|op| self.buffers[op.0 as usize].as_deref());
        let is_it = |bytes: &&[u8]| contents_hash(bytes) == finding.contents;
        let first = suspect.as_ref().map(|suspect| suspect.bytes.as_slice());
        // The very bytes that the finding speaks of, where they are still to be had; else what was read last.
        let found = first.filter(is_it).or(buffer.filter(is_it)).or(buffer).unwrap_or_default();
        let expected = Expected::of(&self.inspector, finding, suspect.as_ref().map(|suspect| (&*suspect.legal, found)));
        let latch = self.on_finding == OnFinding::Stop;
        let neighbours = self.neighbours.as_mut();
        journal.report(
            finding,
            &Exhibit { inspector: &self.inspector, found, expected, latencies_ns },
            neighbours,
            latch,
        );
    }

    fn judged(&mut self, judgement: Judgement) {
        let words = verdict_in_words(&judgement);
        tracing::info!(target: notable::VERDICT, "verdict: {words}");
        for cause in crate::report::text::causes(&judgement.causes) {
            tracing::error!("{}", cause.trim_start());
        }
        if let Some(journal) = &mut self.journal {
            journal.judged(&self.name, self.run_id, &judgement);
        }
        self.judgement = Some(judgement);
        // The findings of the check were reported before.
        self.suspects.clear();
    }

    /// The trigger is on record before its command runs: whoever comes after the cut can read why it was cut. Most often
    /// it is by now: that went on while the ledger was saved.
    fn fire(&mut self, reason: Reason) -> Result<(), DaemonError> {
        self.firing = Some((reason, Instant::now()));
        self.fire_once_recorded()
    }

    /// Fires what waits for its line to be durable.
    pub(super) fn fire_once_recorded(&mut self) -> Result<(), DaemonError> {
        let Some((_, since)) = &self.firing else { return Ok(()) };
        let waited = since.elapsed();
        let unrecorded = match self.journal.as_mut().is_some_and(Journal::settles_beside) {
            true if waited < self.deadline => return Ok(()),
            true => Some(format!(
                "the event log has not been durable for {} s: the state directory does not answer",
                waited.as_secs()
            )),
            false => {
                let settled = self.settle().err();
                self.journal.as_mut().and_then(Journal::take_unrecorded).or(settled)
            }
        };
        let Some((reason, _)) = self.firing.take() else { return Ok(()) };
        match unrecorded {
            Some(why) => self.events.push(Event::Fired(Fired::Unrecorded(why))),
            None => {
                let newest = self.saver.as_ref().and_then(|saver| saver.newest.clone());
                self.tell(Told::Fire(reason, newest))?;
            }
        }
        Ok(())
    }

    /// Makes the journal durable.
    fn settle(&mut self) -> Result<(), String> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let settled = journal.settle();
        let trouble = journal.take_trouble();
        trouble.into_iter().for_each(|trouble| self.warn(trouble));
        settled
    }
}
