//! The living ledger: what was issued, completed and made durable in this epoch, and what earlier ones may have left.

use std::collections::VecDeque;
use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::epochs::{EpochRecord, Epochs};
use super::legal::{FlushRecord, Guarantee, Legal, ProvedBy, Rule};
use super::window::{MAX_WINDOW, Window, WriteState};
use crate::schedule::{Schedule, WritesOf};
use crate::vocabulary::{Block, Epoch, Issue, Now, Promise, Seq};

/// Flushes remembered by number, so that a finding can name the one that guaranteed it: 24 bytes each in a slot.
pub const MAX_FLUSHES: usize = 64;

/// Frontiers, window and epochs of a run that is being written.
#[derive(Clone, Debug)]
pub struct Ledger {
    schedule: Schedule,
    promise: Promise,
    window: Window,
    reserved: Seq,
    verified: Seq,
    epochs: Arc<Epochs>,
    /// Newest durable checkpoint.
    checkpoint: u64,
    flushes: VecDeque<FlushRecord>,
    next_flush: u64,
    /// Completed writes that the flush in flight covers; `None` while none is in flight.
    covered: Option<Vec<Seq>>,
    /// Completions that no flush has been submitted for.
    uncovered: Vec<Seq>,
    /// Nothing that this epoch did since is promised.
    distrusted: bool,
    pub(super) totals: Totals,
}

/// Counts over the life of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Bytes whose write completed.
    pub written: u64,
    /// Bytes that were read and judged.
    pub verified: u64,
    /// Ends of the process that were not clean stops.
    pub cuts: u64,
}

impl Ledger {
    /// The ledger of a run that goes on from a restart point: everything below is durable, nothing above is known, and
    /// no epoch is open yet.
    #[must_use]
    pub fn restart(schedule: Schedule, promise: Promise, from: &Checkpoint, restart: Seq, reserved: Seq) -> Self {
        assert!(restart <= reserved, "a run restarts at {restart}, at or below its reservation {reserved}");
        Ledger {
            schedule,
            promise,
            window: Window::new(restart),
            reserved,
            verified: from.verified.min(restart),
            epochs: Arc::new(from.epochs.clone()),
            checkpoint: from.number,
            flushes: from.flushes.iter().copied().collect(),
            next_flush: from.flushes.last().map_or(1, |flush| flush.number + 1),
            covered: None,
            uncovered: Vec::new(),
            distrusted: false,
            totals: from.totals,
        }
    }

    /// D.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.window.base()
    }

    /// R, as the newest durable checkpoint has it.
    #[must_use]
    pub fn reserved(&self) -> Seq {
        self.reserved
    }

    /// Everything below was issued, or may have been.
    #[must_use]
    pub fn issued(&self) -> Seq {
        self.window.end()
    }

    /// What is known of a write.
    #[must_use]
    pub fn state(&self, seq: Seq) -> WriteState {
        self.window.state(seq)
    }

    /// Everything below was read back and judged, or overwritten after it was.
    #[must_use]
    pub fn verified(&self) -> Seq {
        self.verified
    }

    /// Number of the newest durable checkpoint.
    #[must_use]
    pub fn checkpoint_number(&self) -> u64 {
        self.checkpoint
    }

    /// The promise that the disk is held to.
    #[must_use]
    pub fn promise(&self) -> Promise {
        self.promise
    }

    /// The epochs of one pass back.
    #[must_use]
    pub fn epochs(&self) -> &Arc<Epochs> {
        &self.epochs
    }

    /// The epoch that is issuing.
    ///
    /// # Panics
    /// Before the first epoch began.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epochs.newest().expect("an epoch has begun").epoch
    }

    /// The restart point of the epoch that is issuing.
    ///
    /// # Panics
    /// Before the first epoch began.
    #[must_use]
    pub fn restart_point(&self) -> Seq {
        self.epochs.newest().expect("an epoch has begun").restart
    }

    /// Counts over the life of the run.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The counts, to move along.
    pub fn totals_mut(&mut self) -> &mut Totals {
        &mut self.totals
    }

    /// The newest flush that succeeded.
    #[must_use]
    pub fn newest_flush(&self) -> Option<&FlushRecord> {
        self.flushes.back()
    }

    /// Whether a write may be issued now as far as the ledger is concerned: reserved durably, and within the window.
    #[must_use]
    pub fn may_issue(&self, seq: Seq) -> bool {
        seq < self.reserved && seq.0 - self.durable().0 < window_limit(self.schedule.blocks())
    }

    /// The highest frontier that may be reserved now.
    #[must_use]
    pub fn reservable(&self) -> Seq {
        Seq(self.durable().0 + window_limit(self.schedule.blocks()))
    }

    /// A write is handed to the disk.
    ///
    /// # Panics
    /// When its number is not durably reserved: a write that nobody promised would be called a phantom.
    pub fn issue(&mut self, seq: Seq) {
        assert!(self.may_issue(seq), "write {seq} is not below the durable reservation {}", self.reserved);
        self.window.advance(seq, WriteState::Issued);
    }

    /// Its completion was seen.
    pub fn complete(&mut self, seq: Seq) {
        match self.promise {
            _ if self.distrusted => {
                self.window.advance(seq, WriteState::Completed);
            }
            Promise::Flush => {
                if self.window.advance(seq, WriteState::Completed) {
                    self.uncovered.push(seq);
                }
            }
            Promise::Fua | Promise::Ack => {
                self.window.advance(seq, WriteState::Durable);
                self.window.settle();
            }
        }
    }

    /// Completed writes that wait for a flush to be submitted.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        self.uncovered.len()
    }

    /// Whether a flush is in flight.
    #[must_use]
    pub fn flushing(&self) -> bool {
        self.covered.is_some()
    }

    /// A flush is handed to the disk: it covers what has completed by now and nothing else.
    ///
    /// # Panics
    /// When one is in flight: two could not be told apart in what they cover.
    pub fn flush_submitted(&mut self) {
        assert!(self.covered.is_none(), "one flush in flight at a time");
        self.covered = Some(std::mem::take(&mut self.uncovered));
    }

    /// The flush in flight succeeded: what it covers is guaranteed.
    ///
    /// # Panics
    /// When none is in flight.
    pub fn flush_succeeded(&mut self, now: Now) {
        let covered = self.covered.take().expect("a flush is in flight");
        if self.distrusted {
            return;
        }
        for seq in covered {
            self.window.advance(seq, WriteState::Durable);
        }
        self.window.settle();
        if self.flushes.len() == MAX_FLUSHES {
            self.flushes.pop_front();
        }
        let record = FlushRecord { number: self.next_flush, durable: self.durable(), wall_ns: now.wall_ns };
        self.flushes.push_back(record);
        self.next_flush += 1;
    }

    /// The flush in flight failed: of what it covers nothing is known any more, nor of anything else in the window. A
    /// later flush that succeeds proves nothing for these writes, so the epoch must end.
    pub fn flush_failed(&mut self) {
        self.covered = None;
        self.next_flush += 1;
        self.distrust_window();
    }

    /// What has completed may be lost, and what completes now may have been taken in before: nothing more is promised
    /// by this epoch, whatever flushes still succeed.
    pub fn distrust_window(&mut self) {
        self.uncovered.clear();
        self.distrusted = true;
    }

    /// Whether [`Ledger::distrust_window`] was called in this epoch: what is read now shows nothing.
    #[must_use]
    pub fn is_distrusted(&self) -> bool {
        self.distrusted
    }

    /// Everything below was read back and judged. Numbers that were assigned and never issued do not count.
    pub fn read_back_below(&mut self, frontier: Seq) {
        let frontier = frontier.min(self.issued());
        self.verified = self.verified.max(frontier);
    }

    /// Ends the epoch and begins another at P = D with an empty window. It counts only once a checkpoint with it is
    /// durable: until then nothing may be issued.
    pub fn begin_epoch(&mut self, epoch: Epoch, promise: Promise) {
        let restart = self.durable();
        self.promise = promise;
        self.window = Window::new(restart);
        self.covered = None;
        self.uncovered.clear();
        self.distrusted = false;
        self.verified = self.verified.min(restart);
        let one_pass_back = Seq(self.schedule.pass_of(restart).saturating_sub(1) * self.schedule.blocks());
        let record = EpochRecord { epoch, restart, reserved: self.reserved, last_checkpoint: self.checkpoint };
        Arc::make_mut(&mut self.epochs).begin(record, one_pass_back);
    }

    /// The ledger as it is to be saved, with a reservation that may be higher than the durable one.
    #[must_use]
    pub fn checkpoint(&self, number: u64, reserved: Seq, clean: bool, now: Now) -> Checkpoint {
        let mut epochs = Epochs::clone(&self.epochs);
        if let Some(newest) = epochs.newest_mut() {
            newest.reserved = reserved;
            newest.last_checkpoint = number;
        }
        Checkpoint {
            number,
            promise: self.promise,
            clean,
            reserved,
            verified: self.verified,
            window: self.window.clone(),
            epochs,
            flushes: self.flushes.iter().copied().collect(),
            totals: self.totals,
            wall_ns: now.wall_ns,
        }
    }

    /// That checkpoint is durable.
    ///
    /// # Panics
    /// When numbers go backwards.
    pub fn saved(&mut self, number: u64, reserved: Seq) {
        assert!(number > self.checkpoint, "checkpoint {number} after {}", self.checkpoint);
        self.checkpoint = number;
        self.reserved = reserved;
        if let Some(newest) = Arc::make_mut(&mut self.epochs).newest_mut() {
            newest.reserved = reserved;
            newest.last_checkpoint = number;
        }
    }

    /// What must or may be in a block that is not being written, while the run is living.
    #[must_use]
    pub fn legal(&self, block: Block) -> Legal {
        let newest_issued = self.newest_issued(block);
        let rule = match newest_issued {
            Some(seq) if seq >= self.restart_point() => Rule::Exactly(Issue { seq, epoch: self.epoch() }),
            _ => self.schedule.newest_below(self.durable(), block).map_or(Rule::Anything, |seq| {
                let flush = oldest_covering(self.flushes.iter(), seq);
                Rule::AtLeast(Guarantee { seq, proved_by: ProvedBy::Checkpoint, flush, attested: false })
            }),
        };
        Legal {
            block,
            rule,
            newest_issued,
            reserved: Some(self.reserved),
            issued_below: Some(self.issued()),
            epochs: Arc::clone(&self.epochs),
        }
    }

    /// The newest write of a block that was issued. Sealed writes that are not issued yet are passed over.
    #[must_use]
    pub fn newest_issued(&self, block: Block) -> Option<Seq> {
        newest_in_state(&mut self.schedule.writes_of(block), &self.window, WriteState::Issued)
    }
}

/// The newest write of a block whose state is at least `state`; below the window all are durable.
pub(super) fn newest_in_state(writes: &mut WritesOf, window: &Window, state: WriteState) -> Option<Seq> {
    let mut frontier = window.end();
    loop {
        let seq = writes.newest_below(frontier)?;
        if window.state(seq) >= state {
            return Some(seq);
        }
        frontier = seq;
    }
}

pub(super) fn oldest_covering<'a>(mut flushes: impl Iterator<Item = &'a FlushRecord>, seq: Seq) -> Option<FlushRecord> {
    // The first remembered flush covers everything older too, but was perhaps not the one that made it durable.
    let first = *flushes.next()?;
    if seq < first.durable {
        return None;
    }
    flushes.find(|flush| seq < flush.durable).copied()
}

/// A region of few blocks goes round many passes within one window, and a restart looks at each write of it: four
/// passes, and never less than 64 writes so that a queue of any depth fits.
fn window_limit(blocks: u64) -> u64 {
    MAX_WINDOW.min((blocks * 4).max(64))
}
