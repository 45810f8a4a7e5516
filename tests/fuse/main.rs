//! The real binary (io_uring, O_DIRECT, real pools) over a file system that loses its cache: the tests' own, by FUSE.
//!
//! Needs /dev/fuse and the right to mount; the loop device needs root. Where that is missing a test says `skipped: why`
//! on stderr, counted. `SCRUBD_FUSE_CUTS=n` cuts more often than it does by itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod chance;
#[path = "../e2e/decoder.rs"]
mod decoder;
mod device;
mod fault;
mod faults;
mod filesystem;
mod flight;
mod honest;
mod image;
mod journal;
mod judge;
mod mount;
mod prefixes;
mod rig;
mod store;
