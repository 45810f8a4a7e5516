//! Sealing: a block gets its payload and its tags before it is written. Each byte is filled once and summed once.

use super::format::{DIGEST, Tag, UNTOLD_BY_ISSUE, seal_atom};
use super::payload::BlockSeed;
use crate::vocabulary::{Block, Claim, Digest, Geometry, Issue, Promise, RunId, RunKey, Seq};

/// What makes and rebuilds the blocks of one run.
#[derive(Clone, Copy, Debug)]
pub struct Sealer {
    geometry: Geometry,
    run: RunId,
    key: RunKey,
    vectors: pulp::Arch,
}

impl Sealer {
    /// A sealer for a run; finds out once which vector instructions the CPU has.
    #[must_use]
    pub fn new(geometry: Geometry, run: RunId) -> Self {
        Sealer { geometry, run, key: RunKey::of(run), vectors: pulp::Arch::new() }
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
        for (index, atom) in (0..).zip(bytes.chunks_exact_mut(self.geometry.atom as usize)) {
            seed.fill(self.vectors, index, atom);
            self.tag(block, index, claim).write(atom);
            if index > 0 {
                seal_atom(atom);
            }
        }
        // The first atom last: its checksum covers the digest, which covers the other atoms' checksums.
        if self.geometry.digest == Digest::Blake3 {
            let digest = self.digest(bytes);
            bytes[DIGEST].copy_from_slice(&digest);
        }
        seal_atom(&mut bytes[..self.geometry.atom as usize]);
    }

    /// The keyed BLAKE3 of a block: all of it but the first atom's checksum and the digest itself.
    ///
    /// # Panics
    /// When `bytes` is shorter than tag and digest.
    #[must_use]
    pub fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip(self.key.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(&bytes[4..DIGEST.start]).update(&bytes[DIGEST.end..]);
        *hasher.finalize().as_bytes()
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
        BlockSeed::of(self.key, block, claim.issue).fill(self.vectors, atom, &mut bytes);
        self.tag(block, atom, claim).write(&mut bytes);
        seal_atom(&mut bytes);
        bytes
    }
}
