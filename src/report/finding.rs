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
    /// On patrol: written long ago, and only read.
    Patrol,
}

/// What one read of the block showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// What seemed wrong; `None` where nothing did.
    pub class: Option<Class>,
    /// Hash of what was read, as in [`Finding::contents`]; `None` where nothing seemed wrong, or nothing was read.
    #[serde(with = "some_hexadecimal")]
    pub contents: Option<u64>,
    /// The read error.
    pub errno: Option<i32>,
}

mod some_hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(word: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match word {
            Some(word) => serializer.collect_str(&format_args!("{word:016x}")),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let word = text.map(|text| u64::from_str_radix(&text, 16).map_err(|_| D::Error::custom("no hexadecimal word")));
        word.transpose()
    }
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
    /// The issue that the block should at least hold.
    #[serde(default)]
    pub expected: Option<Issue>,
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
    /// What the reads showed, the first one first: the mismatch, and each time that it was read again.
    #[serde(default)]
    pub reads: Vec<Sight>,
    /// Cuts that the run had survived by then.
    pub cuts: u64,
    /// Hash of what was read: the same finding again is known by it.
    #[serde(with = "hexadecimal")]
    pub contents: u64,
    /// Wall clock, in nanoseconds since 1970.
    pub wall_ns: u64,
}

/// What makes two findings the same one. How a read failed, and whether it went on failing, is all the evidence that there
/// is of it: a block that could once not be read at first is not known to be lost. And a later write of a block that is found
/// as bad as the one before is news: what was there before is not what the disk has promised since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FindingKey {
    block: Block,
    #[serde(default)]
    expected: Option<Seq>,
    found: Option<Issue>,
    class: Class,
    persistence: Persistence,
    errno: Option<i32>,
    #[serde(with = "hexadecimal")]
    contents: u64,
}

impl Finding {
    /// What makes it the same as an earlier one.
    #[must_use]
    pub fn key(&self) -> FindingKey {
        let Finding { block, expected_seq, found, class, persistence, errno, contents, .. } = *self;
        FindingKey { block, expected: expected_seq, found, class, persistence, errno, contents }
    }
}
