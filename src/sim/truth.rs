//! What really happened: written down from what was handed over and what was told. Nothing here is asked of the
//! ledger, the engine or the verifier, so that the oracles judge these by knowledge of their own.

use std::collections::BTreeMap;

use crate::vocabulary::{Block, Claim, Seq};

/// Writes are numbered in the order in which the engine handed them over, over all starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WriteId(pub u64);

/// One write that was handed over.
#[derive(Clone, Copy, Debug)]
pub struct WriteFact {
    /// Which.
    pub id: WriteId,
    /// Where to.
    pub block: Block,
    /// What its tags say.
    pub claim: Claim,
    /// In which start of the engine, from 1.
    pub start: u64,
    /// The engine was told that it completed.
    pub completed: bool,
    /// The engine was told, by a flush or by the completion itself, that it is durable.
    pub promised: bool,
    /// The flush that told so, as an index into [`Truth::flushes`].
    pub promised_by: Option<usize>,
}

/// A flush of which the engine was told that it succeeded.
#[derive(Clone, Copy, Debug)]
pub struct FlushFact {
    /// Wall clock of the step in which the engine heard of it.
    pub wall_ns: u64,
    /// Every number below was promised by then, by this flush or earlier.
    pub promised_below: Seq,
    /// In which start of the engine.
    pub start: u64,
}

/// The log of truths.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    writes: Vec<WriteFact>,
    /// The highest epoch in which each write number was promised.
    promised: BTreeMap<Seq, u64>,
    /// All numbers below were promised once.
    promised_below: Seq,
    /// Completed since the last flush was submitted.
    uncovered: Vec<WriteId>,
    covered: Vec<WriteId>,
    /// Handed over before the device lost its power: no flush after that vouches for them.
    lost_below: WriteId,
    /// All writes of each block, oldest first.
    by_block: BTreeMap<Block, Vec<WriteId>>,
    flushes: Vec<FlushFact>,
    /// Flushes of which the engine hears in the step that is about to be made.
    unheard: usize,
    /// Starts of the engine.
    pub starts: u64,
}

impl Truth {
    /// Every write, in the order of handing over.
    #[must_use]
    pub fn writes(&self) -> &[WriteFact] {
        &self.writes
    }

    /// One write.
    #[must_use]
    pub fn write(&self, id: WriteId) -> &WriteFact {
        &self.writes[id.0 as usize]
    }

    /// The writes of a block, oldest first.
    pub fn of_block(&self, block: Block) -> impl DoubleEndedIterator<Item = &WriteFact> {
        self.by_block.get(&block).into_iter().flatten().map(|id| self.write(*id))
    }

    /// The highest epoch in which a write number was promised.
    #[must_use]
    pub fn promised_in(&self, seq: Seq) -> Option<u64> {
        self.promised.get(&seq).copied()
    }

    /// Every number below was promised at some time.
    #[must_use]
    pub fn promised_below(&self) -> Seq {
        self.promised_below
    }

    /// Every flush that succeeded, in the order of telling.
    #[must_use]
    pub fn flushes(&self) -> &[FlushFact] {
        &self.flushes
    }

    /// The step in which all is heard that was told since the last one.
    pub(super) fn stepped(&mut self, wall_ns: u64) {
        self.flushes[self.unheard..].iter_mut().for_each(|flush| flush.wall_ns = wall_ns);
        self.unheard = self.flushes.len();
    }

    /// The number that the next write will get.
    pub(super) fn next_id(&self) -> WriteId {
        WriteId(self.writes.len() as u64)
    }

    pub(super) fn handed_over(&mut self, block: Block, claim: Claim) -> WriteId {
        let id = self.next_id();
        let fact =
            WriteFact { id, block, claim, start: self.starts, completed: false, promised: false, promised_by: None };
        self.writes.push(fact);
        self.by_block.entry(block).or_default().push(id);
        id
    }

    pub(super) fn told_complete(&mut self, id: WriteId, durable: bool) {
        self.writes[id.0 as usize].completed = true;
        if durable {
            self.promise(id, None);
        } else if id >= self.lost_below {
            self.uncovered.push(id);
        }
    }

    /// The device lost its power: what was not durable then never will be.
    pub(super) fn device_lost_power(&mut self) {
        self.covered.clear();
        self.uncovered.clear();
        self.lost_below = self.next_id();
    }

    pub(super) fn flush_handed_over(&mut self) {
        self.covered = std::mem::take(&mut self.uncovered);
    }

    pub(super) fn told_flushed(&mut self, succeeded: bool) {
        let covered = std::mem::take(&mut self.covered);
        if succeeded {
            let nth = self.flushes.len();
            covered.into_iter().for_each(|id| self.promise(id, Some(nth)));
            self.flushes.push(FlushFact { wall_ns: 0, promised_below: self.promised_below, start: self.starts });
        }
    }

    /// A start of the engine: it knows of no completion that an earlier one saw.
    pub(super) fn started(&mut self) {
        self.starts += 1;
        self.covered.clear();
        self.uncovered.clear();
    }

    fn promise(&mut self, id: WriteId, by: Option<usize>) {
        let fact = &mut self.writes[id.0 as usize];
        (fact.promised, fact.promised_by) = (true, fact.promised_by.or(by));
        let epoch = fact.claim.issue.epoch.number;
        let known = self.promised.entry(fact.claim.issue.seq).or_insert(epoch);
        *known = epoch.max(*known);
        while self.promised.contains_key(&self.promised_below) {
            self.promised_below = self.promised_below.next();
        }
    }
}
