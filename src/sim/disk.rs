//! The simulated disk: what it shows, what it holds for good, and what it may lose.
//!
//! The model, atom by atom. `media` survives everything. `cached` are versions that a cut may keep or lose, each atom on
//! its own and in any order. `seen` is what a read returns. A flush moves to the media what had **completed before it was
//! submitted**, and nothing else; a write with dsync, or any write of a disk with power-loss protection, is on the media
//! when it completes. At a cut each atom becomes what the media hold or any of the versions in cache or in flight: an
//! atom is never half, a block may be any mixture. A disk that is mirrored draws for each copy, and each read shows one.

mod tries;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fault::{Fault, Script, Struck};
use super::random::Random;
use super::truth::WriteId;
use crate::vocabulary::Block;

/// Who made the contents of an atom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It was there before the run.
    Before,
    /// A write of the engine.
    Write(WriteId),
    /// The disk's own doing, to an atom of this write, or of none.
    Damaged(Damage, Option<WriteId>),
}

/// What the disk did to an atom of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Damage {
    /// One bit flipped.
    Flipped,
    /// All zeros.
    Zeroed,
    /// Front of one write, back of an older one.
    Shorn,
    /// Whole, and written by nobody.
    Planted,
    /// Whole, and of another run or target.
    Foreign,
}

/// A block's worth of bytes and where they come from. An atom on the disk is one atom's worth of one of these.
#[derive(Debug)]
pub struct Content {
    /// Who made it.
    pub origin: Origin,
    /// The block that it was meant for.
    pub home: Block,
    /// A whole block.
    pub bytes: Vec<u8>,
}

/// An I/O that was handed to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IoId(pub u64);

/// What the disk is made of.
#[derive(Clone, Copy, Debug)]
pub struct DiskSettings {
    /// Bytes of a block.
    pub block_size: usize,
    /// Bytes of an atom.
    pub atom: usize,
    /// Completion means durable.
    pub power_loss_protected: bool,
    /// What a failed flush loses is gone from reads at once; else it is shown until the next cut.
    pub failed_flush_shows: bool,
}

#[derive(Clone, Debug)]
struct Version {
    write: IoId,
    content: Arc<Content>,
    /// The atoms that may land.
    mask: u64,
}

#[derive(Clone, Debug)]
struct Cell {
    media: Vec<Arc<Content>>,
    seen: Vec<Arc<Content>>,
    cached: Vec<Version>,
    /// What each atom held on the media before its present contents.
    previous: Vec<Arc<Content>>,
    /// What the other copy of a mirror holds on its media, where that differs.
    twin: Vec<Option<Arc<Content>>>,
    unreadable: bool,
    /// Each read has another bit wrong.
    unstable: bool,
    writes: u64,
    reads: u64,
}

#[derive(Clone, Debug)]
struct InFlight {
    block: Block,
    content: Arc<Content>,
    dsync: bool,
    fault: Option<Fault>,
    /// Tries so far, and the bytes that they moved without a gap.
    tries: u32,
    covered: usize,
}

#[derive(Clone, Debug)]
struct Reading {
    block: Block,
    fault: Option<Fault>,
    tries: u32,
}

/// The disk.
#[derive(Clone, Debug)]
pub struct Disk {
    settings: DiskSettings,
    cells: Vec<Cell>,
    writes: BTreeMap<IoId, InFlight>,
    reading: BTreeMap<IoId, Reading>,
    /// The completed versions that the flush in flight covers, and what is to become of it.
    flush: Option<(BTreeSet<IoId>, Option<Fault>)>,
    next: u64,
    flushes: u64,
    reads: u64,
    write_count: u64,
    random: Random,
    /// What goes wrong.
    pub script: Script,
    /// Two copies, which a cut may leave different where neither is promised.
    pub mirrored: bool,
}

/// Chooses what an atom becomes at a cut: 0 for what the media hold, else one of so many volatile versions, oldest
/// first. Called with block, atom, and the number of choices.
pub(super) type Chooser<'a> = &'a mut dyn FnMut(Block, u32, usize) -> usize;

impl Disk {
    /// A disk that holds these blocks, durably.
    ///
    /// # Panics
    /// When a block has more than 64 atoms, or none.
    #[must_use]
    pub fn new(settings: DiskSettings, initial: Vec<Vec<u8>>, script: Script, random: Random) -> Self {
        let atoms = settings.block_size / settings.atom;
        assert!((1..=64).contains(&atoms), "{atoms} atoms do not fit the mask");
        let cells = (0..).zip(initial).map(|(block, bytes)| {
            assert_eq!(bytes.len(), settings.block_size);
            let content = Arc::new(Content { origin: Origin::Before, home: Block(block), bytes });
            let all = vec![content; atoms];
            let (media, seen, previous) = (all.clone(), all.clone(), all);
            Cell {
                media,
                seen,
                cached: Vec::new(),
                previous,
                twin: vec![None; atoms],
                unreadable: false,
                unstable: false,
                writes: 0,
                reads: 0,
            }
        });
        Disk {
            settings,
            cells: cells.collect(),
            writes: BTreeMap::new(),
            reading: BTreeMap::new(),
            flush: None,
            next: 0,
            flushes: 0,
            reads: 0,
            write_count: 0,
            random,
            script,
            mirrored: false,
        }
    }

    /// Writes handed over so far.
    #[must_use]
    pub fn write_count(&self) -> u64 {
        self.write_count
    }

    /// Flushes handed over so far.
    #[must_use]
    pub fn flush_count(&self) -> u64 {
        self.flushes
    }

    /// What a read of the block would show, atom by atom.
    #[must_use]
    pub fn shown(&self, block: Block) -> &[Arc<Content>] {
        &self.cells[block.0 as usize].seen
    }

    /// What the media hold, atom by atom.
    #[must_use]
    pub fn media(&self, block: Block) -> &[Arc<Content>] {
        &self.cells[block.0 as usize].media
    }

    /// Whether reads of the block fail.
    #[must_use]
    pub fn is_unreadable(&self, block: Block) -> bool {
        self.cells[block.0 as usize].unreadable
    }

    /// Whether each read of the block shows something else.
    #[must_use]
    pub fn is_unstable(&self, block: Block) -> bool {
        self.cells[block.0 as usize].unstable
    }

    /// Reads of the block that were handed over so far.
    #[must_use]
    pub fn reads_of(&self, block: Block) -> u64 {
        self.cells[block.0 as usize].reads
    }

    /// The number of blocks.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.cells.len() as u64
    }

    /// The bytes of an atom as a read would show them.
    #[must_use]
    pub fn atom_bytes(&self, block: Block, atom: usize) -> &[u8] {
        &self.shown(block)[atom].bytes[self.range(atom)]
    }

    /// A write is handed over; its completion is another event.
    pub fn submit_write(&mut self, block: Block, write: WriteId, bytes: Vec<u8>, dsync: bool) -> IoId {
        let nth = self.write_count;
        self.write_count += 1;
        let cell = &mut self.cells[block.0 as usize];
        let fault = self.script.fault(Struck::Write, nth, Some((block, cell.writes)));
        cell.writes += 1;
        let id = IoId(self.next);
        self.next += 1;
        let content = Arc::new(Content { origin: Origin::Write(write), home: block, bytes });
        self.writes.insert(id, InFlight { block, content, dsync, fault, tries: 0, covered: 0 });
        id
    }

    /// The write in flight ends well for who asked for it: what its tries moved has landed, as far as the disk is true.
    ///
    /// # Panics
    /// When no such write is in flight.
    pub fn complete_write(&mut self, id: IoId) {
        let InFlight { block, content, dsync, fault, covered, .. } =
            self.writes.remove(&id).expect("a write in flight");
        let durable = dsync || self.settings.power_loss_protected;
        let every = self.moved(covered);
        match fault {
            Some(Fault::LostWrite) => {
                // Shown from the cache, and with an empty mask it can never land.
                let cell = &mut self.cells[block.0 as usize];
                cell.seen.fill(Arc::clone(&content));
                cell.unreadable = false;
                cell.cached.push(Version { write: id, content, mask: 0 });
            }
            Some(Fault::PartialWrite(mask)) => self.land(block, &content, mask & every, id, durable),
            Some(Fault::MisdirectedWrite(to)) => self.land(to, &content, every, id, durable),
            _ => self.land(block, &content, every, id, durable),
        }
        if let Some(fault) = fault {
            self.damage(block, fault);
        }
    }

    fn land(&mut self, block: Block, content: &Arc<Content>, mask: u64, write: IoId, durable: bool) {
        let cell = &mut self.cells[block.0 as usize];
        (cell.unreadable, cell.unstable) = (false, false);
        for atom in atoms_of(mask) {
            cell.seen[atom] = Arc::clone(content);
            if durable {
                cell.settle(atom, content);
                cell.cached.iter_mut().for_each(|version| version.mask &= !(1 << atom));
            }
        }
        if durable {
            cell.cached.retain(|version| version.mask != 0);
        } else {
            cell.cached.push(Version { write, content: Arc::clone(content), mask });
        }
    }

    /// A flush is handed over: it covers what has completed by now.
    ///
    /// # Panics
    /// When one is in flight.
    pub fn submit_flush(&mut self) {
        assert!(self.flush.is_none(), "one flush in flight at a time");
        let fault = self.script.fault(Struck::Flush, self.flushes, None);
        self.flushes += 1;
        let covered = self.cells.iter().flat_map(|cell| cell.cached.iter().map(|version| version.write)).collect();
        self.flush = Some((covered, fault));
    }

    /// The flush in flight ends.
    ///
    /// # Panics
    /// When none is in flight.
    pub fn complete_flush(&mut self) -> Result<(), i32> {
        let (covered, fault) = self.flush.take().expect("a flush is in flight");
        match fault {
            Some(Fault::LyingFlush) => Ok(()),
            Some(Fault::FailedFlush) => {
                for block in 0..self.cells.len() {
                    self.fail_flush_of(block, &covered);
                }
                Err(tries::EIO)
            }
            _ => {
                for cell in &mut self.cells {
                    cell.flush(&covered);
                }
                Ok(())
            }
        }
    }

    /// Each atom of each covered version lands, stays in the cache, or is lost although it may still be shown.
    fn fail_flush_of(&mut self, block: usize, covered: &BTreeSet<IoId>) {
        let cell = &mut self.cells[block];
        for at in 0..cell.cached.len() {
            if !covered.contains(&cell.cached[at].write) {
                continue;
            }
            for atom in atoms_of(cell.cached[at].mask) {
                match self.random.below(3) {
                    0 => {
                        let content = Arc::clone(&cell.cached[at].content);
                        cell.settle(atom, &content);
                        cell.cached[..=at].iter_mut().for_each(|version| version.mask &= !(1 << atom));
                    }
                    1 => cell.cached[at].mask &= !(1 << atom),
                    _ => {}
                }
            }
        }
        let shows = self.settings.failed_flush_shows;
        cell.cached.retain(|version| version.mask != 0 || !covered.contains(&version.write));
        if shows {
            cell.show_what_is_left();
        }
    }

    /// Something happens to a block at rest, on the media and in what is shown.
    pub fn damage(&mut self, block: Block, fault: Fault) {
        let atom = self.random.below(self.cells[block.0 as usize].seen.len() as u64) as usize;
        let (range, every) = (self.range(atom), self.every_atom());
        let bit = self.random.below(range.len() as u64 * 8) as usize;
        let cell = &mut self.cells[block.0 as usize];
        let of = match cell.seen[atom].origin {
            Origin::Write(write) => Some(write),
            Origin::Before | Origin::Damaged(..) => None,
        };
        let made = |what, bytes| Arc::new(Content { origin: Origin::Damaged(what, of), home: block, bytes });
        match fault {
            Fault::BitFlip | Fault::BitRot => {
                let mut bytes = cell.seen[atom].bytes.clone();
                bytes[range.start + bit / 8] ^= 1 << (bit % 8);
                cell.put(1 << atom, &made(Damage::Flipped, bytes));
            }
            Fault::Zeroed => cell.put(every, &made(Damage::Zeroed, vec![0; self.settings.block_size])),
            Fault::OldContent | Fault::TornContent(_) => {
                let mask = if let Fault::TornContent(mask) = fault { mask } else { every };
                for (atom, old) in cell.previous.clone().iter().enumerate() {
                    cell.put(1 << atom & mask, old);
                }
            }
            Fault::Shorn => {
                // At a multiple of 64 bytes inside the payload, so that both parts can be recognised.
                let at = range.start + 128 + 64 * (bit / 512 % ((range.len() - 192) / 64).max(1));
                let mut bytes = cell.seen[atom].bytes.clone();
                bytes[at..range.end].copy_from_slice(&cell.previous[atom].bytes[at..range.end]);
                // What was there before may be the same write, tried once more with the same bytes: nothing is damaged.
                if bytes[range.clone()] != cell.seen[atom].bytes[range] {
                    cell.put(1 << atom, &made(Damage::Shorn, bytes));
                }
            }
            Fault::UnreadableBlock => cell.unreadable = true,
            Fault::UnstableBlock => cell.unstable = true,
            _ => {}
        }
    }

    /// Contents that come from nowhere: a late landing, another writer. On the media at once.
    pub fn plant(&mut self, block: Block, origin: Origin, bytes: Vec<u8>) {
        let every = self.every_atom();
        let content = Arc::new(Content { origin, home: block, bytes });
        self.cells[block.0 as usize].put(every, &content);
    }

    /// An atom holds this, for good, whatever the disk has promised: a lie, or any other fault, chosen by the caller.
    pub fn hold(&mut self, block: Block, atom: usize, content: &Arc<Content>) {
        self.cells[block.0 as usize].put(1 << atom, content);
    }

    /// A block that could not be read, or not twice the same, can be read again.
    pub fn heal(&mut self, block: Block) {
        let cell = &mut self.cells[block.0 as usize];
        (cell.unreadable, cell.unstable) = (false, false);
    }

    /// Power is lost: each volatile atom becomes what the chooser says, and nothing is in flight any more.
    pub fn cut(&mut self, choose: Chooser<'_>) {
        self.flush = None;
        let in_flight = std::mem::take(&mut self.writes);
        for (id, write) in in_flight {
            let every = self.every_atom();
            let (block, mask) = match write.fault {
                Some(Fault::MisdirectedWrite(to)) => (to, every),
                Some(Fault::LostWrite) => (write.block, 0),
                Some(Fault::PartialWrite(mask)) => (write.block, mask & every),
                _ => (write.block, every),
            };
            self.cells[block.0 as usize].cached.push(Version { write: id, content: write.content, mask });
        }
        for (block, cell) in (0..).map(Block).zip(&mut self.cells) {
            for atom in 0..cell.media.len() {
                let volatile = cell.cached.iter().filter(|version| version.mask >> atom & 1 == 1);
                let choices: Vec<_> = volatile.map(|version| Arc::clone(&version.content)).collect();
                let mut copy = || choose(block, atom as u32, choices.len() + 1).checked_sub(1).map(|at| &choices[at]);
                let first = copy();
                // Both copies hold what is promised; of the rest each holds what it happened to get.
                let second = if self.mirrored && !choices.is_empty() { copy() } else { None };
                let old = cell.twin[atom].take().unwrap_or_else(|| Arc::clone(&cell.media[atom]));
                if let Some(content) = first {
                    cell.settle(atom, content);
                }
                let twin = second.cloned().unwrap_or(old);
                cell.twin[atom] = Some(twin).filter(|twin| self.mirrored && !Arc::ptr_eq(twin, &cell.media[atom]));
            }
            cell.cached.clear();
            cell.seen.clone_from(&cell.media);
        }
    }

    /// The process dies and the disk lives: each atom in flight lands in the cache or does not, and stays volatile.
    pub fn orphan_writes(&mut self) {
        self.flush = None;
        for (id, write) in std::mem::take(&mut self.writes) {
            let mask = match self.random.below(3) {
                0 => 0,
                1 => self.every_atom(),
                _ => self.random.word() & self.every_atom(),
            };
            self.land(write.block, &write.content, mask, id, false);
        }
    }

    fn range(&self, atom: usize) -> std::ops::Range<usize> {
        atom * self.settings.atom..(atom + 1) * self.settings.atom
    }

    /// The atoms that so many bytes fill whole.
    fn moved(&self, bytes: usize) -> u64 {
        u64::MAX.checked_shr(64 - (bytes / self.settings.atom) as u32).unwrap_or(0)
    }

    fn every_atom(&self) -> u64 {
        u64::MAX >> (64 - self.settings.block_size / self.settings.atom)
    }
}

impl Cell {
    fn settle(&mut self, atom: usize, content: &Arc<Content>) {
        if !Arc::ptr_eq(&self.media[atom], content) {
            self.previous[atom] = std::mem::replace(&mut self.media[atom], Arc::clone(content));
        }
        self.twin[atom] = None;
    }

    /// Contents that no cache holds back.
    fn put(&mut self, mask: u64, content: &Arc<Content>) {
        for atom in atoms_of(mask) {
            self.media[atom] = Arc::clone(content);
            self.seen[atom] = Arc::clone(content);
            self.twin[atom] = None;
            self.cached.iter_mut().for_each(|version| version.mask &= !(1 << atom));
        }
    }

    fn flush(&mut self, covered: &BTreeSet<IoId>) {
        let (landing, kept) = std::mem::take(&mut self.cached).into_iter().partition(|v| covered.contains(&v.write));
        self.cached = kept;
        let landing: Vec<Version> = landing;
        let mut lost = false;
        for version in &landing {
            lost |= version.mask == 0;
            for atom in atoms_of(version.mask) {
                self.settle(atom, &version.content);
            }
        }
        // The cache has nothing left to show of a write that was dropped.
        if lost {
            self.show_what_is_left();
        }
    }

    fn show_what_is_left(&mut self) {
        self.seen.clone_from(&self.media);
        for version in &self.cached {
            for atom in atoms_of(version.mask) {
                self.seen[atom] = Arc::clone(&version.content);
            }
        }
    }
}

fn atoms_of(mask: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |atom| mask >> atom & 1 == 1)
}
