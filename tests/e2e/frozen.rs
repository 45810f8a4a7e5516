//! A file system of our own that can be made to hang: ext4 on a loop device, frozen with fsfreeze(8). Writes to it, and
//! whatever waits for them, then sleep in the kernel, uninterruptibly, until it is thawed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::room::{MIB, Room, is_root, skipped};

pub(crate) struct FileSystem {
    pub(crate) dir: PathBuf,
    device: PathBuf,
    /// Loop devices over files in here.
    over: Vec<PathBuf>,
}

/// While it lives, the file system hangs. Declare it after every process that may hang with it: those are waited for
/// when they are dropped, and this must go first.
pub(crate) struct Frozen {
    dir: PathBuf,
}

impl FileSystem {
    /// `None`, and a word about it, where there cannot be one.
    pub(crate) fn new(room: &Room) -> Option<FileSystem> {
        if !is_root() {
            skipped("an I/O that hangs: freezing a file system needs root");
            return None;
        }
        for tool in ["losetup", "mkfs.ext4", "mount", "fsfreeze"] {
            if Command::new(tool).arg("--version").output().is_err() && Command::new(tool).arg("-V").output().is_err() {
                skipped(&format!("an I/O that hangs: {tool} is not installed"));
                return None;
            }
        }
        let (image, dir) = (room.path("fs.img"), room.path("fs"));
        File::create(&image).unwrap().set_len(160 * MIB).unwrap();
        done("mkfs.ext4", &["-q".as_ref(), &image])?;
        let device = loop_over(&image)?;
        fs::create_dir(&dir).unwrap();
        let made = FileSystem { dir, device, over: Vec::new() };
        done("mount", &[&made.device, &made.dir])?;
        Some(made)
    }

    /// A loop device over a file in here, all of its blocks allocated.
    pub(crate) fn device(&mut self, size: u64) -> PathBuf {
        let file = self.dir.join("backing");
        fs::write(&file, vec![0; usize::try_from(size).unwrap()]).unwrap();
        let device = loop_over(&file).expect("there was a loop device a moment ago");
        self.over.push(device.clone());
        device
    }

    pub(crate) fn freeze(&self) -> Frozen {
        done("fsfreeze", &["-f".as_ref(), &self.dir]).expect("it can be frozen");
        Frozen { dir: self.dir.clone() }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        done("fsfreeze", &["-u".as_ref(), &self.dir]);
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        for device in &self.over {
            done("losetup", &["--detach".as_ref(), device]);
        }
        // What was let go a moment ago may still be busy with its last I/O.
        for _ in 0..50 {
            if Command::new("umount").arg(&self.dir).output().is_ok_and(|output| output.status.success()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        done("losetup", &["--detach".as_ref(), &self.device]);
    }
}

fn loop_over(file: &Path) -> Option<PathBuf> {
    let output = done("losetup", &["--find".as_ref(), "--show".as_ref(), "--direct-io=on".as_ref(), file])?;
    Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
}

fn done(program: &str, arguments: &[&Path]) -> Option<Output> {
    let output = Command::new(program).args(arguments).output().unwrap();
    if !output.status.success() {
        skipped(&format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
        return None;
    }
    Some(output)
}
