//! What the engine wants done. The shell does it, in this order within one step, and answers with events.

use std::sync::Arc;

use serde::Serialize;

use super::event::{OpId, Reason, SpanId};
use crate::ledger::{Checkpoint, Legal, Position, Recovered};
use crate::report::{BlockCounts, Finding, Judgement};
use crate::tag::Span;
use crate::vocabulary::{Block, Claim, Promise, Seq};

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Fill the operation's buffer with this block. Answered by `Sealed`.
    Seal(OpId, Block, Claim),
    /// Write the operation's buffer, as it is, to this block; with `dsync`, as RWF_DSYNC. Answered by `Wrote`.
    Write {
        /// The operation.
        op: OpId,
        /// Where to.
        block: Block,
        /// Durable before it completes.
        dsync: bool,
    },
    /// Poison the operation's buffer, then read this block into it, past all caches of ours. Answered by `Read`.
    Read(OpId, Block),
    /// Judge what was read. Answered by `Inspected`.
    Inspect(OpId, Legal),
    /// Hear the witnesses in what was read. Answered by `Surveyed`.
    Survey(OpId, Block),
    /// Poison the span's buffer, then read these adjacent blocks into it, past all caches of ours. Answered by
    /// `ReadSpan`.
    ReadSpan(SpanId, Span),
    /// Judge each block of the span that was read and asked for, by what may be in it. Answered by `InspectedSpan`.
    InspectSpan(SpanId, Arc<Recovered>),
    /// Hear the witnesses in each block of the span that was read and asked for. Answered by `SurveyedSpan`.
    SurveySpan(SpanId),
    /// Make what has completed durable (fdatasync). Answered by `Flushed`. At most one is in flight.
    Flush,
    /// Write this checkpoint to the slot that is not the newest durable one. Answered by `Saved`. At most one is in
    /// flight.
    Save(Box<Checkpoint>),
    /// Replace the saved position of the patrol by this one. Answered by `PositionSaved`. At most one is in flight.
    SavePosition(Box<Position>),
    /// A promise was broken. Evidence, event log and latch are durable before the next action is done. The operation,
    /// where there is one, still has in its buffer what was read of the block last; the first sight of it, which a
    /// transient fault or an unstable one shows at no other time, is kept by who inspects.
    Report(Box<Finding>, Option<OpId>),
    /// Something for the event log; durable before the next action where `durable` is set.
    Record(Record),
    /// The check is done.
    Judged(Box<Judgement>),
    /// Record the trigger durably, then run its command. Answered by `Fired`.
    Fire(Reason),
    /// Nothing more will come. In-flight operations may remain.
    Exit(Outcome),
}

/// What goes to the event log beside findings and verdicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Record {
    /// An epoch begins; its checkpoint is durable.
    EpochBegan {
        /// Its number.
        epoch: u64,
        /// Its nonce.
        #[serde(with = "crate::vocabulary::hexadecimal")]
        nonce: u64,
        /// P.
        restart: Seq,
        /// R.
        reserved: Seq,
        /// What the disk is held to.
        promise: Promise,
        /// Why it begins.
        why: String,
    },
    /// All tags were heard, and then a block named an epoch of which none had said anything.
    HeardAgain {
        /// In words.
        why: String,
    },
    /// The saved ledger turned out older than the disk, or missing.
    StateDistrusted {
        /// In words.
        why: String,
    },
    /// A flush failed: of what it covered nothing is known any more.
    FlushFailed {
        /// In words.
        why: String,
    },
    /// A write failed and is tried again with the same bytes.
    WriteFailed {
        /// Which write.
        seq: Seq,
        /// Where.
        block: Block,
        /// In words.
        why: String,
        /// Tries so far.
        tries: u32,
    },
    /// A checkpoint could not be saved.
    SaveFailed {
        /// Its number.
        number: u64,
        /// In words.
        why: String,
    },
    /// A read of several adjacent blocks failed, or has not returned in time. Nothing was seen of them, and each is read
    /// again alone: what is wrong with one of them is told of that one.
    ReadFailedBeside {
        /// The first of them.
        block: Block,
        /// How many.
        blocks: u32,
        /// Where the read began.
        offset: u64,
        /// In words.
        why: String,
        /// How many such reads there were since the start. From the 257th on only each power of two is recorded.
        nth: u64,
    },
    /// An I/O that was reported as stuck has returned; how, is for its own record to say.
    IoReturned {
        /// "read", "write" or "flush".
        operation: &'static str,
        /// Where; a flush is nowhere.
        block: Option<Block>,
        /// Of a read of several adjacent blocks, how many.
        #[serde(skip_serializing_if = "Option::is_none")]
        blocks: Option<u32>,
        /// The same in bytes.
        offset: Option<u64>,
        /// How long it took, in milliseconds.
        after_ms: u64,
    },
    /// A save that was past its deadline has returned: the state directory answers again.
    SaveReturned {
        /// Its number.
        number: u64,
        /// How long it took, in milliseconds.
        after_ms: u64,
    },
    /// What does not return is not waited for: what follows comes without it, and without a flush.
    NotDrained {
        /// I/Os past their deadline.
        stuck: u32,
    },
    /// A trigger is being acted on: its ledger is saved from here on, its command runs once both are durable.
    Triggered {
        /// Why.
        reason: Reason,
    },
    /// A trigger's command has ended.
    CommandEnded {
        /// In words.
        how: String,
    },
    /// The device lost power, was reset or came back.
    DeviceReset {
        /// In words.
        why: String,
    },
    /// A pass has been written whole.
    PassWritten {
        /// Its number, from 0.
        pass: u64,
    },
    /// A patrol begins to judge, or goes on.
    PatrolBegan {
        /// Its pass, from 0.
        pass: u64,
        /// The first block that it judges now: those below were judged before.
        from: Block,
        /// Blocks of the region.
        blocks: u64,
        /// Why there, in words.
        why: String,
    },
    /// A patrol has judged every block of a pass.
    PassPatrolled {
        /// Its number, from 0.
        pass: u64,
        /// What came of the blocks, those judged by earlier processes included.
        blocks: BlockCounts,
        /// Wall clock when it began, in nanoseconds since 1970.
        began_wall_ns: u64,
    },
    /// The position of a patrol could not be saved.
    PositionNotSaved {
        /// In words.
        why: String,
    },
    /// A clean stop: everything issued is durable.
    Stopped {
        /// D.
        durable: Seq,
    },
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Record::EpochBegan { epoch, restart, reserved, promise, why, .. } => {
                let promise = format!("{promise:?}").to_lowercase();
                write!(
                    f,
                    "epoch {epoch} begins at write {restart}, reserved up to {reserved}, promise {promise}: {why}"
                )
            }
            Record::HeardAgain { why } => write!(f, "all tags are heard once more: {why}"),
            Record::StateDistrusted { why } => write!(f, "the saved ledger is not to be trusted: {why}"),
            Record::FlushFailed { why } => write!(f, "a flush failed, nothing that it covered is promised: {why}"),
            Record::WriteFailed { seq, block, why, tries } => {
                write!(f, "write {seq} of block {block} failed, try {tries}: {why}")
            }
            Record::SaveFailed { number, why } => write!(f, "checkpoint {number} could not be saved: {why}"),
            Record::ReadFailedBeside { block, blocks, offset, why, nth } => {
                write!(
                    f,
                    "a read of {blocks} blocks from block {block} at byte {offset} gave nothing, each is read alone: {why} \
                     (such reads so far: {nth})"
                )
            }
            Record::IoReturned { operation, block: Some(block), blocks, offset: Some(offset), after_ms } => {
                let seconds = *after_ms as f64 / 1e3;
                let of = blocks.map_or_else(|| "block".to_owned(), |blocks| format!("{blocks} blocks from block"));
                write!(f, "the {operation} of {of} {block} at byte {offset} has returned after {seconds:.1} s")
            }
            Record::IoReturned { operation, after_ms, .. } => {
                write!(f, "the {operation} has returned after {:.1} s", *after_ms as f64 / 1e3)
            }
            Record::SaveReturned { number, after_ms } => {
                write!(f, "the save of checkpoint {number} has returned after {:.1} s", *after_ms as f64 / 1e3)
            }
            Record::NotDrained { stuck } => {
                let s = if *stuck == 1 { "" } else { "s" };
                write!(f, "not waiting for {stuck} I/O{s} that do not return, nor flushing behind them")
            }
            Record::Triggered { reason } => write!(f, "triggered ({reason})"),
            Record::CommandEnded { how } => write!(f, "the trigger's command: {how}"),
            Record::DeviceReset { why } => write!(f, "the device was reset: {why}"),
            Record::PassWritten { pass } => write!(f, "pass {pass} is written"),
            Record::PatrolBegan { pass, from: Block(0), blocks, why } => {
                write!(f, "patrol pass {pass} begins, over {blocks} blocks: {why}")
            }
            Record::PatrolBegan { pass, from, blocks, why } => {
                write!(f, "patrol pass {pass} goes on at block {from} of {blocks}: {why}")
            }
            Record::PassPatrolled { pass, blocks, .. } => {
                write!(f, "patrol pass {pass} is ended: {} blocks, {} findings", blocks.total, blocks.findings)
            }
            Record::PositionNotSaved { why } => write!(f, "the position of the patrol could not be saved: {why}"),
            Record::Stopped { durable } => write!(f, "stopped; durable up to write {durable}"),
        }
    }
}

/// How it ended. Where several apply, the first in this order counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A promise was broken.
    Broken,
    /// The state could not be saved.
    StateNotSaved(String),
    /// Device write or flush errors over budget, or the device was removed.
    DeviceErrors(String),
    /// The trigger's command was missing, failed or timed out.
    CommandFailed(String),
    /// The check could not be finished.
    Incomplete,
    /// All promises kept.
    Kept,
}

impl Outcome {
    /// The exit status that says so.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::Kept => 0,
            Outcome::Broken => 65,
            Outcome::CommandFailed(_) => 69,
            Outcome::StateNotSaved(_) => 73,
            Outcome::DeviceErrors(_) => 74,
            Outcome::Incomplete => 75,
        }
    }
}
