//! What happened to a damaged atom: the slow path, taken for findings only.
//!
//! Everything is told by rebuilding: the payload of any issue can be made again, and the tags of one issue differ only
//! in the atom's index, so a sound neighbour tells the whole of a damaged atom, tag included.

use std::collections::BTreeSet;

use super::atom::Atom;
use super::checksum::checksum_holds;
use super::format::{TAG_SIZE, Tag, field_at};
use super::inspect::Inspector;
use super::verdict::Class;
use crate::ledger::{Legal, Standing};
use crate::vocabulary::{Block, Claim, Digest, Epoch, Issue, Promise, Seq};

/// Epochs that are tried when the other half of a shorn atom is looked for.
const EPOCHS_TRIED: usize = 8;

/// A part of an atom counts as recognised from this many bytes on: a word that matches by chance is one in 2^64.
const RECOGNISED: usize = 8;

/// Shorn or corrupt.
pub(super) fn damage(inspector: &Inspector, bytes: &[u8], atoms: &[Atom], index: u32, legal: &Legal) -> Class {
    match shear(inspector, bytes, atoms, index, legal) {
        Some(_) => Class::Shorn,
        None => Class::Corrupt,
    }
}

/// An atom whose front and back are of different writes.
struct Shear {
    /// Where the back begins, within the atom.
    at: usize,
    front: Issue,
    /// `None`: what was there before the run.
    back: Option<Issue>,
}

fn shear(inspector: &Inspector, bytes: &[u8], atoms: &[Atom], index: u32, legal: &Legal) -> Option<Shear> {
    let atom = atom_bytes(inspector, bytes, index);
    let candidates = candidates(inspector, bytes, atoms, index, legal);
    let rebuilt: Vec<(Issue, Vec<u8>)> = candidates
        .iter()
        .map(|claim| (claim.issue, inspector.sealer.rebuild_atom(legal.block, index, claim)))
        .collect();
    let start = payload_start(inspector, index);
    let fronts = rebuilt.iter().map(|(issue, whole)| (*issue, start + matching(&atom[start..], &whole[start..])));
    let (front, end) = fronts.max_by_key(|(_, end)| *end).filter(|(_, end)| *end >= start + RECOGNISED)?;
    if end == atom.len() {
        return cut_behind_the_tag(inspector, bytes, atoms, index, legal, front);
    }
    let backs = rebuilt.iter().filter(|(issue, _)| *issue != front);
    let back = backs.map(|(issue, whole)| (*issue, atom.len() - matching_back(atom, whole))).min_by_key(|(_, at)| *at);
    match back {
        Some((back, at)) if at <= end && atom.len() - at >= RECOGNISED => {
            Some(Shear { at: end, front, back: Some(back) })
        }
        // In the first write of a block, "old" is whatever was there: recognised by the cut at a sector's edge.
        _ => {
            let first = inspector.schedule.newest_below(front.seq, legal.block).is_none();
            let sector_edge = end.is_multiple_of(512) && end < atom.len();
            let whole = rebuilt.iter().find(|(issue, _)| *issue == front).map(|(_, whole)| &whole[end..])?;
            let unlike = atom[end..].chunks(8).zip(whole.chunks(8)).all(|(found, written)| found != written);
            (first && sector_edge && unlike).then_some(Shear { at: end, front, back: None })
        }
    }
}

/// The payload is all of one write: shorn only where the tag is of another, and of one that somebody else knows of. A
/// tag that is itself damaged names what nobody wrote.
fn cut_behind_the_tag(
    inspector: &Inspector,
    bytes: &[u8],
    atoms: &[Atom],
    index: u32,
    legal: &Legal,
    payload: Issue,
) -> Option<Shear> {
    let front = own_claim(inspector, bytes, index, legal.block)?.issue;
    let of_neighbour = atoms.iter().filter_map(Atom::claim).any(|claim| claim.issue == front);
    let of_the_run = legal.epochs.records().iter().any(|record| record.epoch == front.epoch);
    let at = payload_start(inspector, index);
    (front != payload && (of_neighbour || of_the_run)).then_some(Shear { at, front, back: Some(payload) })
}

fn matching(found: &[u8], whole: &[u8]) -> usize {
    found.chunks(8).zip(whole.chunks(8)).take_while(|(a, b)| a == b).map(|(a, _)| a.len()).sum()
}

fn matching_back(found: &[u8], whole: &[u8]) -> usize {
    let words = found[TAG_SIZE..].rchunks(8).zip(whole[TAG_SIZE..].rchunks(8));
    words.take_while(|(a, b)| a == b).map(|(a, _)| a.len()).sum()
}

/// The first byte of an atom that its issue alone determines.
fn payload_start(inspector: &Inspector, index: u32) -> usize {
    let digest = index == 0 && inspector.sealer.geometry().digest == Digest::Blake3;
    if digest { super::format::DIGEST.end } else { TAG_SIZE }
}

/// The writes that may have had a part in an atom: what it says itself, what its neighbours say, the newest that is known
/// and the newest that is said, and the writes before these.
fn candidates(inspector: &Inspector, bytes: &[u8], atoms: &[Atom], index: u32, legal: &Legal) -> Vec<Claim> {
    let mut claims: Vec<Claim> = own_claim(inspector, bytes, index, legal.block).into_iter().collect();
    claims.extend(atoms.iter().filter_map(Atom::claim));
    // After a cut more was issued than is known: what the atom or its neighbours say themselves may be newer, and then
    // the write before it is not among the known ones.
    let said = claims.iter().map(|claim| claim.issue.seq).max();
    let known = legal.newest_issued.max(legal.expected()).map(|seq| seq.next()).or(legal.reserved);
    for newest in [known, said].into_iter().flatten() {
        claims.extend(older_writes(inspector, newest, legal));
    }
    let mut seen = BTreeSet::new();
    claims.retain(|claim| seen.insert(claim.issue));
    claims
}

/// The three newest writes of the block below a frontier, in each epoch that they may be of.
fn older_writes(inspector: &Inspector, frontier: Seq, legal: &Legal) -> Vec<Claim> {
    let below = |frontier: &Seq| inspector.schedule.newest_below(*frontier, legal.block);
    let writes = std::iter::successors(below(&frontier), below).take(3);
    let issues = writes.flat_map(|seq| {
        let possible = legal.epochs.records().iter().rev().filter(move |record| record.restart <= seq);
        possible.take(EPOCHS_TRIED).map(move |record| Issue { seq, epoch: record.epoch })
    });
    let claim = |issue: Issue| Claim { issue, durable: issue.seq, promise: Promise::Flush, checkpoint: 0, wall_ns: 0 };
    issues.map(claim).collect()
}

/// What a damaged atom says of itself, if that makes sense for the block; with one flipped bit in its tag mended.
fn own_claim(inspector: &Inspector, bytes: &[u8], index: u32, block: Block) -> Option<Claim> {
    let atom = atom_bytes(inspector, bytes, index);
    let sensible = |tag: &Tag| {
        tag.run == inspector.sealer.run()
            && (tag.block, tag.atom) == (block, index)
            && tag.claim.durable <= tag.claim.issue.seq
            && inspector.schedule.block_of(tag.claim.issue.seq) == block
    };
    let own = Tag::read(atom).filter(sensible);
    let mended = || {
        let mut copy = atom.to_vec();
        (0..TAG_SIZE * 8).find_map(|bit| {
            copy[bit / 8] ^= 1 << (bit % 8);
            let tag = checksum_holds(&copy).then(|| Tag::read(&copy)).flatten().filter(sensible);
            copy[bit / 8] ^= 1 << (bit % 8);
            tag
        })
    };
    mended().or(own).map(|tag| tag.claim)
}

fn atom_bytes<'a>(inspector: &Inspector, bytes: &'a [u8], index: u32) -> &'a [u8] {
    let size = inspector.sealer.geometry().atom as usize;
    &bytes[index as usize * size..][..size]
}

/// Whether a "corrupt" block is rather one in which no write of this run ever landed: not a single word of the first
/// guaranteed write, or of any other, is there, and no older write of this run could be.
pub(super) fn nothing_of_this_run(
    inspector: &Inspector,
    class: Class,
    bytes: &[u8],
    atoms: &[Atom],
    legal: &Legal,
) -> bool {
    let first_write = legal.expected().is_some_and(|seq| inspector.schedule.newest_below(seq, legal.block).is_none());
    let strange = class == Class::Corrupt && first_write && atoms.iter().all(|atom| *atom == Atom::Strange);
    strange
        && (0..).zip(atoms).all(|(index, _)| {
            let atom = atom_bytes(inspector, bytes, index);
            candidates(inspector, bytes, atoms, index, legal).iter().all(|claim| {
                let whole = inspector.sealer.rebuild_atom(legal.block, index, claim);
                // Unrelated bytes differ in half of their bits; a third is far from both chance and rot.
                differing_bits(&atom[TAG_SIZE..], &whole[TAG_SIZE..]) > (atom.len() - TAG_SIZE) as u64 * 8 / 3
            })
        })
}

fn differing_bits(a: &[u8], b: &[u8]) -> u64 {
    a.iter().zip(b).map(|(a, b)| u64::from((a ^ b).count_ones())).sum()
}

/// The finding in words.
pub(super) fn detail(inspector: &Inspector, class: Class, bytes: &[u8], atoms: &[Atom], legal: &Legal) -> String {
    let count = |wanted: fn(&Atom) -> bool| atoms.iter().filter(|atom| wanted(atom)).count();
    let total = atoms.len();
    let expected = legal.expected().map_or_else(|| "nothing is guaranteed".to_owned(), |seq| format!("{seq} expected"));
    match class {
        Class::Zeroed => {
            let constants = atoms.iter().filter_map(|atom| match atom {
                Atom::Constant(byte) => Some(*byte),
                _ => None,
            });
            let byte = constants.clone().next().unwrap_or(0);
            let not_read =
                if byte == crate::vocabulary::POISON { " (not_read: the poison of the read buffer)" } else { "" };
            format!("{} of {total} atoms are constant {byte:02x}{not_read}; {expected}", constants.count())
        }
        Class::Foreign => {
            let run = atoms.iter().find_map(|atom| match atom {
                Atom::Foreign(run) if *run == inspector.sealer.run() => Some(format!("{run} in another geometry")),
                Atom::Foreign(run) => Some(run.to_string()),
                _ => None,
            });
            let foreign = count(|atom| matches!(atom, Atom::Foreign(_)));
            format!("{foreign} of {total} atoms are of run {}; {expected}", run.unwrap_or_default())
        }
        Class::Misdirected => {
            let stray = atoms.iter().find_map(|atom| match atom {
                Atom::Elsewhere(tag) => Some(tag),
                _ => None,
            });
            let strays = count(|atom| matches!(atom, Atom::Elsewhere(_)));
            stray.map_or_else(String::new, |tag| {
                let Tag { block, atom, claim, .. } = tag;
                format!("{strays} of {total} atoms belong elsewhere: the first is write {} of block {block}, atom {atom}; {expected}", claim.issue.seq)
            })
        }
        Class::Shorn | Class::Corrupt => damaged_atoms(inspector, bytes, atoms, legal),
        Class::LostWrite | Class::Unserializable | Class::Torn | Class::Phantom => {
            let guarantee = guarantee_in_words(legal);
            let parts = mixture(inspector, atoms, legal);
            if parts.is_empty() {
                format!("nothing of this run is there; {guarantee}")
            } else {
                format!("{parts}; {guarantee}")
            }
        }
        Class::Unreadable | Class::Unstable => String::new(),
    }
}

fn guarantee_in_words(legal: &Legal) -> String {
    use crate::ledger::{ProvedBy, Rule};
    match legal.rule {
        Rule::Exactly(issue) => format!("{} was completed in epoch {} and not replaced", issue.seq, issue.epoch.number),
        Rule::Anything => "nothing is guaranteed".to_owned(),
        Rule::AtLeast(guarantee) => {
            let by = match (guarantee.flush, guarantee.proved_by) {
                (Some(flush), _) => format!("by flush {}", flush.number),
                (None, ProvedBy::Checkpoint) => "by the saved ledger".to_owned(),
                (None, ProvedBy::Disk) => "by tags on the disk itself".to_owned(),
                (None, ProvedBy::Witness) => "by the witness".to_owned(),
            };
            format!("{} was guaranteed {by}", guarantee.seq)
        }
    }
}

/// Runs of atoms of one issue: "atoms 0-7 write 41 (older), 8-15 write 44".
fn mixture(inspector: &Inspector, atoms: &[Atom], legal: &Legal) -> String {
    let mut parts: Vec<(u32, u32, Option<Claim>)> = Vec::new();
    for (index, atom) in (0..).zip(atoms) {
        let claim = atom.claim().copied();
        match parts.last_mut() {
            Some((_, last, known)) if *known == claim => *last = index,
            _ => parts.push((index, index, claim)),
        }
    }
    let told = parts.iter().filter_map(|(first, last, claim)| {
        let claim = (*claim)?;
        let Issue { seq, epoch: Epoch { number, .. } } = claim.issue;
        let standing = match legal.standing(&claim) {
            Standing::Legal => "",
            Standing::Older => ", older than it may be",
            Standing::NeverIssued => ", never issued",
            Standing::Ahead => ", of an epoch or checkpoint that the ledger has not heard of",
        };
        let pass = inspector.schedule.pass_of(seq);
        Some(format!("atoms {first}-{last} hold write {seq} (pass {pass}, epoch {number}{standing})"))
    });
    // A 4 MiB block has up to 8,192 atoms; what a person reads has a dozen parts.
    let told: Vec<String> = told.take(12).collect();
    told.join(", ")
}

fn damaged_atoms(inspector: &Inspector, bytes: &[u8], atoms: &[Atom], legal: &Legal) -> String {
    let damaged = |(_, atom): &(u32, &Atom)| matches!(atom, Atom::Damaged | Atom::Strange);
    let all: Vec<u32> = (0..).zip(atoms).filter(damaged).map(|(index, _)| index).collect();
    let Some(&index) = all.first() else {
        return "every atom's checksum holds and the block's BLAKE3 does not".to_owned();
    };
    let first = if let Some(shear) = shear(inspector, bytes, atoms, index, legal) {
        let back =
            shear.back.map_or_else(|| "what was there before".to_owned(), |issue| format!("write {}", issue.seq));
        format!("atom {index} is write {} up to byte {} and {back} from there", shear.front.seq, shear.at)
    } else {
        differences(inspector, bytes, atoms, index, legal)
    };
    format!("{} of {} atoms are damaged; {first}", all.len(), atoms.len())
}

/// How many bits differ from the closest of the writes that the atom could be, and where.
fn differences(inspector: &Inspector, bytes: &[u8], atoms: &[Atom], index: u32, legal: &Legal) -> String {
    let atom = atom_bytes(inspector, bytes, index);
    let candidates = candidates(inspector, bytes, atoms, index, legal);
    let wholes = candidates.iter().map(|claim| (claim, inspector.sealer.rebuild_atom(legal.block, index, claim)));
    let payload = |whole: &[u8]| differing_bits(&atom[TAG_SIZE..], &whole[TAG_SIZE..]);
    let Some((claim, whole)) = wholes.min_by_key(|(_, whole)| payload(whole)) else {
        return format!("atom {index} is like no write of this run");
    };
    // A claim that was made up for the trial knows the payload and not the tag.
    let known_tag = claim.checkpoint != 0 || claim.wall_ns != 0;
    let from = if known_tag { 0 } else { TAG_SIZE };
    let places: Vec<usize> = (from..atom.len()).filter(|&at| atom[at] != whole[at]).collect();
    let bits = differing_bits(&atom[from..], &whole[from..]);
    match (places.first(), places.last()) {
        (Some(first), Some(last)) => format!(
            "in atom {index}, {bits} bits in {} bytes differ from write {}, from byte {first} ({}) to byte {last} ({})",
            places.len(),
            claim.issue.seq,
            field_at(*first),
            field_at(*last),
        ),
        _ => format!("in atom {index}, the payload is that of write {} and the tag is damaged", claim.issue.seq),
    }
}

/// The whole block as it should be, tag included, where some sound atom or a mendable tag tells which write it is.
#[must_use]
pub(super) fn expectation(inspector: &Inspector, bytes: &[u8], atoms: &[Atom], legal: &Legal) -> Option<Vec<u8>> {
    let sound = atoms.iter().filter_map(Atom::claim).copied().max_by_key(|claim| claim.issue.seq);
    let own = || (0..).zip(atoms).find_map(|(index, _)| own_claim(inspector, bytes, index, legal.block));
    let claim = sound.or_else(own)?;
    let mut whole = vec![0; bytes.len()];
    inspector.sealer.seal(legal.block, &claim, &mut whole);
    Some(whole)
}
