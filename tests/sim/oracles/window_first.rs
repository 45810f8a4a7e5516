//! After a cut nothing is written before every block of the window was read; unreadable counts as read.

use std::collections::{BTreeMap, BTreeSet};

use scrubd::engine::{Action, Event, OpId, SpanId};
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::tag::Span;
use scrubd::vocabulary::{Block, Seq};

#[derive(Default)]
pub struct WindowFirst {
    unread: BTreeSet<Block>,
    reading: BTreeMap<OpId, Block>,
    reading_widely: BTreeMap<SpanId, Span>,
}

impl Watcher for WindowFirst {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { loaded, .. } => {
                self.reading.clear();
                self.reading_widely.clear();
                let after_cut = loaded.filter(|loaded| !loaded.clean);
                let window = after_cut.map_or(0..0, |loaded| loaded.durable().0..loaded.reserved.0);
                // Twice round is every block.
                let end = window.end.min(window.start + 2 * scene.disk.blocks());
                self.unread = (window.start..end).map(|seq| scene.schedule.block_of(Seq(seq))).collect();
            }
            Sight::Acted(Action::Read(op, block)) => {
                self.reading.insert(*op, *block);
            }
            Sight::Told(Event::Read(op, _)) => {
                if let Some(block) = self.reading.remove(op) {
                    self.unread.remove(&block);
                }
            }
            Sight::Acted(Action::ReadSpan(id, span)) => {
                self.reading_widely.insert(*id, span.clone());
            }
            // What a wide read did not read must be read alone; what lies between the blocks asked for is not looked at.
            Sight::Told(Event::ReadSpan(id, Ok(()))) => {
                let span = self.reading_widely.remove(id);
                for block in span.iter().flat_map(Span::blocks) {
                    self.unread.remove(&block);
                }
            }
            Sight::Acted(Action::Write { .. }) if !self.unread.is_empty() => {
                return Err(format!("written before blocks {:?} of the window were read", self.unread));
            }
            _ => {}
        }
        Ok(())
    }
}
