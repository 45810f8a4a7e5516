//! What the workers of the two pools do: pure work on one block, the buffer there and back.

use std::sync::Arc;

use crate::engine::OpId;
use crate::ledger::{Legal, Recovered};
use crate::ring::Buffer;
use crate::tag::{Claims, Inspection, Inspections, Inspector, Sealer, Span};
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
}

pub(super) enum Seen {
    Judged(Inspection, Box<Legal>),
    Heard(Claims),
    /// With the contents of each block in which something seems wrong, and what it was judged by.
    JudgedSpan(Inspections, Vec<(Vec<u8>, Box<Legal>)>),
    HeardSpan(Vec<(Block, Claims)>),
}

pub(super) fn seal(sealer: &Sealer, mut job: SealJob) -> SealDone {
    sealer.seal(job.block, &job.claim, &mut job.buffer);
    SealDone { op: job.op, buffer: job.buffer }
}

pub(super) fn verify(inspector: &Inspector, job: VerifyJob) -> VerifyDone {
    let VerifyJob { op, mut buffer, look } = job;
    let seen = match look {
        Look::Judge(legal) => Seen::Judged(inspector.inspect(&buffer, &legal), legal),
        Look::Hear(block) => Seen::Heard(inspector.survey(&buffer, block)),
        Look::JudgeSpan(span, by) => {
            let mut suspects = Vec::new();
            let evidence = |bytes: &[u8], legal| suspects.push((bytes.to_vec(), Box::new(legal)));
            let inspections = inspector.inspect_span(&mut buffer, &span, &by, evidence);
            Seen::JudgedSpan(inspections, suspects)
        }
        Look::HearSpan(span) => Seen::HeardSpan(inspector.survey_span(&mut buffer, &span)),
    };
    VerifyDone { op, buffer, seen }
}
