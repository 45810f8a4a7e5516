//! What a target stands on, for whoever is to be accused: devices as the kernel tells of them, and the file system of a
//! file. Reads `/sys` and `/proc`; decides nothing. Whatever is not told is `None`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::procfs;
use super::sysfs::{self, DevNum, Kernel};

/// One block device, whole or stacked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hardware {
    /// As the kernel calls it: `sda`, `nvme0n1`, `dm-0`.
    pub name: String,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World wide name.
    pub wwn: Option<String>,
    /// Firmware revision.
    pub firmware: Option<String>,
    /// Size, in bytes.
    pub size: Option<u64>,
    /// The driver that serves it.
    pub driver: Option<String>,
    /// `queue/write_cache`: "write back" or "write through".
    pub write_cache: Option<String>,
    /// `queue/fua`: whether single writes can be forced to the medium.
    pub fua: Option<bool>,
    /// It turns.
    pub rotational: Option<bool>,
    /// Logical block size, in bytes.
    pub logical_block: Option<u64>,
    /// Physical block size, in bytes.
    pub physical_block: Option<u64>,
}

/// Where a file lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileSystem {
    /// `ext4`, `xfs`, …
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Where.
    pub mount_point: String,
    /// Options of the file system.
    pub options: String,
}

/// The devices of these numbers, as they are now: a write cache can be switched off under a run.
#[must_use]
pub fn hardware(disks: &BTreeSet<DevNum>) -> Vec<Hardware> {
    let kernel = Kernel::live();
    disks.iter().filter_map(|disk| kernel.directory(*disk)).map(|directory| of(&kernel, &directory)).collect()
}

fn of(kernel: &Kernel, directory: &Path) -> Hardware {
    let disk = sysfs::disk_of(directory);
    let text = |name: &str| {
        let text = fs::read_to_string(disk.join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let number = |name: &str| text(name)?.parse::<u64>().ok();
    let driver = ["device/driver", "device/device/driver"].iter().find_map(|name| {
        let link = fs::canonicalize(disk.join(name)).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    });
    Hardware {
        name: sysfs::name_of(&disk),
        model: kernel.model(&disk),
        serial: kernel.serial(&disk),
        wwn: kernel.wwn(&disk),
        firmware: ["device/firmware_rev", "device/rev"].iter().find_map(|name| text(name)),
        // sysfs counts sectors of 512 bytes, whatever the disk's are.
        size: number("size").and_then(|sectors| sectors.checked_mul(512)),
        driver,
        write_cache: text("queue/write_cache"),
        fua: number("queue/fua").map(|fua| fua == 1),
        rotational: number("queue/rotational").map(|rotational| rotational == 1),
        logical_block: number("queue/logical_block_size"),
        physical_block: number("queue/physical_block_size"),
    }
}

/// The file system that an open file is on; the innermost mount, where several are in one place.
#[must_use]
pub fn file_system(file: &fs::File, path: &Path) -> Option<FileSystem> {
    let device = DevNum::of(file.metadata().ok()?.dev());
    let path = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    let mounts = procfs::mounts(&fs::read_to_string("/proc/self/mountinfo").ok()?);
    let above = mounts.into_iter().filter(|mount| path.starts_with(&mount.mount_point));
    let mount = above.filter(|mount| mount.device == device).max_by_key(|mount| mount.mount_point.len())?;
    let procfs::Mount { mount_point, fs_type, source, super_options, .. } = mount;
    Some(FileSystem { kind: fs_type, source, mount_point, options: super_options })
}

impl std::fmt::Display for Hardware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quoted =
            |text: &Option<String>| text.as_ref().map_or_else(|| "not told".to_owned(), |text| format!("\"{text}\""));
        write!(
            f,
            "{}: model {}, serial {}, WWN {}",
            self.name,
            quoted(&self.model),
            quoted(&self.serial),
            quoted(&self.wwn)
        )?;
        let size = self.size.map_or_else(|| "size not told".to_owned(), |size| format!("{size} bytes"));
        let cache = self.write_cache.as_deref().unwrap_or("not told");
        let fua = self.fua.map_or("not told", |fua| if fua { "yes" } else { "no" });
        write!(
            f,
            ", firmware {}, driver {}, {size}, write cache {cache}, FUA {fua}",
            quoted(&self.firmware),
            quoted(&self.driver)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_described_as_sysfs_tells_it_and_what_is_not_told_is_said_to_be_so() {
        let root = tempfile::tempdir().unwrap();
        let disk = root.path().join("devices/block/sdq");
        fs::create_dir_all(disk.join("queue")).unwrap();
        fs::create_dir_all(disk.join("device")).unwrap();
        fs::create_dir_all(root.path().join("drivers/sd")).unwrap();
        std::os::unix::fs::symlink(root.path().join("drivers/sd"), disk.join("device/driver")).unwrap();
        let put = |name: &str, text: &str| fs::write(disk.join(name), text).unwrap();
        put("size", "2048\n");
        put("queue/write_cache", "write back\n");
        put("queue/fua", "0\n");
        put("device/rev", "1.02\n");
        let kernel = Kernel { sys: root.path().into(), proc: root.path().into(), udev: root.path().into() };
        let told = of(&kernel, &disk);
        assert_eq!((told.size, told.fua, told.rotational), (Some(1 << 20), Some(false), None));
        assert_eq!(
            told.to_string(),
            "sdq: model not told, serial not told, WWN not told, firmware \"1.02\", driver \"sd\", 1048576 bytes, write \
             cache write back, FUA no"
        );
    }
}
