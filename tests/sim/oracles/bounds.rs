//! Bounds on queues and memory: as many operations as were promised, a window that the region bounds, and a saved form
//! that stays small however long the run is.

use scrubd::engine::{Action, OpId};
use scrubd::ledger::MAX_FLUSHES;
use scrubd::sim::{Scene, Sight, Watcher};

#[derive(Default)]
pub struct Bounds {
    operations: u32,
    /// Wide reads, and bytes of each.
    spans: u32,
    span_bytes: u64,
    /// Starts, and whatever else begins an epoch.
    epochs: usize,
}

impl Watcher for Bounds {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        let known = |op: &OpId, operations: u32| match op.0 < operations {
            true => Ok(()),
            false => Err(format!("{op:?} of {operations}")),
        };
        match sight {
            Sight::Started { settings, .. } => {
                self.operations = 2 * settings.queue_depth + settings.more_operations;
                (self.spans, self.span_bytes) = (settings.queue_depth.min(4) * 2, u64::from(settings.span_bytes));
            }
            Sight::Acted(Action::ReadSpan(id, span)) => {
                let bytes = u64::from(span.count()) * scene.disk.shown(span.first())[0].bytes.len() as u64;
                if id.0 >= self.spans || bytes > self.span_bytes || span.count() < 2 {
                    return Err(format!("{id:?} of {} with {bytes} bytes of {}", self.spans, self.span_bytes));
                }
            }
            Sight::Acted(Action::Seal(op, ..) | Action::Read(op, _) | Action::Write { op, .. }) => {
                return known(op, self.operations);
            }
            Sight::Acted(Action::Save(checkpoint)) => {
                // Four times round the region, and never less than what fills a queue of any depth.
                let window = (4 * scene.disk.blocks()).max(64);
                let open = checkpoint.window.end().0 - checkpoint.durable().0;
                if open > window {
                    return Err(format!("{open} writes in a window of {window}"));
                }
                if checkpoint.flushes.len() > MAX_FLUSHES {
                    return Err(format!("{} flushes are remembered", checkpoint.flushes.len()));
                }
                self.epochs = self.epochs.max(checkpoint.epochs.records().len());
                let size = 80 + 24 * checkpoint.flushes.len() + 40 * self.epochs + (open as usize).div_ceil(4);
                let saved = checkpoint.encode().len();
                if saved > size {
                    return Err(format!("a checkpoint of {saved} bytes, and {size} would do"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
