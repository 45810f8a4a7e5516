//! The command line: one file a subcommand.
//!
//! Results go to stdout, talk to stderr. Every subcommand ends with one of the exit codes of the manual, a panic too.

pub mod args;
mod check;
mod chosen;
mod config;
mod control;
mod exit;
mod init;
mod inspect;
mod journal;
mod last_words;
mod progress;
mod quarantine;
mod release;
mod report;
mod run;
mod selftest;
mod state;
mod status;
mod talk;

use std::process::ExitCode;

use args::{Args, Command, ConfigCommand, QuarantineCommand};
use exit::Failure;

use crate::daemon::protocol::Request;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::parse() {
        Ok(args) => args,
        Err(error) => return args::exit_code(&error),
    };
    talk::start();
    let ended = std::panic::catch_unwind(|| dispatch(&args));
    talk::show(None);
    match ended {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(failure)) => {
            talk::fail(&failure);
            ExitCode::from(failure.code)
        }
        // The panic hook has told where and why.
        Err(_) => ExitCode::from(exit::INTERNAL),
    }
}

fn dispatch(args: &Args) -> Result<u8, Failure> {
    match &args.command {
        Command::Init(_) => init::run(args),
        Command::Release(_) => release::run(args),
        Command::Run(options) => run::run(args, options),
        Command::Check(options) => check::run(args, options.no_state),
        Command::Status(_) => status::run(args),
        Command::Trigger(_) => control::run(args, Request::Trigger),
        Command::Pause(_) => control::run(args, Request::Pause),
        Command::Resume(_) => control::run(args, Request::Resume),
        Command::Reload(_) => control::run(args, Request::Reload),
        Command::Inspect(options) => inspect::run(args, options.block),
        Command::Report(_) => report::run(args),
        Command::Selftest(options) => selftest::run(options, args.common.json),
        Command::Config(ConfigCommand::Check(_)) => config::check(args),
        Command::Config(ConfigCommand::Show(_)) => config::show(args),
        Command::Quarantine(QuarantineCommand::Clear(_)) => quarantine::clear(args),
    }
}
