//! The control socket: JSON lines, each answered by one, from the same user or root alone.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::error::DaemonError;
use super::protocol::{REQUEST_MAX, Request, RequestLine, Response};
use super::socket_path::with_short_path;

/// Connections served at once; others wait in the backlog.
const CONNECTIONS: usize = 8;

/// A connection that says nothing for so long is closed: eight forgotten ones would lock everybody out.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request, and where its answer goes.
pub(super) type Asked = (Request, oneshot::Sender<Response>);

/// Listens; the socket's file goes when this does.
pub(super) struct ControlSocket {
    path: PathBuf,
    /// Set where the state directory hangs: removing the file would hang too. The next process removes it.
    pub(super) stays: Arc<AtomicBool>,
    listener: UnixListener,
}

impl ControlSocket {
    /// To be called within the runtime, by whoever has claimed the state directory: a socket that is there already
    /// belongs to a process that is dead.
    pub(super) fn listen(path: &Path) -> Result<ControlSocket, DaemonError> {
        let failed = |source| DaemonError::Socket { path: path.to_owned(), source };
        remove_stale(path).map_err(failed)?;
        let bind = |short: &Path| {
            let listener = UnixListener::bind(short)?;
            // The directory is 0700 where it is ours; this holds where it is not.
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        let listener = with_short_path(path, bind).map_err(failed)?;
        Ok(ControlSocket { path: path.to_owned(), stays: Arc::default(), listener })
    }

    /// Serves for ever.
    pub(super) async fn serve(self, asked: mpsc::Sender<Asked>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let asked = asked.clone();
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, asked).await {
                            tracing::debug!(%error, "control connection");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: at once again would be a busy loop.
                    tracing::warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if !self.stays.load(Ordering::Acquire)
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the control socket cannot be removed");
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket stands there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

async fn converse(stream: UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let (reader, mut writer) = stream.into_split();
    if peer != 0 && peer != geteuid().as_raw() {
        return answer(&mut writer, &refused(format!("user {peer} may not control this daemon"))).await;
    }
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut reader).take(REQUEST_MAX as u64);
        let read = timeout(PATIENCE, bounded.read_until(b'\n', &mut line)).await.map_err(io::Error::from)??;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && read == REQUEST_MAX {
            // Where the next request begins is anybody's guess.
            return answer(&mut writer, &refused(format!("a request is a line of at most {REQUEST_MAX} bytes"))).await;
        }
        let response = match serde_json::from_slice(&line) {
            Ok(RequestLine { request }) => ask(&asked, request).await,
            Err(error) => refused(format!("not a request: {error}")),
        };
        answer(&mut writer, &response).await?;
    }
}

async fn ask(asked: &mpsc::Sender<Asked>, request: Request) -> Response {
    let (sender, receiver) = oneshot::channel();
    let gone = || refused("the daemon is ending".to_owned());
    if asked.send((request, sender)).await.is_err() {
        return gone();
    }
    receiver.await.unwrap_or_else(|_| gone())
}

async fn answer(writer: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response).map_err(io::Error::other)?;
    line.push(b'\n');
    timeout(PATIENCE, writer.write_all(&line)).await.map_err(io::Error::from)?
}

fn refused(message: String) -> Response {
    Response::Refused { message }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream as Client;
    use std::thread;

    use super::*;
    use crate::daemon::client::{self, ClientError};

    /// A daemon that accepts whatever is asked, for as long as the client is at it.
    fn with_daemon<T: Send + 'static>(path: &Path, client: impl FnOnce() -> T + Send + 'static) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (sender, mut receiver) = mpsc::channel::<Asked>(1);
            let server = tokio::spawn(ControlSocket::listen(path).unwrap().serve(sender));
            let client = thread::spawn(client);
            while !client.is_finished() {
                if let Ok(Some((request, respond))) = timeout(Duration::from_millis(10), receiver.recv()).await {
                    respond.send(Response::Accepted { message: format!("{request:?}") }).unwrap();
                }
            }
            server.abort();
            client.join().unwrap()
        })
    }

    fn accepted(message: &str) -> Response {
        Response::Accepted { message: message.to_owned() }
    }

    #[test]
    fn a_request_goes_there_and_its_answer_comes_back_from_a_path_of_any_length() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("d".repeat(120));
        fs::create_dir(&long).unwrap();
        for dir in [dir.path(), &long] {
            let path = dir.join("control.sock");
            let to = path.clone();
            let answer = with_daemon(&path, move || client::request(&to, Request::Pause).unwrap());
            assert_eq!(answer, accepted("Pause"));
        }
    }

    #[test]
    fn garbage_is_refused_in_words_and_the_next_request_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let to = path.clone();
        let text = with_daemon(&path, move || {
            let mut client = Client::connect(&to).unwrap();
            for line in
                ["\u{1}\u{2}garbage\n", "{\"request\":\"explode\"}\n", "[]\n", "{\"request\":\"stop\",\"now\":1}\n"]
            {
                client.write_all(line.as_bytes()).unwrap();
            }
            client.write_all(b"{\"request\":\"stop\"}\n").unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            text
        });
        let answers: Vec<Response> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let refused =
            |answer: &&Response| matches!(answer, Response::Refused { message } if message.contains("not a request"));
        assert_eq!(answers.iter().filter(refused).count(), 4, "{answers:?}");
        assert_eq!(answers.last(), Some(&accepted("Stop")));
    }

    #[test]
    fn a_line_without_end_is_refused_and_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let to = path.clone();
        let text = with_daemon(&path, move || {
            let mut client = Client::connect(&to).unwrap();
            client.write_all(&[b'x'; REQUEST_MAX]).unwrap();
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            text
        });
        assert!(text.contains("at most 4096 bytes"), "{text}");
    }

    #[test]
    fn the_socket_of_a_dead_process_is_replaced_and_anything_else_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let to = path.clone();
        assert!(matches!(client::request(&path, Request::Status), Err(ClientError::NotRunning { .. })));
        assert_eq!(with_daemon(&path, move || client::request(&to, Request::Resume).unwrap()), accepted("Resume"));
        assert!(!path.exists(), "it goes with the daemon");
        fs::write(&path, "precious").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let error = runtime.block_on(async { ControlSocket::listen(&path).err().unwrap() });
        assert!(matches!(error, DaemonError::Socket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
