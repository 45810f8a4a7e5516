//! What the workers of the two pools do: pure work on one block, the buffer there and back.

use crate::engine::OpId;
use crate::ledger::Legal;
use crate::ring::Buffer;
use crate::tag::{Claims, Inspection, Inspector, Sealer};
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
}

pub(super) fn seal(sealer: &Sealer, mut job: SealJob) -> SealDone {
    sealer.seal(job.block, &job.claim, &mut job.buffer);
    SealDone { op: job.op, buffer: job.buffer }
}

pub(super) fn verify(inspector: &Inspector, job: VerifyJob) -> VerifyDone {
    let VerifyJob { op, buffer, look } = job;
    let seen = match look {
        Look::Judge(legal) => Seen::Judged(inspector.inspect(&buffer, &legal), legal),
        Look::Hear(block) => Seen::Heard(inspector.survey(&buffer, block)),
    };
    VerifyDone { op, buffer, seen }
}
