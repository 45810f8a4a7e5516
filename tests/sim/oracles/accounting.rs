//! Verified + unreadable + skipped = planned: nothing is counted that was not read, and each block of a whole check was
//! read well or is a finding.

use std::collections::{BTreeMap, BTreeSet};

use scrubd::engine::{Action, Event, Mode, OpId, SpanId};
use scrubd::report::Overall;
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::tag::Span;
use scrubd::vocabulary::Block;

#[derive(Default)]
pub struct Accounting {
    check: bool,
    reading: BTreeMap<OpId, Block>,
    reading_widely: BTreeMap<SpanId, Span>,
    /// Bytes of reads that ended well, and the blocks that they were of.
    read: u64,
    blocks: BTreeSet<Block>,
    /// Reads that ended well and of which nothing was made yet.
    idle: BTreeSet<OpId>,
    idle_spans: BTreeSet<SpanId>,
}

impl Watcher for Accounting {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { settings, .. } => {
                *self = Accounting { check: settings.mode == Mode::Check, ..Accounting::default() };
            }
            Sight::Acted(Action::Read(op, block)) => {
                if self.idle.remove(op) {
                    return Err(format!("{op:?} was read, and is read again unseen"));
                }
                self.reading.insert(*op, *block);
            }
            Sight::Told(Event::Read(op, result)) => {
                let block = self.reading.remove(op).ok_or("a read ended that nobody asked for")?;
                if result.is_ok() {
                    self.read += scene.disk.shown(block)[0].bytes.len() as u64;
                    self.blocks.insert(block);
                    self.idle.insert(*op);
                }
            }
            Sight::Acted(Action::Inspect(op, _) | Action::Survey(op, _) | Action::Report(_, Some(op))) => {
                self.idle.remove(op);
            }
            Sight::Acted(Action::ReadSpan(id, span)) => {
                // One that came too late, or from before everything began anew, is read again unseen.
                self.idle_spans.remove(id);
                self.reading_widely.insert(*id, span.clone());
            }
            Sight::Told(Event::ReadSpan(id, result)) => {
                let span = self.reading_widely.remove(id).ok_or("a wide read ended that nobody asked for")?;
                if result.is_ok() {
                    self.idle_spans.insert(*id);
                    for block in span.blocks() {
                        self.read += scene.disk.shown(block)[0].bytes.len() as u64;
                        self.blocks.insert(block);
                    }
                }
            }
            Sight::Acted(Action::InspectSpan(id, _) | Action::SurveySpan(id)) if !self.idle_spans.remove(id) => {
                return Err(format!("{id:?} is looked at, and was not read"));
            }
            Sight::Told(Event::InspectedSpan(id, _) | Event::SurveyedSpan(id, _)) if self.idle_spans.contains(id) => {
                return Err(format!("{id:?} was looked at before it was read"));
            }
            Sight::Acted(Action::Judged(judgement)) => {
                if judgement.bytes.verified > self.read {
                    return Err(format!("{} bytes verified of {} read", judgement.bytes.verified, self.read));
                }
                let counts = &judgement.blocks;
                let good = counts.intact + counts.rolled_back + counts.interrupted + counts.unwritten;
                if self.check && good > self.blocks.len() as u64 {
                    return Err(format!("{good} blocks are called good, {} were read", self.blocks.len()));
                }
                let whole = self.check && judgement.verdict != Overall::Incomplete;
                let found: BTreeSet<Block> = judgement.findings.iter().map(|finding| finding.block).collect();
                let skipped = (0..counts.total).map(Block).find(|b| !self.blocks.contains(b) && !found.contains(b));
                if whole && let Some(skipped) = skipped {
                    return Err(format!("block {skipped} was neither read nor reported"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
