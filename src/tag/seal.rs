//! Sealing: a block gets its payload and its tags before it is written. Each byte is filled once and summed once, but for
//! the first atom of a block with a BLAKE3 digest, which is summed again with the digest in it.

use super::checksum::{seal_atom, seal_atoms, stretch_of};
use super::digest::{BlockHasher, TOGETHER};
use super::format::{DIGEST, INDEX, TAG_SIZE, Tag, UNTOLD_BY_ISSUE};
use super::payload::BlockSeed;
use crate::vocabulary::{ATOM_SIZES, Block, Claim, Digest, Geometry, Issue, Promise, RunId, RunKey, Seq};

/// What makes and rebuilds the blocks of one run.
#[derive(Clone, Copy, Debug)]
pub struct Sealer {
    geometry: Geometry,
    run: RunId,
    key: RunKey,
    hasher: BlockHasher,
    pub(super) vectors: pulp::Arch,
}

impl Sealer {
    /// A sealer for a run; finds out once which vector instructions the CPU has.
    ///
    /// # Panics
    /// When blocks are no whole number of atoms, or atoms too large for a stretch: blocks are worked on in stretches of whole
    /// atoms, and what lay beside them would be taken for sound. [`Geometry::validate`] refuses more than that.
    #[must_use]
    pub fn new(geometry: Geometry, run: RunId) -> Self {
        let Geometry { block_size, atom, .. } = geometry;
        assert!(atom.is_power_of_two() && ATOM_SIZES.contains(&atom), "an atom of {atom} bytes");
        assert!(block_size.is_power_of_two() && block_size >= atom, "a block of {block_size} bytes");
        let key = RunKey::of(run);
        Sealer { geometry, run, key, hasher: BlockHasher::new(key.0), vectors: pulp::Arch::new() }
    }

    /// The geometry of the blocks.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The run whose blocks these are.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// Fills and seals a whole block.
    ///
    /// # Panics
    /// When `bytes` is not one block long, or the claim promises what it cannot know: a frontier above its own seq.
    pub fn seal(&self, block: Block, claim: &Claim, bytes: &mut [u8]) {
        assert_eq!(bytes.len(), self.geometry.block_size as usize, "one block");
        assert!(claim.durable <= claim.issue.seq, "frontier {} in write {}", claim.durable, claim.issue.seq);
        let seed = BlockSeed::of(self.key, block, claim.issue);
        let mut tag = self.tag(block, 0, claim).to_bytes();
        let atom_size = self.geometry.atom as usize;
        let mut index = 0;
        // Stretch by stretch, so that what was just filled is summed from the nearest cache.
        for stretch in bytes.chunks_exact_mut(stretch_of(&self.geometry)) {
            seed.fill(self.vectors, index, stretch.chunks_exact_mut(atom_size));
            for atom in stretch.chunks_exact_mut(atom_size) {
                tag[INDEX].copy_from_slice(&index.to_le_bytes());
                atom[..TAG_SIZE].copy_from_slice(&tag);
                index += 1;
            }
            seal_atoms(self.vectors, stretch, atom_size);
        }
        // The first atom again, last: its checksum covers the digest, which covers the other atoms' checksums.
        if self.geometry.digest == Digest::Blake3 {
            let digest = self.digest(bytes);
            bytes[DIGEST].copy_from_slice(&digest);
            seal_atom(&mut bytes[..atom_size]);
        }
    }

    /// The keyed BLAKE3 of a block: all of it but the first atom's checksum and the digest itself.
    ///
    /// # Panics
    /// When `bytes` is not as long as some block.
    #[must_use]
    pub fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        self.hasher.digest(bytes)
    }

    /// The digests of up to [`TOGETHER`] blocks of this run; what is beyond their number is of no block.
    pub(super) fn digests(&self, blocks: &[&[u8]]) -> [[u8; 32]; TOGETHER] {
        self.hasher.digests(blocks)
    }

    /// Whether an atom's payload is what its issue demands, from `start` to its end.
    pub(super) fn payload_holds(&self, block: Block, atom: u32, issue: Issue, bytes: &[u8], start: usize) -> bool {
        BlockSeed::of(self.key, block, issue).made(self.vectors, atom, bytes, start)
    }

    /// The tag of one atom.
    #[must_use]
    pub fn tag(&self, block: Block, atom: u32, claim: &Claim) -> Tag {
        let Geometry { block_size, atom: atom_size, digest, .. } = self.geometry;
        Tag { run: self.run, block, atom, claim: *claim, digest, block_size, atom_size }
    }

    /// A block as far as its issue alone tells it: the payload and half of each tag. What else stood in the tags went with
    /// them, and is zero here: [`UNTOLD_BY_ISSUE`], and the digest where there is one.
    #[must_use]
    pub fn rebuild_from_issue(&self, block: Block, issue: Issue) -> Vec<u8> {
        let mut bytes = vec![0; self.geometry.block_size as usize];
        let claim = Claim { issue, durable: Seq(0), promise: Promise::Flush, checkpoint: 0, wall_ns: 0 };
        self.seal(block, &claim, &mut bytes);
        for atom in bytes.chunks_exact_mut(self.geometry.atom as usize) {
            UNTOLD_BY_ISSUE.into_iter().for_each(|untold| atom[untold].fill(0));
        }
        if self.geometry.digest == Digest::Blake3 {
            bytes[DIGEST].fill(0);
        }
        bytes
    }

    /// One atom as it should be. The digest in a first atom covers the whole block and is not rebuilt here: use
    /// [`Sealer::seal`] for a whole block.
    #[must_use]
    pub fn rebuild_atom(&self, block: Block, atom: u32, claim: &Claim) -> Vec<u8> {
        if atom == 0 && self.geometry.digest == Digest::Blake3 {
            let mut whole = vec![0; self.geometry.block_size as usize];
            self.seal(block, claim, &mut whole);
            whole.truncate(self.geometry.atom as usize);
            return whole;
        }
        let mut bytes = vec![0; self.geometry.atom as usize];
        let one = bytes.chunks_exact_mut(self.geometry.atom as usize);
        BlockSeed::of(self.key, block, claim.issue).fill(self.vectors, atom, one);
        self.tag(block, atom, claim).write(&mut bytes);
        seal_atom(&mut bytes);
        bytes
    }
}
