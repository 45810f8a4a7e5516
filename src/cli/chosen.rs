//! From the command line to the one target that it means, and to what the machine says about it.

use std::time::SystemTime;

use super::args::Args;
use super::exit::Failure;
use crate::config::{self, TargetSettings};
use crate::target::Spec;
use crate::vocabulary::RunId;

/// The settings of the target that the command line means.
pub(crate) fn target(args: &Args) -> Result<TargetSettings, Failure> {
    let settings = config::load(&args.source(), &args.overrides(), &|cpus: &[usize]| {
        crate::pool::check_cpus(cpus).map_err(|error| error.to_string())
    })?;
    Ok(settings.sole()?.clone())
}

/// Which device or file that is.
pub(crate) fn spec(settings: &TargetSettings) -> Spec {
    Spec { path: settings.path.clone(), serial: settings.serial.clone(), offset: settings.offset.unwrap_or(0) }
}

/// Fresh randomness.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel has randomness");
    bytes
}

/// A run id that no other run has.
pub(crate) fn new_run() -> RunId {
    RunId(random())
}

/// Now, in nanoseconds since 1970. A clock before that is as wrong as one at it.
pub(crate) fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
