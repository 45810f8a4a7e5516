//! The small files of a state directory: findings that were reported before, and the latch. Damage costs its own line and
//! never lifts a latch.

use std::fs;

use scrubd::daemon::known;
use scrubd::report::{Finding, FindingKey, quarantine};

pub fn holds(bytes: &[u8]) {
    let dir = super::scratch();
    fs::write(dir.path().join("known.jsonl"), bytes).expect("written");
    let keys = known::load(dir.path()).expect("it can be read");
    let lines: Vec<u8> = keys.iter().flat_map(line).collect();
    fs::write(dir.path().join("known.jsonl"), &lines).expect("written");
    assert_eq!(known::load(dir.path()).expect("it can be read"), keys);
    fs::write(dir.path().join("known.jsonl"), &lines[..lines.len().saturating_sub(2)]).expect("written");
    let torn = known::load(dir.path()).expect("it can be read");
    assert_eq!(torn, keys[..keys.len().saturating_sub(1)], "a torn line costs itself alone");
    fs::write(dir.path().join("QUARANTINE"), bytes).expect("written");
    let latch = quarantine::read(dir.path()).expect("a latch that is there holds");
    assert_eq!(Some(&latch), quarantine::read(dir.path()).as_ref(), "reading twice");
    if let Ok(finding) = serde_json::from_slice::<Finding>(bytes) {
        let written = serde_json::to_vec(&finding).expect("plain values");
        assert_eq!(serde_json::from_slice::<Finding>(&written).expect("its own words"), finding);
    }
}

fn line(key: &FindingKey) -> Vec<u8> {
    let mut line = serde_json::to_vec(key).expect("plain values");
    line.push(b'\n');
    line
}
