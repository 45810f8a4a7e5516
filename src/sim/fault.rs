//! Faults as data: what goes wrong, and at which I/O.

use crate::vocabulary::Block;

/// What can go wrong. The first three are honest: a disk that reports its failure has broken no promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The write reports EIO; each of its atoms may or may not have landed.
    FailedWrite,
    /// The flush reports EIO; any part of what it covered is lost for good, even though a later flush succeeds.
    FailedFlush,
    /// The save of a checkpoint reports an error; its slot holds the old, the new, or neither.
    FailedSave,
    /// The read reports EIO once.
    ReadError,
    /// This read of the block and all later ones report EIO, until it is written again.
    UnreadableBlock,
    /// The write completes, is read back from the cache, and never lands.
    LostWrite,
    /// Only the atoms of the mask land, the others never do; the write completes.
    PartialWrite(u64),
    /// The flush reports success and makes nothing durable.
    LyingFlush,
    /// The write completes, and lands in another block.
    MisdirectedWrite(Block),
    /// A bit of the block is flipped once the write has landed.
    BitFlip,
    /// The block is zeroed once the write has landed.
    Zeroed,
    /// What stood in the block before is put back once the write has landed.
    OldContent,
    /// One atom is left half new and half old once the write has landed.
    Shorn,
}

impl Fault {
    /// The kind of I/O that it happens to.
    #[must_use]
    pub fn strikes(self) -> Struck {
        match self {
            Fault::FailedFlush | Fault::LyingFlush => Struck::Flush,
            Fault::FailedSave => Struck::Save,
            Fault::ReadError | Fault::UnreadableBlock => Struck::Read,
            _ => Struck::Write,
        }
    }

    /// Whether a disk (or state directory) that does this has broken no promise.
    #[must_use]
    pub fn is_honest(self) -> bool {
        matches!(self, Fault::FailedWrite | Fault::FailedFlush | Fault::FailedSave)
    }
}

/// Kinds of I/O that faults happen to; each is counted on its own, from 0, over the life of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Struck {
    /// Writes.
    Write,
    /// Reads.
    Read,
    /// Flushes.
    Flush,
    /// Saves of a checkpoint.
    Save,
}

/// At which I/O of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// This one, once.
    Nth(u64),
    /// Every so many.
    Every(u64),
    /// The so-many-th I/O of this kind to this block, from 0.
    OfBlock(Block, u64),
}

/// One entry of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// At which I/O.
    pub at: At,
    /// What goes wrong.
    pub fault: Fault,
}

/// All that goes wrong in a history.
#[derive(Clone, Debug, Default)]
pub struct Script {
    planned: Vec<Planned>,
}

impl Script {
    /// A script from its entries; where several fit one I/O the first counts.
    #[must_use]
    pub fn new(planned: Vec<Planned>) -> Self {
        Script { planned }
    }

    /// Whether nothing dishonest is planned.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.planned.iter().all(|planned| planned.fault.is_honest())
    }

    /// Adds an entry.
    pub fn plan(&mut self, at: At, fault: Fault) {
        self.planned.push(Planned { at, fault });
    }

    /// Adds the entries of another script, behind these.
    pub fn append(&mut self, other: Script) {
        self.planned.extend(other.planned);
    }

    /// Nothing goes wrong from here on.
    pub fn clear(&mut self) {
        self.planned.clear();
    }

    /// What happens to an I/O: the `nth` of its kind, and the `nth_of_block` to its block where it has one.
    #[must_use]
    pub fn fault(&self, struck: Struck, nth: u64, of_block: Option<(Block, u64)>) -> Option<Fault> {
        let fits = |planned: &&Planned| {
            planned.fault.strikes() == struck
                && match planned.at {
                    At::Nth(n) => n == nth,
                    At::Every(k) => (nth + 1).is_multiple_of(k.max(1)),
                    At::OfBlock(block, n) => of_block == Some((block, n)),
                }
        };
        self.planned.iter().find(fits).map(|planned| planned.fault)
    }
}
