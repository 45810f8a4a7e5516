//! What goes wrong, as data: a fault, the requests that it strikes, and how often.

/// What a disk does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A flush succeeds and makes nothing durable.
    LyingFlush,
    /// An O_DSYNC write succeeds and is only in the cache.
    LyingFua,
    /// A write succeeds and is nowhere.
    DroppedWrite,
    /// One atom of a write that succeeds is nowhere.
    DroppedAtom,
    /// A write lands so many bytes further on.
    Misdirected(usize),
    /// One atom of a write keeps its old second half.
    Shorn,
    /// A write fails with EIO and lands nowhere.
    WriteError,
    /// A flush fails with EIO and makes nothing durable.
    FlushError,
    /// A read fails with EIO.
    ReadError,
    /// One bit of a read is wrong; the disk holds the right one.
    TransientFlip,
    /// A write is never answered.
    StuckWrite,
    /// A read is never answered.
    StuckRead,
}

/// The requests that can be struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Write,
    Read,
    Flush,
}

impl Fault {
    fn strikes(self) -> Kind {
        match self {
            Fault::LyingFlush | Fault::FlushError => Kind::Flush,
            Fault::ReadError | Fault::TransientFlip | Fault::StuckRead => Kind::Read,
            _ => Kind::Write,
        }
    }
}

/// A fault that strikes each `every`-th request of its kind, `left` times.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    pub(crate) every: u64,
    pub(crate) left: u64,
    /// One place is struck so often in a row at the most.
    in_a_row: u32,
    seen: u64,
}

impl Plan {
    pub(crate) fn new(fault: Fault, every: u64, left: u64) -> Plan {
        Plan { fault, every, left, in_a_row: u32::MAX, seen: 0 }
    }

    /// A run puts up with three failures of one write: more would end it, and be another story.
    pub(crate) fn thrice_in_a_row_at_the_most(self) -> Plan {
        Plan { in_a_row: 3, ..self }
    }

    /// Whether the newest request of its kind was struck.
    pub(crate) fn has_just_struck(&self) -> bool {
        self.seen > 0 && self.seen.is_multiple_of(self.every)
    }

    /// The fault that strikes this request, if one does.
    /// What passes is over when the same place is asked for again: struck twice it would be something else, an unstable one.
    pub(crate) fn strike(plans: &mut [Plan], kind: Kind, struck_before: bool, in_a_row: u32) -> Option<Fault> {
        plans.iter_mut().filter(|plan| plan.fault.strikes() == kind).find_map(|plan| {
            plan.seen += 1;
            let over = struck_before && matches!(plan.fault, Fault::TransientFlip | Fault::ReadError);
            let over = over || in_a_row >= plan.in_a_row;
            let due = plan.left > 0 && plan.seen.is_multiple_of(plan.every) && !over;
            plan.left -= u64::from(due);
            due.then_some(plan.fault)
        })
    }
}
