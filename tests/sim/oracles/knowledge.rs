//! What a check can know, computed from the world's own log: which write of each block it must find there, and what its
//! absence may be called. `tag::Legal` is not asked.

use std::collections::BTreeSet;

use scrubd::ledger::{Checkpoint, WriteState};
use scrubd::sim::{Content, Damage, Origin, Scene, WriteFact};
use scrubd::tag::Class;
use scrubd::vocabulary::{Block, Seq};

/// What was known when the check began.
pub struct Knowledge {
    loaded: Checkpoint,
    durable: Seq,
    /// State was lost or put back before: epochs may be forgotten, and only numbers tell older from newer.
    by_number_only: bool,
}

impl Knowledge {
    /// D is what was saved, or what two whole atoms of the newest epoch attest to on the disk as it is.
    pub fn at_check(loaded: &Checkpoint, scene: Scene<'_>, by_number_only: bool) -> Self {
        let newest = loaded.epochs.newest().map(|record| record.epoch);
        let mut claimed: Vec<Seq> = Vec::new();
        for block in (0..scene.disk.blocks()).map(Block).filter(|block| !scene.disk.is_unreadable(*block)) {
            for content in scene.disk.shown(block) {
                let Origin::Write(write) = content.origin else { continue };
                let claim = scene.truth.write(write).claim;
                let witness = content.home == block
                    && Some(claim.issue.epoch) == newest
                    && claim.promise >= loaded.promise
                    && claim.issue.seq < loaded.reserved;
                if witness {
                    claimed.push(claim.durable);
                }
            }
        }
        claimed.sort_unstable();
        let attested = claimed.iter().rev().nth(1).copied().unwrap_or(Seq(0));
        Knowledge { loaded: loaded.clone(), durable: loaded.durable().max(attested), by_number_only }
    }

    /// The write that a block must hold, or a later one.
    pub fn guaranteed<'a>(&self, block: Block, scene: Scene<'a>) -> Option<&'a WriteFact> {
        let newest = self.loaded.epochs.newest().map(|record| record.epoch);
        scene.truth.of_block(block).rev().find(|write| {
            let issue = write.claim.issue;
            let in_window = self.loaded.window.state(issue.seq) == WriteState::Durable && Some(issue.epoch) == newest;
            write.promised && (issue.seq < self.durable || in_window)
        })
    }

    /// What the finding may be called that must be reported of this block; `None` where nothing must be.
    pub fn must_be_found(&self, block: Block, scene: Scene<'_>) -> Option<BTreeSet<Class>> {
        let guaranteed = self.guaranteed(block, scene)?;
        if scene.disk.is_unreadable(block) {
            return Some(BTreeSet::from([Class::Unreadable]));
        }
        let mut named = BTreeSet::new();
        let (mut older, mut total) = (0, 0);
        for content in scene.disk.shown(block) {
            total += 1;
            match content.origin {
                Origin::Write(_) if content.home != block => {
                    named.insert(Class::Misdirected);
                }
                Origin::Write(id) => {
                    let write = scene.truth.write(id);
                    let (issue, due) = (write.claim.issue, guaranteed.claim.issue);
                    let newer = if self.by_number_only { issue.seq >= due.seq } else { id >= guaranteed.id };
                    older += u32::from(issue != due && !newer);
                }
                Origin::Before => {
                    older += 1;
                    named.extend(of_an_earlier_life(content));
                }
                Origin::Damaged(Damage::Flipped, _) => {
                    named.insert(Class::Corrupt);
                }
                Origin::Damaged(Damage::Zeroed, _) => {
                    named.insert(Class::Zeroed);
                }
                Origin::Damaged(Damage::Planted, _) => {
                    named.insert(Class::Phantom);
                }
                Origin::Damaged(Damage::Foreign, _) => {
                    named.insert(Class::Foreign);
                }
                Origin::Damaged(Damage::Shorn, _) => named.extend([Class::Shorn, Class::Corrupt]),
            }
        }
        match (older, named.is_empty()) {
            (0, true) => return None,
            (_, false) => {}
            // Where epochs were forgotten, an older issue of the right number may or may not be told from it.
            _ if self.by_number_only => named.extend([Class::Torn, Class::LostWrite, Class::Unserializable]),
            _ if older == total => named.extend([Class::LostWrite, Class::Unserializable]),
            _ => named.extend([Class::Torn]),
        }
        // Nothing of this run at all, instead of a write that was guaranteed, is a lost write too.
        if older == total {
            named.extend([Class::LostWrite, Class::Unserializable]);
        }
        Some(named)
    }
}

fn of_an_earlier_life(content: &Content) -> Vec<Class> {
    match content.bytes.iter().all(|byte| *byte == content.bytes[0]) {
        true => vec![Class::Zeroed],
        // Random bytes, or another run's tags.
        false => vec![Class::Corrupt, Class::Foreign, Class::Torn],
    }
}

/// Whether a block shows something that no honest disk would show: the least that any finding needs.
pub fn something_is_wrong(block: Block, scene: Scene<'_>) -> bool {
    if scene.disk.is_unreadable(block) {
        return true;
    }
    let start = scene.truth.starts;
    // What the disk has promised to keep, and what it has told this start that it holds.
    let due = scene.truth.of_block(block).rev().find(|write| write.promised || write.completed && write.start == start);
    scene.disk.shown(block).iter().any(|content| match content.origin {
        Origin::Write(id) => {
            content.home != block
                || due.is_some_and(|due| id < due.id && scene.truth.write(id).claim.issue != due.claim.issue)
        }
        Origin::Before => due.is_some(),
        Origin::Damaged(..) => true,
    })
}
