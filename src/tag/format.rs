//! The tag at the start of each atom, byte by byte. Integers are little-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | CRC-32C of the rest of the atom, byte 4 to its end |
//! | 4 | 4 | magic `scrb` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 1 | promise under which the frontier was earned: 1 ack, 2 fua, 3 flush |
//! | 11 | 1 | digest: 0 none beside the CRC, 1 BLAKE3 in the first atom |
//! | 12 | 4 | index of the atom in its block |
//! | 16 | 16 | run id |
//! | 32 | 8 | block |
//! | 40 | 8 | seq |
//! | 48 | 8 | epoch number |
//! | 56 | 8 | epoch nonce |
//! | 64 | 8 | durable frontier known when the block was sealed |
//! | 72 | 8 | number of the newest durable checkpoint then |
//! | 80 | 8 | wall clock then, nanoseconds since 1970 |
//! | 88 | 4 | block size in bytes |
//! | 92 | 4 | atom size in bytes |
//! | 96 | … | payload, to the end of the atom |
//!
//! In the first atom of a block with a BLAKE3 digest the payload's first 32 bytes are replaced by the digest.
//! The CRC comes first so that one call covers all that it guards.
//!
//! Every later version keeps the checksum at 0 over the rest of the atom, the magic at 4, the version at 8 and the run
//! id at 16, so that a sound atom of another run is told from a damaged one whatever its version.

use crate::vocabulary::{Block, Claim, Digest, Epoch, Issue, Promise, RunId, Seq};

/// Bytes of a tag.
pub const TAG_SIZE: usize = 96;
/// Where a BLAKE3 digest stands in the first atom, behind the tag.
pub const DIGEST: std::ops::Range<usize> = TAG_SIZE..TAG_SIZE + 32;
/// Bytes of an atom that its issue alone does not tell: checksum, promise, durable frontier, checkpoint and wall clock.
pub const UNTOLD_BY_ISSUE: [std::ops::Range<usize>; 3] = [0..4, 10..11, 64..88];
/// Where the atom's index stands.
pub(super) const INDEX: std::ops::Range<usize> = 12..16;
/// What a tag starts with, behind its checksum.
pub const MAGIC: [u8; 4] = *b"scrb";
/// The format that this version writes and reads.
pub const VERSION: u16 = 1;

/// A decoded tag. All atoms of one issue carry the same but for the atom's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The run that wrote it.
    pub run: RunId,
    /// The block it belongs to.
    pub block: Block,
    /// Its index in that block.
    pub atom: u32,
    /// What it says of itself and of the disk.
    pub claim: Claim,
    /// What vouches for the whole block.
    pub digest: Digest,
    /// Bytes of its block.
    pub block_size: u32,
    /// Bytes of an atom.
    pub atom_size: u32,
}

impl Tag {
    /// Writes the tag, its checksum left zero: that is set last, by [`seal_atom`](super::seal_atom).
    ///
    /// # Panics
    /// When `bytes` is shorter than a tag.
    pub fn write(&self, bytes: &mut [u8]) {
        bytes[..TAG_SIZE].copy_from_slice(&self.to_bytes());
    }

    /// The tag, its checksum zero. Another atom of the block differs in [`INDEX`] only.
    pub(super) fn to_bytes(self) -> [u8; TAG_SIZE] {
        let Claim { issue, durable, promise, checkpoint, wall_ns } = self.claim;
        let mut tag = [0; TAG_SIZE];
        let mut at = 4;
        let mut put = |field: &[u8]| {
            tag[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&MAGIC);
        put(&VERSION.to_le_bytes());
        put(&[promise as u8, self.digest as u8]);
        put(&self.atom.to_le_bytes());
        put(&self.run.0);
        for word in [self.block.0, issue.seq.0, issue.epoch.number, issue.epoch.nonce, durable.0, checkpoint, wall_ns] {
            put(&word.to_le_bytes());
        }
        put(&self.block_size.to_le_bytes());
        put(&self.atom_size.to_le_bytes());
        tag
    }

    /// Reads a tag without asking whether its checksum holds. `None` when it is no tag of this format.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let tag: &[u8; TAG_SIZE] = bytes.first_chunk()?;
        if tag[4..8] != MAGIC || tag[8..10] != VERSION.to_le_bytes() {
            return None;
        }
        let epoch = Epoch { number: word(tag, 48), nonce: word(tag, 56) };
        let claim = Claim {
            issue: Issue { seq: Seq(word(tag, 40)), epoch },
            durable: Seq(word(tag, 64)),
            promise: Promise::from_byte(tag[10])?,
            checkpoint: word(tag, 72),
            wall_ns: word(tag, 80),
        };
        Some(Tag {
            run: run_of(tag),
            block: Block(word(tag, 32)),
            atom: half(tag, 12),
            claim,
            digest: Digest::from_byte(tag[11])?,
            block_size: half(tag, 88),
            atom_size: half(tag, 92),
        })
    }
}

/// Whether two atoms of one block carry the same tag but for the checksum and the index.
pub(super) fn same_issue_bytes(a: &[u8; TAG_SIZE], b: &[u8; TAG_SIZE]) -> bool {
    a[4..INDEX.start] == b[4..INDEX.start] && a[INDEX.end..] == b[INDEX.end..]
}

/// The run id of something that starts like a tag, sound or not.
pub(super) fn looks_like_run(bytes: &[u8]) -> Option<RunId> {
    let tag: &[u8; TAG_SIZE] = bytes.first_chunk()?;
    (tag[4..8] == MAGIC).then(|| run_of(tag))
}

fn run_of(tag: &[u8; TAG_SIZE]) -> RunId {
    let mut run = [0; 16];
    run.copy_from_slice(&tag[16..32]);
    RunId(run)
}

pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("eight bytes"))
}

pub(super) fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("four bytes"))
}

/// The names of the fields and where they start: what a diagnosis calls a damaged byte.
#[must_use]
pub fn field_at(offset: usize) -> &'static str {
    const FIELDS: [(usize, &str); 16] = [
        (0, "checksum"),
        (4, "magic"),
        (8, "version"),
        (10, "promise"),
        (11, "digest kind"),
        (12, "atom index"),
        (16, "run id"),
        (32, "block"),
        (40, "seq"),
        (48, "epoch"),
        (56, "nonce"),
        (64, "durable frontier"),
        (72, "checkpoint"),
        (80, "wall clock"),
        (88, "geometry"),
        (96, "payload"),
    ];
    FIELDS.iter().rev().find(|(start, _)| *start <= offset).map_or("checksum", |(_, name)| name)
}
