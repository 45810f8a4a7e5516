//! The control plane.

use super::{DaemonError, Ended, Job, State};

pub(super) fn conduct(_job: Job, _state: Option<State>) -> Result<Ended, DaemonError> {
    Err(DaemonError::Internal("not built yet".to_owned()))
}
