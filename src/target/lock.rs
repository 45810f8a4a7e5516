//! Holding a target: flock on the descriptor that does the I/O, retried for a while.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::error::TargetError;
use super::procfs;
use super::sysfs::{DevNum, Kernel};

/// Between two attempts: 100 of them in 5 s.
pub(crate) const RETRY_EVERY: Duration = Duration::from_millis(50);

/// A lock excludes all others, or only those that exclude all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Alone,
    Shared,
}

/// Takes the lock before `deadline`.
///
/// `File::lock` and not a guard that unlocks when it is dropped: the lock must end with the last reference to the open
/// file description, of which a ring with I/O in flight holds one. An explicit unlock would let the next process in
/// while a write of ours can still land.
pub(crate) fn take(
    kernel: &Kernel,
    file: &File,
    path: &Path,
    hold: Hold,
    deadline: Instant,
) -> Result<(), TargetError> {
    loop {
        let attempt = match hold {
            Hold::Alone => file.try_lock(),
            Hold::Shared => file.try_lock_shared(),
        };
        match attempt {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(TargetError::io(path, "lock it")(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Err(held(kernel, path)),
            Err(TryLockError::WouldBlock) => thread::sleep(RETRY_EVERY),
        }
    }
}

/// The refusal, with the holder's name where the kernel tells.
pub(crate) fn held(kernel: &Kernel, path: &Path) -> TargetError {
    let holder = holder(kernel, path).unwrap_or_else(|| "another process".into());
    TargetError::Held { path: path.to_owned(), holder }
}

fn holder(kernel: &Kernel, path: &Path) -> Option<String> {
    let meta = std::fs::metadata(path).ok()?;
    // The kernel files a lock under the inode of the node, not under the device behind it.
    let find = |locks: String| procfs::lock_holder(&locks, DevNum::of(meta.dev()), meta.ino());
    let pid = (0..3).find_map(|_| find(locks(kernel)?))?;
    let name = std::fs::read_to_string(kernel.proc.join(format!("{pid}/comm"))).unwrap_or_default();
    Some(format!("process {pid} ({})", name.trim()))
}

/// The list moves between two reads while others lock and unlock, and a line may slip through the gap: large reads,
/// and more than one attempt.
fn locks(kernel: &Kernel) -> Option<String> {
    let mut text = Vec::with_capacity(1 << 16);
    File::open(kernel.proc.join("locks")).ok()?.read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}
