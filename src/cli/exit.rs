//! Exit codes, and why a subcommand gave up.

use std::fmt;

use crate::config::{ConfigError, ConfigErrors};
use crate::ledger::state_dir::StateDirError;
use crate::ledger::store::StoreError;
use crate::target::TargetError;

pub(crate) const USAGE: u8 = super::args::EXIT_USAGE;
pub(crate) const BROKEN: u8 = 65;
pub(crate) const INTERNAL: u8 = 70;
pub(crate) const STATE_NOT_SAVED: u8 = 73;
pub(crate) const TRY_AGAIN: u8 = 75;
pub(crate) const REFUSED: u8 = 77;
pub(crate) const CONFIGURATION: u8 = 78;

/// A subcommand could not do what it is there for. Printed as it is, to stderr.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Failure { code, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error and all that caused it, on one line. `Display` of our errors does not repeat the source.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Failure::new(CONFIGURATION, errors.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::new(CONFIGURATION, error.to_string())
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Failure::new(error.exit_code(), chain(&error))
    }
}

impl From<StateDirError> for Failure {
    fn from(error: StateDirError) -> Self {
        let code = match error {
            StateDirError::Name(_) => CONFIGURATION,
            StateDirError::InUse { .. } => TRY_AGAIN,
            StateDirError::Unusable { .. } | StateDirError::MoveAside { .. } => STATE_NOT_SAVED,
        };
        Failure::new(code, chain(&error))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::new(STATE_NOT_SAVED, chain(&error))
    }
}
