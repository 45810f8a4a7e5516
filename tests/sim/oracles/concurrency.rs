//! Never two writes of one block in flight, nor a read with a write; the queue is no deeper than it was set; one flush
//! and one save at a time.

use std::collections::BTreeMap;

use scrubd::engine::{Action, Event, OpId, SpanId};
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::vocabulary::Block;

#[derive(Default)]
pub struct Concurrency {
    in_flight: BTreeMap<OpId, (bool, Block)>,
    /// The first and the last block of each wide read.
    wide: BTreeMap<SpanId, (Block, Block)>,
    queue_depth: usize,
    flushing: bool,
    saving: bool,
}

impl Concurrency {
    fn begin(&mut self, op: OpId, writes: bool, block: Block) -> Result<(), String> {
        if let Some((other, _)) = self.in_flight.iter().find(|(_, (w, b))| *b == block && (writes || *w)) {
            return Err(format!("{op:?} and {other:?} are in flight together on block {block}"));
        }
        let across = |(first, last): &(Block, Block)| (first..=last).contains(&&block);
        if let Some((span, _)) = self.wide.iter().find(|(_, wide)| writes && across(wide)) {
            return Err(format!("{op:?} writes block {block}, and {span:?} reads it"));
        }
        if self.in_flight.insert(op, (writes, block)).is_some() {
            return Err(format!("{op:?} is in flight twice"));
        }
        self.in_depth()
    }

    fn begin_span(&mut self, id: SpanId, first: Block, last: Block) -> Result<(), String> {
        let written = self.in_flight.iter().find(|(_, (writes, block))| *writes && (first..=last).contains(block));
        if let Some((op, _)) = written {
            return Err(format!("{id:?} reads what {op:?} writes"));
        }
        if self.wide.insert(id, (first, last)).is_some() {
            return Err(format!("{id:?} is in flight twice"));
        }
        self.in_depth()
    }

    fn in_depth(&self) -> Result<(), String> {
        let in_flight = self.in_flight.len() + self.wide.len();
        if in_flight > self.queue_depth {
            return Err(format!("{in_flight} in flight of {}", self.queue_depth));
        }
        Ok(())
    }
}

impl Watcher for Concurrency {
    fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
        let twice = |busy: &mut bool, what: &str| match std::mem::replace(busy, true) {
            true => Err(format!("two {what} in flight")),
            false => Ok(()),
        };
        match sight {
            Sight::Started { settings, .. } => {
                *self = Concurrency { queue_depth: settings.queue_depth as usize, ..Concurrency::default() };
            }
            Sight::Acted(Action::Write { op, block, .. }) => return self.begin(*op, true, *block),
            Sight::Acted(Action::Read(op, block)) => return self.begin(*op, false, *block),
            Sight::Acted(Action::ReadSpan(id, span)) => return self.begin_span(*id, span.first(), span.last()),
            Sight::Told(Event::ReadSpan(id, _)) => drop(self.wide.remove(id)),
            Sight::Acted(Action::Flush) => return twice(&mut self.flushing, "flushes"),
            Sight::Acted(Action::Save(_)) => return twice(&mut self.saving, "saves"),
            Sight::Told(Event::Wrote(op, _) | Event::Read(op, _)) => {
                self.in_flight.remove(op);
            }
            Sight::Told(Event::Flushed(_)) => self.flushing = false,
            Sight::Told(Event::Saved(..)) => self.saving = false,
            _ => {}
        }
        Ok(())
    }
}
