//! The trigger file: seen however it appears, consumed before the command that it asks for.
//!
//! Consumed means: unlinked, and its directory flushed. The cut that it asks for comes before the disk would write that
//! by itself; a file that is still there after the reboot would cut the power again, and again. The data plane hears of
//! the trigger between the two: the ledger and the trigger's line in the event log become durable meanwhile, as the three
//! know nothing of each other, and only the command waits for all of them.

use std::fs::{self, File};
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use inotify::{EventMask, Inotify, WatchMask};
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, statfs,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

use super::error::DaemonError;
use crate::ledger::state_dir::sync_dir;

/// The file is looked for this often where inotify does not tell everything: it knows nothing of what other hosts do on a
/// network file system, nor of a symbolic link that is turned elsewhere; and while its directory is gone.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// File systems whose every change inotify tells: all that happens to them happens on this host.
const TOLD_BY_INOTIFY: [FsType; 5] =
    [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC, OVERLAYFS_SUPER_MAGIC];

pub(super) struct TriggerFile {
    path: PathBuf,
    dir: PathBuf,
    watch: AsyncFd<Inotify>,
    /// Told of whatever is mounted, perhaps over the directory.
    mounts: Option<AsyncFd<File>>,
    /// Inotify does not tell everything here.
    polls: bool,
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
        let mounts = watch_mounts();
        let above = watch_directory(&inotify, &dir).map_err(failed("its directory cannot be watched"))?;
        let polls = mounts.is_none() || !above || !told_by_inotify(&dir);
        #[allow(deprecated, reason = "its successor is unsafe; what it asks for holds: the descriptor lives in there")]
        let watch = AsyncFd::new(inotify).map_err(failed("its watch cannot be waited for"))?;
        Ok(TriggerFile { path: path.to_owned(), dir, watch, mounts, polls, lost: false, trouble: None })
    }

    /// Waits until the file was there and is unlinked. Safe to be dropped while it waits. What must not happen twice
    /// comes after [`TriggerFile::make_durable`].
    pub(super) async fn appeared(&mut self) {
        loop {
            // Looked for first, and after each wake-up: the watch is older than this look, so nothing falls between.
            match fs::remove_file(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.trouble = None,
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
            match self.polls || self.lost {
                true => drop(timeout(LOOK_AGAIN, self.told()).await),
                false => self.told().await,
            }
        }
    }

    /// Sees to it that no cut brings the file back.
    ///
    /// # Errors
    /// It may come back, in words.
    pub(super) fn make_durable(&self) -> Result<(), String> {
        sync_dir(&self.dir).map_err(|error| {
            let dir = self.dir.display();
            format!("{dir} cannot be made durable ({error}): after a cut the trigger file could be there again")
        })
    }

    /// Waits until there is a reason to look.
    async fn told(&mut self) {
        tokio::select! {
            Ok(mut ready) = self.watch.readable_mut() => {
                self.lost |= drain(ready.get_inner_mut());
                ready.clear_ready();
            }
            () = mounted(&mut self.mounts) => {
                // Where it leads now is watched; what it led to before stays watched, and costs a look.
                self.lost |= watch_directory(self.watch.get_ref(), &self.dir).is_err();
            }
        }
    }
}

/// Watches the directory, and those above it for being moved; whether all of them can be watched.
fn watch_directory(inotify: &Inotify, dir: &Path) -> io::Result<bool> {
    let gone = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::ONLYDIR;
    inotify.watches().add(dir, gone | WatchMask::CREATE | WatchMask::MOVED_TO)?;
    let mut above = dir.ancestors().skip(1).filter(|above| above.parent().is_some());
    Ok(above.all(|above| inotify.watches().add(above, gone).is_ok()))
}

/// Nothing happens to this directory that inotify does not tell, but for what is mounted.
fn told_by_inotify(dir: &Path) -> bool {
    let local = statfs(dir).is_ok_and(|found| TOLD_BY_INOTIFY.contains(&found.filesystem_type()));
    local && fs::canonicalize(dir).is_ok_and(|straight| straight == dir)
}

fn watch_mounts() -> Option<AsyncFd<File>> {
    let mounts = File::open("/proc/self/mountinfo").ok()?;
    #[allow(deprecated, reason = "its successor is unsafe; what it asks for holds: the descriptor lives in there")]
    AsyncFd::with_interest(mounts, Interest::PRIORITY).ok()
}

async fn mounted(mounts: &mut Option<AsyncFd<File>>) {
    let Some(mounts) = mounts else { return pending().await };
    match mounts.ready(Interest::PRIORITY).await {
        Ok(mut ready) => ready.clear_ready(),
        Err(_) => pending().await,
    }
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

    #[test]
    fn a_directory_that_is_gone_does_not_make_the_end_of_the_file_durable() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("cut"), "").unwrap();
        block_on(async {
            let mut trigger = TriggerFile::watch(&inner.join("cut")).unwrap();
            assert!(appears(&mut trigger, SOON).await);
            assert_eq!(trigger.make_durable(), Ok(()));
            fs::remove_dir(&inner).unwrap();
            assert!(trigger.make_durable().unwrap_err().contains("could be there again"));
        });
    }

    /// An idle daemon sleeps: where inotify tells everything nobody looks every few seconds.
    #[test]
    fn only_where_inotify_does_not_tell_everything_the_file_is_looked_for_by_time() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let straight = fs::canonicalize(dir.path()).unwrap();
        let local = told_by_inotify(&straight);
        if !local {
            println!("SKIPPED: {} is on a file system that is not known to be local", straight.display());
        }
        let crooked = straight.join("link");
        std::os::unix::fs::symlink(&straight, &crooked).unwrap();
        block_on(async {
            assert_eq!(TriggerFile::watch(&straight.join("cut")).unwrap().polls, !local);
            assert!(TriggerFile::watch(&crooked.join("cut")).unwrap().polls);
            assert!(TriggerFile::watch(Path::new("/proc/cut")).unwrap().polls, "procfs tells inotify nothing");
        });
    }

    #[test]
    fn a_directory_far_above_that_is_moved_away_and_made_anew_is_found_again() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let top = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        let path = top.join("a/b/c/cut");
        block_on(async {
            let mut trigger = TriggerFile::watch(&path).unwrap();
            assert!(!appears(&mut trigger, BRIEFLY).await);
            fs::rename(top.join("a"), top.join("moved")).unwrap();
            fs::create_dir_all(top.join("a/b/c")).unwrap();
            fs::write(&path, "").unwrap();
            assert!(appears(&mut trigger, SOON).await);
            fs::write(top.join("moved/b/c/cut"), "").unwrap();
            assert!(!appears(&mut trigger, BRIEFLY).await, "the old place means nothing any more");
        });
    }
}
