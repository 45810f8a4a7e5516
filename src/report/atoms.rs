//! One block, taken apart for people: runs of atoms that say the same, and the bytes that differ from what they should
//! be. Pure. It judges nothing: verdicts are the inspector's.

use serde::Serialize;

use crate::tag::{DIGEST, TAG_SIZE, Tag, checksum_holds, field_at};
use crate::vocabulary::{Block, Promise, RunId, Seq};

/// Fields of differing bytes that are named, and bytes of each that are shown.
const FIELDS_SHOWN: usize = 12;
const BYTES_SHOWN: usize = 16;

/// Neighbouring atoms that say the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AtomRun {
    /// The first of them.
    pub first: u32,
    /// The last of them.
    pub last: u32,
    /// What they say.
    #[serde(flatten)]
    pub holds: Holds,
}

/// What an atom says of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "holds", rename_all = "snake_case")]
pub enum Holds {
    /// Its checksum holds.
    Sound(Said),
    /// There is a tag, and the checksum does not hold.
    Damaged(Said),
    /// One byte, over and over.
    Constant {
        /// The byte.
        byte: u8,
    },
    /// Nothing that starts like a tag of this format.
    Other,
}

/// A tag, flat.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    /// The run that wrote it.
    pub run_id: RunId,
    /// The block that it belongs to.
    pub block: Block,
    /// Its atoms stand where they say that they belong.
    pub in_place: bool,
    /// The write.
    pub seq: Seq,
    /// The epoch's number.
    pub epoch: u64,
    /// The epoch's nonce.
    pub nonce: u64,
    /// The durable frontier known when it was sealed.
    pub durable: Seq,
    /// Under which promise that frontier was earned.
    pub promise: Promise,
    /// The newest durable checkpoint then.
    pub checkpoint: u64,
    /// Wall clock then, in nanoseconds since 1970.
    pub wall_ns: u64,
}

/// Takes a block apart.
#[must_use]
pub fn atom_runs(bytes: &[u8], block: Block, atom_size: usize) -> Vec<AtomRun> {
    let mut runs: Vec<AtomRun> = Vec::new();
    for (index, atom) in (0..).zip(bytes.chunks(atom_size)) {
        let holds = holds(atom, block, index);
        match runs.last_mut() {
            Some(run) if run.holds == holds => run.last = index,
            _ => runs.push(AtomRun { first: index, last: index, holds }),
        }
    }
    runs
}

fn holds(atom: &[u8], block: Block, index: u32) -> Holds {
    let said = |tag: Tag| Said {
        run_id: tag.run,
        block: tag.block,
        in_place: tag.block == block && tag.atom == index,
        seq: tag.claim.issue.seq,
        epoch: tag.claim.issue.epoch.number,
        nonce: tag.claim.issue.epoch.nonce,
        durable: tag.claim.durable,
        promise: tag.claim.promise,
        checkpoint: tag.claim.checkpoint,
        wall_ns: tag.claim.wall_ns,
    };
    match Tag::read(atom) {
        _ if atom.iter().all(|&byte| byte == atom[0]) => Holds::Constant { byte: atom[0] },
        Some(tag) if checksum_holds(atom) => Holds::Sound(said(tag)),
        Some(tag) => Holds::Damaged(said(tag)),
        None => Holds::Other,
    }
}

/// How a block differs from what it should be.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    /// Bytes that differ.
    pub bytes: u64,
    /// Bits that differ.
    pub bits: u64,
    /// Atoms that differ.
    pub atoms: u64,
    /// The first fields that differ.
    pub fields: Vec<FieldDifference>,
}

/// One field of one atom that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldDifference {
    /// The atom.
    pub atom: u32,
    /// The field's name.
    pub field: &'static str,
    /// The first byte of it that differs, within the block.
    pub at: usize,
    /// Bits of it that differ.
    pub bits: u64,
    /// The first bytes from there, as found.
    pub found: String,
    /// The same bytes, as they should be.
    pub expected: String,
}

/// Compares a block with what it should be.
///
/// # Panics
/// When the two are not of one length.
#[must_use]
pub fn difference(found: &[u8], expected: &[u8], atom_size: usize, with_digest: bool) -> Difference {
    assert_eq!(found.len(), expected.len(), "one block and the same block");
    let mut difference = Difference::default();
    for (index, (found, expected)) in (0..).zip(found.chunks(atom_size).zip(expected.chunks(atom_size))) {
        if found == expected {
            continue;
        }
        difference.atoms += 1;
        let differing = (0..found.len()).filter(|&at| found[at] != expected[at]);
        let mut open: Option<&'static str> = None;
        for at in differing {
            let bits = u64::from((found[at] ^ expected[at]).count_ones());
            difference.bytes += 1;
            difference.bits += bits;
            let field = field(at, index, with_digest);
            if open == Some(field) {
                if let Some(last) =
                    difference.fields.last_mut().filter(|last| (last.atom, last.field) == (index, field))
                {
                    last.bits += bits;
                }
                continue;
            }
            open = Some(field);
            if difference.fields.len() < FIELDS_SHOWN {
                let end = end_of_field(at, index, with_digest, found.len()).min(at + BYTES_SHOWN);
                difference.fields.push(FieldDifference {
                    atom: index,
                    field,
                    at: index as usize * atom_size + at,
                    bits,
                    found: hex(&found[at..end]),
                    expected: hex(&expected[at..end]),
                });
            }
        }
    }
    difference
}

fn field(at: usize, atom: u32, with_digest: bool) -> &'static str {
    if with_digest && atom == 0 && DIGEST.contains(&at) { "digest" } else { field_at(at) }
}

fn end_of_field(at: usize, atom: u32, with_digest: bool, length: usize) -> usize {
    if at >= TAG_SIZE && !(with_digest && atom == 0) {
        return length;
    }
    let name = field(at, atom, with_digest);
    (at..length).find(|&next| field(next, atom, with_digest) != name).unwrap_or(length)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

impl AtomRun {
    /// In words, one line.
    #[must_use]
    pub fn words(&self, pass_of: impl Fn(Seq) -> u64) -> String {
        let AtomRun { first, last, holds } = self;
        let which = if first == last { format!("atom {first}") } else { format!("atoms {first}-{last}") };
        let said = |said: &Said| {
            let Said { seq, epoch, nonce, durable, checkpoint, block, .. } = said;
            let place =
                if said.in_place { String::new() } else { format!(", of block {block} or another place in it") };
            format!(
                "write {seq} (pass {}), epoch {epoch} nonce {nonce:016x}, durable {durable} by {}, checkpoint {checkpoint}, \
                 {}{place}, run {}",
                pass_of(*seq),
                super::text::promise(said.promise),
                super::text::wall(said.wall_ns),
                said.run_id
            )
        };
        match holds {
            Holds::Sound(tag) => format!("{which}: {}", said(tag)),
            Holds::Damaged(tag) => format!("{which}: CHECKSUM WRONG; the tag says {}", said(tag)),
            Holds::Constant { byte } => format!("{which}: constant {byte:02x}"),
            Holds::Other => format!("{which}: nothing that scrubd wrote, or damaged beyond telling"),
        }
    }
}

impl AtomRun {
    /// In words that fit half a line: which write, of where.
    #[must_use]
    pub fn brief(&self, pass_of: impl Fn(Seq) -> u64) -> String {
        let AtomRun { first, last, holds } = self;
        let which = if first == last { format!("atom {first}") } else { format!("atoms {first}-{last}") };
        let said = |said: &Said| {
            let place = if said.in_place { String::new() } else { format!(" of block {}", said.block) };
            format!("write {} (pass {}), epoch {}{place}", said.seq, pass_of(said.seq), said.epoch)
        };
        match holds {
            Holds::Sound(tag) => format!("{which}: {}", said(tag)),
            Holds::Damaged(tag) => format!("{which}: CHECKSUM WRONG; the tag says {}", said(tag)),
            Holds::Constant { byte } => format!("{which}: constant {byte:02x}"),
            Holds::Other => format!("{which}: nothing that scrubd wrote, or damaged beyond telling"),
        }
    }

    /// The tag, where there is one.
    #[must_use]
    pub fn said(&self) -> Option<&Said> {
        match &self.holds {
            Holds::Sound(said) | Holds::Damaged(said) => Some(said),
            Holds::Constant { .. } | Holds::Other => None,
        }
    }
}

impl Difference {
    /// In words, a line each.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let Difference { bytes, bits, atoms, .. } = self;
        let mut lines = vec![format!("{bits} bits in {bytes} bytes of {atoms} atoms differ from what was rebuilt")];
        for field in &self.fields {
            let FieldDifference { atom, field, at, bits, found, expected } = field;
            lines.push(format!("atom {atom}, {field}, from byte {at} of the block: {bits} bits"));
            lines.push(format!("  found    {found}"));
            lines.push(format!("  expected {expected}"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Sealer;
    use crate::vocabulary::{Claim, Digest, Epoch, Geometry, Issue, Order};

    const RUN: RunId = RunId([9; 16]);

    fn sealed(seq: u64, digest: Digest) -> Vec<u8> {
        let geometry =
            Geometry { offset: 0, length: 2 << 20, block_size: 4096, atom: 512, order: Order::Sequential, digest };
        let claim = Claim {
            issue: Issue { seq: Seq(seq), epoch: Epoch { number: 2, nonce: 3 } },
            durable: Seq(1),
            promise: Promise::Flush,
            checkpoint: 4,
            wall_ns: 1_772_366_400_000_000_000,
        };
        let mut bytes = vec![0; 4096];
        Sealer::new(geometry, RUN).seal(Block(7), &claim, &mut bytes);
        bytes
    }

    #[test]
    fn atoms_that_say_the_same_are_told_once() {
        let mut bytes = sealed(7, Digest::Crc32c);
        bytes[512..1024].copy_from_slice(&sealed(263, Digest::Crc32c)[512..1024]);
        bytes[1024..1536].fill(0xff);
        bytes[1536 + 400] ^= 1;
        bytes[2048..2052].fill(9);
        bytes[2052] = 1;
        let runs = atom_runs(&bytes, Block(7), 512);
        let bounds: Vec<(u32, u32)> = runs.iter().map(|run| (run.first, run.last)).collect();
        assert_eq!(bounds, [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 7)]);
        assert!(matches!(&runs[1].holds, Holds::Sound(said) if said.seq == Seq(263) && said.in_place));
        assert_eq!(runs[2].holds, Holds::Constant { byte: 0xff });
        assert!(matches!(&runs[3].holds, Holds::Damaged(said) if said.seq == Seq(7)));
        assert_eq!(runs[4].holds, Holds::Other);
        let told = runs[0].words(|seq| seq.0 / 256);
        let expected = "atom 0: write 7 (pass 0), epoch 2 nonce 0000000000000003, durable 1 by flush, checkpoint 4, \
                        2026-03-01T12:00:00Z, run 09090909090909090909090909090909";
        assert_eq!(told, expected);
    }

    #[test]
    fn differing_bytes_are_named_by_their_fields() {
        let expected = sealed(7, Digest::Blake3);
        let mut found = expected.clone();
        found[40] ^= 0b101;
        found[100] ^= 1;
        found[512 + 200] ^= 0x80;
        let difference = difference(&found, &expected, 512, true);
        assert_eq!((difference.bytes, difference.bits, difference.atoms), (3, 4, 2));
        let fields: Vec<(u32, &str, usize)> = difference.fields.iter().map(|f| (f.atom, f.field, f.at)).collect();
        assert_eq!(fields, [(0, "seq", 40), (0, "digest", 100), (1, "payload", 712)]);
        assert_eq!(difference.fields[0].found, "02 00 00 00 00 00 00 00");
        assert_eq!(difference.fields[0].expected, "07 00 00 00 00 00 00 00");
        assert_eq!(difference.words()[0], "4 bits in 3 bytes of 2 atoms differ from what was rebuilt");
    }
}
