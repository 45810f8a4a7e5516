//! Who else uses the target: mounts, swap, stacked devices, loop devices. Looks; touches nothing.
//!
//! For a block device `O_EXCL` is the proof (the kernel keeps every user of the page above out, in every mount
//! namespace); this is for saying *who*, and for regular files, where there is no `O_EXCL`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::procfs;
use super::sysfs::{self, DevNum, Kernel};

/// What is guarded: a device's directory in sysfs, or a file's place.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Device(PathBuf),
    File { device: u64, inode: u64 },
}

/// Everything that uses the subject, in words; empty when nothing is known to.
///
/// # Errors
/// When `/proc/self/mountinfo` or `/proc/swaps` can't be read: not to know is not to be free.
pub(crate) fn users(kernel: &Kernel, subject: &Subject) -> io::Result<Vec<String>> {
    let mounts = procfs::mounts(&read(&kernel.proc.join("self/mountinfo"))?);
    let swaps = match read(&kernel.proc.join("swaps")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(), // a kernel without swap
        swaps => procfs::swaps(&swaps?),
    };
    let mut users = Vec::new();
    let related = match subject {
        Subject::Device(directory) => related(directory),
        Subject::File { .. } => BTreeMap::new(),
    };
    let concerns = |meta: &fs::Metadata| match subject {
        Subject::Device(_) => meta.file_type().is_block_device() && related.contains_key(&DevNum::of(meta.rdev())),
        Subject::File { device, inode } => (meta.dev(), meta.ino()) == (*device, *inode),
    };
    for mount in mounts {
        // btrfs mounts under an anonymous number; its source names the device.
        let by_source = || mount.source.starts_with("/dev/") && fs::metadata(&mount.source).is_ok_and(|m| concerns(&m));
        if related.contains_key(&mount.device) || (!related.is_empty() && by_source()) {
            users.push(format!("{} is mounted on {} ({})", mount.source, mount.mount_point, mount.fs_type));
        }
    }
    for swap in swaps {
        if fs::metadata(&swap).is_ok_and(|meta| concerns(&meta)) {
            users.push(format!("{swap} is in use as swap"));
        }
    }
    let stacked = related.values().filter(|relation| relation.is_holder);
    users.extend(stacked.map(|relation| format!("{} is built on it", relation.name)));
    for disk in kernel.all_disks() {
        let Some(backing) = sysfs::backing_file(&disk) else { continue };
        if fs::metadata(&backing).is_ok_and(|meta| concerns(&meta)) {
            users.push(format!("loop device {} stands on it", sysfs::name_of(&disk)));
        }
    }
    Ok(users)
}

struct Relation {
    name: String,
    is_holder: bool,
}

/// The device, its disk, its partitions, and everything stacked on any of them. Not its sister partitions.
fn related(directory: &Path) -> BTreeMap<DevNum, Relation> {
    let disk = sysfs::disk_of(directory);
    let mut open: Vec<(PathBuf, bool)> = vec![(directory.to_owned(), false), (disk.clone(), false)];
    if disk == directory {
        open.extend(sysfs::partitions_of(&disk).into_iter().map(|partition| (partition, false)));
    }
    let mut related = BTreeMap::new();
    while let Some((directory, is_holder)) = open.pop() {
        let Some(device) = sysfs::device_number(&directory) else { continue };
        let relation = Relation { name: sysfs::name_of(&directory), is_holder };
        if related.insert(device, relation).is_none() {
            let mut upwards = sysfs::holders_of(&directory);
            upwards.extend(is_holder.then(|| sysfs::partitions_of(&directory)).into_iter().flatten());
            open.extend(upwards.into_iter().map(|holder| (holder, true)));
        }
    }
    related
}

fn read(path: &Path) -> io::Result<String> {
    // Bytes first: a mount point need not be UTF-8, and one odd name must not blind the guard.
    let bytes = fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// `sda` with `sda1` and `sda2`; `dm-0` over `sda1`; what is mounted is the caller's.
    fn kernel(root: &Path, mountinfo: &str) -> Kernel {
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (path, dev) in [("sda", "8:0"), ("sda/sda1", "8:1"), ("sda/sda2", "8:2"), ("dm-0", "253:0")] {
            put(&format!("block/{path}/dev"), dev);
        }
        put("block/sda/sda1/partition", "1");
        put("block/sda/sda2/partition", "2");
        fs::create_dir_all(root.join("block/sda/sda1/holders")).unwrap();
        symlink(root.join("block/dm-0"), root.join("block/sda/sda1/holders/dm-0")).unwrap();
        put("proc/self/mountinfo", mountinfo);
        Kernel { sys: root.into(), proc: root.join("proc"), udev: root.join("udev") }
    }

    #[test]
    fn a_mount_of_what_is_stacked_on_a_partition_holds_the_whole_disk_and_not_the_sister() {
        let root = tempfile::tempdir().unwrap();
        let kernel = kernel(root.path(), "1 2 253:0 / /srv rw - xfs /dev/mapper/x rw\n");
        let users_of = |path| users(&kernel, &Subject::Device(root.path().join(path))).unwrap();
        for path in ["block/sda", "block/sda/sda1"] {
            let found = users_of(path);
            assert_eq!(found, ["/dev/mapper/x is mounted on /srv (xfs)", "dm-0 is built on it"], "{path}");
        }
        assert!(users_of("block/sda/sda2").is_empty());
    }

    #[test]
    fn a_mount_of_a_partition_holds_the_disk() {
        let root = tempfile::tempdir().unwrap();
        let kernel = kernel(root.path(), "1 2 8:2 / /home rw - ext4 /dev/sda2 rw\n");
        let found = users(&kernel, &Subject::Device(root.path().join("block/sda"))).unwrap();
        assert!(found.iter().any(|user| user.contains("mounted on /home")), "{found:?}");
        assert!(!users(&kernel, &Subject::Device(root.path().join("block/sda/sda2"))).unwrap().is_empty());
    }

    #[test]
    fn not_to_know_the_mounts_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let kernel = Kernel { sys: root.path().into(), proc: root.path().join("proc"), udev: root.path().into() };
        assert!(users(&kernel, &Subject::File { device: 1, inode: 1 }).is_err());
    }
}
