//! Whether the disks beneath a target are still there, when something has failed on them.
//!
//! A disk that is pulled out fails every read as one whose blocks cannot be read does, and must not be accused for it. The
//! kernel gives its errors no number of its own: one driver says EIO, another moves no byte, as if the device ended there.
//! What is certain is what sysfs says. A disk whose directory is gone is gone. Before that it has no size any more
//! (`blk_mark_disk_dead` in `block/genhd.c`), and its driver says that it is on its way (`sdev_states` in
//! `drivers/scsi/scsi_sysfs.c`, `nvme_sysfs_show_state` in `drivers/nvme/host/sysfs.c`). A disk that has died where it
//! stands looks the same, and its directory stays: time tells.
//!
//! Where a target stands on several disks each of them counts, although a mirror may go on without it. What fails
//! then ends the run as it does on a disk that was pulled out; whoever starts it again begins with the disks that there are.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::sysfs::Stack;

/// States of a device that is being removed, or is given up: "offline" is what a pulled SATA disk is at first.
const LEAVING: [&str; 7] =
    ["cancel", "deleted", "offline", "transport-offline", "deleting", "deleting (no IO)", "dead"];

/// What has become of a disk, or of the first of several of which it is not that it is there; in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there, as far as can be seen.
    There,
    /// It is going, or has died: what comes of it is still to be seen.
    Leaving(String),
    /// It does not exist any more.
    Removed(String),
}

/// The disks that a target stands on, as directories of sysfs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    disks: Vec<PathBuf>,
}

impl Presence {
    /// Of the disks of a stack that are there now.
    pub(crate) fn of(stack: &Stack) -> Self {
        Presence { disks: stack.disks.iter().filter(|disk| standing(disk) == Standing::There).cloned().collect() }
    }

    /// What has become of them. What is gone for certain comes first.
    #[must_use]
    pub fn look(&self) -> Standing {
        let all = || self.disks.iter().map(|disk| standing(disk));
        let removed = all().find(|standing| matches!(standing, Standing::Removed(_)));
        removed.or_else(|| all().find(|standing| *standing != Standing::There)).unwrap_or(Standing::There)
    }
}

fn standing(disk: &Path) -> Standing {
    let name = disk.file_name().unwrap_or_default().to_string_lossy();
    let gone = |error: &std::io::Error| {
        error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
    };
    let says = |file: &str, what: &str| {
        Standing::Leaving(format!("{name} is no longer what it was: {} says {what}", disk.join(file).display()))
    };
    match fs::read_to_string(disk.join("size")) {
        Err(error) if gone(&error) => {
            return Standing::Removed(format!("{name} was removed: {} is no more", disk.display()));
        }
        Ok(size) if size.trim_end() == "0" => return says("size", "0"),
        // Who cannot look knows nothing.
        _ => {}
    }
    match fs::read_to_string(disk.join("device/state")) {
        Ok(state) if LEAVING.contains(&state.trim_end()) => says("device/state", state.trim_end()),
        _ => Standing::There,
    }
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
    }

    fn presence(disks: &[&Disk]) -> Presence {
        let disks = disks.iter().map(|disk| disk.0.path().to_path_buf()).collect();
        Presence::of(&Stack { disks, incomplete: false })
    }

    #[test]
    fn a_disk_that_answers_is_there_whatever_is_wrong_with_its_blocks() {
        for state in [None, Some("running"), Some("live"), Some("resetting"), Some("quiesce")] {
            let disk = Disk::new("2048", state);
            assert_eq!(presence(&[&disk]).look(), Standing::There, "{state:?}");
        }
    }

    #[test]
    fn without_a_size_or_given_up_by_its_driver_it_may_come_back_or_have_died() {
        let disk = Disk::new("2048", None);
        let seen = presence(&[&disk]);
        disk.write("size", "0");
        assert!(matches!(seen.look(), Standing::Leaving(why) if why.contains("size says 0")));
        for state in LEAVING {
            let disk = Disk::new("2048", Some("running"));
            let seen = presence(&[&disk]);
            disk.write("device/state", state);
            assert!(matches!(seen.look(), Standing::Leaving(why) if why.contains(state)), "{state}");
        }
    }

    #[test]
    fn without_a_directory_it_is_gone_and_that_counts_more_than_another_that_may_be_going() {
        let (removed, leaving) = (Disk::new("2048", Some("running")), Disk::new("2048", None));
        let seen = presence(&[&removed, &leaving]);
        leaving.write("size", "0");
        fs::remove_dir_all(removed.0.path()).expect("removed");
        assert!(matches!(seen.look(), Standing::Removed(why) if why.contains("is no more")));
    }

    /// A loop device without a file, a card reader without a card.
    #[test]
    fn what_was_never_there_is_not_missed() {
        assert_eq!(presence(&[&Disk::new("0", None)]), Presence::default());
    }
}
