//! The other end of the control socket, for the command line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{LINE_MAX, Request, RequestLine, Response};
use super::socket_path::with_short_path;

/// A living daemon answers at once; one that does not is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens: the exit status is 75.
    #[error("no daemon listens on {path}: is scrubd running for this target?")]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// ENOENT or ECONNREFUSED.
        source: io::Error,
    },
    /// The socket is there and may not, or cannot, be used.
    #[error("cannot talk to the daemon on {path}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// With errno.
        source: io::Error,
    },
    /// It is there and does not answer.
    #[error("the daemon on {path} has not answered for {} s: it is stopped, or hangs", PATIENCE.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// Another version, or no scrubd at all.
    #[error("the answer from {path} is not one of scrubd's: {why}")]
    Nonsense {
        /// The socket.
        path: PathBuf,
        /// In words.
        why: String,
    },
}

/// Asks the daemon that listens on `path` and waits for its answer, ten seconds at the most.
///
/// # Errors
/// See [`ClientError`]. That the daemon refused is an answer, not an error.
pub fn request(path: &Path, request: Request) -> Result<Response, ClientError> {
    let stream = with_short_path(path, |short| UnixStream::connect(short)).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning { path, source },
            _ => ClientError::Io { path, source },
        }
    })?;
    let line = exchange(&stream, request).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent { path },
            _ => ClientError::Io { path, source },
        }
    })?;
    serde_json::from_slice(&line)
        .map_err(|error| ClientError::Nonsense { path: path.to_owned(), why: error.to_string() })
}

fn exchange(mut stream: &UnixStream, request: Request) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&RequestLine { request }).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(LINE_MAX as u64)).read_until(b'\n', &mut answer)?;
    Ok(answer)
}
