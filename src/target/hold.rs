//! From a name to a descriptor that is ours alone: find, guard, open, lock, identify.
//!
//! The order is the argument. Guards that only look go first, so that a refusal has not even opened the target for
//! writing. Then the open, for a device with `O_EXCL`: from here on the kernel keeps mounts, swap, device mapper and
//! md away. Then the lock, which keeps other scrubds away from files too. Then the guards again, for what came in
//! between; what comes later finds the lock or the claim.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

use super::error::{TargetError, errno};
use super::guard::{self, Subject};
use super::identity::{Identity, Kind};
use super::lock::{self, Hold, RETRY_EVERY};
use super::sysfs::{self, Kernel};
use super::{Access, Spec, direct};

/// A target that nothing else uses. The label has not been looked at.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// A partition's disk, open for its lock alone.
    pub(crate) whole_disk: Option<File>,
    pub(crate) identity: Identity,
    pub(crate) direct: bool,
    /// In sysfs: the device, or the one beneath the file's file system.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn hold(kernel: &Kernel, spec: &Spec, access: Access, wait: Duration) -> Result<Held, TargetError> {
    let deadline = Instant::now() + wait;
    let path = resolve(kernel, spec)?;
    let meta = look(&path)?;
    let kind = meta.file_type();
    if kind.is_block_device() {
        hold_device(kernel, &path, &meta, spec.serial.as_deref(), access, deadline)
    } else if kind.is_file() {
        if spec.serial.is_some() {
            let why = "\"serial\" names a device, and this is a regular file: leave it out".into();
            return Err(TargetError::Region { path, why });
        }
        hold_file(kernel, &path, &meta, access, deadline)
    } else {
        let what = match kind {
            kind if kind.is_dir() => "a directory",
            kind if kind.is_char_device() => "a character device",
            kind if kind.is_fifo() => "a fifo",
            kind if kind.is_socket() => "a socket",
            _ => "neither file nor device",
        };
        Err(TargetError::Unsuitable { path, why: format!("{what}; a target is a block device or a regular file") })
    }
}

/// Follows links; tells a link to nowhere from nothing at all.
pub(crate) fn look(path: &Path) -> Result<fs::Metadata, TargetError> {
    fs::metadata(path).map_err(|error| match (error.kind(), fs::read_link(path)) {
        (io::ErrorKind::NotFound, Ok(to)) => {
            let why = format!("a symbolic link to {}, which does not exist", to.display());
            TargetError::Unsuitable { path: path.to_owned(), why }
        }
        (io::ErrorKind::NotFound, Err(_)) => TargetError::NotFound { path: path.to_owned() },
        _ => TargetError::io(path, "look at it")(error),
    })
}

fn resolve(kernel: &Kernel, spec: &Spec) -> Result<PathBuf, TargetError> {
    let serial = match (&spec.path, &spec.serial) {
        (Some(path), _) => return Ok(path.clone()),
        (None, Some(serial)) => serial.clone(),
        (None, None) => {
            let why = "a target needs a path or a serial".into();
            return Err(TargetError::Region { path: PathBuf::new(), why });
        }
    };
    let answers = |disk: &PathBuf| identify(kernel, disk, 0).answers_to(&serial);
    let nodes = kernel.all_disks().into_iter().filter(answers).filter_map(|disk| sysfs::node(&disk));
    let mut paths: Vec<PathBuf> = nodes.collect();
    match paths.len() {
        0 => Err(TargetError::NoSuchSerial { serial }),
        1 => Ok(paths.remove(0)),
        _ => Err(TargetError::AmbiguousSerial { serial, paths }),
    }
}

fn identify(kernel: &Kernel, directory: &Path, size: u64) -> Identity {
    let disk = sysfs::disk_of(directory);
    let kind = match directory {
        directory if sysfs::is_partition(directory) => Kind::Partition,
        directory if sysfs::is_loop(directory) => Kind::Loop,
        _ => Kind::Disk,
    };
    let partition_start = (kind == Kind::Partition).then(|| sysfs::partition_start(directory)).flatten();
    let (serial, wwn, model) = (kernel.serial(&disk), kernel.wwn(&disk), kernel.model(&disk));
    Identity { kind, serial, wwn, model, size, partition_start }
}

fn hold_device(
    kernel: &Kernel,
    path: &Path,
    meta: &fs::Metadata,
    wanted: Option<&str>,
    access: Access,
    deadline: Instant,
) -> Result<Held, TargetError> {
    let unsuitable = |why: &str| TargetError::Unsuitable { path: path.to_owned(), why: why.to_owned() };
    let device = sysfs::DevNum::of(meta.rdev());
    let directory = kernel.directory(device).ok_or_else(|| {
        unsuitable(&format!("device {device} is not in sysfs: it is gone, or /sys is not mounted; it can't be guarded"))
    })?;
    if access == Access::ReadWrite && sysfs::is_read_only(&directory) {
        return Err(unsuitable("the device is read-only (blockdev --getro; a write-protect switch?)"));
    }
    if access == Access::ReadWrite && sysfs::is_host_managed(&directory) {
        return Err(unsuitable("a host-managed zoned disk takes no writes in random order, which scrubd needs"));
    }
    let subject = Subject::Device(directory.clone());
    refuse_users(kernel, path, &subject)?;
    let file = open_exclusive(kernel, path, &subject, access, deadline)?;
    let opened = file.metadata().map_err(TargetError::io(path, "look at it"))?;
    if !opened.file_type().is_block_device() || opened.rdev() != meta.rdev() {
        return Err(unsuitable("it became another device while it was being opened: try again"));
    }
    let size = (&file).seek(SeekFrom::End(0)).map_err(TargetError::io(path, "tell its size"))?;
    let identity = identify(kernel, &directory, size);
    if let Some(wanted) = wanted.filter(|wanted| !identity.answers_to(wanted)) {
        let (wanted, found) = (wanted.to_owned(), Box::new(identity));
        return Err(TargetError::WrongSerial { path: path.to_owned(), wanted, found });
    }
    lock::take(kernel, &file, path, mode(access), deadline)?;
    let whole_disk = hold_disk_of(kernel, &directory, deadline)?;
    refuse_users(kernel, path, &subject)?;
    let directory = Some(directory);
    Ok(Held { path: path.to_owned(), file, whole_disk, identity, direct: true, directory, warnings: Vec::new() })
}

/// A claim on a partition does not keep a lock-minded tool (udev, sfdisk, a scrubd on the disk) off the disk around
/// it. Shared, as two partitions of a disk may be two targets; it excludes those that want the whole disk.
fn hold_disk_of(kernel: &Kernel, directory: &Path, deadline: Instant) -> Result<Option<File>, TargetError> {
    if !sysfs::is_partition(directory) {
        return Ok(None);
    }
    let node = sysfs::node(&sysfs::disk_of(directory)).unwrap_or_default();
    let disk = File::open(&node).map_err(TargetError::io(&node, "open the partition's disk to lock it"))?;
    lock::take(kernel, &disk, &node, Hold::Shared, deadline)?;
    Ok(Some(disk))
}

/// A killed ring lets go of the device late, so "busy" is waited for, unless there is somebody to name.
fn open_exclusive(
    kernel: &Kernel,
    path: &Path,
    subject: &Subject,
    access: Access,
    deadline: Instant,
) -> Result<File, TargetError> {
    loop {
        match open(path, access, libc::O_EXCL | libc::O_DIRECT) {
            Ok(file) => return Ok(file),
            Err(error) if errno(&error) == Errno::EBUSY => {
                refuse_users(kernel, path, subject)?;
                if Instant::now() >= deadline {
                    return Err(lock::held(kernel, path));
                }
                thread::sleep(RETRY_EVERY);
            }
            Err(error) => return Err(TargetError::io(path, "open it")(error)),
        }
    }
}

fn hold_file(
    kernel: &Kernel,
    path: &Path,
    meta: &fs::Metadata,
    access: Access,
    deadline: Instant,
) -> Result<Held, TargetError> {
    let subject = Subject::File { device: meta.dev(), inode: meta.ino() };
    refuse_users(kernel, path, &subject)?;
    let mut warnings = Vec::new();
    let (file, mut direct) = match open(path, access, libc::O_DIRECT) {
        // open(2): EINVAL is what a file system without direct I/O says.
        Err(error) if errno(&error) == Errno::EINVAL => {
            warnings.push("the file system has no direct I/O: reads may come from memory and prove little".to_owned());
            (open(path, access, 0), false)
        }
        file => (file, true),
    };
    let file = file.map_err(TargetError::io(path, "open it"))?;
    let opened = file.metadata().map_err(TargetError::io(path, "look at it"))?;
    if (opened.dev(), opened.ino()) != (meta.dev(), meta.ino()) {
        let why = "it became another file while it was being opened: try again".into();
        return Err(TargetError::Unsuitable { path: path.to_owned(), why });
    }
    if let Some(doubt) = direct.then(|| direct::doubt(kernel, &file)).flatten() {
        warnings.push(format!("direct I/O may not be direct: {doubt}"));
        direct = false;
    }
    lock::take(kernel, &file, path, mode(access), deadline)?;
    refuse_users(kernel, path, &subject)?;
    let (serial, wwn, model) = (None, None, None);
    let identity = Identity { kind: Kind::File, serial, wwn, model, size: opened.len(), partition_start: None };
    let directory = kernel.beneath(&opened);
    Ok(Held { path: path.to_owned(), file, whole_disk: None, identity, direct, directory, warnings })
}

/// A check only reads, and flock on NFS wants a descriptor that can write for the exclusive kind: a shared lock keeps
/// the daemon out all the same.
fn mode(access: Access) -> Hold {
    if access == Access::ReadWrite { Hold::Alone } else { Hold::Shared }
}

fn open(path: &Path, access: Access, flags: i32) -> io::Result<File> {
    // std adds O_CLOEXEC: the trigger's command must not inherit the target.
    OpenOptions::new().read(true).write(access == Access::ReadWrite).custom_flags(flags).open(path)
}

fn refuse_users(kernel: &Kernel, path: &Path, subject: &Subject) -> Result<(), TargetError> {
    let users = guard::users(kernel, subject).map_err(TargetError::io(path, "tell who uses it"))?;
    if users.is_empty() { Ok(()) } else { Err(TargetError::InUse { path: path.to_owned(), users }) }
}
