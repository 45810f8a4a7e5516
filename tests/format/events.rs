//! Event logs as the crate writes them, read by the page.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use scrubd::report::event_log::EventLog;
use serde_json::{Value, json};

use super::decoder::Read;
use super::decoder::log::{Event, FILES, file, line};

const AT: SystemTime = SystemTime::UNIX_EPOCH;

fn log_of(dir: &Path, events: &[Value]) -> Vec<u8> {
    let (mut log, _) = EventLog::open(dir).expect("a log");
    for event in events {
        log.append(AT + Duration::new(1_767_225_600, 7), event).expect("appended");
    }
    fs::read(dir.join("events.jsonl")).expect("the file")
}

fn numbers(events: &[Read<Event>]) -> Vec<Option<u64>> {
    events.iter().map(|event| event.as_ref().ok().map(|event| event.n)).collect()
}

#[test]
fn lines_say_what_was_put_in() {
    let dir = tempfile::tempdir().unwrap();
    let events = [
        json!({"event": "cut", "cuts": 3}),
        json!({"event": "note", "text": "é \u{2028} \" \\ \n ,\"crc32c\":\"00000000\"}", "n_": [1, {"crc32c": null}]}),
        json!({"event": "", "big": u64::MAX, "small": -1, "half": 0.5}),
    ];
    let found = file(&log_of(dir.path(), &events));
    for (at, (found, event)) in found.iter().zip(&events).enumerate() {
        let found = found.as_ref().unwrap();
        assert_eq!((found.n, found.at.as_str()), (at as u64 + 1, "2026-01-01T00:00:00.000000007Z"));
        assert_eq!(&Value::Object(found.rest.clone()), event);
    }
    assert_eq!(found.len(), events.len());
}

#[test]
fn any_flipped_bit_of_a_line_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = log_of(dir.path(), &[json!({"event": "cut", "cuts": 3, "text": "some text"})]);
    let whole = bytes.strip_suffix(b"\n").unwrap();
    assert!(line(whole).is_ok());
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(line(&damaged).is_err(), "bit {bit}");
    }
    assert!((0..whole.len()).all(|length| line(&whole[..length]).is_err()));
}

#[test]
fn a_line_cut_short_is_closed_and_its_number_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let note = json!({"event": "note"});
    let bytes = log_of(dir.path(), &[note.clone(), note.clone()]);
    fs::write(dir.path().join("events.jsonl"), &bytes[..bytes.len() - 9]).unwrap();
    assert_eq!(numbers(&file(&bytes[..bytes.len() - 9])), [Some(1), None]);
    assert_eq!(numbers(&file(&log_of(dir.path(), std::slice::from_ref(&note)))), [Some(1), None, Some(3)]);
    // Whole but for its newline, a line counts.
    let bytes = fs::read(dir.path().join("events.jsonl")).unwrap();
    assert_eq!(numbers(&file(&bytes[..bytes.len() - 1])), [Some(1), None, Some(3)]);
    // An empty line had a number too, for all that one can know.
    fs::write(dir.path().join("events.jsonl"), [&bytes, &b"\n"[..]].concat()).unwrap();
    assert_eq!(numbers(&file(&log_of(dir.path(), &[note]))), [Some(1), None, Some(3), None, Some(5)]);
}

#[test]
fn files_rotate_as_the_page_says_and_numbers_run_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open_with_limit(dir.path(), 500).unwrap();
    (0..60).for_each(|_| assert!(log.append(AT, &json!({"event": "note", "text": "about a hundred bytes"})).is_ok()));
    let mut names: Vec<String> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected = FILES.map(str::to_owned);
    expected.sort();
    assert_eq!(names, expected);
    let all = FILES.iter().flat_map(|name| file(&fs::read(dir.path().join(name)).unwrap())).collect::<Vec<_>>();
    let first = all[0].as_ref().unwrap().n;
    assert!(first > 1);
    assert_eq!(numbers(&all), (first..=60).map(Some).collect::<Vec<_>>());
}
