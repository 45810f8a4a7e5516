//! The tiny worlds: what they are made of, and the schedules that they are run under.

use scrubd::engine::{FlushEvery, Mode, OnFinding, OnStart, Settings};
use scrubd::ledger::Checkpoint;
use scrubd::sim::{Pace, Random, Script, Takes, Timing, Watcher, World, WorldSettings};
use scrubd::vocabulary::{Digest, Order, Promise};

use crate::history::{Before, RUN, geometry, initial};

/// Two atoms of 512 bytes: no device has blocks so small, and nothing here asks for more.
const BLOCK: u32 = 1024;
const ATOM: u32 = BLOCK / ATOMS as u32;
pub const ATOMS: usize = 2;

/// Three milliseconds: slow enough that the half second between two checkpoints passes several times in a tiny run.
const TICK: u64 = 3_000_000;

/// One tiny world.
#[derive(Clone, Copy, Debug)]
pub struct Tiny {
    pub blocks: u64,
    pub depth: u32,
    pub promise: Promise,
    /// What a start after a cut holds the disk to, and its mode.
    pub then: (Promise, Mode),
    pub order: Order,
    pub mode: Mode,
    pub retention: bool,
    /// Blocks that complete before a flush, and that the read-back stays behind.
    pub flush_every: u64,
    pub lag: u64,
    pub on_start: OnStart,
    pub before: Before,
    pub schedule: usize,
    pub passes: u64,
}

impl Tiny {
    /// The settings of a start, by the cuts that it comes to an end by: the first, the second, …
    pub fn settings(&self, cuts: usize) -> Settings {
        let (promise, mode) = if cuts.is_multiple_of(2) { self.then } else { (self.promise, self.mode) };
        Settings {
            mode,
            promise,
            queue_depth: self.depth,
            // All at once, or each alone.
            span_bytes: if (self.blocks + cuts as u64).is_multiple_of(2) { 1 << 20 } else { BLOCK },
            flush_every: FlushEvery::Bytes(self.flush_every * u64::from(BLOCK)),
            retention: self.retention,
            readback_lag: self.lag * u64::from(BLOCK),
            rereads: 1,
            on_start: self.on_start,
            on_finding: OnFinding::Continue,
            passes: Some(self.passes),
            ..Settings::default()
        }
    }

    /// The check reads with a full queue, and a mismatch of this disk is the same on every read.
    pub fn check(&self) -> Settings {
        Settings { mode: Mode::Check, queue_depth: 2 * self.blocks as u32, rereads: 0, ..self.settings(1) }
    }

    pub fn world(&self, watchers: Vec<Box<dyn Watcher>>) -> World {
        let geometry = geometry(self.blocks, BLOCK, ATOM, self.order, Digest::Crc32c);
        let settings = WorldSettings {
            geometry,
            run: RUN,
            seed: 1,
            power_loss_protected: self.promise == Promise::Ack || self.then.0 == Promise::Ack,
            failed_flush_shows: false,
            pace: Pace { batch: 1, ..Pace::USUAL },
            hashed: false,
        };
        let disk = initial(&geometry, &[self.before], &mut Random::new(1));
        let first = Checkpoint::first(self.promise, 0);
        let mut world = World::new(settings, disk, Script::default(), &first, watchers);
        world.timing = Some(SCHEDULES[self.schedule].1);
        world
    }
}

/// The schedules by name. All of them take what begins at one instant in the order of its begin, unless they say
/// otherwise.
pub const SCHEDULES: [(&str, Timing); 8] = [
    ("in order", in_order),
    ("writes reversed", |takes, nth| match takes {
        Takes::Write | Takes::Read => (100 + 30 * (3 - nth % 4)) * TICK,
        _ => in_order(takes, nth),
    }),
    ("every third write is late", |takes, nth| match takes {
        Takes::Write if nth.is_multiple_of(3) => 330 * TICK,
        _ => in_order(takes, nth),
    }),
    ("flush late", |takes, nth| match takes {
        Takes::Flush => 450 * TICK,
        _ => in_order(takes, nth),
    }),
    ("flush early, writes pairwise swapped", |takes, nth| match takes {
        Takes::Flush => 10 * TICK,
        Takes::Write => (100 + 60 * (1 - nth % 2)) * TICK,
        _ => in_order(takes, nth),
    }),
    ("save late", |takes, nth| match takes {
        Takes::Save => 800 * TICK,
        _ => in_order(takes, nth),
    }),
    ("completions overtake each other", |takes, nth| match takes {
        Takes::Delivery if nth.is_multiple_of(2) => 150 * TICK,
        _ => in_order(takes, nth),
    }),
    ("seals reversed, saves at once", |takes, nth| match takes {
        Takes::Work => (1 + 40 * (3 - nth % 4)) * TICK,
        Takes::Save => TICK,
        _ => in_order(takes, nth),
    }),
];

fn in_order(takes: Takes, _: u64) -> u64 {
    TICK * match takes {
        Takes::Write => 100,
        Takes::Read => 50,
        Takes::Flush => 150,
        Takes::Save => 120,
        Takes::Work => 1,
        Takes::Delivery => 3,
    }
}
