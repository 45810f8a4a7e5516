//! Wide reads of a check: their buffers, and what is done to them.
//!
//! A span has a number behind those of the operations, in the ring and in the pool. Its buffer is made when it is first
//! read, and let go once writing begins: a region is judged at the start, and for weeks not again.

use std::sync::Arc;

use super::driver::Driver;
use super::work::{Look, VerifyJob};
use crate::engine::{Event, OpId, SpanId};
use crate::ledger::{Legal, Recovered};
use crate::ring::{Buffer, Completion, Kind, Request, Token};
use crate::tag::{Claims, Inspections, Span};
use crate::vocabulary::Block;

/// What is in a span, or was.
#[derive(Default)]
struct Slot {
    span: Option<Span>,
    /// `None` while a worker or the ring has it, and before there is one.
    buffer: Option<Buffer>,
    /// The buffer holds nothing but poison, at its full length.
    poisoned: bool,
    /// How long its read took, in nanoseconds.
    read_ns: u64,
}

/// All spans.
pub(super) struct Wide {
    slots: Vec<Slot>,
    /// The number of the first, behind those of the operations.
    first: u32,
    /// Bytes of the widest.
    most_bytes: usize,
}

impl Wide {
    pub(super) fn new(count: u32, operations: u32, most_bytes: usize) -> Self {
        Wide { slots: (0..count).map(|_| Slot::default()).collect(), first: operations, most_bytes }
    }

    /// The span that a number of the ring or of the pool stands for.
    pub(super) fn id(&self, number: u32) -> Option<SpanId> {
        let id = number.checked_sub(self.first)?;
        ((id as usize) < self.slots.len()).then_some(SpanId(id))
    }

    fn number(&self, id: SpanId) -> u32 {
        self.first + id.0
    }

    fn slot(&mut self, id: SpanId) -> &mut Slot {
        &mut self.slots[id.0 as usize]
    }

    pub(super) fn give_back(&mut self, id: SpanId, buffer: Buffer, poisoned: bool) {
        let slot = self.slot(id);
        slot.poisoned = poisoned;
        let before = slot.buffer.replace(buffer);
        assert!(before.is_none(), "{id:?} has one buffer");
    }

    fn take(&mut self, id: SpanId) -> Buffer {
        self.slot(id).buffer.take().unwrap_or_else(|| panic!("{id:?} has its buffer when it is used"))
    }

    /// Lets go of the buffers that nobody has.
    pub(super) fn let_go(&mut self) {
        self.slots.iter_mut().for_each(|slot| (slot.buffer, slot.poisoned) = (None, false));
    }
}

impl Driver {
    pub(super) fn read_span(&mut self, id: SpanId, span: Span) {
        let bytes = span.count() as usize * self.geometry.block_size as usize;
        let offset = self.geometry.offset_of(span.first());
        let most_bytes = self.wide.most_bytes;
        let slot = self.wide.slot(id);
        slot.span = Some(span);
        let fresh = slot.buffer.is_none();
        let mut buffer = slot.buffer.take().unwrap_or_else(|| Buffer::new(most_bytes));
        if !std::mem::replace(&mut slot.poisoned, false) && !fresh {
            buffer.set_len(most_bytes);
            buffer.poison();
        }
        buffer.set_len(bytes);
        let token = Token(self.wide.number(id));
        self.ring.submit(Request { token, kind: Kind::Read { offset }, buffer: Some(buffer) });
    }

    /// The read of a span has ended.
    pub(super) fn span_landed(&mut self, id: SpanId, completion: Completion) {
        let Completion { buffer, result, latency, .. } = completion;
        self.wide.slot(id).read_ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.wide.give_back(id, buffer.expect("a read has a buffer"), false);
        self.events.push(Event::ReadSpan(id, result.map_err(|failure| self.fault(&failure))));
    }

    pub(super) fn inspect_span(&mut self, id: SpanId, by: Arc<Recovered>) {
        let span = self.span(id);
        self.look_at_span(id, Look::JudgeSpan(span, by));
    }

    pub(super) fn survey_span(&mut self, id: SpanId) {
        let span = self.span(id);
        self.look_at_span(id, Look::HearSpan(span));
    }

    fn span(&mut self, id: SpanId) -> Span {
        self.wide.slot(id).span.take().expect("a span is looked at once after it was read")
    }

    fn look_at_span(&mut self, id: SpanId, look: Look) {
        let buffer = self.wide.take(id);
        self.verify_jobs.push(VerifyJob { op: OpId(self.wide.number(id)), buffer, look, keep: false });
    }

    pub(super) fn span_heard(&mut self, op: OpId, claims: Vec<(Block, Claims)>) {
        let id = self.wide.id(op.0).expect("a span");
        self.events.push(Event::SurveyedSpan(id, claims));
    }

    /// The blocks of a span are judged; of what seems wrong the first sight is kept.
    pub(super) fn span_judged(&mut self, op: OpId, inspections: Inspections, suspects: Vec<(Vec<u8>, Box<Legal>)>) {
        let id = self.wide.id(op.0).expect("a span");
        let read_ns = self.wide.slot(id).read_ns;
        if self.journal.is_some() {
            for (bytes, legal) in suspects {
                self.suspects.timed(legal.block, read_ns, true);
                self.suspects.keep(&bytes, legal);
            }
        }
        self.events.push(Event::InspectedSpan(id, inspections));
    }
}
