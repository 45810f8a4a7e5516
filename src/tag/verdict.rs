//! What a block turned out to be.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ledger::{Legal, Standing};
use crate::vocabulary::{Block, Claim, Issue, Seq};

/// The kinds of broken promise, in the order in which a block of mixed faults is named by the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A read error, the end of the file or device where the region goes on, or I/O stuck past its deadline.
    Unreadable,
    /// A valid tag of another run or target.
    Foreign,
    /// A valid tag of this run that belongs elsewhere.
    Misdirected,
    /// A write that was never issued.
    Phantom,
    /// One atom part new, part old.
    Shorn,
    /// Constant bytes.
    Zeroed,
    /// Damaged contents.
    Corrupt,
    /// Atoms from different writes where that is not legal.
    Torn,
    /// An older write than the guaranteed one, while a block sealed after its guarantee survived and attests to it.
    Unserializable,
    /// An older write than the guaranteed one, or none.
    LostWrite,
    /// Reads of the same block differ from each other.
    Unstable,
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Class::Unreadable => "unreadable",
            Class::Foreign => "foreign",
            Class::Misdirected => "misdirected",
            Class::Phantom => "phantom",
            Class::Shorn => "shorn",
            Class::Zeroed => "zeroed",
            Class::Corrupt => "corrupt",
            Class::Torn => "torn",
            Class::Unserializable => "unserializable",
            Class::LostWrite => "lost_write",
            Class::Unstable => "unstable",
        })
    }
}

/// The conclusion about one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All atoms from the newest write that is known to have been issued, or a later one.
    Intact,
    /// All atoms from an older write that is legal: a legal loss.
    RolledBack,
    /// Atoms from several legal issues: a legal tear.
    Interrupted,
    /// No write of this run yet.
    Unwritten,
    /// A broken promise.
    Broken(Arc<Broken>),
}

impl Verdict {
    /// Of a block whose atoms are all sound and of one write; `None` where that may not be there.
    #[must_use]
    pub fn of_one_write(claim: &Claim, legal: &Legal) -> Option<Verdict> {
        let newest = legal.newest_issued.is_none_or(|newest| claim.issue.seq >= newest);
        let legal = legal.standing(claim) == Standing::Legal;
        legal.then_some(if newest { Verdict::Intact } else { Verdict::RolledBack })
    }
}

/// What is wrong with a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What it is called.
    pub class: Class,
    /// The write that the block should at least hold.
    pub expected: Option<Seq>,
    /// The write that was found, where a tag can be believed.
    pub found: Option<Issue>,
    /// Where the contents belong, when they are misdirected.
    pub home: Option<Block>,
    /// In words, with counts and places.
    pub detail: String,
    /// The first eight bytes of the BLAKE3 of what was read: tells two reads apart.
    pub contents: u64,
}

/// A block, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The conclusion.
    pub verdict: Verdict,
    /// What the sound tags of this run in their own place say, and in how many atoms: one entry an issue.
    pub claims: Claims,
}

/// Claims found in one block. Nearly always at most one, which costs no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    first: Option<(Claim, u32)>,
    more: Vec<(Claim, u32)>,
}

impl Claims {
    /// Counts one claim in `atoms` more atoms.
    pub fn add(&mut self, claim: &Claim, atoms: u32) {
        let Some(first) = &mut self.first else {
            self.first = Some((*claim, atoms));
            return;
        };
        match std::iter::once(first).chain(&mut self.more).find(|(known, _)| known == claim) {
            Some((_, count)) => *count += atoms,
            None => self.more.push((*claim, atoms)),
        }
    }

    /// The claim that all of so many atoms make.
    #[must_use]
    pub fn of_all(&self, atoms: u32) -> Option<&Claim> {
        self.first.as_ref().filter(|(_, those)| *those == atoms).map(|(claim, _)| claim)
    }

    /// Each distinct claim, and the number of atoms that make it.
    pub fn iter(&self) -> impl Iterator<Item = &(Claim, u32)> {
        self.first.iter().chain(&self.more)
    }
}
