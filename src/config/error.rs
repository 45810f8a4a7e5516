//! Where a setting was said, and what is wrong with it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where the value of a key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Origin {
    /// Nobody said anything: the built-in default.
    #[default]
    Default,
    /// A configuration file.
    File {
        /// The file, as it was opened.
        path: Arc<Path>,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
    },
    /// `--set KEY=VALUE`; holds `KEY=VALUE` as it was given.
    Set(String),
    /// An option of its own, such as `--file` or `--state-dir`.
    Option(&'static str),
}

impl Origin {
    /// Said by the person at the shell, so that a relative path means the shell's directory.
    pub(super) fn is_command_line(&self) -> bool {
        matches!(self, Origin::Set(_) | Origin::Option(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Origin::Set(said) => write!(f, "--set {said}"),
            Origin::Option(option) => f.write_str(option),
        }
    }
}

/// One thing that is wrong with the configuration: where, in which target, what it is, and what would be right.
///
/// Prints as `scrubd.toml:12:14: target "bay3": readback_lag "0" must be at least one block`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Where the offending text stands; `None` where no text is to blame (a file that is missing).
    pub origin: Option<Origin>,
    /// The target that it concerns, if it concerns one.
    pub target: Option<String>,
    /// The key, dotted, if one is to blame.
    pub key: Option<String>,
    /// What is wrong and what would be right; names key and value.
    pub message: String,
}

impl ConfigError {
    pub(super) fn at(origin: Origin, message: impl Into<String>) -> Self {
        ConfigError { origin: Some(origin), target: None, key: None, message: message.into() }
    }

    pub(super) fn nowhere(message: impl Into<String>) -> Self {
        ConfigError { origin: None, target: None, key: None, message: message.into() }
    }

    pub(super) fn of_target(mut self, name: &str) -> Self {
        self.target = Some(name.to_owned());
        self
    }

    pub(super) fn of_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if let Some(target) = &self.target {
            write!(f, "target \"{target}\": ")?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong, one line each, in the order in which it was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        ConfigErrors(vec![error])
    }
}
