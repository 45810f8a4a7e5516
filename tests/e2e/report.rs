//! `scrubd report`: what the state directory says, and that looking changes nothing.

use std::fs;
use std::os::unix::fs::FileExt;

use crate::room::{MIB, Room, contents};

#[test]
fn a_report_tells_findings_counts_and_events_and_changes_nothing() {
    let room = Room::new(8 * MIB, &[]);
    room.scrubd(&["report"]).with_code(78).saying("no state of disk.img");
    room.run(&["--passes", "1"]).with_code(0);
    let page = room.scrubd(&["report"]).with_code(0).out;
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<h1>disk.img</h1>"), "{page}");
    assert!(page.contains("0 new findings on record"), "{page}");

    let file = fs::OpenOptions::new().write(true).open(room.file()).unwrap();
    file.write_all_at(&[0xab; 100], 2 * MIB + 1000).unwrap();
    room.run(&["--set", "verify.on_start=always"]).with_code(65);
    let before = contents(&room.target_state());
    let json = room.scrubd(&["report", "--json"]).with_code(0).json();
    assert_eq!((&json["target"], &json["verdict"]["verdict"]), (&"disk.img".into(), &"violated".into()), "{json:#}");
    assert_eq!(json["classes"]["corrupt"], 1, "{json:#}");
    assert_eq!(json["findings"][0]["block"], 16, "{json:#}");
    assert!(json["counts"]["started"].as_u64() >= Some(2), "{json:#}");
    assert!(json["quarantine"]["reason"].as_str().unwrap().starts_with("corrupt at block 16"), "{json:#}");
    let page = room.scrubd(&["report"]).with_code(0).out;
    assert!(page.contains("quarantined</span> since") && page.contains("<td>corrupt</td><td>16</td>"), "{page}");
    assert!(contents(&room.target_state()) == before);
}
