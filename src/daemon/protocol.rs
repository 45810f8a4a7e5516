//! What is said over the control socket: one JSON object a line, one answer a request.

use serde::{Deserialize, Serialize};

use super::status::StatusReport;

/// Longest line either way, in bytes. A status with a placement for each of 2 × 64 workers on 1024 CPUs is below.
pub const LINE_MAX: usize = 1 << 20;

/// Longest request, in bytes: the longest there is has 21.
pub const REQUEST_MAX: usize = 4096;

/// What can be asked: `{"request":"status"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Where it stands.
    Status,
    /// Save the ledger and run the command.
    Trigger,
    /// Submit nothing new.
    Pause,
    /// Go on.
    Resume,
    /// Stop cleanly.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub enum Response {
    /// Where it stands.
    Status {
        /// Everything.
        status: Box<StatusReport>,
    },
    /// It was passed on to the data plane, or is done.
    Accepted {
        /// In words.
        message: String,
    },
    /// It was not.
    Refused {
        /// In words.
        message: String,
    },
}
