//! Triggers under load: the state is durable before the command starts, the file is consumed, nothing fires twice, and
//! each bad case has its own message and exit status.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::decoder::{self, DATA, tag};
use super::room::{MIB, Room, is_root, skipped};

const BLOCKS: u64 = 63;

struct Rig {
    room: Room,
    file: PathBuf,
    out: PathBuf,
}

impl Rig {
    /// A room whose trigger copies what it is given, and says whether the trigger file is still there.
    fn new(sets: &[&str]) -> Rig {
        let mut room = Room::new(DATA + BLOCKS * 65536, &["order=sequential", "flush_every=512KiB"]);
        let (file, out, script) = (room.path("cut"), room.path("out"), room.path("command.sh"));
        fs::create_dir(&out).unwrap();
        let text = format!(
            "set -eu\ncd '{}'\necho fired >> fired\ncp \"$SCRUBD_STATE_FILE\" slot\nenv > environment\n\
             if [ -e '{}' ]; then echo still there > trigger; else echo consumed > trigger; fi\n",
            out.display(),
            file.display()
        );
        fs::write(&script, text).unwrap();
        room.sets.push(format!("trigger.file={}", file.display()));
        room.sets.push(format!("trigger.command=[\"/bin/sh\", \"{}\"]", script.display()));
        room.sets.extend(sets.iter().map(|&set| set.to_owned()));
        Rig { room, file, out }
    }

    fn told(&self, name: &str) -> String {
        fs::read_to_string(self.out.join(name)).unwrap_or_default()
    }

    fn fired(&self) -> usize {
        self.told("fired").lines().count()
    }

    /// Runs under load, lets the file appear once more than a pass is durable, and waits for the end.
    fn pull(&self) -> super::room::Ended {
        let mut running = self.room.start_run(&[]);
        running.until("a durable pass", || {
            let status = self.room.scrubd(&["status", "--json"]);
            status.code == 0 && status.json()["engine"]["durable"].as_u64() > Some(BLOCKS)
        });
        fs::write(&self.file, "").unwrap();
        running.ended()
    }
}

fn newest_below(frontier: u64, block: u64) -> Option<u64> {
    (0..frontier).rev().find(|seq| seq % BLOCKS == block)
}

#[test]
fn the_ledger_is_durable_before_the_command_runs_and_nothing_fires_twice() {
    for io in ["continue", "hold", "drain", "flush"] {
        let io = format!("trigger.io={io}");
        let rig = Rig::new(&[&io]);
        rig.pull().with_code(0);
        assert_eq!((rig.fired(), rig.told("trigger").as_str()), (1, "consumed\n"), "{io}");
        assert!(!rig.file.exists());

        let environment = rig.told("environment");
        let value = |name: &str| {
            let line = environment.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
            line.unwrap_or_else(|| panic!("no {name} in {environment}")).to_owned()
        };
        assert_eq!((value("SCRUBD_TARGET").as_str(), value("SCRUBD_REASON").as_str()), ("disk.img", "file"), "{io}");
        let slot = decoder::slot(&fs::read(rig.out.join("slot")).unwrap()).expect("a whole slot");
        assert_eq!(slot.run, value("SCRUBD_RUN_ID"));
        assert!(slot.durable > BLOCKS && slot.reserved >= slot.durable, "{io} {slot:?}");

        // What the slot says is true of the disk, as a second decoder reads both.
        let file = rig.room.read_file();
        for block in 0..BLOCKS {
            let seq = tag(&file[(DATA + block * 65536) as usize..]).map(|tag| tag.seq);
            assert!(seq >= newest_below(slot.durable, block), "{io}: block {block} holds {seq:?}, {slot:?}");
        }
        rig.room.assert_intact();

        // The same again goes on, and the trigger stays quiet.
        rig.room.run(&["--passes", "1"]).with_code(0);
        assert_eq!(rig.fired(), 1, "{io}");
        rig.room.assert_intact();
    }
}

#[test]
fn a_trigger_file_that_is_there_at_the_start_is_not_missed() {
    let rig = Rig::new(&[]);
    fs::write(&rig.file, "").unwrap();
    rig.room.run(&[]).with_code(0);
    assert_eq!((rig.fired(), rig.file.exists()), (1, false));
}

#[test]
fn after_a_trigger_it_can_go_on_and_fire_again_for_a_new_file() {
    let rig = Rig::new(&["trigger.then=resume"]);
    let mut running = rig.room.start_run(&[]);
    let epochs = || rig.room.events().iter().filter(|event| event["event"] == "epoch_began").count();
    running.until("a first epoch", || epochs() == 1);
    for times in 1..=2 {
        fs::write(&rig.file, "").unwrap();
        running.until("the command", || rig.fired() == times);
        running.until("the file's end", || !rig.file.exists());
        running.until("a new epoch", || epochs() > times);
    }
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.ended().with_code(0);
    rig.room.assert_intact();
}

#[test]
fn writes_time_signal_and_socket_fire_too() {
    for (set, reason) in [("trigger.writes=100", "100 writes"), ("trigger.after=\"200ms..400ms\"", "time")] {
        let rig = Rig::new(&[set]);
        rig.room.run(&[]).with_code(0);
        assert_eq!(rig.fired(), 1, "{set}");
        assert!(rig.told("environment").contains(&format!("SCRUBD_REASON={reason}\n")), "{}", rig.told("environment"));
    }
    let rig = Rig::new(&[]);
    let mut running = rig.room.start_run(&[]);
    running.until("a first epoch", || !rig.room.events().is_empty());
    running.signal(nix::sys::signal::Signal::SIGUSR2);
    running.ended().with_code(0);
    assert!(rig.told("environment").contains("SCRUBD_REASON=signal"), "{}", rig.told("environment"));
    let rig = Rig::new(&[]);
    let mut running = rig.room.start_run(&[]);
    running.until("a daemon that answers", || rig.room.scrubd(&["status"]).code == 0);
    rig.room.scrubd(&["trigger"]).with_code(0);
    running.ended().with_code(0);
    assert!(rig.told("environment").contains("SCRUBD_REASON=control"), "{}", rig.told("environment"));
}

#[test]
fn a_command_that_is_missing_fails_or_hangs_exits_69_and_says_which() {
    for (command, words) in [
        (r#"["/nonexistent/cut-power"]"#, "/nonexistent/cut-power"),
        (r#"["/bin/sh", "-c", "exit 3"]"#, "3"),
        (r#"["/bin/sh", "-c", "kill -TERM $$"]"#, "SIGTERM"),
        (r#"["/bin/sleep", "600"]"#, "1s"),
    ] {
        let room = Room::new(8 * MIB, &["trigger.writes=50", "trigger.timeout=1s"]);
        let command = format!("trigger.command={command}");
        let begun = std::time::Instant::now();
        room.run(&["--set", &command]).with_code(69).saying(words);
        assert!(begun.elapsed().as_secs() < 30, "{command} was waited for");
        room.assert_intact();
    }
}

#[test]
fn a_state_directory_that_cannot_be_written_exits_73_and_the_command_does_not_run() {
    if !is_root() {
        return skipped("a read-only state directory: mounting needs root");
    }
    let rig = Rig::new(&[]);
    rig.room.run(&["--passes", "1"]).with_code(0);
    let state = rig.room.state();
    let Some(_mounted) = Mounted::new(&["--bind"], state.as_os_str().to_str().unwrap(), &state) else {
        return skipped("a read-only state directory: bind mounts are not permitted here");
    };
    let remount = Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&state).status().unwrap();
    assert!(remount.success());
    fs::write(&rig.file, "").unwrap();
    rig.room.run(&[]).with_code(73).saying("read-only");
    assert_eq!(rig.fired(), 0);
    assert!(rig.file.exists(), "a trigger that nobody acted on is not consumed");
}

#[test]
fn a_state_directory_that_is_full_at_the_trigger_exits_73_and_the_command_does_not_run() {
    if !is_root() {
        return skipped("a full state directory: mounting needs root");
    }
    let rig = Rig::new(&["rate=2MiB/s"]);
    let state = rig.room.state();
    fs::create_dir(&state).unwrap();
    let Some(_mounted) = Mounted::new(&["-t", "tmpfs", "-o", "size=8m"], "tmpfs", &state) else {
        return skipped("a full state directory: tmpfs may not be mounted here");
    };
    let mut running = rig.room.start_run(&[]);
    running.until("a daemon that answers", || rig.room.scrubd(&["status"]).code == 0);
    let mut filler = fs::File::create(state.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
    // The page at the end of the event log has room still: take it.
    let log = rig.room.target_state().join("events.jsonl");
    let length = fs::metadata(&log).unwrap().len();
    let mut log = fs::OpenOptions::new().append(true).open(log).unwrap();
    std::io::Write::write_all(&mut log, &vec![b'\n'; (4096 - length % 4096) as usize]).unwrap();
    fs::write(&rig.file, "").unwrap();
    running.ended().with_code(73).saying("no space left");
    assert_eq!(rig.fired(), 0, "the command ran although nothing could be saved");
}

/// A mount that ends with the test.
struct Mounted(PathBuf);

impl Mounted {
    fn new(options: &[&str], from: &str, to: &std::path::Path) -> Option<Mounted> {
        let done = Command::new("mount").args(options).arg(from).arg(to).output().ok()?;
        done.status.success().then(|| Mounted(to.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}
