//! scrubd on the disk that loses its cache: started, stopped, cut, judged.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::decoder;
use super::filesystem::Inner;
use super::mount::Mounted;
use super::store::{Cut, Store};

/// Longer than anything here takes on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const MIB: u64 = 1 << 20;

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
}

/// A command that is running; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

pub(crate) struct Rig {
    pub(crate) disk: Mounted,
    /// What scrubd is told to test: the file, or a device on top of it.
    pub(crate) target: PathBuf,
    pub(crate) sets: Vec<String>,
    talk: AtomicU32,
}

impl Rig {
    pub(crate) fn new(length: u64, atom: usize, seed: u64, sets: &[&str]) -> Result<Rig, String> {
        let disk = Mounted::new(length as usize, atom, seed)?;
        let mut sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        sets.push(format!("atom={atom}"));
        Ok(Rig { target: disk.target(), disk, sets, talk: AtomicU32::new(0) })
    }

    pub(crate) fn store(&self) -> Held<'_> {
        Held(self.disk.shared.lock())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.disk.dir.path().join(name)
    }

    /// Where the target's own state is.
    pub(crate) fn target_state(&self) -> PathBuf {
        self.path("state").join(self.target.file_name().unwrap())
    }

    /// The events of the log, as JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.target_state().join("events.jsonl")).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The saved ledgers, read by a decoder that shares nothing with scrubd.
    pub(crate) fn slots(&self) -> [PathBuf; 2] {
        ["ledger.0", "ledger.1"].map(|name| self.target_state().join(name))
    }

    pub(crate) fn saved(&self) -> decoder::Slot {
        let whole = self.slots().into_iter().filter_map(|file| decoder::slot(&fs::read(file).ok()?));
        whole.max_by_key(|slot| slot.number).expect("a slot is whole")
    }

    pub(crate) fn start(&self, words: &[&str]) -> Running {
        let number = self.talk.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (self.path(&format!("out.{number}")), self.path(&format!("err.{number}")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_scrubd"));
        command.args(self.sets.iter().flat_map(|set| ["--set", set])).args(words);
        command.arg("--file").arg(&self.target).arg("--state-dir").arg(self.path("state"));
        command.stdin(Stdio::null()).env_remove("SCRUBD_LOG").env_remove("JOURNAL_STREAM");
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Running { child: command.spawn().unwrap(), out, err }
    }

    /// Any subcommand, to its end.
    pub(crate) fn scrubd(&self, words: &[&str]) -> Ended {
        self.start(words).ended()
    }

    #[track_caller]
    pub(crate) fn init(&self) {
        let size = self.store().store().length().to_string();
        self.scrubd(&["init", "--size", &size, "--confirm", self.target.to_str().unwrap()]).with_code(0);
    }

    /// `check --json`.
    pub(crate) fn check(&self) -> Ended {
        self.scrubd(&["check", "--json"])
    }

    #[track_caller]
    pub(crate) fn assert_intact(&self) -> Value {
        let ended = self.check();
        assert_eq!(ended.code, 0, "{:#}\n{}", ended.json(), ended.err);
        let verdict = ended.json();
        assert_eq!((&verdict["verdict"], &verdict["blocks"]["findings"]), (&"intact".into(), &0.into()), "{verdict:#}");
        verdict
    }

    /// The power goes under a running scrubd, which sees nothing of it: it is stopped first, then the disk stands still
    /// and loses its cache, then scrubd is killed, and only then what was in flight is given back as an error, because
    /// the kernel ends no process whose I/O is open. The state directory stays as it is at the freeze: nobody writes to
    /// it from there on.
    pub(crate) fn cut(&self, mut running: Running, seed: u64) -> Cut {
        running.stop();
        let cut = {
            let mut held = self.store();
            held.store_mut().freeze();
            held.store_mut().cut(seed)
        };
        running.child.kill().unwrap();
        // A request that the kernel still holds comes after the first are answered: while frozen it gets its error too.
        self.disk.shared.give_up();
        running.ended().with_code(128 + 9);
        self.wait_until_let_go();
        self.store().store_mut().thaw();
        cut
    }

    /// A killed process is gone before its ring is (Linux, `io_ring_exit_work`), and a loop device has a queue of its
    /// own: what is still on its way must meet a disk without power. The ring's last hold on the target is its lock.
    fn wait_until_let_go(&self) {
        let target = File::open(&self.target).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while target.try_lock().is_err() {
            assert!(Instant::now() < deadline, "the killed scrubd still holds {}", self.target.display());
            std::thread::sleep(Duration::from_micros(300));
        }
    }
}

/// The store, held still.
pub(crate) struct Held<'a>(pub(crate) MutexGuard<'a, Inner>);

impl Held<'_> {
    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn store_mut(&mut self) -> &mut Store {
        &mut self.0.store
    }
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Stops it, and waits until every thread of its own stands. The kernel's workers of the ring (`iou-wrk-…`) may be
    /// within a request; what they hold is in flight.
    fn stop(&mut self) {
        self.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        self.until("stop of all threads", || {
            fs::read_dir(&tasks).unwrap().all(|task| {
                let stat = task.and_then(|task| fs::read_to_string(task.path().join("stat")));
                // A thread that has ended in between stands as well.
                let Ok(stat) = stat else { return true };
                let (name, rest) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).unwrap();
                name.starts_with("iou-") || matches!(rest.trim_start().chars().next(), Some('T' | 'Z' | 'X'))
            })
        });
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
            std::thread::sleep(Duration::from_millis(1));
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
            std::thread::sleep(Duration::from_micros(300));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, as a rule; then there is nothing to kill. Not waited for: a failing test's disk may hold its I/O.
        let _gone = self.child.kill();
    }
}
