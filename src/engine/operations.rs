//! The engine's operations: what each is for, how far it is, and which block it holds.

use super::event::OpId;
use super::holders::Holders;
use super::triage::Triage;
use crate::report::Finding;
use crate::vocabulary::{Block, Claim, Seq};

/// What an operation is for.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// Hear the witnesses of a block.
    Survey,
    /// Judge a block in a check.
    Judge,
    /// Read again what a check found, for its evidence.
    Evidence(Box<Finding>),
    /// Write this number; before that, where it is asked for, read and judge what it replaces.
    Write { seq: Seq },
    /// Read a write back.
    ReadBack { seq: Seq },
    /// Read what a start left unread.
    Scan,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Free,
    /// A read is in flight.
    Reading,
    /// A worker judges or surveys.
    Judging,
    /// Judged, and to be read again once the queue has room.
    Waiting,
    /// A worker seals.
    Sealing,
    /// Sealed, not handed to the disk.
    Ready,
    /// A write is in flight.
    Writing,
}

#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) task: Task,
    pub(super) stage: Stage,
    pub(super) block: Block,
    /// What a sealed block claims.
    pub(super) claim: Option<Claim>,
    /// Failed tries of a write.
    pub(super) tries: u32,
    /// A mismatch is being read again.
    pub(super) triage: Option<Box<Triage>>,
    /// When it entered its stage, in monotonic nanoseconds.
    pub(super) since: u64,
    /// Its I/O is past its deadline, and that was reported.
    pub(super) stuck: bool,
}

/// All operations, and which block each of them holds: at most one holds a block.
#[derive(Clone, Debug)]
pub(super) struct Operations {
    all: Vec<Operation>,
    free: Vec<OpId>,
    holders: Holders,
    reading: u32,
    writing: u32,
    /// Time of the step.
    pub(super) clock: u64,
}

impl Operations {
    pub(super) fn new(count: u32) -> Self {
        let idle = Operation {
            task: Task::Survey,
            stage: Stage::Free,
            block: Block(0),
            claim: None,
            tries: 0,
            triage: None,
            since: 0,
            stuck: false,
        };
        Operations {
            all: vec![idle; count as usize],
            free: (0..count).rev().map(OpId).collect(),
            // A home may be held beside the operation's own block.
            holders: Holders::with_room_for(count as usize * 2),
            reading: 0,
            writing: 0,
            clock: 0,
        }
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.all.len()).expect("bounded")
    }

    pub(super) fn get(&self, op: OpId) -> &Operation {
        &self.all[op.0 as usize]
    }

    pub(super) fn get_mut(&mut self, op: OpId) -> &mut Operation {
        &mut self.all[op.0 as usize]
    }

    /// Takes a free operation for a block that nobody holds.
    pub(super) fn start(&mut self, task: Task, block: Block) -> Option<OpId> {
        let op = *self.free.last()?;
        if !self.holders.insert(block, op) {
            return None;
        }
        self.free.pop();
        let clock = self.clock;
        *self.get_mut(op) = Operation {
            task,
            stage: Stage::Free,
            block,
            claim: None,
            tries: 0,
            triage: None,
            since: clock,
            stuck: false,
        };
        Some(op)
    }

    /// Moves an operation on, and keeps count of what is in flight.
    pub(super) fn enter(&mut self, op: OpId, stage: Stage) {
        let clock = self.clock;
        let operation = self.get_mut(op);
        (operation.since, operation.stuck) = (clock, false);
        let before = std::mem::replace(&mut operation.stage, stage);
        self.reading = self.reading + u32::from(stage == Stage::Reading) - u32::from(before == Stage::Reading);
        self.writing = self.writing + u32::from(stage == Stage::Writing) - u32::from(before == Stage::Writing);
    }

    /// Gives an operation and its block back.
    pub(super) fn finish(&mut self, op: OpId) {
        self.enter(op, Stage::Free);
        let block = self.get(op).block;
        assert_eq!(self.holders.remove(block), Some(op), "{op:?} held block {block}");
        self.get_mut(op).triage = None;
        self.free.push(op);
    }

    /// Lets an operation hold another block for a while; false when somebody holds that.
    pub(super) fn also_hold(&mut self, op: OpId, block: Block) -> bool {
        self.holders.insert(block, op)
    }

    /// Ends what `also_hold` began; a block that somebody else holds stays theirs.
    pub(super) fn release(&mut self, op: OpId, block: Block) {
        if self.holders.get(block) == Some(op) {
            self.holders.remove(block);
        }
    }

    pub(super) fn is_held(&self, block: Block) -> bool {
        self.holders.get(block).is_some()
    }

    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    pub(super) fn none_active(&self) -> bool {
        self.free.len() == self.all.len()
    }

    /// Moves the time at which everything entered its stage.
    pub(super) fn postpone(&mut self, by_ns: u64) {
        // What is stuck was told, and its age goes on.
        self.all.iter_mut().filter(|operation| !operation.stuck).for_each(|operation| operation.since += by_ns);
    }

    /// Operations whose I/O has been in flight since `before` or longer and was not reported yet.
    pub(super) fn overdue(&self, before: u64) -> impl Iterator<Item = OpId> + '_ {
        let overdue = move |operation: &Operation| {
            matches!(operation.stage, Stage::Reading | Stage::Writing) && !operation.stuck && operation.since <= before
        };
        (0..).map(OpId).zip(&self.all).filter(move |(_, operation)| overdue(operation)).map(|(op, _)| op)
    }

    /// Operations whose I/O is past its deadline.
    pub(super) fn stuck(&self) -> u32 {
        u32::try_from(self.all.iter().filter(|operation| operation.stuck).count()).expect("bounded")
    }

    /// Whether one of these blocks has I/O of its own past its deadline.
    pub(super) fn is_stuck_within(&self, first: Block, last: Block) -> bool {
        self.all.iter().any(|operation| operation.stuck && (first..=last).contains(&operation.block))
    }

    /// Findings whose block is being read for its contents.
    pub(super) fn evidence_in_flight(&self) -> impl Iterator<Item = &Finding> {
        self.all.iter().filter(|operation| operation.stage == Stage::Reading).filter_map(|operation| {
            match &operation.task {
                Task::Evidence(finding) => Some(&**finding),
                _ => None,
            }
        })
    }

    /// The one that has been stuck for longest.
    pub(super) fn oldest_stuck(&self) -> Option<&Operation> {
        self.all.iter().filter(|operation| operation.stuck).min_by_key(|operation| operation.since)
    }

    /// Nothing moves any more: all that is active is stuck, is sealed and not handed to the disk, or waits for a place in
    /// the queue that the stuck ones fill.
    pub(super) fn only_stuck_active(&self) -> bool {
        let still = |operation: &Operation| matches!(operation.stage, Stage::Free | Stage::Ready | Stage::Waiting);
        self.all.iter().all(|operation| still(operation) || operation.stuck)
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.reading + self.writing
    }

    pub(super) fn reading(&self) -> u32 {
        self.reading
    }

    pub(super) fn writing(&self) -> u32 {
        self.writing
    }
}
