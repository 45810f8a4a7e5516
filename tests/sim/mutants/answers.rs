//! Engines that take the world's answers for something else, or do not wait for them.

use std::collections::{BTreeMap, BTreeSet};

use scrubd::engine::{Action, Event, OpId};
use scrubd::vocabulary::{Block, Claim, Epoch};

use super::seam::{Mutation, Passed};

/// Saves are believed before they are durable. The real one is done meanwhile; one that would overlap it, never.
pub struct EarlySaves {
    /// Only what extends the reservation within an epoch; else every save.
    within_epoch: bool,
    epoch: Option<Epoch>,
    in_flight: Option<u64>,
    believed: BTreeSet<u64>,
    /// Tags name what is really durable, so that it is only the reservation that is wrong.
    durable: u64,
}

impl EarlySaves {
    pub fn all() -> Box<dyn Mutation> {
        Box::new(EarlySaves {
            within_epoch: false,
            epoch: None,
            in_flight: None,
            believed: BTreeSet::new(),
            durable: 0,
        })
    }

    pub fn within_epoch() -> Box<dyn Mutation> {
        Box::new(EarlySaves { within_epoch: true, epoch: None, in_flight: None, believed: BTreeSet::new(), durable: 0 })
    }
}

impl Mutation for EarlySaves {
    fn hear(&mut self, event: Event, passed: &mut Passed) {
        if let Event::Saved(number, result) = &event {
            self.in_flight = None;
            if result.is_ok() {
                self.durable = *number;
            }
            if self.believed.remove(number) {
                return;
            }
        }
        passed.heard.push(event);
    }

    fn act(&mut self, mut action: Action, passed: &mut Passed) {
        if let (Action::Seal(_, _, claim), true) = (&mut action, self.within_epoch) {
            claim.checkpoint = claim.checkpoint.min(self.durable);
        }
        let Action::Save(checkpoint) = &action else { return passed.done.push(action) };
        let epoch = checkpoint.epochs.newest().map(|record| record.epoch);
        let early = !self.within_epoch || epoch == self.epoch;
        self.epoch = epoch;
        if early {
            passed.heard.push(Event::Saved(checkpoint.number, Ok(())));
        }
        if self.in_flight.is_none() {
            self.in_flight = Some(checkpoint.number);
            if early {
                self.believed.insert(checkpoint.number);
            }
            passed.done.push(action);
        }
    }
}

/// A flush is answered with the success of an earlier one, while it is in flight itself.
#[derive(Default)]
pub struct EarlyFlushes {
    in_flight: bool,
}

impl Mutation for EarlyFlushes {
    fn hear(&mut self, event: Event, passed: &mut Passed) {
        match event {
            Event::Flushed(_) => self.in_flight = false,
            other => passed.heard.push(other),
        }
    }

    fn act(&mut self, action: Action, passed: &mut Passed) {
        match action {
            Action::Flush => {
                passed.heard.push(Event::Flushed(Ok(())));
                if !std::mem::replace(&mut self.in_flight, true) {
                    passed.done.push(action);
                }
            }
            other => passed.done.push(other),
        }
    }
}

/// The trigger's command runs at the save that it should wait for.
#[derive(Default)]
pub struct FiresBeforeSave {
    asked: bool,
    fired: bool,
}

impl Mutation for FiresBeforeSave {
    fn hear(&mut self, event: Event, passed: &mut Passed) {
        self.asked |= matches!(event, Event::Command(scrubd::engine::Command::Trigger(_)));
        passed.heard.push(event);
    }

    fn act(&mut self, action: Action, passed: &mut Passed) {
        match action {
            Action::Save(_) if self.asked && !self.fired => {
                self.fired = true;
                passed.done.push(action);
                passed.done.push(Action::Fire(scrubd::engine::Reason::Control));
            }
            other => passed.done.push(other),
        }
    }
}

/// A write that failed is sealed anew before it is tried again: other bytes under the same issue.
#[derive(Default)]
pub struct RetriesOtherBytes {
    sealed: BTreeMap<OpId, (Block, Claim)>,
    failed: BTreeSet<OpId>,
    waiting: BTreeMap<OpId, Action>,
}

impl Mutation for RetriesOtherBytes {
    fn hear(&mut self, event: Event, passed: &mut Passed) {
        match &event {
            Event::Sealed(op) => {
                if let Some(write) = self.waiting.remove(op) {
                    return passed.done.push(write);
                }
            }
            Event::Wrote(op, Err(_)) => {
                self.failed.insert(*op);
            }
            _ => {}
        }
        passed.heard.push(event);
    }

    fn act(&mut self, action: Action, passed: &mut Passed) {
        match &action {
            Action::Seal(op, block, claim) => {
                self.sealed.insert(*op, (*block, *claim));
                self.failed.remove(op);
            }
            Action::Write { op, .. } if self.failed.remove(op) => {
                let (block, claim) = self.sealed[op];
                let (op, later) = (*op, Claim { wall_ns: claim.wall_ns + 1, ..claim });
                self.waiting.insert(op, action);
                return passed.done.push(Action::Seal(op, block, later));
            }
            _ => {}
        }
        passed.done.push(action);
    }
}

/// Each write is accompanied by a read of the same block, in an operation of the mutant's own.
pub struct ReadsWhatItWrites {
    spare: OpId,
    busy: bool,
}

impl ReadsWhatItWrites {
    pub fn new() -> Self {
        ReadsWhatItWrites { spare: OpId(0), busy: false }
    }
}

impl Mutation for ReadsWhatItWrites {
    fn spare(&mut self, first: u32) -> u32 {
        self.spare = OpId(first);
        1
    }

    fn hear(&mut self, event: Event, passed: &mut Passed) {
        match event {
            Event::Read(op, _) if op == self.spare => self.busy = false,
            other => passed.heard.push(other),
        }
    }

    fn act(&mut self, action: Action, passed: &mut Passed) {
        let block = match &action {
            Action::Write { block, .. } => Some(*block),
            _ => None,
        };
        passed.done.push(action);
        if let Some(block) = block.filter(|_| !std::mem::replace(&mut self.busy, true)) {
            passed.done.push(Action::Read(self.spare, block));
        }
    }
}

/// Writes count as completed once they are submitted: the next one of the block goes out while the first is in flight.
/// Each operation of the engine has several of the world's, so that its buffer is free again.
#[derive(Default)]
pub struct HastyWrites {
    count: u32,
    /// Which of the world's operations stands for one of the engine's now; the first bank where nothing is said.
    bank: BTreeMap<u32, u32>,
    /// Writes in flight that the engine holds to be completed.
    orphans: BTreeSet<u32>,
}

const BANKS: u32 = 4;

impl HastyWrites {
    fn outward(&self, op: OpId) -> OpId {
        OpId(op.0 + self.count * self.bank.get(&op.0).copied().unwrap_or(0))
    }

    fn submitted(&mut self, op: OpId, passed: &mut Passed) {
        let free = (0..BANKS).find(|bank| {
            let world = op.0 + self.count * bank;
            world != self.outward(op).0 && !self.orphans.contains(&world)
        });
        if let Some(free) = free {
            self.orphans.insert(self.outward(op).0);
            self.bank.insert(op.0, free);
            passed.heard.push(Event::Wrote(op, Ok(())));
        }
    }
}

impl Mutation for HastyWrites {
    fn spare(&mut self, first: u32) -> u32 {
        self.count = first;
        (BANKS - 1) * first
    }

    fn hear(&mut self, mut event: Event, passed: &mut Passed) {
        if let Event::Sealed(op)
        | Event::Wrote(op, _)
        | Event::Read(op, _)
        | Event::Inspected(op, _)
        | Event::Surveyed(op, _) = &mut event
        {
            if self.orphans.remove(&op.0) {
                return;
            }
            op.0 %= self.count;
        }
        passed.heard.push(event);
    }

    fn act(&mut self, mut action: Action, passed: &mut Passed) {
        let mut written = None;
        match &mut action {
            Action::Write { op, .. } => {
                written = Some(*op);
                *op = self.outward(*op);
            }
            Action::Seal(op, ..)
            | Action::Read(op, _)
            | Action::Inspect(op, _)
            | Action::Survey(op, _)
            | Action::Report(_, Some(op)) => *op = self.outward(*op),
            _ => {}
        }
        passed.done.push(action);
        if let Some(op) = written {
            self.submitted(op, passed);
        }
    }
}
