//! What must hold of every decoder, whatever the bytes.
//!
//! Checksums keep all but one input in 2^32 out of a decoder, and a fuzzer would never get past them: each property is
//! tried over the bytes as they are, and over the same bytes with a checksum that fits.

pub mod config;
pub mod control;
pub mod event_log;
pub mod label;
pub mod slot;
pub mod state;
pub mod tag;

use scrubd::vocabulary::RunId;

/// 000102…0f, as in the golden vectors.
const RUN: RunId = RunId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

/// A directory in memory where there is one: a flush to a disk for every input would be all that is measured.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

/// The words that a person gets.
fn told(error: &impl std::fmt::Display) {
    let text = error.to_string();
    assert!(!text.trim().is_empty(), "an error without words");
    assert!(text.len() < 1 << 20, "an error of {} bytes", text.len());
}
