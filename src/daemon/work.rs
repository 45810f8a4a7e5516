//! What the workers of the two pools do: pure work on one block, the buffer there and back.

use std::sync::Arc;

use crate::engine::OpId;
use crate::ledger::{Legal, Recovered};
use crate::pool::Job;
use crate::ring::Buffer;
use crate::tag::{Claims, Inspection, Inspections, Inspector, Sealer, Span, Verdict};
use crate::vocabulary::{Block, Claim};

/// Fill a block before it is written.
pub(super) struct SealJob {
    pub(super) op: OpId,
    pub(super) buffer: Buffer,
    pub(super) block: Block,
    pub(super) claim: Claim,
}

/// A block that is ready to be written.
pub(super) struct SealDone {
    pub(super) op: OpId,
    pub(super) buffer: Buffer,
}

/// Look at a block that was read.
pub(super) struct VerifyJob {
    pub(super) op: OpId,
    pub(super) buffer: Buffer,
    pub(super) look: Look,
    /// The bytes of a single block are to stay as they are, as evidence. What shows a broken promise stays in any case.
    pub(super) keep: bool,
}

/// With which eyes.
pub(super) enum Look {
    Judge(Box<Legal>),
    Hear(Block),
    JudgeSpan(Span, Arc<Recovered>),
    HearSpan(Span),
}

/// A block that was looked at.
pub(super) struct VerifyDone {
    pub(super) op: OpId,
    pub(super) buffer: Buffer,
    pub(super) seen: Seen,
    /// The buffer holds nothing but poison, ready for the next read.
    pub(super) poisoned: bool,
}

pub(super) enum Seen {
    Judged(Inspection, Box<Legal>),
    Heard(Claims),
    /// With the contents of each block in which something seems wrong, and what it was judged by.
    JudgedSpan(Inspections, Vec<(Vec<u8>, Box<Legal>)>),
    HeardSpan(Vec<(Block, Claims)>),
}

impl Job for SealJob {
    fn bytes(&self) -> usize {
        self.buffer.len()
    }
}

impl Job for VerifyJob {
    fn bytes(&self) -> usize {
        self.buffer.len()
    }
}

pub(super) fn seal(sealer: &Sealer, mut job: SealJob) -> SealDone {
    sealer.seal(job.block, &job.claim, &mut job.buffer);
    SealDone { op: job.op, buffer: job.buffer }
}

pub(super) fn verify(inspector: &Inspector, job: VerifyJob) -> VerifyDone {
    let VerifyJob { op, mut buffer, look, keep } = job;
    let (seen, spent) = match look {
        Look::Judge(legal) => {
            let inspection = inspector.inspect(&buffer, &legal);
            let broken = matches!(inspection.verdict, Verdict::Broken(_));
            (Seen::Judged(inspection, legal), !broken)
        }
        Look::Hear(block) => (Seen::Heard(inspector.survey(&buffer, block)), true),
        Look::JudgeSpan(span, by) => {
            let mut suspects = Vec::new();
            let evidence = |bytes: &[u8], legal| suspects.push((bytes.to_vec(), Box::new(legal)));
            let inspections = inspector.inspect_span(&mut buffer, &span, &by, evidence);
            return VerifyDone { op, buffer, seen: Seen::JudgedSpan(inspections, suspects), poisoned: true };
        }
        Look::HearSpan(span) => {
            let claims = inspector.survey_span(&mut buffer, &span);
            return VerifyDone { op, buffer, seen: Seen::HeardSpan(claims), poisoned: true };
        }
    };
    // Here and not before the next read: the ring's thread has more to do, and there is one of it.
    let poisoned = spent && !keep;
    if poisoned {
        buffer.poison();
    }
    VerifyDone { op, buffer, seen, poisoned }
}
