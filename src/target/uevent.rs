//! What the kernel says of devices that are reset or go away: its uevents. Pure.
//!
//! A disk that loses its power under a living process takes back what it had only cached, and the next command may
//! succeed as if nothing had happened: the driver has asked again, and no error reaches us. The kernel tells it in a
//! uevent all the same. Sources: `drivers/scsi/scsi_lib.c` (`scsi_evt_emit`: a unit attention "power on, reset"),
//! `drivers/nvme/host/core.c` (`nvme_start_ctrl`: a controller that was started, again after each reset),
//! `block/disk-events.c` (another medium), `lib/kobject_uevent.c` (the format, and what goes away).

use std::fs;
use std::path::{Path, PathBuf};

use super::sysfs::Stack;

/// Properties of a `change` that say that what a device had in its cache may be gone.
const RESETS: [(&str, &str); 4] = [
    ("SDEV_UA=POWER_ON_RESET_OCCURRED", "it reports a power-on or a reset"),
    ("NVME_EVENT=connected", "its controller was started anew"),
    ("DISK_MEDIA_CHANGE=1", "its medium was changed"),
    ("SDEV_MEDIA_CHANGE=1", "its medium was changed"),
];

/// One message of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uevent<'a> {
    /// `add`, `remove`, `change`, …
    pub action: &'a str,
    /// Below `/sys`, with a leading slash.
    pub devpath: &'a str,
    /// `KEY=VALUE` each.
    properties: Vec<&'a str>,
}

impl<'a> Uevent<'a> {
    /// Reads a message: `ACTION@DEVPATH`, then properties, each ended by a zero byte. `None` for anything else.
    #[must_use]
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        let mut parts = text.split_terminator('\0');
        let (action, devpath) = parts.next()?.split_once('@')?;
        devpath.starts_with('/').then(|| Uevent { action, devpath, properties: parts.collect() })
    }
}

/// The devices that a target stands on, each with all that it hangs from, as paths below `/sys`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    disks: Vec<PathBuf>,
}

impl Lineage {
    /// Of a stack of disks, as it was found below `sys`.
    pub(crate) fn of(sys: &Path, stack: &Stack) -> Self {
        let controllers = stack.disks.iter().flat_map(|disk| nvme_controllers(disk));
        let paths = stack.disks.iter().cloned().chain(controllers);
        let below = |path: PathBuf| Some(Path::new("/").join(path.strip_prefix(sys).ok()?));
        Lineage { disks: paths.filter_map(below).collect() }
    }

    /// Whether anything is known to watch for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.disks.is_empty()
    }

    /// What a uevent says of a reset, a loss of power or the removal of one of these; `None` where it says nothing of
    /// the kind.
    #[must_use]
    pub fn reset_told_by(&self, uevent: &Uevent<'_>) -> Option<String> {
        // By whole components: /devices/…/nvme1 is not above /devices/…/nvme10.
        if !self.disks.iter().any(|disk| disk.starts_with(uevent.devpath)) {
            return None;
        }
        let what = match uevent.action {
            "remove" => "it was removed",
            "offline" => "it went offline",
            "change" => RESETS.iter().find(|(property, _)| uevent.properties.contains(property))?.1,
            _ => return None,
        };
        Some(format!("the kernel says of {}: {what}", uevent.devpath))
    }
}

/// With native multipathing an NVMe disk hangs from its subsystem, which links to the controllers.
fn nvme_controllers(disk: &Path) -> Vec<PathBuf> {
    let subsystem = disk.parent().filter(|parent| parent.parent().is_some_and(|up| up.ends_with("nvme-subsystem")));
    let entries = subsystem.and_then(|subsystem| fs::read_dir(subsystem).ok()).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    let named = links.filter(|entry| entry.file_name().to_string_lossy().starts_with("nvme"));
    named.filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(disks: &[&str]) -> Lineage {
        Lineage { disks: disks.iter().map(PathBuf::from).collect() }
    }

    fn told(lineage: &Lineage, message: &str) -> Option<String> {
        lineage.reset_told_by(&Uevent::parse(message.as_bytes()).expect("a uevent"))
    }

    const SDA: &str = "/devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda";

    #[test]
    fn a_power_on_reset_of_the_scsi_device_beneath_is_a_reset() {
        let device = "/devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0";
        let message = format!(
            "change@{device}\0ACTION=change\0DEVPATH={device}\0SUBSYSTEM=scsi\0SDEV_UA=POWER_ON_RESET_OCCURRED\0SEQNUM=1\0"
        );
        let why = told(&lineage(&[SDA]), &message).expect("a reset");
        assert!(why.contains("power-on") && why.contains(device), "{why}");
    }

    #[test]
    fn what_is_removed_above_the_disk_takes_the_disk_along() {
        assert!(told(&lineage(&[SDA]), "remove@/devices/pci0000:00/0000:00:17.0\0ACTION=remove\0").is_some());
        assert!(told(&lineage(&[SDA]), &format!("remove@{SDA}\0")).is_some());
        assert!(told(&lineage(&[SDA]), &format!("offline@{SDA}\0")).is_some());
    }

    #[test]
    fn an_nvme_controller_that_is_started_again_is_a_reset_and_a_number_that_only_begins_alike_is_not() {
        let disk = lineage(&["/devices/pci0000:00/0000:00:03.0/nvme/nvme1/nvme1n1"]);
        let message =
            |name: &str| format!("change@/devices/pci0000:00/0000:00:03.0/nvme/{name}\0NVME_EVENT=connected\0");
        assert!(told(&disk, &message("nvme1")).is_some());
        assert!(told(&disk, &message("nvme10")).is_none());
    }

    #[test]
    fn changes_that_say_nothing_of_power_and_the_partitions_below_are_no_reset() {
        let disk = lineage(&[SDA]);
        for message in [
            format!("change@{SDA}\0ACTION=change\0SYNTH_UUID=0\0"),
            format!("change@{SDA}\0RESIZE=1\0"),
            format!("add@{SDA}\0"),
            format!("remove@{SDA}/sda1\0"),
            "remove@/devices/virtual/block/loop7\0".to_owned(),
        ] {
            assert_eq!(told(&disk, &message), None, "{message:?}");
        }
    }

    #[test]
    fn rubbish_is_no_uevent() {
        for message in [&b"libudev\0\xfe\xed\xca\xfe"[..], b"", b"remove", b"remove@relative\0", b"\xff@/devices\0"] {
            assert_eq!(Uevent::parse(message), None, "{message:?}");
        }
    }

    #[test]
    fn a_multipath_nvme_disk_is_watched_at_its_controllers_too() {
        let root = tempfile::tempdir().expect("a directory");
        let sys = fs::canonicalize(root.path()).expect("its path");
        let subsystem = sys.join("devices/virtual/nvme-subsystem/nvme-subsys0");
        let controller = sys.join("devices/pci0000:00/nvme/nvme0");
        for directory in [&subsystem.join("nvme0n1"), &controller] {
            fs::create_dir_all(directory).expect("made");
        }
        std::os::unix::fs::symlink(&controller, subsystem.join("nvme0")).expect("linked");
        let stack = Stack { disks: [subsystem.join("nvme0n1")].into(), incomplete: false };
        let lineage = Lineage::of(&sys, &stack);
        assert!(told(&lineage, "change@/devices/pci0000:00/nvme/nvme0\0NVME_EVENT=connected\0").is_some());
        assert!(told(&lineage, "remove@/devices/virtual/nvme-subsystem/nvme-subsys0\0").is_some());
    }
}
