//! No miss within one pass, the second half: what a read of a running engine shows, and this start knows to be wrong, is
//! reported before the block is written again.

use std::collections::{BTreeMap, BTreeSet};

use scrubd::engine::{Action, Event};
use scrubd::sim::{Origin, Scene, Sight, Watcher};
use scrubd::vocabulary::{Block, Epoch};

#[derive(Default)]
pub struct SaidWhenSeen {
    /// What was seen and is owed a report.
    owed: BTreeMap<Block, String>,
    /// Reported since it was written.
    said: BTreeSet<Block>,
    epoch: Option<Epoch>,
    /// Until the next epoch nothing that is read says anything: completed writes may lawfully be gone.
    dark: bool,
    command: bool,
}

impl SaidWhenSeen {
    fn darken(&mut self) {
        self.owed.clear();
        self.dark = true;
    }

    fn seen(&mut self, block: Block, scene: Scene<'_>) {
        let newest = scene.truth.of_block(block).next_back();
        let due = newest.filter(|write| {
            write.completed && write.start == scene.truth.starts && Some(write.claim.issue.epoch) == self.epoch
        });
        let Some(due) = due.filter(|_| !self.dark) else { return };
        let fits = |origin: Origin| match origin {
            Origin::Write(id) => scene.truth.write(id).claim.issue == due.claim.issue,
            Origin::Before | Origin::Damaged(..) => false,
        };
        let shown: Vec<Origin> = scene.disk.shown(block).iter().map(|content| content.origin).collect();
        let whole = scene.disk.shown(block).iter().all(|content| content.home == block && fits(content.origin));
        if self.said.contains(&block) {
            return;
        }
        if !whole || scene.disk.is_unreadable(block) || scene.disk.is_unstable(block) {
            self.owed.insert(block, format!("block {block} showed {shown:?} instead of {:?}", due.claim));
        }
    }
}

impl Watcher for SaidWhenSeen {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { settings, .. } => {
                *self = SaidWhenSeen { command: settings.trigger_command, ..SaidWhenSeen::default() };
            }
            Sight::Acted(Action::Seal(_, _, claim)) if self.epoch != Some(claim.issue.epoch) => {
                self.owed.clear();
                (self.epoch, self.dark) = (Some(claim.issue.epoch), false);
            }
            Sight::Told(Event::Flushed(Err(_)) | Event::Command(scrubd::engine::Command::DeviceReset(_)))
            | Sight::Blip
            | Sight::Cut { .. } => self.darken(),
            Sight::Acted(Action::Fire(_)) if self.command => self.darken(),
            Sight::Shown(block) => self.seen(*block, scene),
            Sight::Acted(Action::Report(finding, _)) => {
                // Contents that their home lacks: the loss of the home is told with them.
                let home = finding.home.filter(|_| finding.confirmed == Some(true));
                for block in [Some(finding.block), home].into_iter().flatten() {
                    self.owed.remove(&block);
                    self.said.insert(block);
                }
            }
            Sight::Acted(Action::Write { block, .. }) => {
                self.said.remove(block);
                if let Some(what) = self.owed.remove(block) {
                    return Err(format!("missed: {what}, and it is overwritten without a word"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
