//! Does direct I/O reach the device? Some file systems accept `O_DIRECT` and go through the page cache all the same.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use nix::sys::statfs::{self, FsType};

use super::procfs;
use super::sysfs::{DevNum, Kernel};

/// OpenZFS is not in the kernel's `magic.h`; its `zfs_vfsops.h` has `ZFS_SUPER_MAGIC`.
const ZFS_SUPER_MAGIC: FsType = FsType(0x2fc1_2fc1);

/// What the file's file system makes of `O_DIRECT`, where that is not what it says; `None` where nothing is known
/// against it.
///
/// Short on purpose: only where the file system's own documentation or source says so.
pub(crate) fn doubt(kernel: &Kernel, file: &File) -> Option<&'static str> {
    let fs_type = statfs::fstatfs(file).ok()?.filesystem_type();
    // btrfs-progs, Documentation/ch-checksumming.rst: since Linux 6.14 a direct write to a file with data checksums
    // falls back to a buffered one; compressed files always did.
    if fs_type == statfs::BTRFS_SUPER_MAGIC {
        return Some("btrfs buffers direct writes to files with checksums or compression (chattr +C on an empty file)");
    }
    // OpenZFS 2.3.0 release notes, "Direct IO (#10018)": before it O_DIRECT was accepted and went through the ARC.
    if fs_type == ZFS_SUPER_MAGIC {
        return Some("ZFS before 2.3, or with direct=disabled, sends direct I/O through the ARC");
    }
    // Linux mm/shmem.c: since 6.6 O_DIRECT is accepted; there is nothing but the page cache.
    if fs_type == statfs::TMPFS_MAGIC {
        return Some("tmpfs is memory: nothing on it survives a power cut");
    }
    // Linux Documentation/admin-guide/ext4.rst, data=journal: "disables delayed allocation and O_DIRECT support";
    // opening with it still succeeds.
    let device = DevNum::of(file.metadata().ok()?.dev());
    let mountinfo = std::fs::read(kernel.proc.join("self/mountinfo")).ok()?;
    let mounts = procfs::mounts(&String::from_utf8_lossy(&mountinfo));
    let journalled = |mount: &procfs::Mount| {
        mount.fs_type.starts_with("ext") && mount.super_options.split(',').any(|option| option == "data=journal")
    };
    let found = mounts.iter().any(|mount| mount.device == device && journalled(mount));
    found.then_some("ext4 with data=journal sends direct I/O through the page cache and the journal")
}
