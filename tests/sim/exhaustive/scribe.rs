//! A ledger of the oracle's own, kept from what passes between engine and world, and what of it each save took along.
//!
//! It follows section 3 of the design ("What the ledger holds", "Epochs") with sets of write numbers. Every checkpoint
//! that the engine saves is compared with it: less than this knows would be a finding missed later, more an alarm.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use scrubd::engine::{Action, Event, OpId};
use scrubd::ledger::{Checkpoint, WriteState};
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::vocabulary::{Claim, Epoch, Promise, Seq};

/// What one save took along.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Every epoch so far and its restart point P, oldest first. None is ever forgotten here.
    pub epochs: Vec<(Epoch, Seq)>,
    /// What the newest epoch holds the disk to.
    pub promise: Option<Promise>,
    /// D.
    pub durable: Seq,
    /// Of the newest epoch: what was guaranteed and what was issued, at or above P.
    pub guaranteed: BTreeSet<Seq>,
    pub issued: BTreeSet<Seq>,
    completed: BTreeSet<Seq>,
    /// R, and how far was read back: the engine's own choice.
    pub reserved: Seq,
    pub verified: Seq,
    pub clean: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Scribe {
    living: Memory,
    saves: BTreeMap<u64, Memory>,
    sealed: BTreeMap<OpId, Claim>,
    uncovered: BTreeSet<Seq>,
    covered: BTreeSet<Seq>,
    /// Where the next epoch must restart: D as the law has it.
    restart: Seq,
    pub saves_compared: u64,
}

/// A scribe that watches a world.
pub struct Watching(pub Rc<RefCell<Scribe>>);

impl Watcher for Watching {
    fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
        self.0.borrow_mut().note(sight)
    }
}

impl Scribe {
    /// What was known in the checkpoint of this number. The first is `init`'s and knows nothing.
    pub fn memory(&self, number: u64) -> Memory {
        self.saves.get(&number).cloned().unwrap_or_default()
    }

    /// The scribe of an engine that starts from this checkpoint, over a disk whose D is this.
    pub fn next_life(&self, loaded: u64, durable: Seq) -> Scribe {
        Scribe { living: self.memory(loaded), saves: self.saves.clone(), restart: durable, ..Scribe::default() }
    }

    fn note(&mut self, sight: &Sight<'_>) -> Result<(), String> {
        match sight {
            Sight::Acted(Action::Seal(op, _, claim)) => {
                self.sealed.insert(*op, *claim);
            }
            Sight::Acted(Action::Write { op, .. }) => {
                self.living.issued.insert(self.sealed[op].issue.seq);
            }
            Sight::Told(Event::Wrote(op, Ok(()))) => self.completed(self.sealed[op]),
            Sight::Acted(Action::Flush) => self.covered = std::mem::take(&mut self.uncovered),
            Sight::Told(Event::Flushed(Ok(()))) => {
                let covered = std::mem::take(&mut self.covered);
                self.living.guaranteed.extend(covered);
                self.settle();
            }
            Sight::Acted(Action::Save(checkpoint)) => return self.saved(checkpoint),
            _ => {}
        }
        Ok(())
    }

    fn completed(&mut self, claim: Claim) {
        self.living.completed.insert(claim.issue.seq);
        if claim.promise == Promise::Flush {
            self.uncovered.insert(claim.issue.seq);
        } else {
            self.living.guaranteed.insert(claim.issue.seq);
            self.settle();
        }
    }

    fn settle(&mut self) {
        while self.living.guaranteed.contains(&self.living.durable) {
            self.living.durable = self.living.durable.next();
        }
    }

    fn saved(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        let newest = checkpoint.epochs.newest().ok_or("a checkpoint without an epoch")?;
        if self.living.epochs.last().map(|(epoch, _)| *epoch) != Some(newest.epoch) {
            self.living.epochs.push((newest.epoch, self.restart));
            self.living.durable = self.restart;
            self.living.guaranteed.clear();
            self.living.issued.clear();
            self.living.completed.clear();
        }
        (self.living.reserved, self.living.verified) = (checkpoint.reserved, checkpoint.verified);
        (self.living.clean, self.living.promise) = (checkpoint.clean, Some(checkpoint.promise));
        self.compare(checkpoint, newest.restart)?;
        self.saves_compared += 1;
        self.saves.insert(checkpoint.number, self.living.clone());
        Ok(())
    }

    fn compare(&self, checkpoint: &Checkpoint, restart: Seq) -> Result<(), String> {
        let known = &self.living;
        let state = |seq: Seq| match () {
            () if seq < known.durable || known.guaranteed.contains(&seq) => WriteState::Durable,
            () if known.completed.contains(&seq) => WriteState::Completed,
            () if known.issued.contains(&seq) => WriteState::Issued,
            () => WriteState::Unissued,
        };
        let end = known.issued.last().map_or(known.durable, |last| last.next()).max(known.durable);
        let window = &checkpoint.window;
        let states = (0..end.0.max(window.end().0)).map(Seq).find(|seq| state(*seq) != window.state(*seq));
        let unclean = checkpoint.clean && known.issued.iter().any(|seq| state(*seq) != WriteState::Durable);
        if (checkpoint.durable(), window.end(), Some(&restart)) == (known.durable, end, self.restart_point())
            && states.is_none()
            && end <= checkpoint.reserved
            && !unclean
        {
            return Ok(());
        }
        Err(format!("checkpoint {checkpoint:?} (differs at {states:?}) and the disk has acknowledged {known:?}"))
    }

    fn restart_point(&self) -> Option<&Seq> {
        self.living.epochs.last().map(|(_, restart)| restart)
    }
}
