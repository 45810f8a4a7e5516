//! What the kernel and udev tell about block devices. Reads `/sys` and `/run/udev`; decides nothing.
//!
//! Every function takes a device's own directory, as [`Kernel::directory`] finds it
//! (`/sys/devices/…/block/sda` or `…/block/sda/sda1`). Rules: the kernel's `ABI/stable/sysfs-block`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat;

use super::identity::{clean, normal_wwn};

/// A device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevNum {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
}

impl DevNum {
    /// From an `st_dev` or `st_rdev`.
    #[must_use]
    pub fn of(dev: u64) -> Self {
        DevNum { major: stat::major(dev), minor: stat::minor(dev) }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(DevNum { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl fmt::Display for DevNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// What a device does with writes that it has acknowledged, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteCache {
    /// A volatile cache: a flush is needed.
    Back,
    /// None, or none that is volatile: the kernel sends no flushes.
    Through,
}

/// Where the kernel's and udev's files are; a test has its own.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) sys: PathBuf,
    pub(crate) proc: PathBuf,
    pub(crate) udev: PathBuf,
}

/// Everything that a device stands on.
#[derive(Debug, Default)]
pub(crate) struct Stack {
    /// Directories of the device's disk and of all devices beneath it.
    pub(crate) disks: BTreeSet<PathBuf>,
    /// Something beneath could not be followed (a loop device over a file on no block device).
    pub(crate) incomplete: bool,
}

impl Kernel {
    pub(crate) fn live() -> Self {
        Kernel { sys: "/sys".into(), proc: "/proc".into(), udev: "/run/udev/data".into() }
    }

    /// The directory of a block device; `None` for a number that is not one (an anonymous one, of btrfs or tmpfs).
    pub(crate) fn directory(&self, device: DevNum) -> Option<PathBuf> {
        fs::canonicalize(self.sys.join(format!("dev/block/{device}"))).ok()
    }

    /// Directories of all disks, whole ones and stacked ones.
    pub(crate) fn all_disks(&self) -> Vec<PathBuf> {
        linked(&self.sys.join("block"))
    }

    /// Down the stack: `slaves` of stacked devices, the disk of a partition, what is beneath a loop device's file.
    pub(crate) fn stack(&self, directory: &Path) -> Stack {
        let mut stack = Stack::default();
        let mut open = vec![disk_of(directory)];
        while let Some(disk) = open.pop() {
            if !stack.disks.insert(disk.clone()) {
                continue;
            }
            open.extend(linked(&disk.join("slaves")).iter().map(|slave| disk_of(slave)));
            if let Some(backing) = backing_file(&disk) {
                let beneath = fs::metadata(backing).ok().and_then(|meta| self.beneath(&meta));
                stack.incomplete |= beneath.is_none();
                open.extend(beneath.map(|directory| disk_of(&directory)));
            }
        }
        stack
    }

    /// The device that a path stands for (a device node) or stands on (its file system's device).
    pub(crate) fn beneath(&self, meta: &fs::Metadata) -> Option<PathBuf> {
        self.directory(DevNum::of(if meta.file_type().is_block_device() { meta.rdev() } else { meta.dev() }))
    }

    /// The serial, the kernel's word before udev's: the kernel always has its own, udev may not have run yet, and a
    /// serial that changes with the weather would be taken for another device.
    pub(crate) fn serial(&self, disk: &Path) -> Option<String> {
        let stacked = ["dm/uuid", "md/uuid"].iter().find_map(|name| text(&disk.join(name)));
        let own = || ["serial", "device/serial"].iter().find_map(|name| text(&disk.join(name)));
        stacked.or_else(own).or_else(|| unit_serial(disk)).or_else(|| self.udev_value(disk, &["ID_SERIAL_SHORT"]))
    }

    pub(crate) fn wwn(&self, disk: &Path) -> Option<String> {
        let own = ["wwid", "device/wwid", "device/cid"].iter().find_map(|name| text(&disk.join(name)));
        own.or_else(|| self.udev_value(disk, &["ID_WWN_WITH_EXTENSION", "ID_WWN"])).as_deref().and_then(normal_wwn)
    }

    pub(crate) fn model(&self, disk: &Path) -> Option<String> {
        if is_loop(disk) {
            return Some("loop device".into());
        }
        let own = ["device/model", "device/name", "dm/name"].iter().find_map(|name| text(&disk.join(name)));
        own.or_else(|| self.udev_value(disk, &["ID_MODEL"]))
    }

    fn udev_value(&self, disk: &Path, keys: &[&str]) -> Option<String> {
        let record = fs::read_to_string(self.udev.join(format!("b{}", device_number(disk)?))).ok()?;
        let properties = udev_properties(&record);
        keys.iter().find_map(|key| clean(properties.get(*key)?))
    }
}

/// The `E:` lines of a record of udev's database.
fn udev_properties(record: &str) -> BTreeMap<&str, &str> {
    record.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('=')).collect()
}

/// The smallest logical block size in a stack, in bytes: 512 where anything in it is unknown.
pub(crate) fn atom(stack: Option<&Stack>) -> u32 {
    let known = stack.filter(|stack| !stack.incomplete).and_then(|stack| {
        stack.disks.iter().map(|disk| number(&disk.join("queue/logical_block_size"))).min().flatten()
    });
    known.map_or(512, |bytes| u32::try_from(bytes.clamp(512, 4096)).expect("clamped"))
}

/// A disk's logical block size in bytes: what direct I/O must be a multiple of.
pub(crate) fn logical_block(directory: &Path) -> u64 {
    number(&disk_of(directory).join("queue/logical_block_size")).unwrap_or(512)
}

/// A disk's physical block size in bytes; the kernel has it right for stacked devices too.
pub(crate) fn physical_block(directory: &Path) -> u64 {
    number(&disk_of(directory).join("queue/physical_block_size")).unwrap_or(512).max(512)
}

pub(crate) fn write_cache(directory: &Path) -> Option<WriteCache> {
    match text(&disk_of(directory).join("queue/write_cache"))?.as_str() {
        "write back" => Some(WriteCache::Back),
        "write through" => Some(WriteCache::Through),
        _ => None,
    }
}

pub(crate) fn is_host_managed(directory: &Path) -> bool {
    text(&disk_of(directory).join("queue/zoned")).as_deref() == Some("host-managed")
}

pub(crate) fn is_read_only(directory: &Path) -> bool {
    number(&directory.join("ro")) == Some(1)
}

pub(crate) fn is_partition(directory: &Path) -> bool {
    directory.join("partition").exists()
}

pub(crate) fn is_loop(disk: &Path) -> bool {
    disk.join("loop").exists() || device_number(disk).is_some_and(|device| device.major == 7)
}

/// The file that a loop device stands on.
pub(crate) fn backing_file(disk: &Path) -> Option<PathBuf> {
    let path = fs::read_to_string(disk.join("loop/backing_file")).ok()?;
    Some(PathBuf::from(path.strip_suffix('\n').unwrap_or(&path)))
}

/// Start of a partition, in bytes. sysfs counts sectors of 512 whatever the disk's are.
pub(crate) fn partition_start(directory: &Path) -> Option<u64> {
    number(&directory.join("start"))?.checked_mul(512)
}

/// A partition's disk; a disk itself.
pub(crate) fn disk_of(directory: &Path) -> PathBuf {
    let parent = is_partition(directory).then(|| directory.parent()).flatten();
    parent.unwrap_or(directory).to_owned()
}

pub(crate) fn partitions_of(disk: &Path) -> Vec<PathBuf> {
    let children = fs::read_dir(disk).into_iter().flatten().flatten().map(|entry| entry.path());
    children.filter(|child| is_partition(child)).collect()
}

/// What stands on a device directly: device mapper, md, bcache.
pub(crate) fn holders_of(directory: &Path) -> Vec<PathBuf> {
    linked(&directory.join("holders"))
}

pub(crate) fn device_number(directory: &Path) -> Option<DevNum> {
    DevNum::parse(&fs::read_to_string(directory.join("dev")).ok()?)
}

/// The node of a device, as devtmpfs names it.
pub(crate) fn node(directory: &Path) -> Option<PathBuf> {
    let uevent = fs::read_to_string(directory.join("uevent")).ok()?;
    let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(Path::new("/dev").join(name))
}

pub(crate) fn name_of(directory: &Path) -> String {
    directory.file_name().map(|name| name.to_string_lossy().replace('!', "/")).unwrap_or_default()
}

fn linked(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn text(path: &Path) -> Option<String> {
    clean(&String::from_utf8_lossy(&fs::read(path).ok()?))
}

/// SCSI's vital product data, page 0x80 (SPC-4, 7.8.15): two bytes, a big-endian length, the unit serial number.
/// libata fills it with the ATA serial.
fn unit_serial(disk: &Path) -> Option<String> {
    let page = fs::read(disk.join("device/vpd_pg80")).ok()?;
    let length = usize::from(u16::from_be_bytes([*page.get(2)?, *page.get(3)?]));
    clean(&String::from_utf8_lossy(page.get(4..)?.get(..length)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A little `/sys`: `sda` (4096/4096) with `sda1`, `nvme0n1` (512/4096), `dm-0` over both.
    struct Fake {
        root: tempfile::TempDir,
    }

    impl Fake {
        fn new() -> Self {
            let fake = Fake { root: tempfile::tempdir().unwrap() };
            fake.disk("sda", "8:0", 4096, 4096);
            fake.disk("nvme0n1", "259:0", 512, 4096);
            fake.disk("dm-0", "253:0", 4096, 4096);
            fake.put("devices/block/sda/sda1/partition", "1");
            fake.put("devices/block/sda/sda1/start", "2048\n");
            fake.put("devices/block/sda/sda1/dev", "8:1\n");
            fake.link("dev/block/8:1", "devices/block/sda/sda1");
            fake.link("devices/block/dm-0/slaves/sda1", "devices/block/sda/sda1");
            fake.link("devices/block/dm-0/slaves/nvme0n1", "devices/block/nvme0n1");
            fake
        }

        fn disk(&self, name: &str, dev: &str, logical: u32, physical: u32) {
            let base = format!("devices/block/{name}");
            self.put(&format!("{base}/dev"), format!("{dev}\n"));
            self.put(&format!("{base}/queue/logical_block_size"), format!("{logical}\n"));
            self.put(&format!("{base}/queue/physical_block_size"), format!("{physical}\n"));
            self.put(&format!("{base}/queue/write_cache"), "write back\n");
            self.link(&format!("dev/block/{dev}"), &base);
            self.link(&format!("block/{name}"), &base);
        }

        fn put(&self, path: &str, contents: impl AsRef<[u8]>) {
            let path = self.root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }

        fn link(&self, path: &str, to: &str) {
            let path = self.root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(self.root.path().join(to), path).unwrap();
        }

        fn kernel(&self) -> Kernel {
            let root = self.root.path();
            Kernel { sys: root.into(), proc: root.join("proc"), udev: root.join("udev") }
        }

        fn directory(&self, dev: &str) -> PathBuf {
            self.kernel().directory(DevNum::parse(dev).unwrap()).unwrap()
        }
    }

    #[test]
    fn the_atom_is_the_smallest_logical_block_anywhere_beneath() {
        let fake = Fake::new();
        let stack = |dev| fake.kernel().stack(&fake.directory(dev));
        assert_eq!(atom(Some(&stack("253:0"))), 512);
        assert_eq!(atom(Some(&stack("8:1"))), 4096);
        assert_eq!(stack("253:0").disks.len(), 3);
        assert_eq!(atom(None), 512);
    }

    #[test]
    fn a_disk_of_unknown_logical_block_size_makes_the_atom_512() {
        let fake = Fake::new();
        fs::remove_file(fake.root.path().join("devices/block/sda/queue/logical_block_size")).unwrap();
        assert_eq!(atom(Some(&fake.kernel().stack(&fake.directory("8:0")))), 512);
    }

    #[test]
    fn a_partition_asks_its_disk() {
        let fake = Fake::new();
        let partition = fake.directory("8:1");
        assert_eq!((logical_block(&partition), physical_block(&partition)), (4096, 4096));
        assert_eq!(partition_start(&partition), Some(1 << 20));
        assert_eq!(write_cache(&partition), Some(WriteCache::Back));
        assert_eq!(partitions_of(&fake.directory("8:0")), [partition]);
    }

    #[test]
    fn the_kernels_serial_goes_before_udevs() {
        let fake = Fake::new();
        let (kernel, disk) = (fake.kernel(), fake.directory("8:0"));
        assert_eq!(kernel.serial(&disk), None);
        fake.put("udev/b8:0", "S:disk/by-id/x\nE:ID_SERIAL_SHORT=FROM_UDEV\nE:ID_WWN=0x5000C500\nE:ID_MODEL=M\n");
        assert_eq!(kernel.serial(&disk).as_deref(), Some("FROM_UDEV"));
        assert_eq!(kernel.wwn(&disk).as_deref(), Some("naa.5000c500"));
        assert_eq!(kernel.model(&disk).as_deref(), Some("M"));
        fake.put("devices/block/sda/device/vpd_pg80", b"\0\x80\0\x08  WD-1234trailing");
        assert_eq!(kernel.serial(&disk).as_deref(), Some("WD-123"));
        fake.put("devices/block/sda/device/wwid", "naa.5000c500a\n");
        assert_eq!(kernel.wwn(&disk).as_deref(), Some("naa.5000c500a"));
        fake.put("devices/block/dm-0/dm/uuid", "LVM-abc\n");
        assert_eq!(kernel.serial(&fake.directory("253:0")).as_deref(), Some("LVM-abc"));
    }
}
