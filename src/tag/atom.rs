//! What one atom is, before anybody asks whether that is legal.

use super::checksum::checksum_holds;
use super::format::{Tag, looks_like_run};
use super::inspect::Inspector;
use crate::vocabulary::{Block, Claim, RunId};

/// The kinds of thing that an atom can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Atom {
    /// A sound atom of this run in its own place.
    Ours(Claim),
    /// A sound atom of another run, or of this run's id in another geometry.
    Foreign(RunId),
    /// A sound atom of this run that belongs to another block or another place in this one.
    Elsewhere(Tag),
    /// One byte, over and over.
    Constant(u8),
    /// It says that it is of this run, and its checksum or its tag does not hold.
    Damaged,
    /// Nothing that this program wrote, or damaged beyond telling.
    Strange,
}

impl Atom {
    pub(super) fn claim(&self) -> Option<&Claim> {
        match self {
            Atom::Ours(claim) => Some(claim),
            _ => None,
        }
    }
}

/// Tells what an atom is. Never panics on rotten bytes.
pub(super) fn classify(inspector: &Inspector, bytes: &[u8], block: Block, index: u32) -> Atom {
    let run = inspector.sealer.run();
    if !checksum_holds(bytes) {
        return if bytes.iter().all(|&byte| byte == bytes[0]) {
            Atom::Constant(bytes[0])
        } else if looks_like_run(bytes) == Some(run) {
            Atom::Damaged
        } else {
            Atom::Strange
        };
    }
    match (Tag::read(bytes), looks_like_run(bytes)) {
        (Some(tag), _) if tag.run == run => ours(inspector, &tag, block, index),
        // A sound tag of a format that a later version writes is foreign too.
        (_, Some(other)) if other != run => Atom::Foreign(other),
        (_, Some(_)) => Atom::Damaged,
        // Sixteen zero bytes and the like have a checksum that holds by chance of their making.
        (_, None) if bytes.iter().all(|&byte| byte == bytes[0]) => Atom::Constant(bytes[0]),
        (_, None) => Atom::Strange,
    }
}

/// What an atom is whose checksum holds and whose tag is of this run.
pub(super) fn ours(inspector: &Inspector, tag: &Tag, block: Block, index: u32) -> Atom {
    let geometry = inspector.sealer.geometry();
    let Tag { claim, block_size, atom_size, digest, .. } = *tag;
    // Another target under the same run id: a label that was copied.
    if (block_size, atom_size, digest) != (geometry.block_size, geometry.atom, geometry.digest) {
        return Atom::Foreign(tag.run);
    }
    let sane = tag.block.0 < geometry.blocks()
        && tag.atom < geometry.atoms()
        && claim.durable <= claim.issue.seq
        && inspector.schedule.block_of(claim.issue.seq) == tag.block;
    match sane {
        // A sound checksum over a tag that no writer of this run can have made.
        false => Atom::Damaged,
        true if (tag.block, tag.atom) == (block, index) => Atom::Ours(claim),
        true => Atom::Elsewhere(*tag),
    }
}
