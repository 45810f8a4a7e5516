//! Reads and writes that never return: told while they hang, and nobody waits for them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::frozen::FileSystem;
use super::room::{MIB, Room, Running};

/// A target, its state and the file system that can be made to hang under one of them.
struct Place {
    // Unmounted before the room, which it is mounted in, is removed.
    fs: FileSystem,
    room: Room,
    target: PathBuf,
    state: PathBuf,
}

impl Place {
    fn with_file_on_it() -> Option<Place> {
        let room = Room::new(16 * MIB, &[]);
        let fs = FileSystem::new(&room)?;
        Some(Place { target: fs.dir.join("disk.img"), state: room.state(), fs, room })
    }

    fn with_device_on_it() -> Option<Place> {
        let room = Room::new(16 * MIB, &[]);
        let mut fs = FileSystem::new(&room)?;
        let place = Place { target: fs.device(16 * MIB), state: room.state(), fs, room };
        let device = place.target.to_str().unwrap().to_owned();
        place.room.start(place.command(&["init", "--confirm", &device])).ended().with_code(0);
        place.room.start(place.command(&["run", "--passes", "1"])).ended().with_code(0);
        Some(place)
    }

    fn with_state_on_it() -> Option<Place> {
        let room = Room::new(16 * MIB, &[]);
        let fs = FileSystem::new(&room)?;
        Some(Place { target: room.file(), state: fs.dir.join("state"), fs, room })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scrubd"));
        command.args(words).arg("--file").arg(&self.target).arg("--state-dir").arg(&self.state);
        command.env_remove("SCRUBD_LOG").env_remove("JOURNAL_STREAM");
        command
    }

    /// Runs until it has written for a while.
    fn run(&self, sets: &[&str]) -> Running {
        let sets = sets.iter().flat_map(|&set| ["--set", set]);
        let size: &[&str] = if self.target.starts_with("/dev") { &[] } else { &["--size", "16MiB"] };
        let words: Vec<&str> = ["run", "--json", "--set", "rate=40MiB/s", "--set", "flush_every=512KiB"]
            .into_iter()
            .chain(sets)
            .chain(size.iter().copied())
            .collect();
        let mut running = self.room.start(self.command(&words));
        let written = |status: Value| status["engine"]["bytes"]["written"].as_u64() > Some(8 * MIB);
        running.until("8 MiB", || self.status().is_some_and(written));
        running
    }

    fn status(&self) -> Option<Value> {
        let ended = self.room.start(self.command(&["status", "--json"])).ended();
        (ended.code == 0).then(|| ended.json())
    }

    fn until_stuck(&self, running: &mut Running) {
        running.until("an I/O that is stuck", || {
            self.status().is_some_and(|status| status["engine"]["stuck"].as_u64() > Some(0))
        });
    }

    fn events(&self) -> Vec<Value> {
        let log = self.state.join(self.target.file_name().unwrap()).join("events.jsonl");
        fs::read_to_string(log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Nothing that hung was promised: whatever became of it, the next check has nothing to say.
    fn assert_intact(&self) {
        let ended = self.room.start(self.command(&["check", "--json"])).ended().with_code(0);
        assert_eq!(ended.json()["verdict"], "intact", "{ended:?}");
    }
}

/// Waits until it has said all that it has to say. The kernel may still hold the process, not before the file system
/// thaws is it to be had.
#[track_caller]
fn until_said(running: &Running, words: &str, within: Duration) {
    let begun = Instant::now();
    while !running.said().contains(words) {
        assert!(begun.elapsed() < within, "no \"{words}\" within {within:?}:\n{}", running.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_write_that_hangs_is_told_with_place_and_age_while_it_hangs_and_told_again_when_it_returns() {
    let Some(place) = Place::with_file_on_it() else { return };
    let mut running = place.run(&["verify.deadline=2s", "on_finding=continue"]);
    let frozen = place.fs.freeze();
    place.until_stuck(&mut running);
    let status = place.status().unwrap();
    let oldest = &status["engine"]["oldest_stuck"];
    assert!(oldest["offset"].as_u64() >= Some(MIB) && oldest["age_s"].as_f64() >= Some(2.0), "{status:#}");
    place.room.start(place.command(&["status"])).ended().with_code(0).saying("stuck, the oldest a ");
    let told = |event: &Value| {
        let detail = event["detail"].as_str().unwrap_or_default();
        event["event"] == "finding" && event["class"] == "unreadable" && detail.starts_with("stuck: the ")
    };
    assert!(place.events().iter().any(told), "{:?}", place.events());
    running.signal(Signal::SIGUSR1);
    until_said(&running, "status {", Duration::from_secs(5));
    place.room.start(place.command(&["pause"])).ended().with_code(0).saying("paused");
    place.room.start(place.command(&["resume"])).ended().with_code(0).saying("resumed");
    drop(frozen);
    running.until("the return of it", || place.events().iter().any(|event| event["event"] == "io_returned"));
    until_said(&running, "has returned after ", Duration::from_secs(5));
    running.until("an end of it", || place.status().is_some_and(|status| status["engine"]["stuck"] == 0));
    running.signal(Signal::SIGTERM);
    let last = running.ended().with_code(65).json();
    assert_eq!(last["verdict"], "violated", "{last:#}");
    place.assert_intact();
}

#[test]
fn with_a_device_that_hangs_a_trigger_fires_the_process_ends_and_the_target_stays_locked() {
    let Some(place) = Place::with_device_on_it() else { return };
    let fired = place.room.path("fired");
    let command = format!("trigger.command=[\"touch\", \"{}\"]", fired.display());
    // No flush is in flight when the device hangs. The kernel does not let go of a process that waits for one; reads and
    // writes of a device it takes back.
    let sets = ["verify.deadline=2s", "on_finding=continue", "trigger.io=flush", "flush_every=1GiB", &command];
    let mut running = place.run(&sets);
    let frozen = place.fs.freeze();
    place.until_stuck(&mut running);
    place.room.start(place.command(&["trigger"])).ended().with_code(0).saying("triggered");
    let ended = running.ended().with_code(65).saying("nor flushing behind them").saying("did not come back");
    assert!(fired.exists(), "the command ran: {ended:?}");
    // What hangs may land at any time: until then nobody else may write there.
    place.room.start(place.command(&["check"])).ended().with_code(75).saying("held");
    drop(frozen);
    place.assert_intact();
}

#[test]
fn a_run_that_has_ended_does_not_promise_to_fire_a_trigger() {
    let Some(place) = Place::with_file_on_it() else { return };
    let fired = place.room.path("fired");
    let command = format!("trigger.command=[\"touch\", \"{}\"]", fired.display());
    let running = place.run(&["verify.deadline=2s", "on_finding=stop", &command]);
    let frozen = place.fs.freeze();
    // The ring is given two seconds more to take back what hangs; the control socket is served as long.
    until_said(&running, "INFO stopped; durable", Duration::from_secs(30));
    std::thread::sleep(Duration::from_millis(200));
    place.room.start(place.command(&["trigger"])).ended().with_code(75).saying("the run has ended");
    drop(frozen);
    running.ended().with_code(65);
    assert!(!fired.exists());
}

#[test]
fn a_stop_ends_with_its_words_although_the_kernel_holds_the_process() {
    let Some(place) = Place::with_file_on_it() else { return };
    // Asked once it gives what hangs the time of the deadline; asked twice, none.
    for (deadline, times, code) in [("verify.deadline=2s", 1, 65), ("verify.deadline=60s", 2, 0)] {
        let running = place.run(&[deadline, "on_finding=continue"]);
        let frozen = place.fs.freeze();
        std::thread::sleep(Duration::from_millis(500));
        for _ in 0..times {
            running.signal(Signal::SIGTERM);
            std::thread::sleep(Duration::from_millis(100));
        }
        until_said(&running, "\"schema\":1", Duration::from_secs(30));
        until_said(&running, "did not come back from the kernel", Duration::from_secs(1));
        drop(frozen);
        running.ended().with_code(code);
        place.assert_intact();
    }
}

#[test]
fn a_state_directory_that_hangs_is_no_finding_and_no_trigger_fires_on_a_ledger_that_is_not_saved() {
    let Some(place) = Place::with_state_on_it() else { return };
    let fired = place.room.path("fired");
    let command = format!("trigger.command=[\"touch\", \"{}\"]", fired.display());
    for ask in ["trigger", "SIGTERM"] {
        let mut running = place.run(&["verify.deadline=2s", &command]);
        let frozen = place.fs.freeze();
        running.until("a word about it", || {
            let status = place.status().expect("the control plane answers");
            status["warnings"].to_string().contains("the state directory does not answer")
        });
        match ask {
            "trigger" => drop(place.room.start(place.command(&["trigger"])).ended().with_code(0)),
            _ => running.signal(Signal::SIGTERM),
        }
        until_said(&running, "the state directory does not answer", Duration::from_secs(5));
        until_said(&running, "\"schema\":1", Duration::from_secs(60));
        assert!(!fired.exists());
        drop(frozen);
        let last = running.ended().with_code(73).json();
        assert_eq!((&last["verdict"], &last["blocks"]["findings"]), (&"incomplete".into(), &0.into()), "{last:#}");
        place.assert_intact();
    }
}

#[test]
fn a_daemon_that_is_stopped_itself_is_said_to_be_silent() {
    let room = Room::new(16 * MIB, &["rate=8MiB/s"]);
    let mut running = room.start_run(&[]);
    running.until("a first epoch", || !room.events().is_empty());
    running.signal(Signal::SIGSTOP);
    let asked = room.scrubd(&["status"]);
    running.signal(Signal::SIGCONT);
    asked.with_code(75).saying("has not answered for 10 s: it is stopped, or hangs");
    running.signal(Signal::SIGTERM);
    running.ended().with_code(0);
    room.assert_intact();
}
