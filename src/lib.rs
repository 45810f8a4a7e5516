//! scrubd proves, day and night, whether storage keeps its promises.
//!
//! The rooms stand in the order in which data flows:
//!
//! ```text
//! config → target → schedule → seal pool → ring → (disk) → ring → verify pool → ledger → report
//!                         engine decides; daemon wires; nothing else knows everything
//! ```
//!
//! `schedule`, `tag`, `ledger`, `engine`, `sim` and `selftest` are pure: no clock, no randomness, no thread, no file. Time and
//! chance are arguments, so that the simulator drives the very code that runs on a disk.

mod patience;
pub mod vocabulary;

pub mod config;
pub mod target;

pub mod schedule;
pub mod tag;

pub mod ledger;

pub mod engine;

pub mod pool;
pub mod ring;

pub mod sim;

pub mod report;

pub mod selftest;

pub mod daemon;

pub mod cli;
