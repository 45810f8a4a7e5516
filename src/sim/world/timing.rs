//! A fixed schedule: how long each thing takes, without chance.

use super::Pending;
use crate::engine::Event;

/// What takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A write, until the disk has it.
    Write,
    /// A read, until the disk shows it.
    Read,
    /// A flush.
    Flush,
    /// A save.
    Save,
    /// Sealing, inspecting, surveying.
    Work,
    /// From a completion to the engine's hearing of it.
    Delivery,
}

impl Takes {
    pub(super) const KINDS: usize = Takes::Delivery as usize + 1;
}

/// Nanoseconds that the n-th thing of a kind takes, from 0. What ends at one instant ends in the order of its begin.
pub type Timing = fn(Takes, u64) -> u64;

pub(super) fn takes(what: &Pending) -> Takes {
    match what {
        Pending::WriteEnds(..) => Takes::Write,
        Pending::ReadEnds(..) | Pending::SpanEnds(_) => Takes::Read,
        Pending::FlushEnds => Takes::Flush,
        Pending::SaveEnds | Pending::PositionSaveEnds => Takes::Save,
        Pending::Deliver(Event::Sealed(_) | Event::Inspected(..) | Event::Surveyed(..)) => Takes::Work,
        Pending::Deliver(Event::InspectedSpan(..) | Event::SurveyedSpan(..)) => Takes::Work,
        Pending::Deliver(_) => Takes::Delivery,
    }
}
