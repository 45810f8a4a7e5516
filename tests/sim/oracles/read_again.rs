//! Nobody is accused at first sight: a mismatch that is reported as persistent was read as often as the settings say.

use std::collections::BTreeMap;

use scrubd::engine::{Action, Event, OpId, SpanId};
use scrubd::report::Persistence;
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::tag::Span;
use scrubd::vocabulary::Block;

#[derive(Default)]
pub struct ReadAgain {
    rereads: u32,
    reading: BTreeMap<OpId, Block>,
    reading_widely: BTreeMap<SpanId, Span>,
    /// Reads of each block since it was last written.
    reads: BTreeMap<Block, u32>,
}

impl Watcher for ReadAgain {
    fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { settings, .. } => {
                *self = ReadAgain { rereads: settings.rereads, ..ReadAgain::default() };
            }
            Sight::Acted(Action::Write { block, .. }) => {
                self.reads.remove(block);
            }
            Sight::Acted(Action::Read(op, block)) => {
                self.reading.insert(*op, *block);
            }
            Sight::Told(Event::Read(op, _)) => {
                if let Some(block) = self.reading.remove(op) {
                    *self.reads.entry(block).or_default() += 1;
                }
            }
            Sight::Acted(Action::ReadSpan(id, span)) => {
                self.reading_widely.insert(*id, span.clone());
            }
            // A wide read that failed saw nothing: it is no read of any of its blocks.
            Sight::Told(Event::ReadSpan(id, Ok(()))) => {
                let span = self.reading_widely.remove(id);
                span.iter().flat_map(Span::blocks).for_each(|block| *self.reads.entry(block).or_default() += 1);
            }
            Sight::Acted(Action::Report(finding, _)) => {
                let reads = self.reads.get(&finding.block).copied().unwrap_or(0);
                // What does not return cannot be read again; what was good at last needed no more looks.
                let exempt = finding.detail.starts_with("stuck") || finding.persistence == Persistence::Transient;
                if !exempt && reads <= self.rereads {
                    return Err(format!(
                        "reported after {reads} reads, {} rereads are asked for: {finding:#?}",
                        self.rereads
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
