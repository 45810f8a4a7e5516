//! Wide reads of the world: one request over adjacent blocks, each of which the disk reads by its own rules.

use super::perform::in_words;
use super::{Pending, World};
use crate::engine::{Action, Event, SpanId};
use crate::ring::{Kind, Next, Progress};
use crate::sim::disk::IoId;
use crate::sim::observe::Sight;
use crate::tag::Span;
use crate::vocabulary::{Block, POISON};

/// A span's buffer and what it is used for.
#[derive(Debug)]
pub(super) struct WideBuffer {
    pub(super) span: Span,
    bytes: Vec<u8>,
    progress: Progress,
    /// What the disk knows the read of each block by.
    parts: Vec<(Block, IoId)>,
    /// Something is under way that uses it.
    pub(super) busy: bool,
    /// It holds what was read.
    whole: bool,
}

impl World {
    pub(super) fn read_span(&mut self, id: SpanId, span: Span) -> Result<(), String> {
        if id.0 >= self.span_count {
            return Err(format!("{id:?}: no such span"));
        }
        if self.wide.get(&id).is_some_and(|wide| wide.busy) {
            return Err(format!("read of {id:?}, which is busy"));
        }
        let geometry = self.settings.geometry;
        let length = span.count() as usize * geometry.block_size as usize;
        let kind = Kind::Read { offset: geometry.offset_of(span.first()) };
        let (mut parts, mut late_ns) = (Vec::new(), 0);
        for block in (span.first().0..=span.last().0).map(Block) {
            let (io, late) = self.disk.submit_read(block);
            parts.push((block, io));
            late_ns = late.max(late_ns);
        }
        let progress = Progress::new(kind, length);
        let wide = WideBuffer { span, bytes: vec![POISON; length], progress, parts, busy: true, whole: false };
        self.wide.insert(id, wide);
        let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.io);
        self.later(delay + late_ns, Pending::SpanEnds(id));
        Ok(())
    }

    /// One try of a wide read: the event, once it is over.
    pub(super) fn try_read_span(&mut self, id: SpanId) -> Result<Option<Event>, String> {
        let size = self.settings.geometry.block_size as usize;
        let mut wide = self.wide.remove(&id).ok_or("a wide read that nobody asked for")?;
        let from = wide.progress.from();
        for (block, io) in &wide.parts[from / size..] {
            self.show(&Sight::Shown(*block))?;
            if self.disk.is_garbled(*io) {
                self.show(&Sight::Garbled(*block))?;
            }
        }
        let moved = self.try_parts(&mut wide, from, size);
        let event = match wide.progress.advance(moved) {
            Next::Issue => {
                let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.io);
                self.later(delay, Pending::SpanEnds(id));
                None
            }
            Next::Finished(result) => {
                wide.parts.drain(..).for_each(|(_, io)| self.disk.end_read(io));
                wide.whole = result.is_ok();
                if let (Some(lens), true) = (&mut self.lens, wide.whole) {
                    let blocks = (wide.span.first().0..).map(Block);
                    blocks.zip(wide.bytes.chunks_exact_mut(size)).for_each(|(block, bytes)| lens(block, bytes));
                }
                Some(Event::ReadSpan(id, result.map_err(|failure| in_words(&failure))))
            }
        };
        self.wide.insert(id, wide);
        Ok(event)
    }

    /// As the kernel does it: block after block, and what was moved before an error is told in its place.
    fn try_parts(&mut self, wide: &mut WideBuffer, from: usize, size: usize) -> Result<usize, i32> {
        let mut moved = 0;
        for nth in from / size..wide.parts.len() {
            let (start, end) = (from.max(nth * size), (nth + 1) * size);
            let tried = self.disk.try_read(wide.parts[nth].1, start - nth * size, &mut wide.bytes[start..end]);
            match tried {
                Ok(bytes) => moved += bytes,
                Err(errno) if moved == 0 => return Err(errno),
                Err(_) => return Ok(moved),
            }
            if tried != Ok(end - start) {
                break;
            }
        }
        Ok(moved)
    }

    pub(super) fn look_at_span(&mut self, action: &Action) -> Result<(), String> {
        let (Action::InspectSpan(id, _) | Action::SurveySpan(id)) = action else { return Ok(()) };
        let inspector = self.inspector;
        let wide = self.wide.get_mut(id).ok_or_else(|| format!("{id:?} was never read"))?;
        if wide.busy || !wide.whole {
            return Err(format!("{id:?} is looked at and holds nothing that was read"));
        }
        (wide.busy, wide.whole) = (true, false);
        let event = match action {
            Action::InspectSpan(_, by) => {
                Event::InspectedSpan(*id, inspector.inspect_span(&mut wide.bytes, &wide.span, by, |_, _| {}))
            }
            _ => Event::SurveyedSpan(*id, inspector.survey_span(&mut wide.bytes, &wide.span)),
        };
        let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.work);
        self.later(delay, Pending::Deliver(event));
        Ok(())
    }
}
