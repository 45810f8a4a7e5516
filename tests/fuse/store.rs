//! The disk under test: an image that faults may damage, and beside it the truth: what an honest disk would hold after
//! the same answers. The test process holds both, behind one lock; that lock's methods are the control channel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::chance::Chance;
use super::decoder;
use super::fault::{Fault, Kind, Plan};
use super::image::Image;
use super::journal::{Entry, Journal};

/// Where the data of a region at offset 0 begins: faults leave the label in front of it alone.
pub(crate) const DATA: usize = decoder::DATA as usize;

/// A request that has been received and not answered.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Write { offset: usize, data: Arc<Vec<u8>>, dsync: bool },
    Read { offset: usize, length: usize },
    Flush,
}

#[derive(Clone, Debug)]
struct Held {
    request: Request,
    fault: Option<Fault>,
    /// The newest completion when it was received.
    covered: u64,
}

/// What the kernel is told.
#[derive(Debug)]
pub(crate) enum Answer {
    Written(u32),
    Data(Vec<u8>),
    Done,
    InputOutputError,
}

/// What has been seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) writes: u64,
    pub(crate) dsync_writes: u64,
    pub(crate) reads: u64,
    pub(crate) flushes: u64,
    pub(crate) most_writes_in_flight: usize,
    pub(crate) largest_write: usize,
}

pub(crate) struct Store {
    disk: Image,
    truth: Image,
    held: BTreeMap<u64, Held>,
    next: u64,
    completed: u64,
    frozen: bool,
    chance: Chance,
    pub(crate) counts: Counts,
    /// Where each fault struck: the offset of the request.
    pub(crate) struck: Vec<(Fault, usize)>,
    /// How often in a row each place was struck until now.
    in_a_row: BTreeMap<(Kind, usize), u32>,
    pub(crate) plans: Vec<Plan>,
    /// The numbers of the writes that came, by atom.
    history: BTreeMap<usize, BTreeSet<u64>>,
    /// Reads of these atoms fail.
    pub(crate) unreadable: BTreeSet<usize>,
    /// Reads end here.
    pub(crate) end: Option<usize>,
    pub(crate) journal: Option<Journal>,
}

/// What a cut found and did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) writes_in_flight: usize,
    pub(crate) volatile_atoms: usize,
}

impl Store {
    pub(crate) fn new(length: usize, atom: usize, seed: u64) -> Store {
        let image = Image::new(length, atom);
        Store {
            disk: image.clone(),
            truth: image,
            held: BTreeMap::new(),
            next: 0,
            completed: 0,
            frozen: false,
            chance: Chance(seed),
            counts: Counts::default(),
            struck: Vec::new(),
            in_a_row: BTreeMap::new(),
            history: BTreeMap::new(),
            plans: Vec::new(),
            unreadable: BTreeSet::new(),
            end: None,
            journal: None,
        }
    }

    pub(crate) fn length(&self) -> usize {
        self.disk.length()
    }

    pub(crate) fn disk(&self) -> &Image {
        &self.disk
    }

    /// What was counted, and whether the first plan's newest request was struck.
    pub(crate) fn newest(&self) -> (Counts, bool) {
        (self.counts, self.plans.first().is_some_and(Plan::has_just_struck))
    }

    /// How many writes have completed.
    pub(crate) fn completed(&self) -> u64 {
        self.completed
    }

    /// Takes a request; `None` while frozen: what has no power takes nothing.
    pub(crate) fn receive(&mut self, request: Request) -> Option<u64> {
        if self.frozen {
            return None;
        }
        let id = self.next;
        self.next += 1;
        let fault = self.fault_of(&request);
        self.note(match &request {
            Request::Write { offset, data, .. } => Some(Entry::Received(id, *offset, Arc::clone(data))),
            _ => None,
        });
        match &request {
            Request::Write { offset, data, dsync } => {
                let atom = self.disk.atom();
                for (index, atom) in (offset / atom..).zip(data.chunks(atom)) {
                    self.history.entry(index).or_default().extend(decoder::tag(atom).map(|tag| tag.seq));
                }
                self.counts.writes += 1;
                self.counts.dsync_writes += u64::from(*dsync);
                self.counts.largest_write = self.counts.largest_write.max(data.len());
            }
            Request::Read { .. } => self.counts.reads += 1,
            Request::Flush => self.counts.flushes += 1,
        }
        self.held.insert(id, Held { request, fault, covered: self.completed });
        let writing = self.writes_in_flight();
        self.counts.most_writes_in_flight = self.counts.most_writes_in_flight.max(writing);
        Some(id)
    }

    /// Does what was asked. `None` when it is not to be answered: no power, or a request that is stuck.
    pub(crate) fn complete(&mut self, id: u64) -> Option<Answer> {
        if self.frozen || matches!(self.held.get(&id)?.fault, Some(Fault::StuckWrite | Fault::StuckRead)) {
            return None;
        }
        let Held { request, fault, covered } = self.held.remove(&id)?;
        if matches!(fault, Some(Fault::WriteError | Fault::FlushError | Fault::ReadError)) {
            return Some(Answer::InputOutputError);
        }
        Some(match request {
            Request::Write { offset, data, dsync } => {
                self.completed += 1;
                self.truth.complete(self.completed, offset, &data, dsync);
                self.write(fault, offset, &data, dsync);
                self.note(Some(Entry::Completed(id, dsync)));
                Answer::Written(data.len() as u32)
            }
            Request::Read { offset, length } => self.read(fault, offset, length),
            Request::Flush => {
                self.truth.flush(covered);
                if fault != Some(Fault::LyingFlush) {
                    self.disk.flush(covered);
                }
                self.note(Some(Entry::Flushed(covered)));
                Answer::Done
            }
        })
    }

    fn fault_of(&mut self, request: &Request) -> Option<Fault> {
        let (kind, offset) = match request {
            Request::Write { offset, .. } => (Kind::Write, *offset),
            Request::Read { offset, .. } => (Kind::Read, *offset),
            Request::Flush => (Kind::Flush, DATA),
        };
        // Blocks start at whole pages behind the label; other requests are the guards' looks at the target.
        let before = self.struck.iter().any(|(_, at)| *at == offset);
        let a_block = offset >= DATA && offset % 4096 == 0;
        let in_a_row = self.in_a_row.remove(&(kind, offset)).unwrap_or(0);
        let fault = a_block.then(|| Plan::strike(&mut self.plans, kind, before, in_a_row)).flatten();
        if fault.is_some() {
            self.in_a_row.insert((kind, offset), in_a_row + 1);
        }
        self.struck.extend(fault.map(|fault| (fault, offset)));
        fault
    }

    fn write(&mut self, fault: Option<Fault>, offset: usize, data: &Arc<Vec<u8>>, dsync: bool) {
        let (atom, number) = (self.disk.atom(), self.completed);
        let victim = self.chance.below((data.len() / atom) as u64) as usize * atom;
        let old = self.disk.read(offset + victim, atom);
        let with_victim = |bytes: &[u8]| {
            let mut changed = data.to_vec();
            changed[victim..victim + atom].copy_from_slice(bytes);
            Arc::new(changed)
        };
        match fault {
            Some(Fault::DroppedWrite) => {}
            Some(Fault::LyingFua) => self.disk.complete(number, offset, data, false),
            Some(Fault::Misdirected(by)) => {
                let span = self.disk.length() - DATA;
                let elsewhere = DATA + (offset - DATA + by) % span;
                self.disk.complete(number, elsewhere, data, dsync);
            }
            Some(Fault::DroppedAtom) => self.disk.complete(number, offset, &with_victim(&old), dsync),
            Some(Fault::Shorn) => {
                let halves = [&data[victim..victim + atom / 2], &old[atom / 2..]].concat();
                self.disk.complete(number, offset, &with_victim(&halves), dsync);
            }
            _ => self.disk.complete(number, offset, data, dsync),
        }
    }

    fn read(&mut self, fault: Option<Fault>, offset: usize, length: usize) -> Answer {
        let end = self.end.unwrap_or(usize::MAX).min(self.disk.length());
        let length = length.min(end.saturating_sub(offset));
        let atom = self.disk.atom();
        let atoms = offset / atom..(offset + length).div_ceil(atom);
        if self.unreadable.range(atoms).next().is_some() {
            return Answer::InputOutputError;
        }
        let mut bytes = self.disk.read(offset, length);
        if fault == Some(Fault::TransientFlip) && !bytes.is_empty() {
            let bit = self.chance.below(8 * bytes.len() as u64);
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        Answer::Data(bytes)
    }

    fn note(&mut self, entry: Option<Entry>) {
        if let (Some(entry), Some(journal)) = (entry, &mut self.journal) {
            journal.note(entry);
        }
    }

    pub(crate) fn writes_in_flight(&self) -> usize {
        self.held.values().filter(|held| matches!(held.request, Request::Write { .. })).count()
    }

    /// From here on nothing is taken, done or answered.
    pub(crate) fn freeze(&mut self) {
        self.frozen = true;
    }

    /// The power goes: of each atom one of the versions stays that may. The truth learns what is there where that is
    /// legal, and keeps what was promised where it is not.
    pub(crate) fn cut(&mut self, seed: u64) -> Cut {
        assert!(self.frozen, "a cut comes after the freeze");
        let cut = Cut { writes_in_flight: self.writes_in_flight(), volatile_atoms: self.disk.volatile_atoms() };
        for held in std::mem::take(&mut self.held).into_values() {
            // What was in flight may have landed too, in any part.
            if let Request::Write { offset, data, dsync: _ } = held.request {
                self.completed += 1;
                self.truth.complete(self.completed, offset, &data, false);
                if !matches!(held.fault, Some(Fault::DroppedWrite | Fault::Misdirected(_) | Fault::WriteError)) {
                    self.disk.complete(self.completed, offset, &data, false);
                }
            }
        }
        let mut chance = Chance(seed);
        // Some cuts lose nearly everything, some nearly nothing, some the half.
        let (bias, eighths) = (chance.below(3), 7);
        self.disk.cut(|versions| match (bias, chance.below(8) < eighths) {
            (1, true) => 0,
            (2, true) => versions,
            _ => chance.below(versions as u64 + 1) as usize,
        });
        for index in 0..self.disk.length() / self.disk.atom() {
            let found = self.disk.on_media(index).to_vec();
            let keeps = if self.truth.may_hold(index, &found) { found } else { self.truth.on_media(index).to_vec() };
            self.truth.overwrite(index * self.disk.atom(), &keeps);
        }
        cut
    }

    /// The power comes back; for a disk without faults a new beginning.
    pub(crate) fn thaw(&mut self) {
        assert!(self.held.is_empty(), "nothing is in flight when the power comes back");
        self.frozen = false;
    }

    /// Changes what is there, at rest: bit rot, or what another hand wrote.
    pub(crate) fn damage(&mut self, offset: usize, bytes: &[u8]) {
        self.disk.overwrite(offset, bytes);
    }

    /// The blocks that break a promise, by number: they hold something that an honest disk could not. At rest.
    pub(crate) fn broken(&self, block_size: usize) -> BTreeSet<u64> {
        let atom = self.disk.atom();
        let differs = |index: &usize| self.disk.seen(*index) != self.truth.seen(*index);
        let atoms = (DATA / atom..self.disk.length() / atom).filter(differs);
        atoms.map(|index| ((index * atom - DATA) / block_size) as u64).collect()
    }

    /// Whether a block cannot be read whole.
    pub(crate) fn hurts_reads(&self, block: u64, block_size: usize) -> bool {
        let (from, atom) = (DATA + block as usize * block_size, self.disk.atom());
        let bad = self.unreadable.range(from / atom..(from + block_size) / atom).next().is_some();
        bad || self.end.is_some_and(|end| from + block_size > end)
    }

    /// The newest write of a block below a frontier.
    pub(crate) fn newest_below(&self, frontier: u64, block: u64, block_size: usize) -> Option<u64> {
        let first = (DATA + block as usize * block_size) / self.disk.atom();
        self.history.get(&first)?.range(..frontier).next_back().copied()
    }

    /// Whether a shorn write was aimed at a block.
    pub(crate) fn was_shorn(&self, block: u64, block_size: usize) -> bool {
        let place = DATA + block as usize * block_size;
        self.struck.iter().any(|(fault, offset)| *fault == Fault::Shorn && (place..place + block_size).contains(offset))
    }

    /// What was promised of a block, atom by atom.
    pub(crate) fn promised(&self, block: u64, block_size: usize) -> Vec<u8> {
        self.truth.read(DATA + block as usize * block_size, block_size)
    }
}
