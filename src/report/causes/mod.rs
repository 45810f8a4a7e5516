//! What findings have in common: one lost flush, not 40,000 lost writes. Pure, streaming, and of bounded memory: a
//! million findings cost what a hundred do, and every one of them is counted.
//!
//! A cause is only said where the findings themselves show it, and nothing is said of a finding that stands alone. No
//! verdict depends on any of this.

mod moved;
mod ranges;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::finding::{Finding, Persistence};
use super::judgement::BlockCounts;
use crate::ledger::{FlushRecord, ProvedBy};
use crate::tag::Class;
use crate::vocabulary::{Block, Geometry, Seq};

use moved::Moved;
use ranges::Ranges;

/// Causes that are listed; of the others the number is told, and how many findings they have.
pub const CAUSES_LISTED: usize = 32;

/// Flushes told apart. A checkpoint remembers 64, and a run goes on from one.
const FLUSHES_MAX: usize = 256;

/// What some findings have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What it is.
    #[serde(flatten)]
    pub shared: Shared,
    /// How many findings it explains.
    pub findings: u64,
    /// The first of their blocks.
    pub first_block: Block,
    /// The last of their blocks.
    pub last_block: Block,
    /// In words, one line.
    pub words: String,
}

/// By what findings belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Shared {
    /// One flush guaranteed the writes that are lost or torn.
    Flush {
        /// Which.
        flush: FlushRecord,
        /// The first of the guaranteed writes.
        first_seq: Seq,
        /// The last of them.
        last_seq: Seq,
    },
    /// The writes that are lost or torn were guaranteed, by no flush that is remembered or by none at all.
    Guarantee {
        /// What proved it.
        proved_by: ProvedBy,
        /// The first of the guaranteed writes.
        first_seq: Seq,
        /// The last of them.
        last_seq: Seq,
    },
    /// The writes that are lost or torn had completed while scrubd was running.
    Completed {
        /// The first of them.
        first_seq: Seq,
        /// The last of them.
        last_seq: Seq,
    },
    /// Addresses this many bytes apart, to within a block, are one place.
    Wrap {
        /// The period, in bytes.
        at_bytes: u64,
    },
    /// The contents belong this many bytes further on; negative: back.
    Displaced {
        /// From where they are to where they belong, in bytes.
        distance_bytes: i64,
    },
    /// Neighbouring blocks with the same fault.
    Range {
        /// The fault.
        class: Class,
        /// The read error.
        errno: Option<i32>,
        /// Every block from the first to the last has it.
        whole: bool,
    },
    /// Good when read again: the path, not the medium.
    Path {
        /// As what they were first seen.
        class: Class,
    },
    /// Each read differs.
    Unstable,
}

/// The causes of many findings, the one that explains most first. All numbers add up to the number of findings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseList {
    /// The first [`CAUSES_LISTED`].
    pub listed: Vec<Cause>,
    /// Causes beyond those; at least so many.
    pub further: u64,
    /// Findings of those.
    pub further_findings: u64,
    /// Findings that have nothing in common with another.
    pub alone: u64,
}

/// Takes in findings, one by one.
#[derive(Clone, Debug)]
pub struct Causes {
    geometry: Geometry,
    lost: BTreeMap<Guarantor, Lost>,
    moved: Moved,
    ranges: BTreeMap<(Class, Option<i32>), Ranges>,
    again: BTreeMap<(Persistence, Class), Extent>,
    /// Findings for whose group there was no room.
    overflow: u64,
    by_class: BTreeMap<Class, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Guarantor {
    Flush(u64),
    Other(ProvedBy),
    Completed,
}

#[derive(Clone, Debug)]
struct Lost {
    extent: Extent,
    flush: Option<FlushRecord>,
    first_seq: Seq,
    last_seq: Seq,
}

/// How many findings, and between which blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    findings: u64,
    first: Block,
    last: Block,
}

impl Extent {
    fn of(block: Block) -> Self {
        Extent { findings: 1, first: block, last: block }
    }

    fn add(&mut self, block: Block) {
        self.findings += 1;
        (self.first, self.last) = (self.first.min(block), self.last.max(block));
    }

    fn join(self, other: Extent) -> Self {
        Extent {
            findings: self.findings + other.findings,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

impl CauseList {
    /// Adds the causes of other findings.
    pub fn append(&mut self, other: CauseList) {
        let CauseList { listed, further, further_findings, alone } = other;
        self.listed.extend(listed);
        self.further += further;
        self.further_findings += further_findings;
        self.alone += alone;
    }
}

impl Causes {
    /// Nothing found yet in a region of this geometry.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        Causes {
            geometry,
            lost: BTreeMap::new(),
            moved: Moved::default(),
            ranges: BTreeMap::new(),
            again: BTreeMap::new(),
            overflow: 0,
            by_class: BTreeMap::new(),
        }
    }

    /// Findings by class: the true counts.
    #[must_use]
    pub fn by_class(&self) -> &BTreeMap<Class, u64> {
        &self.by_class
    }

    /// Takes in one more.
    pub fn add(&mut self, finding: &Finding) {
        *self.by_class.entry(finding.class).or_default() += 1;
        // At most three times eleven of these, and as many kinds of range as there are error numbers.
        match (finding.persistence, finding.class) {
            (Persistence::Persistent, Class::LostWrite | Class::Unserializable | Class::Torn) => self.add_lost(finding),
            (Persistence::Persistent, Class::Misdirected) => {
                let fits = self.moved.add(finding);
                self.overflow += u64::from(!fits);
            }
            (Persistence::Persistent, class) => {
                self.ranges.entry((class, finding.errno)).or_default().add(finding.block);
            }
            (persistence, class) => {
                let extent = self.again.entry((persistence, class));
                extent.and_modify(|extent| extent.add(finding.block)).or_insert(Extent::of(finding.block));
            }
        }
    }

    fn add_lost(&mut self, finding: &Finding) {
        let flush = finding.guarantee.and_then(|guarantee| guarantee.flush);
        let guarantor = match (flush, finding.guarantee) {
            (Some(flush), _) => Guarantor::Flush(flush.number),
            (None, Some(guarantee)) => Guarantor::Other(guarantee.proved_by),
            (None, None) => Guarantor::Completed,
        };
        let seq = finding.expected_seq.unwrap_or_default();
        let full = self.lost.len() >= FLUSHES_MAX;
        match self.lost.get_mut(&guarantor) {
            Some(lost) => {
                lost.extent.add(finding.block);
                (lost.first_seq, lost.last_seq) = (lost.first_seq.min(seq), lost.last_seq.max(seq));
            }
            None if full => self.overflow += 1,
            None => {
                let lost = Lost { extent: Extent::of(finding.block), flush, first_seq: seq, last_seq: seq };
                self.lost.insert(guarantor, lost);
            }
        }
    }

    /// What there is to say. `counts` are those of the whole check, `None` where not the whole region was judged.
    #[must_use]
    pub fn conclude(&self, counts: Option<&BlockCounts>) -> CauseList {
        let mut found: Vec<(Shared, Extent)> = self.lost.iter().map(|(by, lost)| lost.shared(*by)).collect();
        found.extend(self.moved.causes(&self.geometry, counts));
        for ((class, errno), ranges) in &self.ranges {
            let shared = |whole| Shared::Range { class: *class, errno: *errno, whole };
            found.extend(ranges.iter().map(|(extent, whole)| (shared(whole), extent)));
        }
        found.extend(self.again.iter().map(|((persistence, class), extent)| {
            let transient = *persistence == Persistence::Transient;
            (if transient { Shared::Path { class: *class } } else { Shared::Unstable }, *extent)
        }));
        // One block is no group, however often it was found.
        let (mut several, single): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|(_, extent)| extent.first < extent.last);
        several.sort_by_key(|(_, extent)| (u64::MAX - extent.findings, extent.first));
        let rest = several.split_off(several.len().min(CAUSES_LISTED));
        CauseList {
            listed: several.into_iter().map(|(shared, extent)| words::cause(&self.geometry, shared, extent)).collect(),
            further: rest.len() as u64 + u64::from(self.overflow > 0),
            further_findings: rest.iter().map(|(_, extent)| extent.findings).sum::<u64>() + self.overflow,
            alone: single.iter().map(|(_, extent)| extent.findings).sum(),
        }
    }
}

impl Lost {
    fn shared(&self, by: Guarantor) -> (Shared, Extent) {
        let Lost { extent, flush, first_seq, last_seq } = *self;
        let shared = match (by, flush) {
            (Guarantor::Flush(_), Some(flush)) => Shared::Flush { flush, first_seq, last_seq },
            (Guarantor::Other(proved_by), _) => Shared::Guarantee { proved_by, first_seq, last_seq },
            (Guarantor::Completed | Guarantor::Flush(_), _) => Shared::Completed { first_seq, last_seq },
        };
        (shared, extent)
    }
}

#[cfg(test)]
mod tests;
