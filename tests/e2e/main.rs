//! The real binary on real files. Files live under /var/tmp, which is rarely a tmpfs, so that I/O is direct.
//!
//! What cannot be tested here prints `SKIPPED: why` past the harness's capture, with a running count.
//! `SCRUBD_KILLS=1000` makes the kill -9 test longer than the 100 kills that it does by itself, some ten seconds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod command_line;
mod damage;
mod decoder;
mod evidence;
mod frozen;
mod grid;
mod idle;
mod kill;
mod ledger_table;
mod ledgers;
mod main_job;
mod memory;
mod no_state;
mod patrol;
mod release;
mod report;
mod resets;
mod room;
mod selftest;
mod stuck;
mod supervised;
mod threads;
mod triggers;
