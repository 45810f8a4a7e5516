//! The file system, mounted; and unmounted whatever happens.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config, MountOption, Session};
use nix::errno::Errno;
use nix::mount::MntFlags;

use super::filesystem::{OneFile, Shared, TARGET};
use super::store::Store;

/// What the scratch directories' names start with; a mount of this name whose process is gone is cleared away.
const PREFIX: &str = "scrubd-fuse-";

pub(crate) struct Mounted {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dir: tempfile::TempDir,
    session: Option<BackgroundSession>,
    answering: Option<JoinHandle<()>>,
}

impl Mounted {
    /// Mounts an empty disk; `Err` is why this cannot be done here.
    pub(crate) fn new(length: usize, atom: usize, seed: u64) -> Result<Mounted, String> {
        if !Path::new("/dev/fuse").exists() {
            return Err("there is no /dev/fuse".into());
        }
        // In memory where that can be: an fsync of the state costs nothing there. Never the target's own disk.
        let scratch = if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/var/tmp" };
        clear_away(scratch);
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(scratch).unwrap();
        let mountpoint = dir.path().join("disk");
        fs::create_dir(&mountpoint).unwrap();
        let shared = Shared::new(Store::new(length, atom, seed), seed);
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("scrubd-test".into()), MountOption::NoAtime];
        let session = Session::new(OneFile(Arc::clone(&shared)), &mountpoint, &config)
            .and_then(Session::spawn)
            .map_err(|error| format!("FUSE may not be mounted here: {error}"))?;
        let answering = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.answer()
        });
        Ok(Mounted { shared, dir, session: Some(session), answering: Some(answering) })
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.dir.path().join("disk").join(TARGET)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.shared.end();
        let ended = self.answering.take().map(JoinHandle::join);
        // A ring that was killed or has just ended holds the file a little longer than its process lives.
        let (mountpoint, deadline) = (self.dir.path().join("disk"), Instant::now() + Duration::from_secs(5));
        let mut unmounted = nix::mount::umount(&mountpoint);
        while unmounted == Err(Errno::EBUSY) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
            unmounted = nix::mount::umount(&mountpoint);
        }
        if unmounted.is_err() {
            // Of a failing test, the scrubd that is being killed; else a fault of the rig. It goes with the last user.
            let detached = nix::mount::umount2(&mountpoint, MntFlags::MNT_DETACH);
            eprintln!("{} was not unmounted: {unmounted:?}; detached: {detached:?}", mountpoint.display());
        }
        let session = self.session.take().map(|session| if unmounted.is_ok() { session.join() } else { Ok(()) });
        if !matches!((ended, session, unmounted), (Some(Ok(())), Some(Ok(())), Ok(()))) && !std::thread::panicking() {
            panic!("the rig did not end as it should");
        }
    }
}

/// Unmounts what a killed test process left behind: its mounts answer nothing any more.
fn clear_away(scratch: &str) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let ours = format!("{scratch}/{PREFIX}");
    for place in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|place| place.starts_with(&ours)) {
        let dead = fs::metadata(place).is_err_and(|error| error.raw_os_error() == Some(nix::libc::ENOTCONN));
        if dead && nix::mount::umount(place).is_ok() {
            let removed = Path::new(place).parent().map(fs::remove_dir_all);
            eprintln!("{place} was left behind by a test that was killed; it is unmounted and removed: {removed:?}");
        }
    }
}

/// Says, past the harness's capture, that a test proved nothing, and why.
pub(crate) fn skipped(why: &str) {
    static SKIPS: AtomicU32 = AtomicU32::new(0);
    let count = SKIPS.fetch_add(1, Ordering::Relaxed) + 1;
    let line = format!("skipped: {why} ({count} skipped so far)\n");
    std::io::stderr().lock().write_all(line.as_bytes()).unwrap();
}
