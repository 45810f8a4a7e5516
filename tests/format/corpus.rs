//! The seeds of `tests/fuzz` are what the crate writes: a fuzzer that starts from an old format looks at nothing. Beside
//! them stand inputs that once crashed a target, as they were found. The shipped configuration is a link.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use scrubd::ledger::Checkpoint;
use scrubd::ledger::slots::{self, Expected, IdentityHash};
use scrubd::report::event_log::EventLog;
use scrubd::tag::Sealer;
use scrubd::vocabulary::{Block, Digest, Order, Promise};
use serde_json::json;

use super::{RUN, claim, geometry, labels, slots as samples};

/// Every seed: its place below `tests/fuzz/corpus`, and its bytes.
fn seeds() -> Vec<(PathBuf, Vec<u8>)> {
    let mut seeds = vec![
        ("label/whole", labels::sample().encode().to_vec()),
        ("slot/checkpoint", samples::lived_in().encode()),
        ("slot/first", Checkpoint::first(Promise::Flush, 9).encode()),
        ("slot/sealed", sealed_slot()),
        ("event_log/lines", event_log()),
        ("config/shipped", fs::read(root().join("config/scrubd.toml")).expect("the shipped configuration")),
        (
            "config/sets",
            b"[target.a]\npath = \"/dev/x\"\n\0trigger.file=/run/cut\nverify.cpus=\"0-3,5\"\nrate=off".to_vec(),
        ),
        ("config/size", b"64MiB".to_vec()),
        ("config/cpus", b"0-3,8".to_vec()),
        ("control/request", br#"{"request":"status"}"#.to_vec()),
        ("control/accepted", br#"{"response":"accepted","message":"paused"}"#.to_vec()),
        ("control/refused", br#"{"response":"refused","message":"no"}"#.to_vec()),
        ("state/known", known()),
        ("state/quarantine", br#"{"reason":"lost_write","at":"2026-01-01T00:00:00Z","finding":null}"#.to_vec()),
        ("state/finding", finding().to_string().into_bytes()),
    ];
    for (name, how) in [("tag/whole", 0b1000_1100_u8), ("tag/older", 0b1010_1100), ("tag/digest", 0b1000_1101)] {
        // A difference of nothing to the block that the target seals, but for one bit.
        seeds.push((name, [&[how][..], &[0; 1023], &[1]].concat()));
    }
    seeds.push(("tag/bytes", [&[0b1000_0100][..], &whole_block()].concat()));
    seeds.into_iter().map(|(name, bytes)| (root().join("tests/fuzz/corpus").join(name), bytes)).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sealed_slot() -> Vec<u8> {
    let owner = Expected { run_id: RUN, identity: IdentityHash::of("fuzzed") };
    slots::seal(7, &owner, &samples::lived_in().encode()).expect("it fits").as_bytes().to_vec()
}

fn whole_block() -> Vec<u8> {
    let geometry = geometry(8, 4096, 1024, Order::Sequential, Digest::Crc32c);
    let mut bytes = vec![0; 4096];
    Sealer::new(geometry, RUN).seal(Block(3), &claim(11, 8, Promise::Flush), &mut bytes);
    bytes
}

fn event_log() -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut log, _) = EventLog::open(dir.path()).expect("a log");
    for cuts in 0..3 {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + cuts);
        log.append(at, &json!({"event": "cut", "cuts": cuts})).expect("appended");
    }
    fs::read(dir.path().join("events.jsonl")).expect("the file")
}

fn finding() -> serde_json::Value {
    json!({
        "class": "lost_write", "block": 3, "offset": 1_060_864, "expected_seq": 11, "found_seq": 3,
        "found": {"seq": 3, "epoch": {"number": 1, "nonce": "0000000000000007"}}, "persistence": "persistent",
        "proved_by": "checkpoint", "known": false, "detail": "older", "guarantee": null, "home": null,
        "confirmed": null, "errno": null, "occasion": "check", "cuts": 1, "contents": "00000000000000ff", "wall_ns": 1,
    })
}

fn known() -> Vec<u8> {
    let finding: scrubd::report::Finding = serde_json::from_value(finding()).expect("a finding");
    let key = serde_json::to_string(&finding.key()).expect("a key");
    format!("{key}\n{}\n", key.replace("\"block\":3", "\"block\":4")).into_bytes()
}

/// `SCRUBD_WRITE_CORPUS=1` writes them anew after a format has changed on purpose.
#[test]
fn the_fuzzers_start_from_what_is_written_today() {
    for (path, bytes) in seeds() {
        if std::env::var_os("SCRUBD_WRITE_CORPUS").is_some() {
            fs::create_dir_all(path.parent().expect("a target")).expect("made");
            fs::write(&path, &bytes).expect("written");
        }
        let found = fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        assert!(found == bytes, "{} is not what is written today", path.display());
    }
}
