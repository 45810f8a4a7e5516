//! Socket paths of any length: `sun_path` holds 107 bytes, a state directory may be longer.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

/// Bytes of a path in a `sockaddr_un`, without the terminator (unix(7)).
const SUN_PATH: usize = 107;

/// Calls `use_path` with a path that names the same file and is short enough, whatever the length of `path`.
pub(super) fn with_short_path<T>(path: &Path, use_path: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().as_bytes().len() <= SUN_PATH {
        return use_path(path);
    }
    let (parent, name) = path.parent().zip(path.file_name()).ok_or(io::ErrorKind::InvalidInput)?;
    let dir = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(parent)?;
    use_path(&Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name))
}
