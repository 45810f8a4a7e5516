//! Bytes and a legal set in, a verdict out.

use std::sync::Arc;

use super::atom::{Atom, classify, ours};
use super::checksum::{checksums_hold, stretch_of};
use super::diagnose;
use super::digest::TOGETHER;
use super::format::{DIGEST, TAG_SIZE, Tag, half, same_issue_bytes};
use super::seal::Sealer;
use super::verdict::{Broken, Claims, Class, Inspection, Verdict};
use crate::ledger::{Legal, Rule, Standing};
use crate::schedule::Schedule;
use crate::vocabulary::{BLOCK_SIZES, Block, Claim, Digest, Geometry, Issue, RunId};

/// Judges the blocks of one run.
#[derive(Clone, Copy, Debug)]
pub struct Inspector {
    pub(super) sealer: Sealer,
    pub(super) schedule: Schedule,
}

impl Inspector {
    /// An inspector for a run.
    #[must_use]
    pub fn new(geometry: Geometry, run: RunId) -> Self {
        Inspector { sealer: Sealer::new(geometry, run), schedule: Schedule::new(&geometry, run) }
    }

    /// What rebuilds the blocks of this run.
    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The order of this run's writes.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Judges a block that was read whole.
    ///
    /// # Panics
    /// When `bytes` is not one block long.
    #[must_use]
    pub fn inspect(&self, bytes: &[u8], legal: &Legal) -> Inspection {
        self.inspect_with(bytes, legal, || self.digest_holds(bytes))
    }

    /// The same, for whoever may know already whether the block's digest holds.
    pub(super) fn inspect_with(&self, bytes: &[u8], legal: &Legal, digest_holds: impl FnOnce() -> bool) -> Inspection {
        assert_eq!(bytes.len(), self.sealer.geometry().block_size as usize, "one block");
        if let Some(claim) = self.single_issue(bytes, legal.block) {
            let mut claims = Claims::default();
            claims.add(&claim, self.sealer.geometry().atoms());
            if let Some(verdict) = Verdict::of_one_write(&claim, legal).filter(|_| digest_holds()) {
                return Inspection { verdict, claims };
            }
        }
        self.inspect_atoms(bytes, legal)
    }

    /// The claims of the atoms that can bear witness: sound, in their own place, and with the payload that their tag
    /// demands, rebuilt and compared. A checksum alone is not enough to raise a frontier by.
    ///
    /// # Panics
    /// When `bytes` is not one block long.
    #[must_use]
    pub fn survey(&self, bytes: &[u8], block: Block) -> Claims {
        let mut claims = Claims::default();
        let all_of =
            |claim: &Claim| self.atoms(bytes).all(|(index, atom)| self.bears_witness(block, index, claim, atom));
        if let Some(claim) = self.single_issue(bytes, block).filter(all_of) {
            claims.add(&claim, self.sealer.geometry().atoms());
            return claims;
        }
        for (index, atom) in self.atoms(bytes) {
            if let Atom::Ours(claim) = classify(self, atom, block, index)
                && self.bears_witness(block, index, &claim, atom)
            {
                claims.add(&claim, 1);
            }
        }
        claims
    }

    /// Whether a sound atom has the payload that its tag demands.
    fn bears_witness(&self, block: Block, index: u32, claim: &Claim, atom: &[u8]) -> bool {
        // The digest covers other atoms, which may be of another write.
        let digest = index == 0 && self.sealer.geometry().digest == Digest::Blake3;
        let from = if digest { DIGEST.end } else { TAG_SIZE };
        self.sealer.payload_holds(block, index, claim.issue, atom, from)
    }

    pub(super) fn atoms<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        (0..).zip(bytes.chunks_exact(self.sealer.geometry().atom as usize))
    }

    /// The claim of a block whose atoms are all sound, in place and of one issue: the path that nearly all take. The
    /// first tag is looked at before its checksum: nothing is concluded before both hold, and the CPU does both at once.
    fn single_issue(&self, bytes: &[u8], block: Block) -> Option<Claim> {
        let first: &[u8; TAG_SIZE] = bytes.first_chunk()?;
        let tag = Tag::read(first).filter(|tag| tag.run == self.sealer.run())?;
        let claim = match ours(self, &tag, block, 0) {
            Atom::Ours(claim) => claim,
            _ => return None,
        };
        let atom_size = self.sealer.geometry().atom as usize;
        let mut index = 0;
        let mut in_place = |atom: &[u8]| {
            let tag = atom.first_chunk().is_some_and(|tag| half(tag, 12) == index && same_issue_bytes(first, tag));
            index += 1;
            tag
        };
        let whole = |stretch: &[u8]| {
            stretch.chunks_exact(atom_size).all(&mut in_place)
                && checksums_hold(self.sealer.vectors, stretch, atom_size)
        };
        bytes.chunks_exact(stretch_of(self.sealer.geometry())).all(whole).then_some(claim)
    }

    pub(super) fn digest_holds(&self, bytes: &[u8]) -> bool {
        self.sealer.geometry().digest == Digest::Crc32c || bytes[DIGEST] == self.sealer.digest(bytes)
    }

    /// How many blocks are best hashed at once: several where one does not fill the CPU's vectors.
    pub(super) fn hashed_together(&self) -> usize {
        let geometry = self.sealer.geometry();
        if geometry.digest == Digest::Blake3 && geometry.block_size == *BLOCK_SIZES.start() { TOGETHER } else { 1 }
    }

    /// Of several blocks at once, up to [`TOGETHER`]; what is beyond their number is of no block.
    pub(super) fn digests_hold(&self, blocks: &[&[u8]]) -> [bool; TOGETHER] {
        if self.sealer.geometry().digest == Digest::Crc32c {
            return [true; TOGETHER];
        }
        let digests = self.sealer.digests(blocks);
        std::array::from_fn(|i| blocks.get(i).is_some_and(|bytes| bytes[DIGEST] == digests[i]))
    }

    /// The block as it should be, to the byte, where some sound atom or a tag that can be mended tells which write it
    /// is: evidence for a finding.
    #[must_use]
    pub fn expectation(&self, bytes: &[u8], legal: &Legal) -> Option<Vec<u8>> {
        let atoms: Vec<Atom> =
            self.atoms(bytes).map(|(index, atom)| classify(self, atom, legal.block, index)).collect();
        diagnose::expectation(self, bytes, &atoms, legal)
    }

    fn inspect_atoms(&self, bytes: &[u8], legal: &Legal) -> Inspection {
        let atoms: Vec<Atom> =
            self.atoms(bytes).map(|(index, atom)| classify(self, atom, legal.block, index)).collect();
        let mut claims = Claims::default();
        atoms.iter().filter_map(Atom::claim).for_each(|claim| claims.add(claim, 1));
        let verdict = match self.fault(bytes, &atoms, legal) {
            Some(class) => Verdict::Broken(Arc::new(self.broken(class, bytes, &atoms, &claims, legal))),
            None => self.legal_verdict(bytes, &atoms, legal),
        };
        Inspection { verdict, claims }
    }

    /// The first, in the order of naming, of what is wrong with any atom; then what is wrong with their mixture.
    fn fault(&self, bytes: &[u8], atoms: &[Atom], legal: &Legal) -> Option<Class> {
        let open = legal.rule == Rule::Anything;
        let named = |atom: &Atom, index| match atom {
            Atom::Ours(claim) => match legal.standing(claim) {
                Standing::Legal | Standing::Older => None,
                Standing::NeverIssued | Standing::Ahead => Some(Class::Phantom),
            },
            Atom::Elsewhere(_) => Some(Class::Misdirected),
            // Not what was there before: this run's id is in no older tag.
            Atom::Foreign(run) if *run == self.sealer.run() => Some(Class::Foreign),
            // What was there before the run is legal as long as no write of this block is guaranteed.
            Atom::Foreign(_) | Atom::Constant(_) | Atom::Strange if open => None,
            Atom::Foreign(_) => Some(Class::Foreign),
            Atom::Constant(_) => Some(Class::Zeroed),
            Atom::Damaged | Atom::Strange => Some(diagnose::damage(self, bytes, atoms, index, legal)),
        };
        if let Some(class) = (0..).zip(atoms).filter_map(|(index, atom)| named(atom, index)).min() {
            return Some(class);
        }
        let older = |atom: &&Atom| atom.claim().is_some_and(|claim| legal.standing(claim) == Standing::Older);
        match atoms.iter().filter(older).count() {
            0 => None,
            count if count < atoms.len() => Some(Class::Torn),
            _ => Some(lost_class(legal)),
        }
    }

    fn legal_verdict(&self, bytes: &[u8], atoms: &[Atom], legal: &Legal) -> Verdict {
        let issue = |atom: &Atom| atom.claim().map(|claim| claim.issue);
        let first: Option<Issue> = issue(&atoms[0]);
        if atoms.iter().any(|atom| issue(atom) != first) {
            return Verdict::Interrupted;
        }
        let Some(found) = first else {
            // Nothing of this run is there: lost only if something is known to have been issued.
            return if legal.newest_issued.is_some() { Verdict::RolledBack } else { Verdict::Unwritten };
        };
        if !self.digest_holds(bytes) {
            let mut claims = Claims::default();
            atoms.iter().filter_map(Atom::claim).for_each(|claim| claims.add(claim, 1));
            return Verdict::Broken(Arc::new(self.broken(Class::Corrupt, bytes, atoms, &claims, legal)));
        }
        let newest = legal.newest_issued.is_none_or(|newest| found.seq >= newest);
        if newest { Verdict::Intact } else { Verdict::RolledBack }
    }

    fn broken(&self, class: Class, bytes: &[u8], atoms: &[Atom], claims: &Claims, legal: &Legal) -> Broken {
        let class =
            if diagnose::nothing_of_this_run(self, class, bytes, atoms, legal) { lost_class(legal) } else { class };
        let elsewhere = atoms.iter().find_map(|atom| match atom {
            Atom::Elsewhere(tag) if class == Class::Misdirected => Some(*tag),
            _ => None,
        });
        Broken {
            class,
            expected: legal.expected(),
            found: found_issue(class, elsewhere.as_ref(), claims, legal),
            home: elsewhere.map(|tag| tag.block),
            detail: diagnose::detail(self, class, bytes, atoms, legal),
            contents: contents_hash(bytes),
        }
    }
}

/// The first eight bytes of the BLAKE3 of a block's contents.
#[must_use]
pub fn contents_hash(bytes: &[u8]) -> u64 {
    super::format::word(blake3::hash(bytes).as_bytes(), 0)
}

fn lost_class(legal: &Legal) -> Class {
    match legal.rule {
        Rule::AtLeast(guarantee) if guarantee.attested => Class::Unserializable,
        _ => Class::LostWrite,
    }
}

/// The issue that the finding is about: the stray one, the impossible one, else the oldest.
fn found_issue(class: Class, elsewhere: Option<&Tag>, claims: &Claims, legal: &Legal) -> Option<Issue> {
    let issues = || claims.iter().map(|(claim, _)| claim);
    match class {
        Class::Misdirected => elsewhere.map(|tag| tag.claim.issue),
        Class::Phantom => issues()
            .find(|claim| matches!(legal.standing(claim), Standing::NeverIssued | Standing::Ahead))
            .map(|claim| claim.issue),
        _ => issues().map(|claim| claim.issue).min_by_key(|issue| (issue.epoch.number, issue.seq)),
    }
}
