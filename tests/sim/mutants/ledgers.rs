//! Ledgers that are wrong: they count what the disk has not promised, or save what is not so.

use std::collections::{BTreeMap, BTreeSet};

use scrubd::engine::{Action, Event, OpId};
use scrubd::ledger::{Checkpoint, EpochRecord, Epochs, Legal, Rule, Window};
use scrubd::vocabulary::{Epoch, Issue, Promise, Seq};

use super::seam::{Mutation, Passed, acting};

/// What a wrong ledger takes for a promise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// What was submitted before a flush is durable after it.
    SubmissionsAsCompletions,
    /// A flush promises what completed while it was in flight.
    LaterCompletions,
    /// A flush promises from its submission on.
    FlushesNotYetBack,
    /// A completion is a promise.
    CompletionsAsFlushed,
}

/// Books beside the engine's own, kept by a wrong rule; tags and checkpoints say what they say.
pub struct Books {
    counting: Counting,
    epoch: Option<Epoch>,
    base: Seq,
    sealed: BTreeMap<OpId, (Seq, Promise)>,
    submitted: BTreeSet<Seq>,
    completed: BTreeSet<Seq>,
    covered: BTreeSet<Seq>,
    durable: BTreeSet<Seq>,
}

impl Books {
    pub fn kept_by(counting: Counting) -> Box<dyn Mutation> {
        Box::new(Books {
            counting,
            epoch: None,
            base: Seq(0),
            sealed: BTreeMap::new(),
            submitted: BTreeSet::new(),
            completed: BTreeSet::new(),
            covered: BTreeSet::new(),
            durable: BTreeSet::new(),
        })
    }

    fn frontier(&self) -> Seq {
        let mut frontier = self.base;
        while self.durable.contains(&frontier) {
            frontier = frontier.next();
        }
        frontier
    }

    fn save(&mut self, checkpoint: &mut Checkpoint) {
        let epoch = checkpoint.epochs.newest().map(|record| record.epoch);
        if epoch != self.epoch {
            (self.epoch, self.base) = (epoch, checkpoint.durable());
            for known in [&mut self.submitted, &mut self.completed, &mut self.covered, &mut self.durable] {
                known.clear();
            }
        }
        let frontier = self.frontier();
        if frontier > checkpoint.durable() {
            checkpoint.verified = checkpoint.verified.min(frontier);
            checkpoint.window = Window::new(frontier);
        }
    }
}

impl Mutation for Books {
    fn hear(&mut self, event: Event, passed: &mut Passed) {
        match &event {
            Event::Wrote(op, Ok(())) => {
                if let Some((seq, promise)) = self.sealed.get(op) {
                    self.completed.insert(*seq);
                    if *promise != Promise::Flush || self.counting == Counting::CompletionsAsFlushed {
                        self.durable.insert(*seq);
                    }
                }
            }
            Event::Flushed(Ok(())) => {
                if self.counting == Counting::LaterCompletions {
                    self.durable.extend(&self.completed);
                }
                self.durable.append(&mut self.covered);
            }
            _ => {}
        }
        passed.heard.push(event);
    }

    fn act(&mut self, mut action: Action, passed: &mut Passed) {
        match &mut action {
            Action::Seal(op, _, claim) => {
                claim.durable = claim.durable.max(self.frontier().min(claim.issue.seq));
                self.sealed.insert(*op, (claim.issue.seq, claim.promise));
            }
            Action::Write { op, .. } => {
                if let Some((seq, promise)) = self.sealed.get(op) {
                    self.submitted.insert(*seq);
                    if *promise != Promise::Flush && self.counting == Counting::SubmissionsAsCompletions {
                        self.durable.insert(*seq);
                    }
                }
            }
            Action::Flush => match self.counting {
                Counting::SubmissionsAsCompletions => self.covered = self.submitted.clone(),
                Counting::FlushesNotYetBack => self.durable.extend(&self.completed),
                Counting::LaterCompletions | Counting::CompletionsAsFlushed => {
                    self.covered = self.completed.clone();
                }
            },
            Action::Save(checkpoint) => self.save(checkpoint),
            _ => {}
        }
        passed.done.push(action);
    }
}

/// Checkpoints that say something else than the ledger knows.
pub fn saving(mut change: impl FnMut(&mut Checkpoint) + 'static) -> Box<dyn Mutation> {
    acting(move |mut action| {
        if let Action::Save(checkpoint) = &mut action {
            change(checkpoint);
        }
        action
    })
}

/// D is saved one too high.
pub fn durable_too_high(checkpoint: &mut Checkpoint) {
    let durable = checkpoint.durable();
    if durable < checkpoint.reserved {
        checkpoint.window = Window::new(durable.next());
    }
}

/// What is known above D is not saved.
pub fn window_forgotten(checkpoint: &mut Checkpoint) {
    checkpoint.verified = checkpoint.verified.min(checkpoint.durable());
    checkpoint.window = Window::new(checkpoint.durable());
}

/// R is saved no higher than what was issued.
pub fn reservation_lowered(checkpoint: &mut Checkpoint) {
    checkpoint.reserved = checkpoint.window.end();
}

/// The newest epoch is saved with another restart point.
pub fn restart_point(of: impl Fn(Seq) -> Seq) -> impl FnMut(&mut Checkpoint) {
    move |checkpoint| {
        let mut records = checkpoint.epochs.records().to_vec();
        if let Some(newest) = records.last_mut() {
            newest.restart = of(newest.restart);
        }
        checkpoint.epochs = Epochs::from_records(records).unwrap();
    }
}

/// Every epoch is called what the first one was: the number does not grow, or the nonce does not change.
pub struct Renamed<F>(pub F);

impl<F: Fn(Epoch) -> Epoch> Renamed<F> {
    fn table(&self, epochs: &Epochs) -> Epochs {
        let mut records: Vec<EpochRecord> = Vec::new();
        for record in epochs.records() {
            let renamed = EpochRecord { epoch: (self.0)(record.epoch), ..*record };
            records.retain(|known| known.epoch.number != renamed.epoch.number);
            records.push(renamed);
        }
        Epochs::from_records(records).unwrap()
    }

    fn legal(&self, legal: &mut Legal) {
        if let Rule::Exactly(issue) = legal.rule {
            legal.rule = Rule::Exactly(Issue { epoch: (self.0)(issue.epoch), ..issue });
        }
        legal.epochs = self.table(&legal.epochs).into();
    }
}

impl<F: Fn(Epoch) -> Epoch> Mutation for Renamed<F> {
    fn act(&mut self, mut action: Action, passed: &mut Passed) {
        match &mut action {
            Action::Seal(_, _, claim) => claim.issue.epoch = (self.0)(claim.issue.epoch),
            Action::Save(checkpoint) => checkpoint.epochs = self.table(&checkpoint.epochs),
            Action::Inspect(_, legal) => self.legal(legal),
            _ => {}
        }
        passed.done.push(action);
    }
}
