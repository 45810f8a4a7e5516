//! A place for one test: a file under test, a state directory, and the binary.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here takes on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) struct Room {
    pub(crate) dir: tempfile::TempDir,
    /// `--set` of every command.
    pub(crate) sets: Vec<String>,
    pub(crate) size: u64,
    talk: AtomicU32,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// 128 + signal where a signal ended it.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// The last line of stdout, as JSON.
    pub(crate) fn json(&self) -> Value {
        let last = self.out.lines().last().unwrap_or_else(|| panic!("no line on stdout: {self:?}"));
        serde_json::from_str(last).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn saying(self, words: &str) -> Ended {
        let said = self.out.contains(words) || self.err.contains(words);
        assert!(said, "\"{words}\" is not in\nstdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

/// A command that is running; killed when it is dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Room {
    pub(crate) fn new(size: u64, sets: &[&str]) -> Room {
        let dir = tempfile::Builder::new().prefix("scrubd-e2e-").tempdir_in("/var/tmp").unwrap();
        Room { dir, sets: sets.iter().map(|&set| set.to_owned()).collect(), size, talk: AtomicU32::new(0) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The file under test.
    pub(crate) fn file(&self) -> PathBuf {
        self.path("disk.img")
    }

    /// What `--state-dir` names.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Where the target's own state is.
    pub(crate) fn target_state(&self) -> PathBuf {
        self.state().join("disk.img")
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scrubd"));
        // Before the subcommand, so that a `--set` among the words has the last say.
        command.args(self.sets.iter().flat_map(|set| ["--set", set]));
        command.args(words).arg("--file").arg(self.file()).arg("--state-dir").arg(self.state());
        command.stdin(Stdio::null()).env_remove("SCRUBD_LOG").env_remove("JOURNAL_STREAM");
        command
    }

    pub(crate) fn start(&self, mut command: Command) -> Running {
        let number = self.talk.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (self.path(&format!("out.{number}")), self.path(&format!("err.{number}")));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Running { child: command.spawn().unwrap(), out, err }
    }

    pub(crate) fn start_run(&self, words: &[&str]) -> Running {
        let size = self.size.to_string();
        let words: Vec<&str> = ["run", "--size", &size].into_iter().chain(words.iter().copied()).collect();
        self.start(self.command(&words))
    }

    /// `run`, to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        self.start_run(words).ended()
    }

    /// Any other subcommand, to its end.
    pub(crate) fn scrubd(&self, words: &[&str]) -> Ended {
        self.start(self.command(words)).ended()
    }

    /// `check --json`.
    pub(crate) fn check(&self) -> (i32, Value) {
        let ended = self.scrubd(&["check", "--json"]);
        (ended.code, ended.json())
    }

    #[track_caller]
    pub(crate) fn assert_intact(&self) -> Value {
        let ended = self.scrubd(&["check", "--json"]);
        let verdict = ended.json();
        assert_eq!(verdict["verdict"], "intact", "{verdict:#}\n{}", ended.err);
        assert_eq!(verdict["blocks"]["findings"], 0, "{verdict:#}");
        ended.with_code(0);
        verdict
    }

    pub(crate) fn read_file(&self) -> Vec<u8> {
        fs::read(self.file()).unwrap()
    }

    /// The events of the log, as JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.target_state().join("events.jsonl")).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.err).unwrap() + &fs::read_to_string(&self.out).unwrap()
    }

    /// Waits for it, but not for ever.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "still running after {PATIENCE:?}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        };
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Ended { code, out: fs::read_to_string(&self.out).unwrap(), err: fs::read_to_string(&self.err).unwrap() }
    }

    /// Waits until something is so, and fails with what was said if it does not come or the process ends first.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended with {status} before {what}:\n{}", self.said());
            }
            assert!(Instant::now() < deadline, "no {what} after {PATIENCE:?}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, as a rule; then there is nothing to kill.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Says, past the harness's capture, that a test proved nothing, and why.
pub(crate) fn skipped(why: &str) {
    static SKIPS: AtomicU32 = AtomicU32::new(0);
    let count = SKIPS.fetch_add(1, Ordering::Relaxed) + 1;
    let line = format!("SKIPPED: {why} ({count} skipped so far)\n");
    std::io::stderr().lock().write_all(line.as_bytes()).unwrap();
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A chance from the kernel, below `below`.
pub(crate) fn random(below: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % below
}

/// Everything in a directory and what it holds, to show that nothing changed.
pub(crate) fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.push((path.clone(), Vec::new()));
            found.extend(contents(&path));
        } else if path.is_file() {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_dir(&path, &to);
        } else if path.is_file() {
            fs::copy(&path, &to).unwrap();
        }
    }
}
