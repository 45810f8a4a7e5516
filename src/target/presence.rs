//! Whether the disks beneath a target are still there, when something has failed on them.
//!
//! A disk that is pulled out fails every read as one whose blocks cannot be read does, and must not be accused for it. The
//! kernel gives its errors no number of its own: one driver says EIO, another moves no byte, as if the device ended there.
//! What is certain is what sysfs says: a disk on its way out has no size any more (`blk_mark_disk_dead` in
//! `block/genhd.c`) before its directory goes, and its driver may say so before that (`sdev_states` in
//! `drivers/scsi/scsi_sysfs.c`, `nvme_sysfs_show_state` in `drivers/nvme/host/sysfs.c`). One that is there and does not
//! answer ("offline", "dead") has not been taken away.

use std::fs;
use std::path::{Path, PathBuf};

use super::sysfs::Stack;

/// States of a device that is being removed.
const LEAVING: [&str; 4] = ["cancel", "deleted", "deleting", "deleting (no IO)"];

/// The disks that a target stands on, as directories of sysfs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    disks: Vec<PathBuf>,
}

impl Presence {
    /// Of the disks of a stack that are there now.
    pub(crate) fn of(stack: &Stack) -> Self {
        Presence { disks: stack.disks.iter().filter(|disk| what_is_missing(disk).is_none()).cloned().collect() }
    }

    /// Which of them is gone, in words; `None` while all are there.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        self.disks.iter().find_map(|disk| {
            let name = disk.file_name().unwrap_or_default().to_string_lossy();
            what_is_missing(disk).map(|what| format!("{name} was removed: {what}"))
        })
    }
}

fn what_is_missing(disk: &Path) -> Option<String> {
    let text = |name| fs::read_to_string(disk.join(name)).ok();
    match text("size").as_deref().map(str::trim_end) {
        None => return Some(format!("{} is no more", disk.display())),
        Some("0") => return Some(format!("{} says 0", disk.join("size").display())),
        Some(_) => {}
    }
    let state = text("device/state")?;
    LEAVING
        .contains(&state.trim_end())
        .then(|| format!("{} says {}", disk.join("device/state").display(), state.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Disk(tempfile::TempDir);

    impl Disk {
        fn new(size: &str, state: Option<&str>) -> Self {
            let disk = Disk(tempfile::tempdir().expect("a directory"));
            fs::create_dir(disk.0.path().join("device")).expect("made");
            disk.write("size", size);
            state.into_iter().for_each(|state| disk.write("device/state", state));
            disk
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), format!("{text}\n")).expect("written");
        }

        fn presence(&self) -> Presence {
            Presence::of(&Stack { disks: [self.0.path().to_path_buf()].into(), incomplete: false })
        }
    }

    #[test]
    fn a_disk_that_is_there_is_not_missing_whatever_else_its_driver_says() {
        for state in [None, Some("running"), Some("offline"), Some("live"), Some("dead"), Some("quiesce")] {
            let disk = Disk::new("2048", state);
            assert_eq!(disk.presence().missing(), None, "{state:?}");
        }
    }

    #[test]
    fn without_a_size_or_a_directory_or_with_a_driver_that_removes_it_it_is_gone() {
        let no_size = Disk::new("2048", None);
        let presence = no_size.presence();
        no_size.write("size", "0");
        assert!(presence.missing().expect("gone").contains("size says 0"));

        for state in LEAVING {
            let leaving = Disk::new("2048", Some("running"));
            let presence = leaving.presence();
            leaving.write("device/state", state);
            assert!(presence.missing().expect("gone").contains(state), "{state}");
        }

        let removed = Disk::new("2048", Some("running"));
        let presence = removed.presence();
        fs::remove_dir_all(removed.0.path()).expect("removed");
        assert!(presence.missing().expect("gone").contains("is no more"));
    }

    /// A loop device without a file, a card reader without a card.
    #[test]
    fn what_was_never_there_is_not_missed() {
        assert_eq!(Disk::new("0", None).presence(), Presence::default());
    }
}
