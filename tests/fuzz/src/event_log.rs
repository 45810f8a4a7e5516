//! An event log: every line is told as an event or as damage, a log that is opened goes on, and what was appended is
//! read back.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use scrubd::report::event_log::{Entry, EventLog, read};
use serde_json::{Value, json};

const FILE: &str = "events.jsonl";

pub fn holds(bytes: &[u8]) {
    let dir = super::scratch();
    log_holds(dir.path(), bytes);
    log_holds(dir.path(), &summed(bytes));
}

/// The same lines with checksums that fit.
fn summed(bytes: &[u8]) -> Vec<u8> {
    let line = |line: &[u8]| {
        let covered = line.strip_suffix(b"}").unwrap_or(line);
        let sum = crc32c::crc32c(covered);
        [covered, format!(",\"crc32c\":\"{sum:08x}\"}}\n").as_bytes()].concat()
    };
    bytes.split(|byte| *byte == b'\n').flat_map(line).collect()
}

fn entries(dir: &Path) -> Vec<Entry> {
    read(dir).expect("it can be opened").map(|entry| entry.expect("it can be read")).collect()
}

fn log_holds(dir: &Path, bytes: &[u8]) {
    fs::write(dir.join(FILE), bytes).expect("written");
    let before = entries(dir);
    assert_eq!(before, entries(dir), "reading twice");
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    let told = before.iter().filter(|entry| !matches!(entry, Entry::Missing { .. })).count();
    assert!(told >= lines, "{lines} lines, and {told} of them are told");
    let newest = before.iter().rev().find_map(|entry| match entry {
        Entry::Event(event) => Some(event.number),
        _ => None,
    });
    match EventLog::open(dir) {
        Ok((mut log, _)) => {
            let next = log.next_number();
            assert!(newest.is_none_or(|newest| next > newest), "number {next} behind {newest:?}");
            let event = json!({"event": "cut", "cuts": 3});
            if let Ok(number) = log.append(SystemTime::UNIX_EPOCH, &event) {
                assert_eq!(number, next);
                log.flush().expect("flushed");
                let after = entries(dir);
                let Some(Entry::Event(last)) = after.last() else { panic!("{after:?} ends without what was appended") };
                assert_eq!((last.number, Value::Object(last.members.clone())), (next, event));
            }
        }
        Err(error) => super::told(&error),
    }
}
