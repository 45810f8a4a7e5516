//! How the simulated kernel moves the bytes of one request: in one go, in parts, or after saying "not now".
//!
//! What follows a part is not decided here but by the ring's own [`crate::ring::Progress`]: a read gives only the bytes
//! that were asked for, and a write lands only the atoms that its tries have filled.

use std::sync::Arc;

use super::{Disk, IoId, Reading};
use crate::sim::fault::{Fault, Struck};
use crate::vocabulary::Block;

/// Errors by their numbers: a pure room asks no C library.
pub(super) const EIO: i32 = 5;
const EINTR: i32 = 4;
const EAGAIN: i32 = 11;

impl Disk {
    /// How much longer the write takes than usual, in nanoseconds.
    #[must_use]
    pub fn lateness_of_write(&self, id: IoId) -> u64 {
        self.writes.get(&id).and_then(|write| write.fault).map_or(0, Fault::lateness)
    }

    /// What goes wrong with a write in flight.
    #[must_use]
    pub fn fault_of_write(&self, id: IoId) -> Option<Fault> {
        self.writes.get(&id).and_then(|write| write.fault)
    }

    /// One try to move the bytes of a write from here to its end: how many were moved, or an errno.
    ///
    /// # Panics
    /// When no such write is in flight.
    pub fn try_write(&mut self, id: IoId, from: usize) -> Result<usize, i32> {
        let write = self.writes.get_mut(&id).expect("a write in flight");
        let remaining = self.settings.block_size - from;
        let moved = match write.fault {
            Some(Fault::FailedWrite) => Err(EIO),
            Some(Fault::ShortWrite(bytes)) if write.tries == 0 => Ok(remaining.min(bytes as usize)),
            Some(Fault::InterruptedWrite(times)) if write.tries < times => Err(not_now(write.tries)),
            _ => Ok(remaining),
        };
        write.tries += 1;
        // Bytes beyond a gap do not make an atom whole.
        if let Ok(moved) = moved
            && from <= write.covered
        {
            write.covered = write.covered.max(from + moved);
        }
        moved
    }

    /// The write in flight ends with an error for who asked for it: each of its atoms may have landed, and not even
    /// with dsync is anything promised.
    ///
    /// # Panics
    /// When no such write is in flight.
    pub fn fail_write(&mut self, id: IoId) {
        let write = self.writes.remove(&id).expect("a write in flight");
        let mask = self.random.word() & self.every_atom();
        self.land(write.block, &write.content, mask, id, false);
    }

    /// How much longer the flush in flight takes than usual, in nanoseconds.
    #[must_use]
    pub fn lateness_of_flush(&self) -> u64 {
        self.flush.as_ref().and_then(|(_, fault)| *fault).map_or(0, Fault::lateness)
    }

    /// A read is handed over, and how much longer it takes than usual, in nanoseconds.
    pub fn submit_read(&mut self, block: Block) -> (IoId, u64) {
        let nth = self.reads;
        self.reads += 1;
        let cell = &mut self.cells[block.0 as usize];
        let fault = self.script.fault(Struck::Read, nth, Some((block, cell.reads)));
        cell.reads += 1;
        if let Some(fault @ (Fault::UnreadableBlock | Fault::UnstableBlock | Fault::BitRot)) = fault {
            self.damage(block, fault);
        }
        let id = IoId(self.next);
        self.next += 1;
        self.reading.insert(id, Reading { block, fault, tries: 0 });
        (id, fault.map_or(0, Fault::lateness))
    }

    /// Whether what this read returns is damaged on its way.
    #[must_use]
    pub fn is_garbled(&self, id: IoId) -> bool {
        self.reading.get(&id).is_some_and(|reading| reading.fault == Some(Fault::GarbledRead))
    }

    /// One try to move the bytes of a read from `from` on into `into`: how many were moved, or an errno.
    ///
    /// # Panics
    /// When no such read is in flight.
    pub fn try_read(&mut self, id: IoId, from: usize, into: &mut [u8]) -> Result<usize, i32> {
        let reading = self.reading.get_mut(&id).expect("a read in flight");
        let (block, fault, nth) = (reading.block, reading.fault, reading.tries);
        reading.tries += 1;
        let wanted = match fault {
            Some(Fault::ReadError) => return Err(EIO),
            Some(Fault::EndOfFile) => return Ok(0),
            Some(Fault::InterruptedRead(times)) if nth < times => return Err(not_now(nth)),
            Some(Fault::ShortRead(bytes)) if nth == 0 => into.len().min(bytes as usize),
            _ => into.len(),
        };
        let cell = &self.cells[block.0 as usize];
        if cell.unreadable {
            return Err(EIO);
        }
        let (atom, unstable) = (self.settings.atom, cell.unstable);
        let other_copy = cell.twin.iter().any(Option::is_some) && self.random.chance(500);
        let cell = &self.cells[block.0 as usize];
        for at in from / atom..(from + wanted).div_ceil(atom) {
            let cached = || cell.cached.iter().any(|version| version.mask >> at & 1 == 1);
            let twin = cell.twin[at].as_ref().filter(|_| other_copy && !cached());
            let content = twin.unwrap_or(&cell.seen[at]);
            let (first, last) = ((at * atom).max(from), ((at + 1) * atom).min(from + wanted));
            into[first - from..last - from].copy_from_slice(&content.bytes[first..last]);
        }
        if wanted > 0 && (unstable || fault == Some(Fault::GarbledRead)) {
            let bit = self.random.below(wanted as u64 * 8) as usize;
            into[bit / 8] ^= 1 << (bit % 8);
        }
        Ok(wanted)
    }

    /// The read in flight is over.
    pub fn end_read(&mut self, id: IoId) {
        self.reading.remove(&id);
    }

    /// Nobody waits for any read any more.
    pub fn forget_reads(&mut self) {
        self.reading.clear();
    }

    /// Atoms of which the two copies of a mirror differ.
    #[must_use]
    pub fn copies_that_differ(&self) -> usize {
        let twins = self.cells.iter().flat_map(|cell| cell.twin.iter().zip(&cell.media));
        twins.filter(|(twin, media)| twin.as_ref().is_some_and(|twin| !Arc::ptr_eq(twin, media))).count()
    }
}

fn not_now(nth: u32) -> i32 {
    if nth.is_multiple_of(2) { EINTR } else { EAGAIN }
}
