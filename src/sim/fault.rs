//! Faults as data: what goes wrong, and at which I/O.

use crate::vocabulary::Block;

/// What can go wrong. Some of it is honest: see [`Fault::is_honest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The write reports EIO; each of its atoms may or may not have landed.
    FailedWrite,
    /// The flush reports EIO; any part of what it covered is lost for good, even though a later flush succeeds.
    FailedFlush,
    /// The save of a checkpoint reports an error; its slot holds the old, the new, or neither.
    FailedSave,
    /// The save is acknowledged, and the next power cut may take it back: a state directory that lies about fsync.
    LyingSave,
    /// The device goes away during the write and comes back without its cache: all that is in flight reports ENODEV.
    DeviceGone,
    /// The first try of the write moves so many bytes; the kernel takes the rest at the next.
    ShortWrite(u32),
    /// So many tries of the write end with EINTR or EAGAIN, by turns.
    InterruptedWrite(u32),
    /// The first try of the read moves so many bytes.
    ShortRead(u32),
    /// So many tries of the read end with EINTR or EAGAIN, by turns.
    InterruptedRead(u32),
    /// The write takes so many nanoseconds longer; [`NEVER`] for one that is stuck.
    LateWrite(u64),
    /// The read takes so many nanoseconds longer.
    LateRead(u64),
    /// The flush takes so many nanoseconds longer.
    LateFlush(u64),
    /// The save takes so many nanoseconds longer.
    LateSave(u64),
    /// The read reports EIO once.
    ReadError,
    /// The read meets the end of the file or device.
    EndOfFile,
    /// One bit is wrong in what this read returns, and in no other: the path, not the medium.
    GarbledRead,
    /// From this read on each read of the block has another bit wrong, until it is written again.
    UnstableBlock,
    /// A bit of the block has rotted at rest by the time of this read: the same in all later ones.
    BitRot,
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
    /// What stood before in the atoms of the mask is put back once the write has landed.
    TornContent(u64),
    /// One atom is left half new and half old once the write has landed.
    Shorn,
    /// Once the write has landed, a block of this run that nobody issued is there instead.
    Phantom,
    /// Once the write has landed, a block of another run is there instead.
    Foreign,
    /// Once the write has landed, a block of the same run id and another geometry is there instead.
    OtherGeometry,
}

/// Longer than any history: what is late by this never ends.
pub const NEVER: u64 = 1 << 60;

/// Late by less than this may be told from stuck by no deadline that is used here.
const PATIENCE_NS: u64 = 1_000_000_000;

impl Fault {
    /// The kind of I/O that it happens to.
    #[must_use]
    pub fn strikes(self) -> Struck {
        match self {
            Fault::FailedFlush | Fault::LyingFlush | Fault::LateFlush(_) => Struck::Flush,
            Fault::FailedSave | Fault::LyingSave | Fault::LateSave(_) => Struck::Save,
            Fault::ReadError
            | Fault::UnreadableBlock
            | Fault::EndOfFile
            | Fault::GarbledRead
            | Fault::UnstableBlock
            | Fault::BitRot
            | Fault::ShortRead(_)
            | Fault::InterruptedRead(_)
            | Fault::LateRead(_) => Struck::Read,
            _ => Struck::Write,
        }
    }

    /// Whether a disk (or state directory) that does this has broken no promise.
    #[must_use]
    pub fn is_honest(self) -> bool {
        match self {
            Fault::FailedWrite
            | Fault::FailedFlush
            | Fault::FailedSave
            | Fault::LyingSave
            | Fault::LateSave(_)
            | Fault::DeviceGone
            | Fault::ShortWrite(_)
            | Fault::InterruptedWrite(_)
            | Fault::ShortRead(_) => true,
            // More in a row and it is no read at all.
            Fault::InterruptedRead(times) => times <= 8,
            Fault::LateWrite(ns) | Fault::LateRead(ns) | Fault::LateFlush(ns) => ns < PATIENCE_NS,
            _ => false,
        }
    }

    /// How much longer the I/O takes for it, in nanoseconds.
    #[must_use]
    pub fn lateness(self) -> u64 {
        match self {
            Fault::LateWrite(ns) | Fault::LateRead(ns) | Fault::LateFlush(ns) | Fault::LateSave(ns) => ns,
            _ => 0,
        }
    }

    /// Its name alone.
    #[must_use]
    pub fn name(self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap_or_default().to_owned()
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
    /// This one and all that follow.
    From(u64),
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

/// All that goes wrong in a history, and how much of it has happened.
#[derive(Clone, Debug, Default)]
pub struct Script {
    planned: Vec<Planned>,
    struck: Vec<Fault>,
}

impl Script {
    /// A script from its entries; where several fit one I/O the first counts.
    #[must_use]
    pub fn new(planned: Vec<Planned>) -> Self {
        Script { planned, struck: Vec::new() }
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
    pub fn fault(&mut self, struck: Struck, nth: u64, of_block: Option<(Block, u64)>) -> Option<Fault> {
        let fits = |planned: &&Planned| {
            planned.fault.strikes() == struck
                && match planned.at {
                    At::Nth(n) => n == nth,
                    At::From(n) => nth >= n,
                    At::Every(k) => (nth + 1).is_multiple_of(k.max(1)),
                    At::OfBlock(block, n) => of_block == Some((block, n)),
                }
        };
        let fault = self.planned.iter().find(fits).map(|planned| planned.fault);
        self.struck.extend(fault);
        fault
    }

    /// What has happened so far, in order.
    #[must_use]
    pub fn struck(&self) -> &[Fault] {
        &self.struck
    }
}
