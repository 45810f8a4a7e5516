//! A device that is reset, loses its power or goes away under the living process: a cut, and no accusation.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::room::{MIB, Room, is_root, skipped};

/// A loop device over a file; detached when it is dropped.
struct Loop(PathBuf);

fn losetup(words: &[&str]) -> Result<String, String> {
    let ended = Command::new("losetup").args(words).output().map_err(|error| error.to_string())?;
    let Output { status, stdout, stderr } = ended;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}

impl Loop {
    fn over(file: &Path) -> Result<Loop, String> {
        losetup(&["--find", "--show", "--direct-io=on", file.to_str().unwrap()]).map(|node| Loop(node.into()))
    }

    /// Lets the kernel say to all who listen that something happened to the device; it does nothing to it.
    fn say(&self, action: &str) {
        let name = self.0.file_name().unwrap().to_str().unwrap();
        fs::write(format!("/sys/block/{name}/uevent"), action).unwrap();
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Err(why) = losetup(&["-d", self.0.to_str().unwrap()]) {
            eprintln!("{}: {why}", self.0.display());
        }
    }
}

/// A disk that lost its power for a moment may answer the next command as if nothing had happened. Had scrubd not heard
/// of it, it would hold what the cache lost against the disk.
#[test]
fn a_reset_that_only_the_kernels_message_tells_of_is_a_cut_and_the_run_goes_on_behind_a_check() {
    let room = Room::new(8 * MIB, &[]);
    let image = room.path("image");
    fs::File::create(&image).unwrap().set_len(16 * MIB).unwrap();
    let device = match Loop::over(&image).map_err(|why| skipped(&format!("no loop device: {why}"))) {
        Ok(device) if is_root() => device,
        _ => return,
    };
    let node = device.0.to_str().unwrap().to_owned();
    let state = room.state();
    let configuration = room.path("scrubd.toml");
    let table = format!(
        "[target.disk]\npath = \"{node}\"\nlength = \"8MiB\"\nblock_size = \"4KiB\"\nflush_every = \"256KiB\"\n"
    );
    fs::write(&configuration, table).unwrap();
    let scrubd = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scrubd"));
        command.arg("--config").arg(&configuration).arg("--state-dir").arg(&state).args(words);
        command.env_remove("SCRUBD_LOG").env_remove("JOURNAL_STREAM");
        command
    };
    room.start(scrubd(&["init", "disk", "--confirm", &node])).ended().with_code(0);
    let mut running = room.start(scrubd(&["run", "disk"]));
    let log = state.join("disk/events.jsonl");
    let count = |event: &str| {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().filter(|line| line.contains(&format!("\"event\":\"{event}\""))).count()
    };
    running.until("a first epoch", || count("epoch_began") == 1);
    // A change that says nothing of power; udev asks for these by the dozen.
    device.say("change");
    device.say("offline");
    running.until("an epoch behind the reset", || count("epoch_began") >= 2);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.ended().with_code(0).saying("it went offline");
    assert_eq!(count("device_reset"), 1, "{}", fs::read_to_string(&log).unwrap());
    room.start(scrubd(&["check", "disk"])).ended().with_code(0).saying("intact");
}
