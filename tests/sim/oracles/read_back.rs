//! No miss within one pass, the first half: in a burn-in nothing that this epoch wrote is overwritten unread.

use std::collections::{BTreeMap, BTreeSet};

use scrubd::engine::{Action, Event, Mode, OpId};
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::vocabulary::{Block, Epoch};

#[derive(Default)]
pub struct ReadBack {
    burn_in: bool,
    writing: BTreeMap<OpId, Block>,
    unread: BTreeSet<Block>,
    epoch: Option<Epoch>,
}

impl Watcher for ReadBack {
    fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { settings, .. } => {
                *self = ReadBack { burn_in: settings.mode == Mode::BurnIn, ..ReadBack::default() };
            }
            Sight::Acted(Action::Seal(_, _, claim)) if self.epoch != Some(claim.issue.epoch) => {
                // What the epoch before has written above its restart point is written again, read or not.
                self.unread.clear();
                self.epoch = Some(claim.issue.epoch);
            }
            Sight::Acted(Action::Write { op, block, .. }) => {
                if self.burn_in && self.unread.contains(block) {
                    return Err(format!("block {block} is overwritten, and nobody has read what was there"));
                }
                self.writing.insert(*op, *block);
            }
            Sight::Told(Event::Wrote(op, Ok(()))) => self.unread.extend(self.writing.remove(op)),
            Sight::Acted(Action::Read(_, block)) => {
                self.unread.remove(block);
            }
            Sight::Acted(Action::ReadSpan(_, span)) => {
                for block in span.blocks() {
                    self.unread.remove(&block);
                }
            }
            Sight::Blip | Sight::Told(Event::Flushed(Err(_))) => self.unread.clear(),
            _ => {}
        }
        Ok(())
    }
}
