//! What is asked of a running daemon through its control socket.

use super::args::Args;
use super::exit::{CONFIGURATION, Failure, INTERNAL, REFUSED, TRY_AGAIN, chain};
use super::{chosen, state, talk};
use crate::config::TargetSettings;
use crate::daemon::client::{self, ClientError};
use crate::daemon::protocol::{Request, Response};

pub(crate) fn run(args: &Args, request: Request) -> Result<u8, Failure> {
    let settings = chosen::target(args)?;
    match ask(&settings, request)? {
        Response::Accepted { message } => {
            talk::result(&match args.common.json {
                true => {
                    serde_json::json!({ "target": settings.name, "accepted": true, "message": message }).to_string()
                }
                false => format!("{}: {message}", settings.name),
            });
            Ok(0)
        }
        Response::Refused { message } => {
            // The daemon goes on with its old settings; what is wrong are the new ones.
            let code = if request == Request::Reload { CONFIGURATION } else { TRY_AGAIN };
            Err(Failure::new(code, format!("{}: {message}", settings.name)))
        }
        Response::Status { .. } => Err(Failure::new(INTERNAL, "the daemon answered another question")),
    }
}

pub(crate) fn ask(settings: &TargetSettings, request: Request) -> Result<Response, Failure> {
    let layout = state::layout(&settings.state_dir)?;
    client::request(&layout.control_socket(), request).map_err(|error| {
        let code = match &error {
            ClientError::NotRunning { .. } | ClientError::Silent { .. } => TRY_AGAIN,
            ClientError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => REFUSED,
            ClientError::Io { .. } => TRY_AGAIN,
            ClientError::Nonsense { .. } => INTERNAL,
        };
        Failure::new(code, chain(&error))
    })
}
