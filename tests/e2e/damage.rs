//! The damage table: one thing at a time is done to the file by hand, and `check` names it and places it.
//!
//! What is expected is read from the tags by the second decoder, before the damage; nothing is computed as the program
//! computes it.

use std::fs;

use serde_json::{Value, json};

use super::decoder::{DATA, tag};
use super::room::{MIB, Room, contents};

const BLOCK: usize = 65536;

/// A run of several passes that was stopped cleanly, a copy of the file from two passes earlier, and one of another run.
struct Scene {
    room: Room,
    atom: usize,
    whole: Vec<u8>,
    older: Vec<u8>,
    other: Vec<u8>,
}

impl Scene {
    fn new(sets: &[&str], atom: usize) -> Scene {
        let room = Room::new(2 * MIB, sets);
        room.run(&["--passes", "2"]).with_code(0);
        let older = room.read_file();
        room.run(&["--passes", "2"]).with_code(0);
        let whole = room.read_file();
        room.assert_intact();
        let another = Room::new(2 * MIB, sets);
        another.run(&["--passes", "4"]).with_code(0);
        Scene { other: another.read_file(), room, atom, whole, older }
    }

    fn blocks(&self) -> usize {
        (self.whole.len() - DATA as usize) / BLOCK
    }

    /// The write that a block holds, by the tag of its first atom.
    fn seq(&self, file: &[u8], block: usize) -> u64 {
        let tag = tag(&file[at(block)..][..self.atom]).unwrap();
        assert!(tag.sound && tag.block == block as u64, "{tag:?}");
        tag.seq
    }

    /// Does the damage, checks, shows that nothing was changed, and undoes the damage.
    fn check(&self, damaged: &[u8]) -> Value {
        fs::write(self.room.file(), damaged).unwrap();
        let state = contents(&self.room.state());
        let ended = self.room.scrubd(&["check", "--json"]);
        assert_eq!(ended.code, 65, "{ended:?}");
        assert!(self.room.read_file() == damaged, "check changed the file");
        assert!(contents(&self.room.state()) == state, "check changed the state");
        fs::write(self.room.file(), &self.whole).unwrap();
        ended.json()
    }

    /// One block is damaged, and one finding says so.
    #[track_caller]
    fn one(&self, block: usize, damaged: &[u8], class: &str, found: Option<u64>) -> Value {
        assert_ne!(damaged, self.whole, "nothing was damaged");
        let verdict = self.check(damaged);
        assert_eq!(verdict["verdict"], "violated", "{verdict:#}");
        assert_eq!(verdict["blocks"]["findings"], 1, "{verdict:#}");
        assert_eq!(verdict["blocks"]["intact"], self.blocks() - 1, "{verdict:#}");
        let finding = &verdict["findings"][0];
        let expected = self.seq(&self.whole, block);
        let named = [&finding["class"], &finding["block"], &finding["offset"], &finding["expected_seq"]];
        assert_eq!(named, [&json!(class), &json!(block), &json!(at(block)), &json!(expected)], "{verdict:#}");
        assert_eq!(finding["found_seq"], json!(found), "{verdict:#}");
        assert_eq!(finding["persistence"], "persistent");
        assert_eq!(finding["known"], false, "check remembers nothing");
        finding.clone()
    }

    fn with(&self, damage: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut damaged = self.whole.clone();
        damage(&mut damaged);
        damaged
    }
}

fn at(block: usize) -> usize {
    DATA as usize + block * BLOCK
}

fn copy(to: &mut [u8], from: &[u8], start: usize, length: usize) {
    to[start..start + length].copy_from_slice(&from[start..start + length]);
}

fn the_table(scene: &Scene) {
    let atom = scene.atom;
    let seq = |block| Some(scene.seq(&scene.whole, block));
    let older = |block| Some(scene.seq(&scene.older, block));
    assert_ne!(seq(5), older(5));

    let bit_in_payload = scene.with(|file| file[at(3) + 7 * atom + 300] ^= 0x10);
    let finding = scene.one(3, &bit_in_payload, "corrupt", seq(3));
    assert!(finding["detail"].as_str().unwrap().contains("1 bit"), "{finding:#}");

    let bit_in_tag = scene.with(|file| file[at(4) + 2 * atom + 41] ^= 0x01);
    let finding = scene.one(4, &bit_in_tag, "corrupt", seq(4));
    assert!(finding["detail"].as_str().unwrap().contains("seq"), "{finding:#}");

    let zeroed = scene.with(|file| file[at(6)..at(7)].fill(0));
    scene.one(6, &zeroed, "zeroed", None);

    let lost = scene.with(|file| copy(file, &scene.older, at(5), BLOCK));
    let finding = scene.one(5, &lost, "lost_write", older(5));
    assert_eq!(finding["proved_by"], "checkpoint", "{finding:#}");
    fs::write(scene.room.file(), &lost).unwrap();
    let words = format!("block 5 at byte {}: lost_write: write {} found", at(5), older(5).unwrap());
    scene.room.scrubd(&["check"]).with_code(65).saying(&words);
    let inspected = scene.room.scrubd(&["inspect", "--block", "5", "--json"]).with_code(65).json();
    assert_eq!(inspected["verdict"], "lost_write", "{inspected:#}");
    assert_eq!(inspected["atoms"][0]["seq"], json!(older(5)), "{inspected:#}");
    scene.room.scrubd(&["inspect", "--block", "5"]).with_code(65).saying("block 5: lost_write");

    let misdirected = scene.with(|file| file.copy_within(at(8)..at(9), at(9)));
    scene.one(9, &misdirected, "misdirected", seq(8));

    let torn = scene.with(|file| copy(file, &scene.older, at(10), BLOCK / 2));
    scene.one(10, &torn, "torn", older(10));

    let shorn = scene.with(|file| copy(file, &scene.older, at(11) + 9 * atom + atom / 2, atom / 2));
    scene.one(11, &shorn, "shorn", seq(11));

    let foreign = scene.with(|file| copy(file, &scene.other, at(12), BLOCK));
    scene.one(12, &foreign, "foreign", None);

    let verdict = scene.check(&scene.whole[..at(14) + BLOCK / 2]);
    assert_eq!(verdict["blocks"]["findings"], 2, "{verdict:#}");
    for (finding, block) in verdict["findings"].as_array().unwrap().iter().zip([14, 15]) {
        let named = [&finding["class"], &finding["block"], &finding["offset"], &finding["expected_seq"]];
        assert_eq!(named, [&json!("unreadable"), &json!(block), &json!(at(block)), &json!(seq(block))], "{verdict:#}");
        assert_eq!(finding["found_seq"], Value::Null);
    }

    scene.room.assert_intact();
}

#[test]
fn every_damage_is_named_and_placed_with_atoms_of_512() {
    the_table(&Scene::new(&["atom=512"], 512));
}

#[test]
fn every_damage_is_named_and_placed_with_atoms_of_4096_and_a_digest_of_the_block() {
    the_table(&Scene::new(&["atom=4096", "digest=blake3", "order=sequential"], 4096));
}

#[test]
fn every_damage_is_named_and_placed_under_fua() {
    the_table(&Scene::new(&["atom=512", "promise=fua"], 512));
}

#[test]
fn inspect_shows_the_differing_bit_by_its_field() {
    let scene = Scene::new(&["atom=512"], 512);
    let damaged = scene.with(|file| file[at(2) + 5 * 512 + 48] ^= 0x08);
    fs::write(scene.room.file(), damaged).unwrap();
    let inspected = scene.room.scrubd(&["inspect", "--block", "2", "--json"]).with_code(65).json();
    assert_eq!(inspected["difference"]["bits"], 1, "{inspected:#}");
    let field = &inspected["difference"]["fields"][0];
    assert_eq!((&field["atom"], &field["field"], &field["at"]), (&json!(5), &json!("epoch"), &json!(5 * 512 + 48)));
    scene.room.scrubd(&["inspect", "--block", "2"]).with_code(65).saying("atom 5, epoch, from byte 2608");
    scene.room.scrubd(&["inspect", "--block", "16"]).with_code(64).saying("0 to 15");
}

#[test]
fn a_run_that_finds_damage_stops_latches_and_keeps_evidence_until_it_is_cleared() {
    let scene = Scene::new(&["atom=512", "verify.on_start=always"], 512);
    let room = &scene.room;
    let damaged = scene.with(|file| file[at(3) + 700] ^= 1);
    fs::write(room.file(), &damaged).unwrap();
    let ended = room.run(&["--passes", "1", "--json"]).with_code(65);
    let verdict = ended.json();
    assert_eq!((&verdict["verdict"], &verdict["findings"][0]["block"]), (&json!("violated"), &json!(3)), "{verdict:#}");
    assert!(room.read_file() == damaged, "nothing is written over the evidence");
    let evidence = room.target_state().join("findings/1");
    assert_eq!(fs::read(evidence.join("found.bin")).unwrap(), damaged[at(3)..at(4)]);
    assert_eq!(fs::read(evidence.join("expected.bin")).unwrap(), scene.whole[at(3)..at(4)]);

    room.run(&["--passes", "1"]).with_code(65).saying("quarantine clear");
    let verdict = room.check().1;
    assert_eq!(verdict["findings"][0]["known"], true, "{verdict:#}");
    room.scrubd(&["quarantine", "clear"]).with_code(0).saying("lifted");
    room.scrubd(&["quarantine", "clear"]).with_code(0).saying("not quarantined");
    fs::write(room.file(), &scene.whole).unwrap();
    room.run(&["--passes", "1"]).with_code(0);
    room.assert_intact();
}

#[test]
fn a_label_that_rots_on_the_same_target_is_a_broken_promise_and_one_copy_of_it_is_survived() {
    let scene = Scene::new(&["atom=512"], 512);
    let room = &scene.room;
    let one_copy = scene.with(|file| file[70] ^= 1);
    fs::write(room.file(), &one_copy).unwrap();
    room.scrubd(&["check", "--json"]).with_code(0).saying("label");
    let both = scene.with(|file| {
        file[70] ^= 1;
        file[(512 << 10) + 70] ^= 1;
    });
    fs::write(room.file(), &both).unwrap();
    let ended = room.scrubd(&["check", "--json"]).with_code(65).saying("label");
    assert_eq!(ended.json()["verdict"], "violated");
    room.run(&["--passes", "1"]).with_code(65).saying("label");
    assert!(room.read_file() == both, "nothing is written to what has lost its label");
    // Without a state directory nothing shows that it ever was ours.
    fs::remove_dir_all(room.state()).unwrap();
    room.scrubd(&["check"]).with_code(77);
}

#[test]
fn damage_under_a_running_daemon_is_found_before_it_is_overwritten_and_listed_at_the_end() {
    // No reading back: found by that, it need not be overwritten by the time that the run is stopped.
    let sets = ["mode=powercut", "atom=512", "verify.retention=true", "flush_every=256KiB", "on_finding=continue"];
    let room = Room::new(5 * MIB, &sets);
    let mut running = room.start_run(&["--json"]);
    running.until("a pass", || room.events().iter().any(|event| event["event"] == "pass_written"));
    room.scrubd(&["pause"]).with_code(0);
    let in_flight = || {
        let engine = room.scrubd(&["status", "--json"]).json()["engine"].clone();
        engine["writes_in_flight"].as_u64().unwrap() + engine["reads_in_flight"].as_u64().unwrap()
    };
    running.until("a pause", || in_flight() == 0);
    let mut damaged = room.read_file();
    damaged[at(3) + 700] ^= 0x10;
    let file = fs::OpenOptions::new().write(true).open(room.file()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &damaged[at(3)..at(4)], at(3) as u64).unwrap();
    file.sync_all().unwrap();
    room.scrubd(&["resume"]).with_code(0);
    running.until("a finding", || room.events().iter().any(|event| event["event"] == "finding"));
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let verdict = running.ended().with_code(65).saying("block 3 at byte").json();
    assert_eq!((&verdict["verdict"], &verdict["blocks"]["findings"]), (&json!("violated"), &json!(1)), "{verdict:#}");
    let finding = &verdict["findings"][0];
    assert_eq!((&finding["class"], &finding["block"]), (&json!("corrupt"), &json!(3)), "{verdict:#}");
    // It was overwritten since.
    room.assert_intact();
}
