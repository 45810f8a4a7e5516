//! The second worst bug: a promise that was provably broken, and no finding; or a finding by a wrong name.

use std::collections::{BTreeMap, BTreeSet};

use scrubd::engine::{Action, Event, Mode, OpId};
use scrubd::ledger::State;
use scrubd::report::{Finding, Overall};
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::tag::Class;
use scrubd::vocabulary::Block;

use super::knowledge::Knowledge;

#[derive(Default)]
pub struct NoMiss {
    state_was_lost: bool,
    knowledge: Option<Knowledge>,
    reading: BTreeMap<OpId, Block>,
    /// Blocks of which a read has failed in this check.
    unread: BTreeSet<Block>,
}

impl Watcher for NoMiss {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { settings, loaded, current } => {
                self.state_was_lost |= !current;
                self.unread.clear();
                let check = settings.mode == Mode::Check && *current;
                let known = |loaded| Knowledge::at_check(loaded, scene, self.state_was_lost);
                self.knowledge = loaded.filter(|_| check).map(known);
            }
            Sight::Acted(Action::Read(op, block)) => {
                self.reading.insert(*op, *block);
            }
            Sight::Told(Event::Read(op, Err(_))) => self.unread.extend(self.reading.get(op)),
            Sight::Acted(Action::Judged(judgement)) if judgement.verdict != Overall::Incomplete => {
                let Some(knowledge) = &self.knowledge else { return Ok(()) };
                if judgement.state != State::Current {
                    // Once a state was lost unnoticed, tags of a forgotten future may turn up at any time.
                    if self.state_was_lost {
                        return Ok(());
                    }
                    return Err(format!("the newest state is called {:?}", judgement.state));
                }
                let found: BTreeMap<Block, &Finding> =
                    judgement.findings.iter().map(|finding| (finding.block, finding)).collect();
                for block in (0..scene.disk.blocks()).map(Block) {
                    let Some(names) = knowledge.must_be_found(block, scene) else { continue };
                    let due = knowledge.guaranteed(block, scene).map(|write| write.claim);
                    let shown: Vec<_> = scene.disk.shown(block).iter().map(|content| content.origin).collect();
                    match found.get(&block) {
                        None => return Err(format!("missed: block {block} shows {shown:?} and must hold {due:?}")),
                        Some(finding) if finding.class == Class::Unreadable && self.unread.contains(&block) => {}
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
