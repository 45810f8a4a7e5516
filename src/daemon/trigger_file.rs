//! The trigger file: seen however it appears, consumed before anything acts.
//!
//! Consumed means: unlinked, and its directory flushed. The cut that it asks for comes before the disk would write that
//! by itself; a file that is still there after the reboot would cut the power again, and again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inotify::{EventMask, Inotify, WatchMask};
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

use super::error::DaemonError;
use crate::ledger::state_dir::sync_dir;

/// The file is looked for this often whatever inotify says: it knows nothing of what other hosts do on a network file
/// system, and loses track of a directory that is replaced.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

pub(super) struct TriggerFile {
    path: PathBuf,
    dir: PathBuf,
    watch: AsyncFd<Inotify>,
    /// The directory is not watched any more.
    lost: bool,
    /// What stood in the way last time: said once.
    trouble: Option<String>,
}

impl TriggerFile {
    /// Watches the file's directory. To be called within the runtime.
    ///
    /// # Errors
    /// The directory is missing or cannot be watched: the trigger would never come.
    pub(super) fn watch(path: &Path) -> Result<TriggerFile, DaemonError> {
        let failed = |why: &str| {
            let (path, why) = (path.to_owned(), why.to_owned());
            |source| DaemonError::TriggerFile { path, why, source }
        };
        let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
        fs::read_dir(&dir).map_err(failed("its directory must exist, and be one"))?;
        let inotify = Inotify::init().map_err(failed("no inotify: see fs.inotify.max_user_instances"))?;
        watch_directory(&inotify, &dir).map_err(failed("its directory cannot be watched"))?;
        #[allow(deprecated, reason = "its successor is unsafe; what it asks for holds: the descriptor lives in there")]
        let watch = AsyncFd::new(inotify).map_err(failed("its watch cannot be waited for"))?;
        Ok(TriggerFile { path: path.to_owned(), dir, watch, lost: false, trouble: None })
    }

    /// Waits until the file was there and is consumed. Safe to be dropped while it waits.
    pub(super) async fn appeared(&mut self) {
        loop {
            // Looked for first, and after each wake-up: the watch is older than this look, so nothing falls between.
            match consume(&self.path, &self.dir) {
                Ok(true) => return,
                Ok(false) => self.trouble = None,
                Err(error) => {
                    let words = format!(
                        "{} is there but cannot be consumed, so nothing acts on it: {error}",
                        self.path.display()
                    );
                    if self.trouble.as_ref() != Some(&words) {
                        tracing::error!("trigger file {words}");
                        self.trouble = Some(words);
                    }
                    // Each event in the directory would bring the same again.
                    sleep(LOOK_AGAIN).await;
                }
            }
            if self.lost && watch_directory(self.watch.get_ref(), &self.dir).is_ok() {
                tracing::info!("the directory of the trigger file is watched again");
                self.lost = false;
                continue;
            }
            if let Ok(Ok(mut ready)) = timeout(LOOK_AGAIN, self.watch.readable_mut()).await {
                self.lost |= drain(ready.get_inner_mut());
                ready.clear_ready();
            }
        }
    }
}

fn watch_directory(inotify: &Inotify, dir: &Path) -> io::Result<()> {
    let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
    inotify.watches().add(dir, mask | WatchMask::ONLYDIR).map(drop)
}

/// Empties the queue; whether the directory was lost from sight.
fn drain(inotify: &mut Inotify) -> bool {
    let (mut buffer, mut lost) = ([0; 4096], false);
    while let Ok(events) = inotify.read_events(&mut buffer) {
        let gone = EventMask::IGNORED | EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::UNMOUNT;
        for event in events {
            if event.mask.intersects(gone) && !lost {
                tracing::warn!("the directory of the trigger file is gone or was moved; looking for it every 5 s");
                lost = true;
            }
        }
    }
    lost
}

/// Whether the file was there. It is gone, durably, when this says so.
fn consume(path: &Path, dir: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => sync_dir(dir).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    async fn appears(trigger: &mut TriggerFile, within: Duration) -> bool {
        timeout(within, trigger.appeared()).await.is_ok()
    }

    const SOON: Duration = Duration::from_secs(30);
    const BRIEFLY: Duration = Duration::from_millis(50);

    #[test]
    fn a_file_that_is_there_at_the_start_and_one_that_comes_later_are_consumed_once_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut-now");
        fs::write(&path, "").unwrap();
        block_on(async {
            let mut trigger = TriggerFile::watch(&path).unwrap();
            assert!(appears(&mut trigger, SOON).await);
            assert!(!path.exists());
            assert!(!appears(&mut trigger, BRIEFLY).await);
            fs::write(dir.path().join("other"), "").unwrap();
            assert!(!appears(&mut trigger, BRIEFLY).await);
            fs::rename(dir.path().join("other"), &path).unwrap();
            assert!(appears(&mut trigger, SOON).await);
            assert!(!path.exists());
        });
    }

    #[test]
    fn what_cannot_be_consumed_does_not_fire() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut-now");
        fs::create_dir(&path).unwrap();
        block_on(async {
            let mut trigger = TriggerFile::watch(&path).unwrap();
            assert!(!appears(&mut trigger, BRIEFLY).await);
            assert!(trigger.trouble.as_ref().unwrap().contains("cannot be consumed"), "{:?}", trigger.trouble);
        });
    }

    #[test]
    fn a_missing_directory_is_a_configuration_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/cut-now");
        let error = block_on(async { TriggerFile::watch(&path).err().unwrap() });
        assert_eq!(error.exit_code(), 78);
        assert!(error.to_string().ends_with("missing/cut-now: its directory must exist, and be one"), "{error}");
    }
}
