//! How long things take, in nanoseconds of virtual time.

use crate::sim::Random;

/// Ranges to draw from.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A write or a read.
    pub io: (u64, u64),
    /// A flush.
    pub flush: (u64, u64),
    /// A save.
    pub save: (u64, u64),
    /// Sealing, inspecting, surveying.
    pub work: (u64, u64),
    /// From a completion to the engine's hearing of it.
    pub delivery: (u64, u64),
    /// Things in a thousand that take a hundred times as long.
    pub slow_per_mille: u64,
    /// Events that may be told at once.
    pub batch: u64,
}

impl Pace {
    /// A disk and a machine of the usual kind.
    pub const USUAL: Pace = Pace {
        io: (10_000, 200_000),
        flush: (100_000, 2_000_000),
        save: (50_000, 3_000_000),
        work: (1_000, 50_000),
        delivery: (0, 20_000),
        slow_per_mille: 5,
        batch: 4,
    };

    /// Draws a duration.
    pub(super) fn draw(self, random: &mut Random, (low, high): (u64, u64)) -> u64 {
        let drawn = random.between(low, high);
        if random.chance(self.slow_per_mille) { drawn * 100 } else { drawn }
    }
}
