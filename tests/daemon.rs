//! The daemon as a library caller sees it: on real files, with both rings, inline and with workers.
//!
//! Not here: what a power cut does (tests/sim), and the binary itself.
#![allow(clippy::unwrap_used)] // clippy takes the helpers below for something else than tests

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use scrubd::config::{self, AdHoc, Overrides, Source, TargetSettings};
use scrubd::daemon::protocol::{Request, Response};
use scrubd::daemon::{self, DaemonError, Ended, Job, State, StatusReport, client, engine_settings, known};
use scrubd::engine::{Mode, OnStart, Outcome};
use scrubd::ledger::Checkpoint;
use scrubd::ledger::slots::{self, Choice, Expected, IdentityHash};
use scrubd::ledger::state_dir::{Layout, StateDir};
use scrubd::ledger::store::{self, Store};
use scrubd::report::{Overall, event_log, quarantine};
use scrubd::ring::Engine;
use scrubd::target::{self, Access, InitPlan, OpenTarget, Spec};
use scrubd::vocabulary::{Block, Digest, Order, RunId};

const BLOCK: u64 = 4096;
const BLOCKS: u64 = 64;

/// A labelled file of 64 blocks, and a place for its state.
struct Rig {
    dir: tempfile::TempDir,
    sets: Vec<String>,
}

impl Rig {
    fn new(sets: &[&str]) -> Rig {
        let rig = Rig {
            dir: tempfile::tempdir_in("/var/tmp").unwrap(),
            sets: sets.iter().map(ToString::to_string).collect(),
        };
        let plan = InitPlan {
            length: Some((1 << 20) + BLOCKS * BLOCK),
            block_size: 4096,
            atom: Some(512),
            order: Order::Random,
            digest: Digest::Blake3,
            run_id: RunId([7; 16]),
            now_unix_ns: 1,
            confirm: None,
        };
        target::init(&rig.spec(), &plan, Duration::from_secs(5)).unwrap();
        rig
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn spec(&self) -> Spec {
        Spec { path: Some(self.file()), serial: None, offset: 0 }
    }

    fn layout(&self) -> Layout {
        Layout::new(&self.dir.path().join("states"), "state").unwrap()
    }

    fn settings(&self) -> TargetSettings {
        let source = Source::AdHoc(AdHoc { file: self.file(), size: None });
        let overrides =
            Overrides { target: None, sets: self.sets.clone(), state_dir: Some(self.dir.path().to_owned()) };
        config::load(&source, &overrides, &|_| Ok(())).unwrap().sole().unwrap().clone()
    }

    fn open(&self, access: Access) -> OpenTarget {
        // The lock of the run before goes with its last descriptor, a registered one included.
        target::open(&self.spec(), access, Duration::from_secs(5), None).unwrap()
    }

    fn job(&self, target: OpenTarget, choice: &Choice) -> Job {
        let settings = self.settings();
        Job {
            name: "disk".to_owned(),
            target,
            engine: engine_settings(&settings),
            settings,
            ring: Engine::Auto,
            position: None,
            saved: choice.newest().map(|saved| Checkpoint::decode(saved.number, &saved.payload).unwrap()),
            remarks: choice.remarks(),
            known: known::load(self.layout().dir()).unwrap(),
            duration: Some(Duration::from_secs(120)),
            reload: None,
            observer: None,
        }
    }

    fn owner(target: &OpenTarget) -> Expected {
        Expected { run_id: target.run_id, identity: IdentityHash::of("file") }
    }

    fn run(&self, adjust: impl FnOnce(&mut Job)) -> Result<Ended, DaemonError> {
        let target = self.open(Access::ReadWrite);
        let owner = Rig::owner(&target);
        let dir = StateDir::claim(self.layout()).unwrap();
        let (mut store, bytes) = Store::open(dir.layout().dir()).unwrap();
        let choice = slots::newest_valid(&bytes, &owner);
        store.protect(choice.newest_slot());
        let mut job = self.job(target, &choice);
        adjust(&mut job);
        daemon::run(job, State { dir, store, choice, owner })
    }

    fn check(&self) -> Ended {
        let target = self.open(Access::ReadOnly);
        let choice = slots::newest_valid(&store::load(self.layout().dir()), &Rig::owner(&target));
        let mut job = self.job(target, &choice);
        job.engine.mode = Mode::Check;
        daemon::check(job).unwrap()
    }

    fn events(&self) -> Vec<String> {
        let reader = event_log::read(self.layout().dir()).unwrap();
        reader.map(|entry| format!("{entry:?}")).collect()
    }

    /// Every file of the state directory with its contents.
    fn everything(&self) -> BTreeSet<(PathBuf, Vec<u8>)> {
        let mut found = BTreeSet::new();
        let mut dirs = vec![self.layout().dir().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path.clone());
                }
                found.insert((path.clone(), fs::read(&path).unwrap_or_default()));
            }
        }
        found
    }

    fn damage(&self, block: u64) {
        let file = fs::OpenOptions::new().write(true).open(self.file()).unwrap();
        file.write_all_at(&[0xab; 100], (1 << 20) + block * BLOCK + 1000).unwrap();
        file.sync_all().unwrap();
    }
}

fn socket_answers(path: &Path, request: Request) -> Response {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match client::request(path, request) {
            Ok(response) => return response,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn wait_for(path: &Path, phase: &str) -> Box<StatusReport> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match socket_answers(path, Request::Status) {
            Response::Status { status } if status.engine.phase == phase => return status,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_few_passes_are_written_read_back_and_found_intact_by_a_check_that_changes_nothing() {
    for (ring, threads) in [(Engine::Auto, 0), (Engine::Auto, 2), (Engine::Blocking, 0), (Engine::Blocking, 2)] {
        let rig = Rig::new(&[&format!("verify.threads={threads}"), &format!("seal.threads={threads}")]);
        for pass in 1..=2 {
            let ended = rig.run(|job| (job.ring, job.engine.passes) = (ring, Some(3))).unwrap();
            assert_eq!(ended.outcome, Outcome::Kept, "{ring:?} {threads} {ended:?}");
            let status = ended.status;
            assert_eq!(status.engine.bytes.written, 3 * BLOCKS * BLOCK, "{status:?}");
            assert!(status.engine.bytes.verified >= 3 * BLOCKS * BLOCK, "{status:?}");
            assert_eq!(status.engine.durable.0, pass * 3 * BLOCKS);
            assert!(status.latencies.write.count >= 3 * BLOCKS && status.latencies.flush.count > 0);
            assert_eq!(status.workers.len(), 2 * threads);
        }
        let before = rig.everything();
        let ended = rig.check();
        let judgement = ended.judgement.unwrap();
        assert_eq!((ended.outcome, judgement.verdict), (Outcome::Kept, Overall::Intact));
        assert_eq!((judgement.blocks.total, judgement.blocks.intact), (BLOCKS, BLOCKS));
        assert_eq!(rig.everything(), before);
        assert!(rig.events().iter().any(|event| event.contains("stopped")), "{:?}", rig.events());
    }
}

#[test]
fn a_damaged_block_is_reported_with_the_bytes_that_were_read_and_latches_the_target() {
    let rig = Rig::new(&["verify.threads=1"]);
    rig.run(|job| job.engine.passes = Some(1)).unwrap();
    rig.damage(5);
    let mut found = vec![0; BLOCK as usize];
    fs::File::open(rig.file()).unwrap().read_exact_at(&mut found, (1 << 20) + 5 * BLOCK).unwrap();

    let always = |job: &mut Job| (job.engine.on_start, job.engine.passes) = (OnStart::Always, Some(1));
    let ended = rig.run(always).unwrap();
    assert_eq!(ended.outcome, Outcome::Broken);
    assert_eq!(ended.judgement.unwrap().findings[0].block, Block(5));
    let dir = rig.layout();
    assert_eq!(fs::read(dir.findings().join("1/found.bin")).unwrap(), found);
    let expected = fs::read(dir.findings().join("1/expected.bin")).unwrap();
    assert_eq!((&expected[..1000], &expected[1100..]), (&found[..1000], &found[1100..]));
    let diff = fs::read_to_string(dir.findings().join("1/diff.txt")).unwrap();
    assert!(diff.contains("at 1000, 100 bytes: "), "{diff}");
    assert!(quarantine::read(dir.dir()).unwrap().reason.starts_with("corrupt at block 5: "));
    assert!(rig.events().iter().any(|event| event.contains("corrupt")), "{:?}", rig.events());
    let verdict = fs::read_to_string(dir.verdict()).unwrap();
    assert!(verdict.contains("\"violated\""), "{verdict}");

    let error = rig.run(always).unwrap_err();
    assert!(matches!(&error, DaemonError::Quarantined(why) if why.contains("block 5")), "{error}");
    let checked = rig.check();
    assert_eq!(checked.outcome, Outcome::Broken);
    assert!(checked.judgement.unwrap().findings[0].known);
    quarantine::clear(dir.dir()).unwrap();
    // What was looked at does not stop the run again; the pass writes over it.
    assert_eq!(rig.run(always).unwrap().outcome, Outcome::Kept);
    assert_eq!(rig.check().outcome, Outcome::Kept);
}

#[test]
fn a_trigger_through_the_socket_saves_runs_the_command_and_ends() {
    let out = tempfile::tempdir_in("/var/tmp").unwrap();
    let env = out.path().join("env");
    let command = format!(
        "trigger.command=[\"sh\", \"-c\", \"env > {}; cat $SCRUBD_STATE_FILE > {}\"]",
        env.display(),
        out.path().join("slot").display()
    );
    let rig = Rig::new(&[&command]);
    let socket = rig.layout().control_socket();
    let asking = thread::spawn({
        let socket = socket.clone();
        move || {
            wait_for(&socket, "writing and reading back");
            socket_answers(&socket, Request::Trigger)
        }
    });
    let ended = rig.run(|_| ()).unwrap();
    assert_eq!(asking.join().unwrap(), Response::Accepted { message: "triggered".to_owned() });
    assert_eq!(ended.outcome, Outcome::Kept, "{ended:?}");
    let env = fs::read_to_string(env).unwrap();
    for line in ["SCRUBD_TARGET=disk", "SCRUBD_REASON=control", &format!("SCRUBD_RUN_ID={}", RunId([7; 16]))] {
        assert!(env.lines().any(|found| found == line), "{line} in {env}");
    }
    let slot = fs::read(out.path().join("slot")).unwrap();
    assert_eq!(&slot[..8], b"SCRUBLGR");
    assert!(!socket.exists());
    let events = rig.events();
    let at = |word: &str| {
        events.iter().position(|event| event.contains(word)).unwrap_or_else(|| panic!("{word} in {events:?}"))
    };
    assert!(at("triggered") < at("command_ended"));
}

#[test]
fn a_missing_command_is_told_by_the_exit_status() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let program = dir.path().join("cut-power");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    let mut permissions = fs::metadata(&program).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&program, permissions).unwrap();
    let file = dir.path().join("trigger");
    fs::write(&file, "").unwrap();
    let command = format!("trigger.command=[\"{}\"]", program.display());
    let rig = Rig::new(&[&command, &format!("trigger.file=\"{}\"", file.display())]);
    let ended = rig.run(|_| fs::remove_file(&program).unwrap()).unwrap();
    assert_eq!(ended.outcome.exit_code(), 69, "{ended:?}");
    assert!(!file.exists());
}

#[test]
fn a_daemon_answers_pauses_resumes_refuses_a_reload_and_stops() {
    let rig = Rig::new(&[]);
    let socket = rig.layout().control_socket();
    let asking = thread::spawn(move || {
        wait_for(&socket, "writing and reading back");
        let first = socket_answers(&socket, Request::Pause);
        assert_eq!(first, Response::Accepted { message: "paused".to_owned() });
        let paused = wait_for(&socket, "paused");
        assert_eq!((paused.target.as_str(), paused.run_id, paused.pid), ("disk", RunId([7; 16]), std::process::id()));
        assert!(matches!(socket_answers(&socket, Request::Reload), Response::Refused { .. }));
        socket_answers(&socket, Request::Resume);
        socket_answers(&socket, Request::Stop)
    });
    let ended = rig.run(|_| ()).unwrap();
    assert_eq!(asking.join().unwrap(), Response::Accepted { message: "stopping".to_owned() });
    assert_eq!(ended.outcome, Outcome::Kept);
    assert_eq!(rig.check().outcome, Outcome::Kept);
}

#[test]
fn a_duration_ends_a_run_cleanly_and_an_observer_hears_of_it() {
    let rig = Rig::new(&[]);
    let (sender, heard) = std::sync::mpsc::channel();
    let ended = rig.run(|job| {
        job.duration = Some(Duration::from_millis(700));
        job.observer = Some(Box::new(move |status| sender.send(status.engine.bytes.written).unwrap()));
    });
    assert_eq!(ended.unwrap().outcome, Outcome::Kept);
    let heard: Vec<u64> = heard.iter().collect();
    assert!(heard.len() >= 2 && heard.last() > Some(&0), "{heard:?}");
}

/// The space is reserved when the store is opened; what takes it away again here is what btrfs and ZFS do by themselves.
#[test]
fn a_state_disk_that_is_full_ends_the_run_with_its_own_exit_status_and_writes_nothing() {
    use nix::fcntl::{FallocateFlags, fallocate};
    use nix::mount::{MsFlags, mount, umount};

    let rig = Rig::new(&[]);
    let states = rig.dir.path().join("states");
    fs::create_dir(&states).unwrap();
    if let Err(errno) = mount(Some("scrubd-test"), &states, Some("tmpfs"), MsFlags::empty(), Some("size=4m")) {
        println!("SKIPPED: a small tmpfs cannot be mounted: {errno}");
        return;
    }
    let ended = rig.run(|_| {
        for slot in ["ledger.0", "ledger.1"] {
            let file = fs::OpenOptions::new().write(true).open(rig.layout().dir().join(slot)).unwrap();
            let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            fallocate(&file, punch, 0, 1 << 20).unwrap();
        }
        assert!(fs::write(states.join("filler"), vec![1; 8 << 20]).is_err());
    });
    umount(&states).unwrap();
    let ended = ended.unwrap();
    assert!(matches!(&ended.outcome, Outcome::StateNotSaved(why) if why.contains("no space left")), "{ended:?}");
    assert_eq!((ended.outcome.exit_code(), ended.status.engine.bytes.written), (73, 0));
    assert!(ended.warnings.iter().any(|warning| warning.contains("event")), "{:?}", ended.warnings);
}
