//! Patrol: what burn-in wrote is read and judged, and nothing is written to it.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::room::{MIB, Room};

/// Blocks of the region: (33 MiB - 1 MiB) / 64 KiB.
const BLOCKS: u64 = 512;
const BLOCK: u64 = 64 << 10;
const SIZE: u64 = 33 * MIB;

/// Written twice, and stopped cleanly.
fn written(sets: &[&str]) -> Room {
    let room = Room::new(SIZE, sets);
    room.run(&["--passes", "2"]).with_code(0);
    room
}

fn patrol<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ["--set", "mode=patrol", "--passes", "1", "--json"].into_iter().chain(more.iter().copied()).collect()
}

/// What no patrol may change: the target, and the slots of its ledger.
fn untouchable(room: &Room) -> (blake3::Hash, Vec<(PathBuf, Vec<u8>)>) {
    let slots = ["ledger.0", "ledger.1"].map(|slot| room.target_state().join(slot));
    (blake3::hash(&room.read_file()), slots.map(|slot| (slot.clone(), fs::read(slot).unwrap())).to_vec())
}

fn overwrite(room: &Room, block: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(room.file()).unwrap();
    file.seek(SeekFrom::Start(MIB + block * BLOCK)).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
}

fn block_of(room: &Room, block: u64) -> Vec<u8> {
    let from = usize::try_from(MIB + block * BLOCK).unwrap();
    room.read_file()[from..from + usize::try_from(BLOCK).unwrap()].to_vec()
}

fn events(room: &Room, name: &str) -> Vec<Value> {
    room.events().into_iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn a_patrol_over_what_is_intact_says_so_and_changes_not_one_byte() {
    let room = written(&[]);
    let before = untouchable(&room);
    let ended = room.run(&patrol(&["--set", "verify.retention=true"])).with_code(0);
    let ended = ended.saying("on patrol nothing is written: verify.retention mean nothing");
    let verdict = ended.json();
    assert_eq!((&verdict["verdict"], &verdict["blocks"]["intact"]), (&"intact".into(), &BLOCKS.into()), "{verdict:#}");
    assert_eq!(verdict["bytes"]["written"], 0);
    assert_eq!(untouchable(&room), before);
    assert_eq!(events(&room, "pass_patrolled").len(), 1);
    assert!(!room.target_state().join("patrol").exists() && room.target_state().join("patrol.ended").exists());
    // Burn-in goes on as if nothing had been, and a check too.
    room.assert_intact();
    room.run(&["--passes", "1"]).with_code(0);
    room.assert_intact();
    room.scrubd(&["report", "--json"]).with_code(0).saying("pass_patrolled");
}

/// The file cannot even be written by whoever holds it.
#[test]
fn a_file_that_cannot_be_written_can_be_patrolled() {
    let room = written(&[]);
    let mut mode = fs::metadata(room.file()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o444);
    fs::set_permissions(room.file(), mode).unwrap();
    let mut running = room.start_run(&patrol(&["--set", "patrol.rate=64KiB"]));
    running.until("a descriptor of the target", || descriptors(running_pid(&room), &room).is_some());
    let flags = descriptors(running_pid(&room), &room).unwrap();
    assert!(flags.iter().all(|flags| flags & 0o3 == 0), "all of them are read-only: {flags:?}");
    running.signal(Signal::SIGTERM);
    running.ended().with_code(0);
}

fn running_pid(room: &Room) -> u64 {
    events(room, "started").last().and_then(|event| event["pid"].as_u64()).unwrap_or(0)
}

/// The open flags of each descriptor of the target; `None` while there is none.
fn descriptors(pid: u64, room: &Room) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()? {
        let path = entry.ok()?.path();
        if fs::read_link(&path).ok()? == room.file() {
            let number = path.file_name()?.to_str()?.to_owned();
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
            found.push(u32::from_str_radix(flags.trim(), 8).ok()?);
        }
    }
    (!found.is_empty()).then_some(found)
}

#[test]
fn damage_is_found_named_latched_and_known_after_a_clear() {
    let room = written(&["order=sequential"]);
    let before_last = block_of(&room, 77);
    room.run(&["--passes", "1"]).with_code(0);
    let mut damaged = block_of(&room, 30);
    damaged[1000] ^= 4;
    overwrite(&room, 30, &damaged);
    overwrite(&room, 400, &vec![0; usize::try_from(BLOCK).unwrap()]);
    overwrite(&room, 77, &before_last);
    let before = untouchable(&room);

    // Findings are told in whatever order their reads end.
    let all = room.run(&patrol(&["--set", "on_finding=continue"])).with_code(65).json();
    let mut named: Vec<(u64, String)> = all["findings"].as_array().unwrap().iter().map(name_of).collect();
    named.sort();
    let expected = [(30, "corrupt"), (77, "lost_write"), (400, "zeroed")];
    assert_eq!(named, expected.map(|(block, class)| (block, class.to_owned())), "{all:#}");
    assert_eq!((&all["verdict"], &all["blocks"]["findings"]), (&"violated".into(), &3.into()));
    assert_eq!(all["blocks"]["intact"], BLOCKS - 3);
    for finding in all["findings"].as_array().unwrap() {
        assert_eq!(finding["persistence"], "persistent", "{finding:#}");
    }
    assert_eq!(untouchable(&room), before);
    let evidence = room.target_state().join("findings/1");
    assert_eq!(fs::metadata(evidence.join("found.bin")).unwrap().len(), BLOCK);
    assert!(fs::read_to_string(evidence.join("summary.txt")).unwrap().contains("met on patrol"));

    // They are known now. What is new latches, and keeps everybody out until it is cleared.
    overwrite(&room, 200, &vec![0; usize::try_from(BLOCK).unwrap()]);
    room.run(&patrol(&[])).with_code(65);
    assert!(room.target_state().join("QUARANTINE").exists());
    room.run(&patrol(&[])).with_code(65).saying("quarantined");
    room.scrubd(&["quarantine", "clear"]).with_code(0);
    // Known damage is still damage, as a check says each time; only what is new latches.
    let known = room.run(&patrol(&[])).with_code(65).json();
    assert_eq!(known["verdict"], "violated", "{known:#}");
    assert!(!room.target_state().join("QUARANTINE").exists());
}

fn name_of(finding: &Value) -> (u64, String) {
    (finding["block"].as_u64().unwrap(), finding["class"].as_str().unwrap().to_owned())
}

#[test]
fn a_target_that_was_never_written_has_nothing_to_find() {
    let room = Room::new(SIZE, &[]);
    let path = room.file();
    room.scrubd(&["init", "--size", &SIZE.to_string(), "--confirm", path.to_str().unwrap()]).with_code(0);
    let before = untouchable(&room);
    let verdict = room.run(&patrol(&[])).with_code(0).json();
    assert_eq!(verdict["blocks"]["unwritten"], BLOCKS, "{verdict:#}");
    assert_eq!(untouchable(&room), before);
}

#[test]
fn a_target_that_is_not_there_is_not_made() {
    let room = Room::new(SIZE, &[]);
    let ended = room.run(&patrol(&[]));
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(!room.file().exists());
}

#[test]
fn after_kill_9_it_goes_on_where_it_was_and_not_from_the_start() {
    let room = written(&["block_size=64KiB"]);
    let before = untouchable(&room);
    // 16 s of reading, and the position saved after ten: killed once that is there.
    let mut running = room.start_run(&patrol(&["--set", "patrol.rate=2MiB"]));
    let position = room.target_state().join("patrol");
    running.until("a position", || position.exists());
    running.child.kill().unwrap();
    running.ended().with_code(128 + 9);
    let saved = fs::read(&position).unwrap();
    let next = u64::from_le_bytes(saved[56..64].try_into().unwrap());
    assert!(next > 100 && next < BLOCKS, "block {next}");

    let ended = room.run(&patrol(&[])).with_code(0).json();
    assert_eq!(ended["blocks"]["intact"], BLOCKS, "the whole pass is spoken of: {ended:#}");
    let verified = ended["bytes"]["verified"].as_u64().unwrap();
    assert_eq!(verified, (BLOCKS - next) * BLOCK, "and what lay before is not read again");
    let begun: Vec<u64> = events(&room, "patrol_began").iter().map(|event| event["from"].as_u64().unwrap()).collect();
    assert_eq!(begun, [0, next]);
    assert_eq!(untouchable(&room), before);
}

/// What a patrol says that is stopped in the middle of its first pass.
fn stopped_midway(room: &Room) -> Value {
    let mut running = room.start_run(&patrol(&["--set", "patrol.rate=2MiB"]));
    running.until("some reading", || read_so_far(room) >= 4 * MIB);
    running.signal(Signal::SIGTERM);
    running.ended().with_code(0).json()
}

#[test]
fn a_stop_saves_the_position_and_a_damaged_one_begins_the_pass_again() {
    let room = written(&[]);
    let stopped = stopped_midway(&room);
    assert_eq!(stopped["verdict"], "incomplete", "{stopped:#}");
    let position = room.target_state().join("patrol");
    let mut bytes = fs::read(&position).unwrap();
    bytes[60] ^= 1;
    fs::write(&position, &bytes).unwrap();
    let ended =
        room.run(&patrol(&[])).with_code(0).saying("is damaged (its checksum does not hold): the pass begins again");
    let verdict = ended.json();
    assert_eq!(verdict["bytes"]["verified"], BLOCKS * BLOCK, "{verdict:#}");
}

#[test]
fn what_was_written_in_between_begins_the_pass_again() {
    let room = written(&[]);
    stopped_midway(&room);
    room.run(&["--passes", "1"]).with_code(0);
    let verdict = room.run(&patrol(&[])).with_code(0).json();
    assert_eq!(verdict["bytes"]["verified"], BLOCKS * BLOCK, "{verdict:#}");
}

fn status(room: &Room) -> Option<Value> {
    let ended = room.scrubd(&["status", "--json"]);
    (ended.code == 0).then(|| ended.json())
}

fn read_so_far(room: &Room) -> u64 {
    status(room).and_then(|status| status["engine"]["bytes"]["verified"].as_u64()).unwrap_or(0)
}

/// By the engine's own figures: what it has read is never above what the rate allows for its time, but for one portion.
#[test]
fn the_pace_is_kept_shown_paused_and_reloaded() {
    let room = written(&[]);
    let mut running = room.start_run(&patrol(&["--set", "patrol.rate=4MiB", "--set", "patrol.pass_time=1h"]));
    running.until("a status", || status(&room).is_some());
    for _ in 0..5 {
        let status = status(&room).unwrap();
        let verified = status["engine"]["bytes"]["verified"].as_f64().unwrap();
        let allowed = status["uptime_s"].as_f64().unwrap() * 4.0 * MIB as f64 + 5.0 * MIB as f64;
        assert!(verified <= allowed, "{verified} of {allowed}");
        let patrol = &status["engine"]["patrol"];
        assert_eq!((&patrol["rate"], &patrol["pass_time_s"]), (&(4 * MIB).into(), &3600.0.into()), "{patrol:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let words = room.scrubd(&["status"]).with_code(0).out;
    assert!(words.contains("patrolling, pass 0") && words.contains("on schedule; a pass in 1h; at most 4"), "{words}");
    room.scrubd(&["pause"]).with_code(0);
    assert_eq!(status(&room).unwrap()["engine"]["phase"], "paused");
    room.scrubd(&["resume"]).with_code(0);
    // The configuration of an ad-hoc target is its command line, which does not change: read again it is what it was.
    room.scrubd(&["reload"]).with_code(0);
    running.signal(Signal::SIGINT);
    running.ended().with_code(0);
}

#[test]
fn a_trigger_fires_on_patrol_and_the_position_is_kept() {
    let room = written(&[]);
    let mark = room.path("fired");
    let command = format!("trigger.command=[\"/bin/sh\", \"-c\", \"echo $SCRUBD_REASON >{}\"]", mark.display());
    let mut running = room.start_run(&patrol(&["--set", "patrol.rate=2MiB", "--set", &command]));
    running.until("some reading", || read_so_far(&room) >= 4 * MIB);
    room.scrubd(&["trigger"]).with_code(0);
    running.ended().with_code(0);
    assert_eq!(fs::read_to_string(mark).unwrap().trim(), "control");
    room.run(&patrol(&[])).with_code(0);
}

#[test]
fn a_duration_ends_it_and_the_next_one_goes_on() {
    let room = written(&[]);
    room.run(&patrol(&["--duration", "2s", "--set", "patrol.rate=2MiB"])).with_code(0);
    let verdict = room.run(&patrol(&[])).with_code(0).json();
    let verified = verdict["bytes"]["verified"].as_u64().unwrap();
    assert!(verified < BLOCKS * BLOCK && verdict["blocks"]["intact"] == BLOCKS, "{verdict:#}");
}

/// A cut took what nobody had promised: the first patrol after it accuses nobody.
#[test]
fn a_patrol_right_after_a_kill_judges_by_the_rules_of_recovery() {
    let room = Room::new(SIZE, &["flush_every=1MiB"]);
    let mut running = room.start_run(&[]);
    running.until("two passes", || status(&room).is_some_and(|status| status["engine"]["pass"].as_u64() >= Some(2)));
    running.child.kill().unwrap();
    running.ended().with_code(128 + 9);
    let before = untouchable(&room);
    let verdict = room.run(&patrol(&[])).with_code(0).json();
    assert_eq!((&verdict["verdict"], &verdict["blocks"]["findings"]), (&"intact".into(), &0.into()), "{verdict:#}");
    assert_eq!(untouchable(&room), before);
    room.run(&["--passes", "1"]).with_code(0);
    room.assert_intact();
}
