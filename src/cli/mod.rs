//! The command line: one file a subcommand.

pub mod args;
mod chosen;
mod config;
mod exit;
mod init;
mod inspect;
mod quarantine;
mod state;
mod talk;
