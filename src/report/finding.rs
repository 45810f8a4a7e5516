//! A broken promise, with what is needed to accuse somebody of it. Pure.

use serde::{Deserialize, Serialize};

use crate::ledger::{Guarantee, ProvedBy};
use crate::tag::Class;
use crate::vocabulary::{Block, Issue, Seq, hexadecimal};

/// What reading again showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Persistence {
    /// The same again: the medium, or what was written to it.
    Persistent,
    /// Good on a later read: the path, not the medium.
    Transient,
    /// Different each time.
    Unstable,
}

/// On what occasion the block was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// A check: after a cut, at a start, or asked for.
    Check,
    /// Behind the writer.
    ReadBack,
    /// Before the block was overwritten.
    BeforeOverwrite,
    /// While running, of what a start had left unread.
    Scan,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is called.
    pub class: Class,
    /// Where.
    pub block: Block,
    /// Where on the target, in bytes.
    pub offset: u64,
    /// The write that the block should at least hold.
    pub expected_seq: Option<Seq>,
    /// The write that was found.
    pub found_seq: Option<Seq>,
    /// The issue that was found.
    pub found: Option<Issue>,
    /// What reading again showed.
    pub persistence: Persistence,
    /// Which knowledge proved the guarantee; `None` where none is needed for the accusation.
    pub proved_by: Option<ProvedBy>,
    /// It was reported before.
    pub known: bool,
    /// In words, with counts and places.
    pub detail: String,
    /// What guaranteed the expected write.
    pub guarantee: Option<Guarantee>,
    /// Where the contents belong, when they are misdirected.
    pub home: Option<Block>,
    /// The home of misdirected contents lacks them.
    pub confirmed: Option<bool>,
    /// The read error, where there is one.
    pub errno: Option<i32>,
    /// On what occasion.
    pub occasion: Occasion,
    /// Cuts that the run had survived by then.
    pub cuts: u64,
    /// Hash of what was read: the same finding again is known by it.
    #[serde(with = "hexadecimal")]
    pub contents: u64,
    /// Wall clock, in nanoseconds since 1970.
    pub wall_ns: u64,
}

/// What makes two findings the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FindingKey {
    block: Block,
    found: Option<Issue>,
    class: Class,
    #[serde(with = "hexadecimal")]
    contents: u64,
}

impl Finding {
    /// What makes it the same as an earlier one.
    #[must_use]
    pub fn key(&self) -> FindingKey {
        FindingKey { block: self.block, found: self.found, class: self.class, contents: self.contents }
    }
}
