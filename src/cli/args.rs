//! The command line as clap sees it. What the words do is each subcommand's affair.
//!
//! The common options stand on both sides of the subcommand (`scrubd --config F run` and `scrubd run --config F`). They
//! are defined twice and merged here, rather than with clap's `global`, which lets a `--set` after the subcommand
//! silently replace one before it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand};

use crate::config::{self, AdHoc, Overrides, Source};

/// EX_USAGE of sysexits(3).
pub const EXIT_USAGE: u8 = 64;

/// The whole command line, checked.
#[derive(Clone, Debug)]
pub struct Args {
    /// Options of both sides of the subcommand.
    pub common: Common,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Label a target; refuses anything in use or with a signature
    Init(Target),
    /// Take the label off a target, and give it back
    Release(Target),
    /// The daemon: write, read back, judge, keep the ledger
    Run(Run),
    /// Read-only verdict over the whole region
    Check(Check),
    /// Ask a running daemon how it is
    Status(Target),
    /// Pull a running daemon's trigger
    Trigger(Target),
    /// Stop a running daemon's I/O until resume
    Pause(Target),
    /// Go on after pause
    Resume(Target),
    /// Have a running daemon reload what can be reloaded
    Reload(Target),
    /// Decode one block and say what it is
    Inspect(Inspect),
    /// What the state directory says, as a page of HTML or, with --json, a line of JSON
    Report(Target),
    /// Inject every class of fault into a simulated disk and see that each is found and named; needs no target
    Selftest(Selftest),
    /// Validate the configuration, or show it with the origin of every value
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The latch that a finding sets
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
}

/// What to do with the configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Name everything that is wrong
    Check(Target),
    /// Every key in force and where it was said
    Show(Target),
}

/// What to do with a quarantine.
#[derive(Clone, Debug, Subcommand)]
pub enum QuarantineCommand {
    /// Lift it, after the evidence has been looked at
    Clear(Target),
}

/// A target and the options that go with any.
#[derive(Clone, Debug, ClapArgs)]
pub struct Target {
    /// A target's name in the configuration
    #[arg(value_name = "TARGET")]
    pub name: Option<String>,
    #[command(flatten)]
    after: Common,
}

/// `run`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Run {
    /// Stop cleanly once N more passes are written and read back; on patrol, once N passes are ended
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub passes: Option<u64>,
    /// Stop cleanly after this time, such as 90s or 12h
    #[arg(long, value_name = "T", value_parser = duration)]
    pub duration: Option<Duration>,
    /// What to run on. Last, so that the heading of the common options covers those alone.
    #[command(flatten)]
    pub target: Target,
}

/// `check`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Check {
    /// Rebuild the ledger from the tags on the disk alone
    #[arg(long)]
    pub no_state: bool,
    /// What to check.
    #[command(flatten)]
    pub target: Target,
}

/// `inspect`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Inspect {
    /// Number of the block within the region, from 0
    #[arg(long, value_name = "N")]
    pub block: u64,
    /// Whose block.
    #[command(flatten)]
    pub target: Target,
}

/// `selftest`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Selftest {
    /// What all chance comes from; drawn anew where it is left out
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Times that every case is tried
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub rounds: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options that go with every subcommand that takes a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, ClapArgs)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Read this file instead of /etc/scrubd/scrubd.toml and /etc/scrubd/conf.d
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Test this file, without a configuration
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Length of the region with --file, label included, such as 1GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub size: Option<u64>,
    /// Where ledgers, event logs and evidence live
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Override a key of the target, as in --set trigger.file=/run/cut; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub sets: Vec<String>,
    /// Say again which device or file may be overwritten
    #[arg(long, value_name = "PATH")]
    pub confirm: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Proves, day and night, whether storage keeps its promises
#[derive(Parser)]
#[command(name = "scrubd", version, propagate_version = true, arg_required_else_help = true)]
struct CommandLine {
    #[command(flatten)]
    before: Common,
    #[command(subcommand)]
    command: Command,
}

/// The definition of the command line, for manuals and shell completions.
#[must_use]
pub fn definition() -> clap::Command {
    CommandLine::command()
}

impl Args {
    /// Parses the process's own command line.
    ///
    /// # Errors
    /// What [`exit_code`] prints: a usage error, or a wish for help or the version.
    pub fn parse() -> Result<Self, clap::Error> {
        Self::parse_from(std::env::args_os())
    }

    /// Parses a command line, its first word being the program.
    ///
    /// # Errors
    /// What [`exit_code`] prints: a usage error, or a wish for help or the version.
    pub fn parse_from<I, T>(words: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let CommandLine { before, mut command } = CommandLine::try_parse_from(words)?;
        let after = match &mut command {
            Command::Selftest(selftest) => Common { json: selftest.json, ..Common::default() },
            command => command.target_mut().map(|target| std::mem::take(&mut target.after)).unwrap_or_default(),
        };
        let args = Args { common: before.merged(after)?, command };
        args.check().map(|()| args)
    }

    /// Where the configuration comes from.
    #[must_use]
    pub fn source(&self) -> Source {
        match (&self.common.file, &self.common.config) {
            (Some(file), _) => Source::AdHoc(AdHoc { file: file.clone(), size: self.common.size }),
            (None, Some(config)) => Source::File(config.clone()),
            (None, None) => Source::Directory(PathBuf::from(config::SYSTEM_DIRECTORY)),
        }
    }

    /// What the command line says beside it.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides {
            target: self.command.target().and_then(|target| target.name.clone()),
            sets: self.common.sets.clone(),
            state_dir: self.common.state_dir.clone(),
        }
    }

    fn check(&self) -> Result<(), clap::Error> {
        let Common { config, file, size, .. } = &self.common;
        let conflict = |message: &str| Err(usage(ErrorKind::ArgumentConflict, message));
        let Some(Target { name, .. }) = self.command.target() else {
            let alone = self.common == Common { json: self.common.json, ..Common::default() };
            return if alone {
                Ok(())
            } else {
                conflict("selftest takes no target and none of its options but --json")
            };
        };
        if name.is_some() && file.is_some() {
            return conflict("TARGET and --file cannot be used together: name one of them");
        }
        if config.is_some() && file.is_some() {
            return conflict("--config and --file cannot be used together: an ad-hoc target has no configuration");
        }
        if size.is_some() && file.is_none() {
            return conflict("--size goes with --file; elsewhere say --set length=SIZE");
        }
        if self.command.needs_target() && name.is_none() && file.is_none() {
            return Err(usage(ErrorKind::MissingRequiredArgument, "TARGET or --file PATH is required"));
        }
        Ok(())
    }
}

impl Command {
    /// The target and its name, of whatever subcommand; `None` for one that takes none.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        Some(match self {
            Command::Init(target)
            | Command::Release(target)
            | Command::Report(target)
            | Command::Status(target)
            | Command::Trigger(target)
            | Command::Pause(target)
            | Command::Resume(target)
            | Command::Reload(target)
            | Command::Config(ConfigCommand::Check(target) | ConfigCommand::Show(target))
            | Command::Quarantine(QuarantineCommand::Clear(target)) => target,
            Command::Run(Run { target, .. })
            | Command::Check(Check { target, .. })
            | Command::Inspect(Inspect { target, .. }) => target,
            Command::Selftest(_) => return None,
        })
    }

    fn target_mut(&mut self) -> Option<&mut Target> {
        Some(match self {
            Command::Init(target)
            | Command::Release(target)
            | Command::Report(target)
            | Command::Status(target)
            | Command::Trigger(target)
            | Command::Pause(target)
            | Command::Resume(target)
            | Command::Reload(target)
            | Command::Config(ConfigCommand::Check(target) | ConfigCommand::Show(target))
            | Command::Quarantine(QuarantineCommand::Clear(target)) => target,
            Command::Run(Run { target, .. })
            | Command::Check(Check { target, .. })
            | Command::Inspect(Inspect { target, .. }) => target,
            Command::Selftest(_) => return None,
        })
    }

    /// Those that may leave TARGET out mean the only one that is configured; the others would judge, accuse, overwrite or
    /// forgive a disk that nobody named.
    fn needs_target(&self) -> bool {
        matches!(
            self,
            Command::Init(_)
                | Command::Release(_)
                | Command::Check(_)
                | Command::Inspect(_)
                | Command::Quarantine(_)
                | Command::Report(_)
        )
    }
}

impl Common {
    fn merged(self, after: Common) -> Result<Common, clap::Error> {
        fn one<T>(name: &str, before: Option<T>, after: Option<T>) -> Result<Option<T>, clap::Error> {
            match (before, after) {
                (Some(_), Some(_)) => {
                    Err(usage(ErrorKind::ArgumentConflict, &format!("--{name} cannot be used multiple times")))
                }
                (before, after) => Ok(before.or(after)),
            }
        }
        Ok(Common {
            config: one("config", self.config, after.config)?,
            file: one("file", self.file, after.file)?,
            size: one("size", self.size, after.size)?,
            state_dir: one("state-dir", self.state_dir, after.state_dir)?,
            sets: self.sets.into_iter().chain(after.sets).collect(),
            confirm: one("confirm", self.confirm, after.confirm)?,
            json: self.json || after.json,
        })
    }
}

/// Prints what [`Args::parse`] returned, help to stdout and errors to stderr, and says with what to exit: 0 or 64.
#[must_use]
pub fn exit_code(error: &clap::Error) -> ExitCode {
    // Help that goes into a closed pipe is no error; a usage error that nobody reads still exits 64.
    drop(error.print());
    ExitCode::from(exit_status(error))
}

fn exit_status(error: &clap::Error) -> u8 {
    if error.use_stderr() { EXIT_USAGE } else { 0 }
}

fn usage(kind: ErrorKind, message: &str) -> clap::Error {
    CommandLine::command().error(kind, message)
}

fn size(text: &str) -> Result<u64, String> {
    config::parse_size(text)
}

fn duration(text: &str) -> Result<Duration, String> {
    match config::parse_duration(text)? {
        Duration::ZERO => Err("must be above 0".to_owned()),
        time => Ok(time),
    }
}

fn key_value(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("must be KEY=VALUE, such as trigger.file=/run/cut".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::parse_from(std::iter::once("scrubd").chain(line.split_whitespace()))
    }

    fn refused(line: &str) -> String {
        let error = parse(line).expect_err(line);
        assert_eq!(exit_status(&error), 64, "{line}");
        error.to_string()
    }

    #[test]
    fn the_definition_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_subcommand_that_takes_a_target_takes_the_common_options() {
        let common = "--state-dir /s --set mode=powercut --set rate=1MiB/s --confirm /dev/x --json";
        let words = "init release report run check status trigger pause resume reload config_check config_show quarantine_clear";
        for word in words.split(' ').map(|word| word.replace('_', " ")) {
            for line in [format!("{word} bay3 {common}"), format!("{common} {word} bay3")] {
                let args = parse(&line).expect(&line);
                assert_eq!(args.common.sets, ["mode=powercut", "rate=1MiB/s"], "{line}");
                assert!(args.common.json && args.common.confirm.is_some() && args.common.state_dir.is_some());
                assert_eq!(args.overrides().target.as_deref(), Some("bay3"));
                assert_eq!(args.source(), Source::Directory("/etc/scrubd".into()));
            }
            let args = parse(&format!("{word} --file d.img --size 64MiB {common}")).expect(&word);
            let ad_hoc = AdHoc { file: "d.img".into(), size: Some(64 << 20) };
            assert_eq!((args.source(), args.overrides().target), (Source::AdHoc(ad_hoc), None));
        }
    }

    // clap's `global = true` keeps only the occurrences behind the subcommand.
    #[test]
    fn a_set_before_the_subcommand_is_not_lost_to_one_behind_it() {
        let args = parse("--set rate=off run --set mode=powercut bay3").unwrap();
        assert_eq!(args.common.sets, ["rate=off", "mode=powercut"]);
        assert!(refused("--config a run --config b").contains("--config cannot be used multiple times"));
    }

    #[test]
    fn options_of_single_subcommands() {
        let args = parse("run --config x.toml --passes 3 --duration 12h").unwrap();
        let Command::Run(run) = &args.command else { panic!("{args:?}") };
        assert_eq!((run.passes, run.duration), (Some(3), Some(Duration::from_secs(12 * 3600))));
        assert_eq!(args.source(), Source::File("x.toml".into()));
        let args = parse("check bay3 --no-state").unwrap();
        assert!(matches!(args.command, Command::Check(Check { no_state: true, .. })));
        let args = parse("inspect bay3 --block 7").unwrap();
        assert!(matches!(args.command, Command::Inspect(Inspect { block: 7, .. })));
    }

    #[test]
    fn the_selftest_takes_no_target_and_may_be_asked_for_json_on_either_side() {
        for line in ["--json selftest --seed 7", "selftest --json --seed 7"] {
            let args = parse(line).expect(line);
            assert!(matches!(args.command, Command::Selftest(Selftest { seed: Some(7), rounds: 10, .. })), "{line}");
            assert!(args.common.json && args.command.target().is_none());
        }
        for line in ["--file a selftest", "--set rate=off selftest", "selftest bay3", "selftest --rounds 0"] {
            refused(line);
        }
    }

    #[test]
    fn usage_errors_exit_64_and_say_what_would_be_right() {
        for (line, hint) in [
            ("", "Usage"),
            ("scrub", "unrecognized"),
            ("run --file a --size 64MB", "64MiB"),
            ("run bay3 --file a", "TARGET and --file"),
            ("run --config c --file a", "--config and --file"),
            ("run bay3 --size 1GiB", "--size goes with --file"),
            ("check", "TARGET or --file"),
            ("init", "TARGET or --file"),
            ("release", "TARGET or --file"),
            ("inspect --block 3", "TARGET or --file"),
            ("quarantine clear", "TARGET or --file"),
            ("inspect bay3", "--block"),
            ("inspect bay3 --block -1", "--block"),
            ("run bay3 --passes 0", "--passes"),
            ("run bay3 --duration 0s", "above 0"),
            ("run bay3 --duration 12", "12min"),
            ("run bay3 --set mode", "KEY=VALUE"),
            ("run bay3 --set =x", "KEY=VALUE"),
            ("run bay3 bay4", "bay4"),
            ("status bay3 --passes 1", "--passes"),
            ("config", "Usage"),
            ("report", "TARGET or --file"),
        ] {
            assert!(refused(line).contains(hint), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for line in ["--help", "--version", "run --help", "help run", "config check --help"] {
            assert_eq!(exit_status(&parse(line).unwrap_err()), 0, "{line}");
        }
    }

    #[test]
    fn subcommands_of_a_sole_target_may_leave_it_out() {
        for word in ["run", "status", "trigger", "pause", "resume", "reload", "config check", "config show"] {
            assert_eq!(parse(word).expect(word).overrides().target, None);
        }
    }
}
