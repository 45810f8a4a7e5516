//! What is kept of a finding, how many findings become one cause, and the latch.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::decoder::{DATA, tag};
use super::room::{MIB, Room, contents, is_root, random, skipped};

const BLOCK: usize = 4096;
const ATOM: usize = 512;

const SETS: [&str; 5] =
    ["atom=512", "block_size=4KiB", "order=sequential", "flush_every=256KiB", "verify.on_start=always"];

/// A file that was written in two passes and stopped cleanly, and what it held after the first.
fn written(size: u64, sets: &[&str]) -> (Room, Vec<u8>, Vec<u8>) {
    let sets: Vec<&str> = SETS.iter().chain(sets).copied().collect();
    let room = Room::new(size, &sets);
    room.run(&["--passes", "1"]).with_code(0);
    let older = room.read_file();
    room.run(&["--passes", "1"]).with_code(0);
    let whole = room.read_file();
    (room, older, whole)
}

fn at(block: usize) -> usize {
    DATA as usize + block * BLOCK
}

fn causes(verdict: &Value) -> &Vec<Value> {
    verdict["causes"].as_array().unwrap()
}

/// Findings that any cause, listed or not, or none at all accounts for.
fn accounted(verdict: &Value) -> u64 {
    let listed: u64 = causes(verdict).iter().map(|cause| cause["findings"].as_u64().unwrap()).sum();
    let left_out = &verdict["causes_left_out"];
    listed + left_out["findings"].as_u64().unwrap() + left_out["alone"].as_u64().unwrap()
}

#[test]
fn the_evidence_of_a_lost_write_says_what_was_promised_by_which_flush_and_what_is_there_instead() {
    let (room, older, whole) = written(2 * MIB, &[]);
    let mut damaged = whole.clone();
    damaged[at(9)..at(10)].copy_from_slice(&older[at(9)..at(10)]);
    fs::write(room.file(), &damaged).unwrap();
    room.run(&["--passes", "1"]).with_code(65);
    let evidence = room.target_state().join("findings/1");
    let read = |name: &str| fs::read(evidence.join(name)).unwrap();
    assert!(read("found.bin") == older[at(9)..at(10)]);
    assert!(read("before.bin") == whole[at(8)..at(9)] && read("after.bin") == whole[at(10)..at(11)]);
    // The guaranteed write, rebuilt: but for what only its own tags told.
    let expected = read("expected.bin");
    for (rebuilt, written) in expected.chunks(ATOM).zip(whole[at(9)..at(10)].chunks(ATOM)) {
        assert!(rebuilt[96..] == written[96..] && rebuilt[11..64] == written[11..64]);
        assert!(rebuilt[64..88].iter().chain(&rebuilt[..4]).all(|byte| *byte == 0));
    }
    let finding: Value = serde_json::from_slice(&read("finding.json")).unwrap();
    let written = tag(&whole[at(9)..][..ATOM]).unwrap();
    assert_eq!(
        (&finding["schema"], &finding["class"], &finding["expected_from"]),
        (&json!(1), &json!("lost_write"), &json!("issue"))
    );
    assert_eq!(finding["expected"]["seq"], json!(written.seq), "{finding:#}");
    assert_eq!(finding["reads"].as_array().unwrap().len(), 4, "the mismatch and three more: {finding:#}");
    assert!(finding["reads"].as_array().unwrap().iter().all(|read| read["contents"] == finding["contents"]));
    let took = finding["read_ns"].as_array().unwrap();
    assert!(took.len() == 4 && took.iter().all(|ns| ns.as_u64().unwrap() > 0), "{finding:#}");
    let context = &finding["context"];
    assert_eq!(context["identity"]["kind"], "file", "{context:#}");
    assert_eq!(context["geometry"]["block_size"], 4096);
    for name in ["scrubd", "kernel", "boot_id", "started", "run_id"] {
        assert!(context[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {context:#}");
    }
    assert!(context["devices"].is_array());

    let summary = String::from_utf8(read("summary.txt")).unwrap();
    let flush = finding["guarantee"]["flush"]["number"].as_u64();
    let by =
        flush.map_or("older than those remembered".to_owned(), |flush| format!("by flush {flush}, which succeeded at"));
    let place = format!("xxd -s {} -l 512 {}", at(9), room.file().display());
    let promised = format!("write {}, epoch", written.seq);
    for words in ["A promise was broken: lost_write, block 9", &promised, &by, &place, "read 4: lost_write", "Linux "] {
        assert!(summary.contains(words), "{words}\n{summary}");
    }
    assert!(summary.lines().count() < 50, "{summary}");
    let diff = String::from_utf8(read("diff.txt")).unwrap();
    let held = tag(&older[at(9)..][..ATOM]).unwrap().seq;
    assert!(diff.contains(&format!("0-4095: atoms 0-7: write {held} (pass 0)")), "{diff}");
}

#[test]
fn evidence_of_zeroes_shows_what_should_have_been_there_and_of_a_flipped_bit_where_it_is() {
    let (room, _, whole) = written(2 * MIB, &["on_finding=continue"]);
    let mut damaged = whole.clone();
    damaged[at(0)..at(1)].fill(0);
    damaged[at(5) + 3 * ATOM + 200] ^= 0x20;
    fs::write(room.file(), &damaged).unwrap();
    room.run(&["--passes", "1"]).with_code(65);
    let mut seen = Vec::new();
    for number in 1..=2 {
        let evidence = room.target_state().join(format!("findings/{number}"));
        let finding: Value = serde_json::from_slice(&fs::read(evidence.join("finding.json")).unwrap()).unwrap();
        let expected = fs::read(evidence.join("expected.bin")).unwrap();
        let diff = fs::read_to_string(evidence.join("diff.txt")).unwrap();
        match finding["class"].as_str().unwrap() {
            "zeroed" => {
                assert!(expected[96..ATOM] == whole[at(0) + 96..at(0) + ATOM]);
                assert!(diff.contains("0-4095: atoms 0-7: constant 00"), "{diff}");
                assert!(!evidence.join("before.bin").exists() && evidence.join("after.bin").exists());
            }
            "corrupt" => {
                assert!(expected == whole[at(5)..at(6)] && finding["expected_from"] == "whole");
                assert!(diff.contains("1 bytes differ in 1 bits, of 4096 bytes\nat 1736, 1 bytes"), "{diff}");
                assert!(diff.contains("1536-2047: atom 3: CHECKSUM WRONG"), "{diff}");
            }
            other => panic!("{other}"),
        }
        seen.push(finding["block"].as_u64().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 5]);
}

#[test]
fn writes_that_flushes_guaranteed_are_told_flush_by_flush_and_a_single_one_is_given_no_cause() {
    let (room, older, whole) = written(3 * MIB, &[]);
    let mut damaged = whole.clone();
    damaged[at(100)..at(400)].copy_from_slice(&older[at(100)..at(400)]);
    damaged[at(450) + 600] ^= 1;
    fs::write(room.file(), &damaged).unwrap();
    let (code, verdict) = room.check();
    assert_eq!((code, &verdict["blocks"]["findings"]), (65, &json!(301)), "{verdict:#}");
    assert_eq!(accounted(&verdict), 301, "{verdict:#}");
    assert_eq!(verdict["causes_left_out"]["alone"], 1, "{verdict:#}");
    // Each lost write is in the group of the flush that its own finding names, and in no other.
    let findings = verdict["findings"].as_array().unwrap();
    let lost: Vec<&Value> = findings.iter().filter(|finding| finding["class"] == "lost_write").collect();
    let within = |cause: &Value, finding: &Value| {
        let seq = finding["expected_seq"].as_u64().unwrap();
        (cause["first_seq"].as_u64().unwrap()..=cause["last_seq"].as_u64().unwrap()).contains(&seq)
    };
    for cause in causes(&verdict) {
        let of_it = lost.iter().filter(|finding| within(cause, finding)).count() as u64;
        assert_eq!(json!(of_it), cause["findings"], "{cause:#}");
        assert!(["flush", "guarantee"].contains(&cause["cause"].as_str().unwrap()), "{cause:#}");
    }
    assert!(causes(&verdict).iter().any(|cause| cause["flush"]["number"].as_u64() > Some(0)), "{verdict:#}");
    room.scrubd(&["check"])
        .with_code(65)
        .saying("in common")
        .saying("guaranteed are lost or torn")
        .saying("and 281 more");
}

#[test]
fn a_file_whose_addresses_wrap_is_said_to_wrap_there_and_one_with_a_stuck_address_line_is_not() {
    let (room, _, whole) = written(3 * MIB, &[]);
    let blocks = (whole.len() - at(0)) / BLOCK;
    let period = blocks / 4;
    // Written in order: of all blocks that are one place, the last one was the last to be written.
    let mut wrapped = whole.clone();
    for block in 0..blocks {
        let last = block % period + (blocks - 1 - block % period) / period * period;
        wrapped[at(block)..at(block + 1)].copy_from_slice(&whole[at(last)..at(last + 1)]);
    }
    fs::write(room.file(), &wrapped).unwrap();
    let (_, verdict) = room.check();
    let found = verdict["blocks"]["findings"].as_u64().unwrap();
    assert_eq!(found, (blocks - period) as u64);
    let cause = &causes(&verdict)[0];
    assert_eq!((&cause["cause"], &cause["at_bytes"]), (&json!("wrap"), &json!(period * BLOCK)), "{verdict:#}");
    assert_eq!((causes(&verdict).len(), accounted(&verdict)), (1, found), "{verdict:#}");
    room.scrubd(&["check"]).with_code(65).saying("addresses wrap at 512.0 KiB (524288 bytes");

    let mut stuck = whole.clone();
    for block in (0..blocks).filter(|block| (block / period).is_multiple_of(2)) {
        stuck[at(block)..at(block + 1)].copy_from_slice(&whole[at(block + period)..at(block + period + 1)]);
    }
    fs::write(room.file(), &stuck).unwrap();
    let (_, verdict) = room.check();
    assert_eq!(causes(&verdict)[0]["cause"], "displaced", "{verdict:#}");
    assert_eq!(causes(&verdict)[0]["distance_bytes"], json!(period * BLOCK));
}

/// What a fake of 4 MiB does that claims 8: the label is the first thing that it writes over.
#[test]
fn a_device_that_wraps_over_its_own_label_is_said_to_wrap_and_not_to_be_unlabelled() {
    const PERIOD: usize = 4 << 20;
    let (room, _, whole) = written(8 * MIB, &[]);
    let wrapped: Vec<u8> = (0..whole.len()).map(|byte| whole[PERIOD + byte % PERIOD]).collect();
    fs::write(room.file(), &wrapped).unwrap();
    let ended = room.scrubd(&["check", "--json"]).with_code(65).saying("label");
    let verdict = ended.json();
    assert_eq!((&verdict["verdict"], &verdict["blocks"]["findings"]), (&json!("violated"), &json!(768)), "{verdict:#}");
    let cause = &causes(&verdict)[0];
    assert_eq!((&cause["cause"], &cause["at_bytes"]), (&json!("wrap"), &json!(PERIOD)), "{cause:#}");
    room.run(&["--passes", "1"]).with_code(65).saying("label is gone");
    assert!(room.read_file() == wrapped, "nothing is written to it");
    // Another run's blocks say nothing of this one.
    let another = Room::new(8 * MIB, &SETS);
    another.run(&["--passes", "1"]).with_code(0);
    let mut foreign = whole;
    foreign[..MIB as usize].copy_from_slice(&another.read_file()[at(0)..][..MIB as usize]);
    fs::write(room.file(), &foreign).unwrap();
    room.scrubd(&["check", "--json"]).with_code(77);
}

#[test]
fn twenty_thousand_findings_are_all_counted_become_one_cause_and_keep_bounded_evidence() {
    let (room, _, whole) = written(101 * MIB, &[]);
    let mut damaged = whole.clone();
    damaged[at(1000)..at(21_000)].fill(0);
    fs::write(room.file(), &damaged).unwrap();
    let began = Instant::now();
    let (code, verdict) = room.check();
    assert_eq!((code, &verdict["blocks"]["findings"]), (65, &json!(20_000)));
    assert_eq!((verdict["findings"].as_array().unwrap().len(), accounted(&verdict)), (1000, 20_000));
    let cause = causes(&verdict)[0].clone();
    assert_eq!(
        (&cause["cause"], &cause["class"], &cause["whole"]),
        (&json!("range"), &json!("zeroed"), &json!(true)),
        "{cause:#}"
    );
    assert_eq!((&cause["first_block"], &cause["last_block"]), (&json!(1000), &json!(20_999)));

    let ended = room.run(&["--json", "--passes", "1"]).with_code(65);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(120), "{took:?}");
    let told = ended.json();
    assert_eq!((&told["blocks"]["findings"], &causes(&told)[0]), (&json!(20_000), &cause), "{}", told["causes"]);
    assert!(room.read_file() == damaged, "nothing is written over the evidence");
    let findings = room.target_state().join("findings");
    let kept = fs::read_dir(&findings).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(kept, 256);
    let note = fs::read_to_string(findings.join("LEFT_OUT")).unwrap();
    assert!(note.starts_with("744 findings were left out"), "{note}");
    let bytes: usize = contents(&room.target_state()).iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < 32 << 20, "{bytes} bytes in the state directory");
    for number in 1..=256 {
        assert_eq!(fs::metadata(findings.join(format!("{number}/found.bin"))).unwrap().len(), BLOCK as u64);
    }

    // Known are all of them, not just those that are listed.
    room.scrubd(&["quarantine", "clear"]).with_code(0);
    let (_, verdict) = room.check();
    assert!(verdict["findings"].as_array().unwrap().iter().all(|finding| finding["known"] == true));
    let ended = room.run(&["--json", "--passes", "1"]).with_code(0).saying("no new findings, 20,000 known from before");
    let told = ended.json();
    assert_eq!((&told["verdict"], &told["blocks"]["findings"]), (&json!("violated"), &json!(20_000)));
    room.assert_intact();
}

#[test]
fn what_is_cut_off_a_file_is_told_block_by_block() {
    let (room, _, whole) = written(2 * MIB, &[]);
    fs::write(room.file(), &whole[..at(250) + 100]).unwrap();
    let told = room.run(&["--json", "--passes", "1"]).with_code(65).saying("blocks 250 to 255, 6 of 256").json();
    assert_eq!((&told["verdict"], &told["blocks"]["findings"]), (&json!("violated"), &json!(6)), "{told:#}");
    let findings = told["findings"].as_array().unwrap();
    for (finding, block) in findings.iter().zip(250..) {
        assert_eq!((&finding["class"], &finding["block"]), (&json!("unreadable"), &json!(block)));
        assert_eq!(finding["expected_seq"], json!(tag(&whole[at(block)..][..ATOM]).unwrap().seq));
    }
    assert_eq!((findings.len(), &causes(&told)[0]["first_block"]), (6, &json!(250)), "{told:#}");
}

#[test]
fn inspect_fits_on_a_screen_whatever_the_block_holds() {
    let (room, older, whole) = written(2 * MIB, &[]);
    let another = Room::new(2 * MIB, &SETS);
    another.run(&["--passes", "1"]).with_code(0);
    let other = another.read_file();
    let mut damaged = whole.clone();
    let mut copy = |to: usize, from: &[u8], start: usize, length: usize| {
        damaged[to..to + length].copy_from_slice(&from[start..start + length]);
    };
    copy(at(1), &older, at(1), BLOCK);
    copy(at(2), &whole, at(3), BLOCK);
    copy(at(4), &other, at(4), BLOCK);
    copy(at(6), &older, at(6), ATOM);
    copy(at(6) + 2 * ATOM, &older, at(6) + 2 * ATOM, ATOM);
    copy(at(6) + 4 * ATOM, &other, at(6) + 4 * ATOM, ATOM);
    copy(at(6) + 6 * ATOM, &whole, at(7), ATOM);
    copy(at(8), &older, at(8), BLOCK / 2);
    copy(at(9) + ATOM / 2, &older, at(9) + ATOM / 2, ATOM / 2);
    damaged[at(10)..at(11)].fill(0xff);
    (0..BLOCK).step_by(97).for_each(|byte| damaged[at(11) + byte] ^= 0x55);
    fs::write(room.file(), &damaged).unwrap();
    let classes = [
        (0, "intact"),
        (1, "lost_write"),
        (2, "misdirected"),
        (4, "foreign"),
        (6, "foreign"),
        (8, "torn"),
        (9, "shorn"),
        (10, "zeroed"),
        (11, "corrupt"),
    ];
    for (block, class) in classes {
        let code = if class == "intact" { 0 } else { 65 };
        let told = room.scrubd(&["inspect", "--block", &block.to_string()]).with_code(code).out;
        assert!(told.starts_with(&format!("disk.img: block {block}: {class}\n")), "{told}");
        assert!(told.lines().count() <= 24, "{} lines:\n{told}", told.lines().count());
        assert!(told.lines().all(|line| line.chars().count() <= 100), "{told}");
        for heading in ["  where ", "  expected ", "  known from ", "  holds "] {
            assert!(told.contains(heading), "{heading}\n{told}");
        }
        let json = room.scrubd(&["inspect", "--json", "--block", &block.to_string()]).with_code(code).json();
        assert_eq!(json["verdict"], class);
    }
}

fn flip(room: &Room, at: usize) {
    let file = fs::OpenOptions::new().read(true).write(true).open(room.file()).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at as u64).unwrap();
}

#[test]
fn a_finding_latches_where_it_shall_stop_and_nothing_is_written_until_that_is_cleared_on_record() {
    let (room, _, whole) = written(2 * MIB, &["on_finding=stop"]);
    flip(&room, at(3) + 700);
    let damaged = room.read_file();
    room.run(&["--passes", "1"]).with_code(65);
    let latch = room.target_state().join("QUARANTINE");
    assert!(latch.exists());
    for _ in 0..2 {
        let state = contents(&room.target_state().join("findings"));
        room.run(&["--passes", "1"]).with_code(65).saying("is quarantined");
        assert!(room.read_file() == damaged && contents(&room.target_state().join("findings")) == state);
    }
    room.scrubd(&["quarantine", "clear"]).with_code(0).saying("lifted");
    let event = room.events().pop().unwrap();
    assert_eq!(event["event"], "quarantine_cleared", "{event:#}");
    assert!(event["was"]["reason"].as_str().unwrap().starts_with("corrupt at block 3"), "{event:#}");
    assert!(!latch.exists());
    room.run(&["--passes", "1"]).with_code(0).saying("no new findings, 1 known from before");
    room.assert_intact();
    assert!(room.read_file() != whole);
}

#[test]
fn a_finding_does_not_latch_where_the_run_shall_go_on() {
    let (room, _, _) = written(2 * MIB, &["on_finding=continue"]);
    flip(&room, at(3) + 700);
    room.run(&["--passes", "1"]).with_code(65);
    assert!(!room.target_state().join("QUARANTINE").exists());
    room.run(&["--passes", "1"]).with_code(0).saying("intact");
}

#[test]
fn a_kill_between_a_finding_and_its_latch_forgets_neither() {
    let (room, _, _) = written(2 * MIB, &["on_finding=stop"]);
    flip(&room, at(3) + 700);
    let damaged = room.read_file();
    let findings = room.target_state().join("findings");
    let mut killed_before_latch = 0;
    for round in 0..8 {
        let mut running = room.start_run(&["--passes", "1"]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !findings.join(".new").exists()
            && !findings.join("1").exists()
            && running.child.try_wait().unwrap().is_none()
        {
            assert!(Instant::now() < deadline);
        }
        // Some soon, while the evidence is being written; some later, about when the latch is set.
        let most_us = if round % 2 == 0 { 2000 } else { 20_000 };
        std::thread::sleep(Duration::from_micros(random(most_us)));
        running.child.kill().unwrap();
        running.ended();
        assert!(room.read_file() == damaged, "something was written over the evidence");
        let latched = room.target_state().join("QUARANTINE").exists();
        killed_before_latch += u32::from(!latched);
        let told = room.run(&["--json", "--passes", "1"]);
        assert_eq!(told.code, 65, "{told:?}");
        assert!(room.read_file() == damaged, "something was written over the evidence");
        assert!(room.target_state().join("QUARANTINE").exists());
        assert!(room.events().iter().any(|event| event["event"] == "finding" && event["block"] == 3));
        // As it was before anything was found.
        fs::remove_dir_all(&findings).unwrap();
        for name in ["QUARANTINE", "known.jsonl", "events.jsonl"] {
            fs::remove_file(room.target_state().join(name)).unwrap();
        }
    }
    println!("killed before the latch: {killed_before_latch} of 8");
}

#[test]
fn a_finding_latches_on_a_full_state_disk() {
    if !is_root() {
        return skipped("a full state disk needs a mount, and that needs root");
    }
    let (room, _, _) = written(2 * MIB, &["on_finding=stop"]);
    let state = room.state();
    let kept = room.path("kept");
    fs::rename(&state, &kept).unwrap();
    fs::create_dir(&state).unwrap();
    let mount =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&state).status();
    if !mount.is_ok_and(|status| status.success()) {
        return skipped("no tmpfs can be mounted here");
    }
    let mounted = Mounted(state.clone());
    super::room::copy_dir(&kept, &state);
    flip(&room, at(3) + 700);
    let damaged = room.read_file();
    let filler = state.join("filler");
    fs::write(&filler, vec![1; 4096]).unwrap();
    let mut full = fs::OpenOptions::new().append(true).open(&filler).unwrap();
    while std::io::Write::write_all(&mut full, &[1; 4096]).is_ok() {}
    drop(full);
    let ended = room.run(&["--passes", "1"]);
    assert!([65, 73].contains(&ended.code), "{ended:?}");
    assert!(room.read_file() == damaged, "something was written over the evidence");
    fs::remove_file(&filler).unwrap();
    room.run(&["--passes", "1"]).with_code(65);
    assert!(room.read_file() == damaged && room.target_state().join("QUARANTINE").exists());
    drop(mounted);
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}
