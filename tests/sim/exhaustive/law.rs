//! The promise model straight from section 3 of the design: what may be in each block, with sets and scans. Nothing of
//! the ledger, the legal set or the inspector is asked; only the names of things are shared.

use std::collections::BTreeMap;

use scrubd::ledger::ProvedBy;
use scrubd::report::BlockCounts;
use scrubd::schedule::Schedule;
use scrubd::tag::Class;
use scrubd::vocabulary::{Block, Claim, Seq};

use super::scribe::Memory;
use super::tiny::ATOMS;
use crate::history::Before;

/// What each atom of the disk holds, block after block; `None` is what was there before the run.
pub type Contents = Vec<[Option<Claim>; ATOMS]>;

/// What must be found in one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accusation {
    pub class: Class,
    pub expected: Option<Seq>,
    pub found: Option<Seq>,
    pub proved_by: Option<ProvedBy>,
}

/// What a check of the whole region must conclude.
#[derive(Clone, Debug)]
pub struct Ruling {
    /// D, and what proves it.
    pub durable: Seq,
    pub proved_by: ProvedBy,
    pub counts: BlockCounts,
    pub accusations: BTreeMap<Block, Accusation>,
}

pub struct Law<'a> {
    pub memory: &'a Memory,
    pub schedule: &'a Schedule,
    pub before: Before,
}

impl Law<'_> {
    pub fn ruling(&self, contents: &Contents) -> Ruling {
        let attested = self.attested(contents);
        let durable = self.memory.durable.max(attested.unwrap_or(Seq(0)));
        let mut counts = BlockCounts { total: contents.len() as u64, ..BlockCounts::default() };
        let mut accusations = BTreeMap::new();
        for (block, atoms) in (0..).map(Block).zip(contents) {
            let guaranteed = self.guaranteed(block, durable);
            if let Some(class) = self.fault(atoms, guaranteed, attested) {
                counts.findings += 1;
                let oldest = atoms.iter().flatten().map(|claim| claim.issue).min_by_key(|i| (i.epoch.number, i.seq));
                let proved_by = guaranteed.map(|seq| match self.remembers(seq) {
                    true => ProvedBy::Checkpoint,
                    false => ProvedBy::Disk,
                });
                let found = oldest.map(|issue| issue.seq);
                accusations.insert(block, Accusation { class, expected: guaranteed, found, proved_by });
            } else {
                *self.counter(&mut counts, block, atoms, guaranteed) += 1;
            }
        }
        let proved_by = if durable == self.memory.durable { ProvedBy::Checkpoint } else { ProvedBy::Disk };
        Ruling { durable, proved_by, counts, accusations }
    }

    /// Whole atoms of the newest epoch that claim a frontier above this.
    pub fn witnesses(&self, contents: &Contents, above: Seq) -> usize {
        self.claims(contents).filter(|durable| *durable > above).count()
    }

    /// Whether the saved ledger knows that this write was guaranteed.
    pub fn remembers(&self, seq: Seq) -> bool {
        seq < self.memory.durable || self.memory.guaranteed.contains(&seq)
    }

    fn claims<'b>(&'b self, contents: &'b Contents) -> impl Iterator<Item = Seq> + 'b {
        let newest = self.memory.epochs.last().map(|(epoch, _)| *epoch);
        let of_newest = contents.iter().flatten().flatten().filter(move |claim| Some(claim.issue.epoch) == newest);
        // A frontier that was earned under a weaker promise raises nothing.
        let counts =
            |claim: &&Claim| claim.issue.seq < self.memory.reserved && Some(claim.promise) >= self.memory.promise;
        of_newest.filter(counts).map(|claim| claim.durable)
    }

    /// The frontier that one atom claims and a second one at least as much.
    fn attested(&self, contents: &Contents) -> Option<Seq> {
        let mut claims: Vec<Seq> = self.claims(contents).collect();
        claims.sort_unstable();
        claims.iter().rev().nth(1).copied()
    }

    /// The newest guaranteed write of a block: by D, or by the saved window above it.
    fn guaranteed(&self, block: Block, durable: Seq) -> Option<Seq> {
        let by_durable = (0..durable.0).map(Seq);
        let all = by_durable.chain(self.memory.guaranteed.iter().copied());
        all.filter(|seq| self.schedule.block_of(*seq) == block).max()
    }

    fn may_be_there(&self, claim: &Claim, guaranteed: Option<Seq>) -> bool {
        let issue = claim.issue;
        let Some((_, restart)) = self.memory.epochs.iter().find(|(epoch, _)| *epoch == issue.epoch) else {
            return false;
        };
        let required = guaranteed.map(|seq| {
            let newest = self.memory.epochs.iter().rev().find(|(_, restart)| *restart <= seq);
            newest.expect("something was guaranteed in some epoch").0.number
        });
        issue.seq < self.memory.reserved
            && *restart <= issue.seq
            && guaranteed.is_none_or(|seq| issue.seq >= seq)
            && required.is_none_or(|epoch| issue.epoch.number >= epoch)
    }

    fn fault(&self, atoms: &[Option<Claim>; ATOMS], guaranteed: Option<Seq>, attested: Option<Seq>) -> Option<Class> {
        let before = atoms.iter().filter(|atom| atom.is_none()).count();
        let older = atoms.iter().flatten().filter(|claim| !self.may_be_there(claim, guaranteed)).count();
        let Some(guaranteed) = guaranteed else {
            // Nothing is too old here, so what may not be there was never issued.
            return (older > 0).then_some(Class::Phantom);
        };
        let attested = !self.memory.clean && guaranteed >= self.memory.verified && attested > Some(guaranteed);
        let lost = if attested { Class::Unserializable } else { Class::LostWrite };
        match (before, self.before) {
            (0, _) if older == 0 => None,
            (0, _) if older < ATOMS => Some(Class::Torn),
            (0, _) => Some(lost),
            (_, Before::Zeros) => Some(Class::Zeroed),
            (_, Before::OtherRun) => Some(Class::Foreign),
            // Nothing of this run, where a block's first write was promised, is a lost write; later on, and beside
            // atoms of this run, bytes that nobody can explain are damage.
            (ATOMS, Before::Garbage) if guaranteed.0 < self.schedule.blocks() => Some(lost),
            (_, Before::Garbage) => Some(Class::Corrupt),
        }
    }

    fn counter<'c>(
        &self,
        counts: &'c mut BlockCounts,
        block: Block,
        atoms: &[Option<Claim>; ATOMS],
        guaranteed: Option<Seq>,
    ) -> &'c mut u64 {
        let issued = self.memory.issued.iter().copied().filter(|seq| self.schedule.block_of(*seq) == block);
        let known = issued.chain(guaranteed).max();
        let issue = |atom: &Option<Claim>| atom.map(|claim| claim.issue);
        match issue(&atoms[0]) {
            _ if atoms.iter().any(|atom| issue(atom) != issue(&atoms[0])) => &mut counts.interrupted,
            None if known.is_some() => &mut counts.rolled_back,
            None => &mut counts.unwritten,
            Some(issue) if Some(issue.seq) < known => &mut counts.rolled_back,
            Some(_) => &mut counts.intact,
        }
    }
}
