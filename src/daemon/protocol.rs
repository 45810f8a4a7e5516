//! What is said over the control socket: one JSON object a line, one answer a request.

use serde::{Deserialize, Serialize};

use super::status::StatusReport;

/// Longest line either way, in bytes. A status with a placement for each of 2 × 64 workers on 1024 CPUs is below.
pub const LINE_MAX: usize = 1 << 20;

/// Longest request, in bytes: the longest there is has 21.
pub const REQUEST_MAX: usize = 4096;

/// A line to the daemon: `{"request":"status"}`. What it does not know it refuses, rather than do half of what was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLine {
    /// What is asked.
    pub request: Request,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
