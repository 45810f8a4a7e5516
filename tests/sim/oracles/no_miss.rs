//! The second worst bug: a promise that was provably broken, and no finding; or a finding by a wrong name.

use std::collections::{BTreeMap, BTreeSet};

use scrubd::engine::{Action, Event, Mode, OpId, Record};
use scrubd::ledger::State;
use scrubd::report::{BlockCounts, Finding, Judgement, Overall};
use scrubd::sim::{Origin, Scene, Sight, Watcher};
use scrubd::tag::Class;
use scrubd::vocabulary::Block;

use super::knowledge::{Heard, Knowledge, rotted_since};

/// Whether every block of the region is spoken of.
fn is_whole(judgement: &Judgement) -> bool {
    let BlockCounts { total, intact, rolled_back, interrupted, unwritten, findings } = judgement.blocks;
    intact + rolled_back + interrupted + unwritten + findings == total
}

#[derive(Default)]
pub struct NoMiss {
    state_was_lost: bool,
    knowledge: Option<Knowledge>,
    reading: BTreeMap<OpId, Block>,
    /// Blocks of which a read has failed, or was damaged on its way, in this check.
    unread: BTreeSet<Block>,
    garbled: BTreeSet<Block>,
    /// What blocks showed first, and those that showed something else later in the same check.
    shown: BTreeMap<Block, Vec<Origin>>,
    changed: BTreeSet<Block>,
    ignored: bool,
    patrols: bool,
    /// What its surveys have heard, and whether power was lost under it.
    heard: Heard,
    lost_power: bool,
    /// The first block that this patrol judges in its pass.
    from: u64,
    /// Faults that had struck when the check began.
    struck: usize,
}

impl Watcher for NoMiss {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        if let Some(loaded) = self.knowledge.as_ref().and_then(Knowledge::loaded).filter(|_| self.patrols) {
            self.heard.watch(sight, loaded);
        }
        match sight {
            Sight::Started { settings, loaded, current } => {
                self.state_was_lost |= !current;
                self.unread.clear();
                self.garbled.clear();
                self.shown.clear();
                self.changed.clear();
                self.struck = scene.disk.script.struck().len();
                self.ignored = settings.ignore_state;
                let checks = matches!(settings.mode, Mode::Check | Mode::Patrol);
                (self.patrols, self.from) = (settings.mode == Mode::Patrol, 0);
                (self.heard, self.lost_power) = Default::default();
                let known = |loaded| Knowledge::at_check(loaded, scene, self.state_was_lost);
                self.knowledge = match *loaded {
                    _ if checks && self.ignored => Some(Knowledge::by_tags_alone(settings.promise, scene)),
                    Some(loaded) if checks && *current => Some(known(loaded)),
                    _ => None,
                };
            }
            Sight::Acted(Action::Read(op, block)) => {
                self.reading.insert(*op, *block);
            }
            Sight::Told(Event::Read(op, Err(_))) => self.unread.extend(self.reading.get(op)),
            Sight::Shown(block) => {
                let shown: Vec<_> = scene.disk.shown(*block).iter().map(|content| content.origin).collect();
                if *self.shown.entry(*block).or_insert_with(|| shown.clone()) != shown {
                    self.changed.insert(*block);
                }
            }
            Sight::Garbled(block) => {
                self.garbled.insert(*block);
            }
            // A patrol that goes on answers for what it judges from there, and what it tells was told when it was met.
            Sight::Acted(Action::Record(Record::PatrolBegan { from, .. })) => self.from = from.0,
            // What it has seen before power was lost may be gone now.
            Sight::Blip if self.patrols => (self.from, self.lost_power) = (scene.disk.blocks(), true),
            Sight::Acted(Action::Judged(judgement)) if self.patrols && !is_whole(judgement) => {}
            Sight::Acted(Action::Judged(judgement)) if judgement.verdict != Overall::Incomplete => {
                let Some(knowledge) = &self.knowledge else { return Ok(()) };
                // A read that did not show what is there may have hidden a witness.
                let disturbed = !self.unread.is_empty() || !self.garbled.is_empty() || rotted_since(self.struck, scene);
                let full = knowledge;
                let as_heard = self.lost_power.then(|| knowledge.as_heard(&self.heard));
                let knowledge = as_heard.as_ref().unwrap_or(knowledge);
                let lessened = disturbed.then(|| knowledge.without_the_disk());
                let knowledge = lessened.as_ref().unwrap_or(knowledge);
                let expected = if self.ignored { State::Missing } else { State::Current };
                if judgement.state != expected {
                    // Once a state was lost unnoticed, tags of a forgotten future may turn up at any time.
                    if self.state_was_lost {
                        return Ok(());
                    }
                    return Err(format!("the state is called {:?}, not {expected:?}", judgement.state));
                }
                let found: BTreeMap<Block, &Finding> =
                    judgement.findings.iter().map(|finding| (finding.block, finding)).collect();
                for block in (self.from..scene.disk.blocks()).map(Block) {
                    let Some(mut names) = knowledge.must_be_found(block, scene) else { continue };
                    // The witness may have been heard after all, and then more was known.
                    names.extend(full.must_be_found(block, scene).into_iter().flatten());
                    // So may one in a block that shows it at times, and then all that is left here may be too old.
                    let unstable = (0..scene.disk.blocks()).any(|block| scene.disk.is_unstable(Block(block)));
                    if unstable && names.contains(&Class::Torn) {
                        names.extend([Class::LostWrite, Class::Unserializable]);
                    }
                    let due = knowledge.guaranteed(block, scene).map(|write| write.claim);
                    let shown: Vec<_> = scene.disk.shown(block).iter().map(|content| content.origin).collect();
                    match found.get(&block) {
                        None => return Err(format!("missed: block {block} shows {shown:?} and must hold {due:?}")),
                        Some(finding) if finding.class == Class::Unreadable && self.unread.contains(&block) => {}
                        Some(_) if self.garbled.contains(&block) => {}
                        Some(finding) if finding.class == Class::Unstable && self.changed.contains(&block) => {}
                        Some(finding) if !names.contains(&finding.class) => {
                            return Err(format!(
                                "block {block} shows {shown:?}, must hold {due:?} and is called {finding:#?}, not {names:?}"
                            ));
                        }
                        Some(_) => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
