//! Results go to stdout, talk to stderr. A progress bar, while there is one, steps aside for each line of talk.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::exit::{BROKEN, Failure};
use super::journal::Journal;
use crate::report::notable;

/// The bar that owns the last line of the terminal.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Tracing speaks to the journal.
static IN_JOURNAL: AtomicBool = AtomicBool::new(false);

/// Sends tracing to stderr: plain lines with a level, or to the journal where stderr is its. `SCRUBD_LOG` filters, in the
/// syntax of tracing's `EnvFilter`.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("SCRUBD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    if let Some(journal) = Journal::behind_stderr() {
        IN_JOURNAL.store(true, Ordering::Relaxed);
        return tracing_subscriber::registry().with(filter).with(journal).init();
    }
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false).with_writer(|| Stderr);
    // A person at a terminal knows the time; a log file does not.
    let timed = !io::stderr().is_terminal();
    if timed { lines.init() } else { lines.without_time().init() }
}

/// Shows a bar below the talk until it is taken away again with `None`.
pub(crate) fn show(bar: Option<ProgressBar>) {
    let before = std::mem::replace(&mut *BAR.lock().unwrap_or_else(std::sync::PoisonError::into_inner), bar);
    before.iter().for_each(ProgressBar::finish_and_clear);
}

/// A result. A reader that went away is no error: the exit status still says how it was.
pub(crate) fn result(text: &str) {
    let mut line = text.to_owned();
    line.push('\n');
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tracing::warn!("cannot write to standard output: {error}");
    }
}

/// A line for people.
pub(crate) fn say(text: &str) {
    let mut line = text.to_owned();
    line.push('\n');
    drop(Stderr.write_all(line.as_bytes()));
}

/// Why it gives up.
pub(crate) fn fail(failure: &Failure) {
    match (IN_JOURNAL.load(Ordering::Relaxed), failure.code) {
        (false, _) => say(&format!("scrubd: {failure}")),
        // What was found is told where it is found; a failure of this code is the latch.
        (true, BROKEN) => tracing::error!(target: notable::QUARANTINED, "{failure}"),
        (true, _) => tracing::error!("{failure}"),
    }
}

struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bar = BAR.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let written = match bar {
            Some(bar) => bar.suspend(|| io::stderr().write_all(bytes)),
            None => io::stderr().write_all(bytes),
        };
        // A log that nobody can take any more, on a full disk or into a closed pipe, must not end the run.
        drop(written);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
