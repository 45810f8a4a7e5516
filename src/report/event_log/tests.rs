//! The log on a real file: torn tails, damaged lines, rotation, failed flushes.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    FlushFailed { errno: i32 },
    Note { text: String },
}

const AT: SystemTime = SystemTime::UNIX_EPOCH;

fn note(text: &str) -> Event {
    Event::Note { text: text.to_owned() }
}

fn entries(dir: &Path) -> Vec<Entry> {
    read(dir).unwrap().map(Result::unwrap).collect()
}

fn numbers(dir: &Path) -> Vec<u64> {
    let number = |entry| if let Entry::Event(event) = entry { Some(event.number) } else { None };
    entries(dir).into_iter().filter_map(number).collect()
}

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("events.jsonl")
}

#[test]
fn a_line_is_what_the_page_says() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, found) = EventLog::open(dir.path()).unwrap();
    assert_eq!(found, Found::default());
    let at = AT + Duration::new(86_400, 5);
    assert_eq!(log.append_durable(at, &Event::FlushFailed { errno: 5 }).unwrap(), 1);
    let covered = r#"{"n":1,"at":"1970-01-02T00:00:00.000000005Z","event":"flush_failed","errno":5"#;
    // CRC-32C bit by bit, so that this does not repeat the code under test.
    let sum = !covered.bytes().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 })
    });
    assert_eq!(fs::read_to_string(path(&dir)).unwrap(), format!("{covered},\"crc32c\":\"{sum:08x}\"}}\n"));
    let [Entry::Event(event)] = &entries(dir.path())[..] else { panic!("one event") };
    assert_eq!((event.number, event.at.as_str()), (1, "1970-01-02T00:00:00.000000005Z"));
    assert_eq!(Value::Object(event.members.clone()), serde_json::json!({"event": "flush_failed", "errno": 5}));
}

#[test]
fn what_is_no_event_is_refused_and_uses_up_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path()).unwrap();
    let refused = |log: &mut EventLog, event: Value| log.append(AT, &event).unwrap_err().to_string();
    assert!(refused(&mut log, serde_json::json!([1])).contains("no JSON object"));
    assert!(refused(&mut log, serde_json::json!({"a": 1})).contains("\"event\""));
    assert!(refused(&mut log, serde_json::json!({"event": "x", "n": 1})).contains("\"n\""));
    assert!(refused(&mut log, serde_json::json!({"event": "x".repeat(LINE_MAX)})).contains("longer"));
    assert_eq!(log.append(AT, &note("good")).unwrap(), 1);
}

#[test]
fn a_torn_last_line_is_survived_and_its_number_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path()).unwrap();
    for n in 0..3 {
        log.append(AT, &note(&format!("{n}"))).unwrap();
    }
    let whole = fs::read(path(&dir)).unwrap();
    let second_newline = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0;
    for cut in second_newline + 2..whole.len() {
        fs::write(path(&dir), &whole[..cut]).unwrap();
        let (mut log, found) = EventLog::open(dir.path()).unwrap();
        let only_the_newline_is_missing = cut == whole.len() - 1;
        assert_eq!(found.torn, !only_the_newline_is_missing, "cut at {cut}");
        assert_eq!(log.append_durable(AT, &note("behind")).unwrap(), 4, "cut at {cut}");
        assert_eq!(numbers(dir.path()), if found.torn { vec![1, 2, 4] } else { vec![1, 2, 3, 4] });
    }
}

#[test]
fn a_damaged_line_in_the_middle_is_reported_by_its_place_and_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path()).unwrap();
    for _ in 0..4 {
        log.append(AT, &note("text")).unwrap();
    }
    let text = fs::read_to_string(path(&dir)).unwrap().replace("\"n\":2", "\"n\":9");
    fs::write(path(&dir), text).unwrap();
    let (log, found) = EventLog::open(dir.path()).unwrap();
    assert_eq!((found.damaged_lines.as_slice(), found.damaged, found.last), ([2].as_slice(), 1, Some(4)));
    assert_eq!(log.next_number(), 5);
    assert_eq!(entries(dir.path())[1], Entry::Damaged { file: path(&dir), line: 2, torn: false });
    assert_eq!(numbers(dir.path()), [1, 3, 4]);
}

#[test]
fn a_missing_number_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path()).unwrap();
    for _ in 0..4 {
        log.append(AT, &note("text")).unwrap();
    }
    let text = fs::read_to_string(path(&dir)).unwrap();
    let kept: String = text.split_inclusive('\n').filter(|line| !line.contains("\"n\":2")).collect();
    fs::write(path(&dir), kept).unwrap();
    assert_eq!(entries(dir.path())[1], Entry::Missing { first: 2, last: 2 });
    assert_eq!(numbers(dir.path()), [1, 3, 4]);
}

#[test]
fn the_log_rotates_within_its_bound_and_numbers_run_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open_with_limit(dir.path(), 1000).unwrap();
    for _ in 0..200 {
        log.append(AT, &note("a line of about a hundred bytes")).unwrap();
    }
    let sizes: Vec<u64> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(sizes.len(), 1 + OLDER_FILES as usize);
    assert!(sizes.iter().all(|&size| size <= 1000), "{sizes:?}");
    let numbers = numbers(dir.path());
    assert!(numbers.len() > 30 && numbers.is_sorted() && numbers.last() == Some(&200), "{numbers:?}");
    assert!(entries(dir.path()).iter().all(|entry| matches!(entry, Entry::Event(_))));
}

#[test]
fn a_cut_in_the_middle_of_a_rotation_loses_neither_lines_nor_the_number() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path()).unwrap();
    for _ in 0..3 {
        log.append(AT, &note("text")).unwrap();
    }
    fs::rename(path(&dir), dir.path().join("events.1.jsonl")).unwrap();
    let (mut log, found) = EventLog::open(dir.path()).unwrap();
    assert_eq!(found.last, Some(3));
    log.append(AT, &note("text")).unwrap();
    assert_eq!(numbers(dir.path()), [1, 2, 3, 4]);
}

/// /dev/null takes every write and refuses fsync; a descriptor open for reading refuses the write.
#[test]
fn after_a_failed_write_or_flush_the_log_goes_on_with_a_new_number() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = EventLog::open(dir.path()).unwrap();
    log.append_durable(AT, &note("1")).unwrap();
    log.file = Some(OpenOptions::new().append(true).open("/dev/null").unwrap());
    assert!(matches!(log.append_durable(AT, &note("2")), Err(LogError::Flush { number: 2, .. })));
    assert!(matches!(log.flush(), Err(LogError::Flush { number: 2, .. })), "a bare retry vouches for nothing");
    log.append_durable(AT, &note("3")).unwrap();
    log.file = Some(File::open(path(&dir)).unwrap());
    assert!(matches!(log.append_durable(AT, &note("4")), Err(LogError::Write { number: 4, .. })));
    log.append_durable(AT, &note("5")).unwrap();
    assert_eq!(numbers(dir.path()), [1, 3, 5]);
}

#[test]
fn a_line_longer_than_any_is_one_damaged_line() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(path(&dir), [vec![0; LINE_MAX * 2 + 5], vec![b'\n']].concat()).unwrap();
    let (mut log, found) = EventLog::open(dir.path()).unwrap();
    assert_eq!((found.damaged, found.torn), (1, false));
    assert_eq!(log.append(AT, &note("behind")).unwrap(), 2);
    assert_eq!(entries(dir.path()).len(), 2);
}

/// A line with the checksum that fits it, whoever wrote it.
fn summed(covered: &[u8]) -> Vec<u8> {
    [covered, format!("{TRAILER_START}{:08x}\"}}\n", crc32c::crc32c(covered)).as_bytes()].concat()
}

/// The fuzzer put line 3 before line 2, with checksums that fit: the log counted on from the last line, and wrote a
/// second event 3.
#[test]
fn lines_that_count_backwards_take_no_number_twice() {
    let whole = |n| format!("{{\"n\":{n},\"at\":\"\",\"event\":\"cut\"");
    for last in ["{\"n\":2,\"at\":\"\",\"event", &whole(2)] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(path(&dir), [summed(whole(3).as_bytes()), summed(last.as_bytes())].concat()).unwrap();
        let (mut log, found) = EventLog::open(dir.path()).unwrap();
        assert_eq!((log.append(AT, &note("next")).unwrap(), found.last), (4, Some(3)), "behind {last}");
    }
}

/// Counting on from 2^64 - 1 would have been a panic at every start.
#[test]
fn a_number_beyond_all_bounds_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let whole = |n: u64| summed(format!("{{\"n\":{n},\"at\":\"\",\"event\":\"cut\"").as_bytes());
    fs::write(path(&dir), [whole(7), whole(u64::MAX), whole(1 << 63)].concat()).unwrap();
    let (mut log, found) = EventLog::open(dir.path()).unwrap();
    assert_eq!((found.last, found.damaged), (Some(7), 2));
    log.append(AT, &note("next")).unwrap();
    assert_eq!(numbers(dir.path()), [7, 10]);
}

/// What can be in an event: objects of everything that JSON has.
fn members() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    let name = any::<String>().prop_filter("its own", |name| !["n", "at", "crc32c", "event"].contains(&name.as_str()));
    let members = proptest::collection::btree_map(name, value, 0..5);
    (any::<String>(), members)
        .prop_map(|(event, members)| members.into_iter().chain([("event".to_owned(), Value::from(event))]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_event_comes_back_at_any_time(
        event in members(), seconds in 0u64..=253_402_300_799, nanos in 0u32..1_000_000_000,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = EventLog::open(dir.path()).unwrap();
        let at = AT + Duration::new(seconds, nanos);
        log.append(at, &event).unwrap();
        let [Entry::Event(read)] = &entries(dir.path())[..] else { panic!("one event") };
        prop_assert_eq!(humantime::parse_rfc3339(&read.at).unwrap(), at);
        prop_assert_eq!((read.number, &read.members), (1, &event));
    }

    #[test]
    fn a_line_with_a_flipped_bit_or_cut_short_is_damage_and_never_another_event(
        event in members(), at: prop::sample::Index, cut: prop::sample::Index,
    ) {
        let whole = line(7, AT, &event).unwrap();
        let whole = &whole[..whole.len() - 1];
        prop_assert!(parse(whole).is_some() && number_of(whole) == Some(7));
        let mut flipped = whole.to_vec();
        let bit = at.index(whole.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        for damaged in [&flipped[..], &whole[..cut.index(whole.len())]] {
            prop_assert_eq!((parse(damaged), number_of(damaged)), (None, None));
        }
    }

    #[test]
    fn whatever_stands_in_the_file_the_log_opens_and_the_next_event_is_read_back(
        lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(path(&dir), lines.join(&b'\n')).unwrap();
        let (mut log, _) = EventLog::open(dir.path()).unwrap();
        let number = log.append_durable(AT, &note("behind the rubble\n")).unwrap();
        prop_assert_eq!(numbers(dir.path()), vec![number]);
    }
}

/// Found by the fuzzer: the reader took the last number of a line and the writer the first, and went on with one that
/// was taken.
#[test]
fn a_line_that_says_two_numbers_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let covered = "{\"n\":1,\"at\":\"x\",\"event\":\"cut\",\"n\":2";
    let line = format!("{covered},\"crc32c\":\"{:08x}\"}}\n", crc32c::crc32c(covered.as_bytes()));
    std::fs::write(dir.path().join("events.jsonl"), line).unwrap();
    let entries: Vec<_> = read(dir.path()).unwrap().map(Result::unwrap).collect();
    assert!(matches!(entries[..], [Entry::Damaged { line: 1, torn: false, .. }]), "{entries:?}");
}
