//! What a supervisor is told, as systemd would hear it: sd_notify(3) messages on a socket of the test's own.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::room::{MIB, PATIENCE, Room, Running};

/// A daemon with a configuration of its own, and the ear at its NOTIFY_SOCKET.
struct Supervised {
    room: Room,
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Supervised {
    fn new() -> Supervised {
        let room = Room::new(16 * MIB, &[]);
        room.run(&["--passes", "1"]).with_code(0);
        let socket = UnixDatagram::bind(room.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let supervised = Supervised { room, socket, heard: Vec::new() };
        supervised.configure("");
        supervised
    }

    fn config(&self) -> PathBuf {
        self.room.path("scrubd.toml")
    }

    fn configure(&self, keys: &str) {
        let file = self.room.file();
        fs::write(self.config(), format!("[target.\"disk.img\"]\npath = {file:?}\n{keys}")).unwrap();
    }

    fn command(&self, word: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scrubd"));
        command.arg(word).arg("disk.img").arg("--config").arg(self.config()).arg("--state-dir").arg(self.room.state());
        command.stdin(Stdio::null()).env_remove("SCRUBD_LOG").env_remove("JOURNAL_STREAM");
        command
    }

    fn start(&self) -> Running {
        let mut command = self.command("run");
        command.env("NOTIFY_SOCKET", self.room.path("notify")).env("WATCHDOG_USEC", "400000");
        self.room.start(command)
    }

    /// Listens until a message is heard that is wanted; all that were heard before it stay in `heard`.
    #[track_caller]
    fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 8192];
        loop {
            assert!(Instant::now() < deadline, "{what} was not heard; heard were {:#?}", self.heard);
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            self.heard.push(message.clone());
            if wanted(&message) {
                return message;
            }
        }
    }
}

#[test]
fn a_supervisor_hears_of_readiness_of_what_is_done_and_of_the_end() {
    let mut supervised = Supervised::new();
    let running = supervised.start();
    supervised.until("READY", |message| message == "READY=1\n");
    assert!(!supervised.heard.iter().any(|message| message.contains("RELOADING") || message.contains("STOPPING")));
    let status = supervised.until("a status", |message| message.starts_with("STATUS=writing"));
    for word in ["pass ", " %; ", " MiB/s)", " findings"] {
        assert!(status.contains(word), "{word} in {status}");
    }
    supervised.until("a watchdog's food", |message| message == "WATCHDOG=1\n");
    running.signal(Signal::SIGTERM);
    supervised.until("STOPPING", |message| message == "STOPPING=1\n");
    supervised.until("more time", |message| message == "EXTEND_TIMEOUT_USEC=60000000\n");
    running.ended().with_code(0);
}

#[test]
fn a_reload_comes_back_when_it_is_done_and_tells_whether_the_new_settings_are_in_force() {
    let mut supervised = Supervised::new();
    let running = supervised.start();
    supervised.until("READY", |message| message == "READY=1\n");
    let reloading = |message: &str| message.starts_with("RELOADING=1\nMONOTONIC_USEC=");

    supervised.configure("rate = \"50MiB/s\"\n");
    supervised.room.start(supervised.command("reload")).ended().with_code(0).saying("reloaded");
    supervised.until("RELOADING", reloading);
    supervised.until("READY again", |message| message == "READY=1\n");

    // A key that needs a restart: the daemon refuses, says why, and is as ready as before.
    supervised.configure("rate = \"60MiB/s\"\nqueue_depth = 7\n");
    let refused = supervised.room.start(supervised.command("reload")).ended().with_code(78);
    refused.saying("stay as they were").saying("queue_depth");
    supervised.until("RELOADING", reloading);
    supervised.until("READY again", |message| message == "READY=1\n");
    supervised
        .until("why", |message| message.contains("the last reload was refused") && message.contains("queue_depth"));

    // What is no configuration at all, by signal: nobody waits for an exit status.
    supervised.configure("rate = \"much\"\n");
    supervised.room.start(supervised.command("reload")).ended().with_code(78).saying("rate");
    running.signal(Signal::SIGHUP);
    supervised.until("RELOADING", reloading);
    supervised.until("READY again", |message| message == "READY=1\n");

    supervised.configure("rate = \"70MiB/s\"\n");
    running.signal(Signal::SIGHUP);
    supervised.until("RELOADING", reloading);
    supervised.until("READY again", |message| message == "READY=1\n");
    supervised
        .until("a status without a refusal", |message| message.starts_with("STATUS=") && !message.contains("refused"));
    running.signal(Signal::SIGTERM);
    running.ended().with_code(0);
}

#[test]
fn a_triggers_command_cannot_speak_for_the_daemon() {
    let mut supervised = Supervised::new();
    let env = supervised.room.path("env");
    let command = format!("trigger.command = [\"sh\", \"-c\", \"env > {}\"]\n", env.display());
    supervised.configure(&command);
    let running = supervised.start();
    supervised.until("READY", |message| message == "READY=1\n");
    running.signal(Signal::SIGUSR2);
    running.ended().with_code(0);
    let env = fs::read_to_string(env).unwrap();
    assert!(env.contains("SCRUBD_TARGET=disk.img\n"), "{env}");
    assert!(!env.contains("NOTIFY_SOCKET") && !env.contains("WATCHDOG"), "{env}");
}
