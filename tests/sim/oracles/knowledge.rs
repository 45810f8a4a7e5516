//! What a check can know, computed from the world's own log: which write of each block it must find there, and what its
//! absence may be called. `tag::Legal` is not asked.

use std::collections::BTreeSet;

use scrubd::engine::{Action, Event, Record};
use scrubd::ledger::{Checkpoint, WriteState};
use scrubd::sim::{Content, Damage, Fault, Origin, Scene, Sight, WriteFact};
use scrubd::tag::{Claims, Class};
use scrubd::vocabulary::{Block, Claim, Epoch, Issue, Promise, Seq};

/// What was known when the check began.
#[derive(Clone)]
pub struct Knowledge {
    /// `None` where only the tags are asked.
    loaded: Option<Checkpoint>,
    /// D, and what of it the saved ledger alone knows.
    pub durable: Seq,
    saved: Seq,
    /// State was lost or put back before: epochs may be forgotten, and only numbers tell older from newer.
    by_number_only: bool,
}

impl Knowledge {
    /// D is what was saved, or what two whole atoms of the newest epoch attest to on the disk as it is.
    pub fn at_check(loaded: &Checkpoint, scene: Scene<'_>, by_number_only: bool) -> Self {
        let attested = witnesses(loaded, scene).1;
        let saved = loaded.durable();
        Knowledge { loaded: Some(loaded.clone()), durable: saved.max(attested), saved, by_number_only }
    }

    /// Without state: D is what two whole atoms of the newest epoch on the disk attest to. Where two epochs share a
    /// number nobody can say which was the last, and nothing is asked for.
    pub fn by_tags_alone(held_to: Promise, scene: Scene<'_>) -> Self {
        let epochs: BTreeSet<Epoch> = claims_on(scene).map(|claim| claim.issue.epoch).collect();
        let numbers: BTreeSet<u64> = epochs.iter().map(|epoch| epoch.number).collect();
        let newest = epochs.last().filter(|_| numbers.len() == epochs.len());
        let witness = |claim: &Claim| Some(&claim.issue.epoch) == newest && claim.promise >= held_to;
        let (_, durable) = two_highest(claims_on(scene).filter(witness).map(|claim| claim.durable));
        Knowledge { loaded: None, durable, saved: Seq(0), by_number_only: true }
    }

    /// What is left of it when power was lost under a living patrol, and the disk shows no longer what it has attested to.
    pub fn as_heard(&self, heard: &Heard) -> Self {
        Knowledge { durable: self.saved.max(heard.attested()), ..self.clone() }
    }

    /// What is left of it when some read of the check failed, and a witness may have been in what it did not show.
    pub fn without_the_disk(&self) -> Self {
        Knowledge { durable: self.saved, ..self.clone() }
    }

    /// The write that a block must hold, or a later one.
    pub fn guaranteed<'a>(&self, block: Block, scene: Scene<'a>) -> Option<&'a WriteFact> {
        scene.truth.of_block(block).rev().find(|write| {
            let issue = write.claim.issue;
            write.promised && (issue.seq < self.durable || self.is_saved_as_durable(issue))
        })
    }

    pub fn loaded(&self) -> Option<&Checkpoint> {
        self.loaded.as_ref()
    }

    /// The saved window calls it durable, above D.
    fn is_saved_as_durable(&self, issue: Issue) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| {
            let newest = loaded.epochs.newest().map(|record| record.epoch);
            loaded.window.state(issue.seq) == WriteState::Durable && Some(issue.epoch) == newest
        })
    }

    /// Whether the saved ledger alone proves it; else it took the disk's own tags.
    pub fn is_proved_by_state(&self, seq: Seq) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| loaded.window.state(seq) == WriteState::Durable)
    }

    /// Whether the loss of a guaranteed write is out of order: a block sealed after its guarantee attests to it, and it
    /// was not verified since.
    pub fn is_out_of_order(&self, seq: Seq, attested: Seq) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| !loaded.clean && seq >= loaded.verified && seq < attested)
    }

    /// What the finding may be called that must be reported of this block; `None` where nothing must be.
    pub fn must_be_found(&self, block: Block, scene: Scene<'_>) -> Option<BTreeSet<Class>> {
        let guaranteed = self.guaranteed(block, scene)?;
        if scene.disk.is_unreadable(block) {
            let mut named = BTreeSet::from([Class::Unreadable]);
            // It may have become so between two reads of which the earlier ones differed.
            named.extend(scene.disk.is_unstable(block).then_some(Class::Unstable));
            return Some(named);
        }
        let mut named = BTreeSet::new();
        if scene.disk.is_unstable(block) {
            // Seen once, it is no more than damaged.
            named.extend([Class::Unstable, Class::Corrupt]);
        }
        let (mut older, mut total, mut perhaps_phantom) = (0, 0, false);
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
                Origin::Damaged(Damage::Flipped, of) => {
                    // What nobody of this run wrote, damaged, is still nothing of this run.
                    older += u32::from(of.is_none());
                    named.insert(Class::Corrupt);
                }
                Origin::Damaged(Damage::Zeroed, _) => {
                    named.insert(Class::Zeroed);
                }
                // Without R nothing is known to be impossible, nor where a ledger was rebuilt from tags, this one's
                // among them: it took the number for one that was issued.
                Origin::Damaged(Damage::Planted, _) if self.by_number_only => perhaps_phantom = true,
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
        // Beside something that is known to be wrong it may be seen through after all, and comes first.
        named.extend(perhaps_phantom.then_some(Class::Phantom));
        Some(named)
    }
}

/// What the surveys of one start were told: each counts for itself, as it may hear atoms again that an earlier one has heard.
#[derive(Default)]
pub struct Heard {
    asked: BTreeSet<Block>,
    /// By atom, in the survey that goes on.
    frontiers: Vec<Seq>,
    /// By two atoms of one of those before.
    before: Seq,
    judges: bool,
}

impl Heard {
    pub fn attested(&self) -> Seq {
        self.before.max(two_highest(self.frontiers.iter().copied()).1)
    }

    pub fn watch(&mut self, sight: &Sight<'_>, loaded: &Checkpoint) {
        match sight {
            Sight::Blip => self.judges = false,
            Sight::Acted(Action::Record(Record::PatrolBegan { .. })) => self.judges = true,
            _ if self.judges => {}
            Sight::Acted(Action::Read(_, block)) => self.ask([*block].into()),
            Sight::Acted(Action::ReadSpan(_, span)) => self.ask(span.blocks().collect()),
            Sight::Told(Event::Surveyed(_, claims)) => self.hear(claims, loaded),
            Sight::Told(Event::SurveyedSpan(_, claims)) => {
                claims.iter().for_each(|(_, claims)| self.hear(claims, loaded))
            }
            Sight::Told(Event::InspectedSpan(_, inspections)) => {
                inspections.heard.iter().for_each(|(_, heard)| self.hear(&heard.claims, loaded))
            }
            _ => {}
        }
    }

    fn ask(&mut self, mut blocks: BTreeSet<Block>) {
        if !self.asked.is_disjoint(&blocks) {
            *self = Heard { before: self.attested(), ..Heard::default() };
        }
        self.asked.append(&mut blocks);
    }

    fn hear(&mut self, claims: &Claims, loaded: &Checkpoint) {
        for (claim, atoms) in claims.iter().filter(|(claim, _)| is_witness(claim, loaded)) {
            self.frontiers.extend((0..*atoms).map(|_| claim.durable));
        }
    }
}

/// Whether a claim speaks for the newest epoch that a ledger knows.
fn is_witness(claim: &Claim, loaded: &Checkpoint) -> bool {
    let newest = loaded.epochs.newest().map(|record| record.epoch);
    Some(claim.issue.epoch) == newest && claim.promise >= loaded.promise && claim.issue.seq < loaded.reserved
}

/// What the whole atoms of this run claim that stand in their own place, as a read would show them.
fn claims_on(scene: Scene<'_>) -> impl Iterator<Item = Claim> {
    claims_of(scene, (0..scene.disk.blocks()).map(Block))
}

fn claims_of<'a>(scene: Scene<'a>, blocks: impl Iterator<Item = Block> + 'a) -> impl Iterator<Item = Claim> + 'a {
    // Of an unstable block each read may show it or not.
    let readable = blocks.filter(move |block| !scene.disk.is_unreadable(*block) && !scene.disk.is_unstable(*block));
    readable.flat_map(move |block| {
        scene.disk.shown(block).iter().filter_map(move |content| match content.origin {
            Origin::Write(write) if content.home == block => Some(scene.truth.write(write).claim),
            _ => None,
        })
    })
}

/// The highest frontier that an atom of the newest epoch claims in a block of the window, and the one that two such atoms
/// claim. One alone is not judged by. Elsewhere no claim can be above the saved D.
pub fn witnesses(loaded: &Checkpoint, scene: Scene<'_>) -> (Seq, Seq) {
    let in_window = |block: &Block| {
        scene.schedule.newest_below(loaded.reserved, *block).is_some_and(|newest| newest >= loaded.durable())
    };
    let claims = claims_of(scene, (0..scene.disk.blocks()).map(Block).filter(in_window));
    two_highest(claims.filter(|claim| is_witness(claim, loaded)).map(|claim| claim.durable))
}

fn two_highest(frontiers: impl Iterator<Item = Seq>) -> (Seq, Seq) {
    let mut frontiers: Vec<Seq> = frontiers.collect();
    frontiers.sort_unstable();
    let nth = |nth| frontiers.iter().rev().nth(nth).copied().unwrap_or(Seq(0));
    (nth(0), nth(1))
}

fn of_an_earlier_life(content: &Content) -> Vec<Class> {
    match content.bytes.iter().all(|byte| *byte == content.bytes[0]) {
        true => vec![Class::Zeroed],
        // Random bytes, or another run's tags.
        false => vec![Class::Corrupt, Class::Foreign, Class::Torn],
    }
}

/// Whether a block rotted since: what was known at the start of a check may not be there any more.
pub fn rotted_since(struck: usize, scene: Scene<'_>) -> bool {
    let since = &scene.disk.script.struck()[struck..];
    since.iter().any(|fault| matches!(fault, Fault::BitRot | Fault::UnstableBlock | Fault::UnreadableBlock))
}

/// Whether a block shows something that no honest disk would show: the least that any finding needs.
pub fn something_is_wrong(block: Block, scene: Scene<'_>) -> bool {
    if scene.disk.is_unreadable(block) || scene.disk.is_unstable(block) {
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
