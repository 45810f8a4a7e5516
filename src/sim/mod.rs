//! A simulated disk with a volatile cache and every fault, virtual time, and a world that drives the real engine. Pure.
//!
//! ```text
//! Script (which fault, at which I/O) → Disk, Slots ← World → engine
//!                                                     ↓
//!                                      Truth (what really happened) → watchers (the oracles of tests/sim)
//! ```
//!
//! Promises: the same seed gives the same history to the byte; the disk is as disloyal as an honest disk may be (any
//! subset of the atoms that no flush covers survives a cut, in any order), and dishonest only as the script says; the
//! truth is written down from what was handed over and what was told, never asked of ledger or verifier.

mod disk;
mod fault;
mod observe;
mod random;
mod slots;
mod truth;
mod world;

pub use disk::{Content, Damage, Disk, DiskSettings, IoId, Origin};
pub use fault::{At, Fault, NEVER, Planned, Script};
pub use observe::{Scene, Sight, Watcher};
pub use random::Random;
pub use slots::{SaveFate, Slots};
pub use truth::{FlushFact, Truth, WriteFact, WriteId};
pub use world::{Core, Ending, Lens, Pace, Takes, Timing, World, WorldSettings};
