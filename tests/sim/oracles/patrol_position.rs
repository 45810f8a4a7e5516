//! A patrol's position vouches for what lies below it: every block there was judged in this pass, since it was written last, and
//! what was seen to be wrong was told. So it is when a position is saved, when a patrol goes on, and when a pass is called ended.

use std::collections::{BTreeMap, BTreeSet};

use scrubd::engine::{Action, Command, Event, Mode, OpId, Record, SpanId};
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::tag::{Span, Verdict};
use scrubd::vocabulary::Block;

#[derive(Default)]
pub struct PatrolPosition {
    patrols: bool,
    /// By pass: a cut may take back that one was ended, and then the next patrol is at it still.
    judged: BTreeMap<u64, BTreeSet<Block>>,
    pass: u64,
    /// Where the position stands that is being saved.
    saving: Option<Block>,
    /// State was put back: a ledger, and with it a position, may be of before the last writes. They show it by their tags.
    state_was_lost: bool,
    /// Seen to be wrong, and not told yet.
    owed: BTreeSet<Block>,
    /// Told since this patrol began or went on.
    told: BTreeSet<Block>,
    /// What an unclean end had left to be in doubt was judged before a loss of power, and counts again only for a patrol
    /// that begins before it is saved that this one goes back.
    lost: Option<BTreeSet<Block>>,
    ended_cleanly: bool,
    reading: BTreeMap<OpId, Block>,
    wide: BTreeMap<SpanId, Span>,
}

impl PatrolPosition {
    fn judged_now(&mut self) -> &mut BTreeSet<Block> {
        self.judged.entry(self.pass).or_default()
    }

    fn vouched(&self, below: u64, what: &str) -> Result<(), String> {
        if self.state_was_lost {
            return Ok(());
        }
        let judged = |block: &Block| self.judged.get(&self.pass).is_some_and(|judged| judged.contains(block));
        let wanting = |block: &Block| !judged(block) || self.owed.contains(block);
        match (0..below).map(Block).find(wanting) {
            Some(block) if self.owed.contains(&block) => {
                Err(format!("{what} {below}: block {block} is wrong and untold"))
            }
            Some(block) => Err(format!("{what} {below}: block {block} was not judged in this pass")),
            None => Ok(()),
        }
    }
}

impl Watcher for PatrolPosition {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { settings, current, loaded } => {
                self.state_was_lost |= !current;
                self.ended_cleanly = loaded.is_some_and(|loaded| loaded.clean);
                let lost = self.lost.take().unwrap_or_default();
                self.judged_now().extend(lost);
                self.patrols = settings.mode == Mode::Patrol;
                (self.owed, self.told, self.reading, self.wide) = Default::default();
            }
            Sight::Acted(Action::Write { .. }) => {
                self.judged.clear();
                self.lost = None;
            }
            _ if !self.patrols => {}
            Sight::Acted(Action::Record(Record::PatrolBegan { pass, from, .. })) => {
                // What is not below is judged now, or once more.
                self.pass = *pass;
                self.judged_now().retain(|block| block < from);
                self.owed.clear();
                self.told.clear();
                return self.vouched(from.0, "it goes on at");
            }
            Sight::Told(Event::Command(Command::DeviceReset(_))) if !self.ended_cleanly => {
                let judged = std::mem::take(self.judged_now());
                self.lost.get_or_insert_default().extend(judged);
            }
            Sight::Told(Event::PositionSaved(Ok(()))) if self.saving == Some(Block(0)) => self.lost = None,
            Sight::Acted(Action::Record(Record::PassPatrolled { .. })) => {
                return self.vouched(scene.disk.blocks(), "a pass is ended over");
            }
            Sight::Acted(Action::SavePosition(position)) if position.pass == self.pass => {
                self.saving = Some(position.next);
                return self.vouched(position.next.0, "the position is");
            }
            Sight::Acted(Action::Read(op, block)) => {
                self.reading.insert(*op, *block);
            }
            Sight::Acted(Action::ReadSpan(id, span)) => {
                self.wide.insert(*id, span.clone());
            }
            // One that was told already may be read once more, as the home of what turned up elsewhere.
            Sight::Told(Event::Read(op, Err(_))) => {
                self.owed.extend(self.reading.get(op).filter(|block| !self.told.contains(block)));
            }
            Sight::Told(Event::Inspected(op, inspection)) => {
                let block = self.reading[op];
                self.judged_now().insert(block);
                if matches!(inspection.verdict, Verdict::Broken(_)) {
                    self.owed.insert(block);
                }
            }
            Sight::Told(Event::InspectedSpan(id, inspections)) => {
                let blocks = self.wide[id].blocks().collect::<Vec<_>>();
                self.judged_now().extend(blocks);
                let broken = inspections.others.iter().filter(|(_, seen)| matches!(seen.verdict, Verdict::Broken(_)));
                self.owed.extend(broken.map(|(block, _)| *block));
            }
            Sight::Acted(Action::Report(finding, _)) if !finding.detail.starts_with("stuck:") => {
                self.owed.remove(&finding.block);
                self.told.insert(finding.block);
                self.judged_now().insert(finding.block);
            }
            _ => {}
        }
        Ok(())
    }
}
