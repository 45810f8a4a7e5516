//! The log of a disk, replayed: at every entry the power is cut, once with all landed, once with nothing but what
//! flushes cover, and by chance in between; scrubd must find nothing wrong on any of these disks.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use super::chance::Chance;
use super::flight::needs;
use super::honest::cuts_wanted;
use super::image::Image;
use super::journal::{Entry, Journal, Slots};
use super::rig::{MIB, Rig};

/// A disk as it goes through the log.
#[derive(Clone)]
struct Replayed {
    image: Image,
    in_flight: BTreeMap<u64, (usize, Arc<Vec<u8>>)>,
    completed: u64,
}

impl Replayed {
    fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Received(id, offset, data) => {
                self.in_flight.insert(*id, (*offset, Arc::clone(data)));
            }
            Entry::Completed(id, durable) => {
                let (offset, data) = self.in_flight.remove(id).expect("what completes was received");
                self.completed += 1;
                self.image.complete(self.completed, offset, &data, *durable);
            }
            Entry::Flushed(covered) => self.image.flush(*covered),
        }
    }

    /// What a cut leaves here: of each atom what the media hold, or one of `n` later versions.
    fn cut(&self, choose: impl FnMut(usize) -> usize) -> Image {
        let mut image = self.image.clone();
        for (number, (offset, data)) in (self.completed + 1..).zip(self.in_flight.values()) {
            image.complete(number, *offset, data, false);
        }
        image.cut(choose);
        image
    }
}

/// A disk and a state that a power cut could leave together.
struct Left {
    which: String,
    disk: Image,
    slots: Slots,
}

/// The disks of one entry. The saved ledger is the one from the moment of the entry: it knows nothing of it, and all
/// that was saved since the entry before; so it is the newest that can stand beside the disk as it was before, too.
fn left(before: &Replayed, after: &Replayed, slots: &Slots, number: usize) -> Vec<Left> {
    let seeds = [2 * number, 2 * number + 1].map(|seed| Chance(seed as u64));
    let [mut one, mut two] = seeds;
    let disks = [
        ("nothing volatile landed before entry", before.cut(|_| 0)),
        ("a part landed before entry", before.cut(|versions| one.below(versions as u64 + 1) as usize)),
        ("all landed after entry", after.cut(|versions| versions)),
        ("nothing volatile landed after entry", after.cut(|_| 0)),
        ("a part landed after entry", after.cut(|versions| two.below(versions as u64 + 1) as usize)),
    ];
    let named = |(what, disk)| Left { which: format!("{what} {number}"), disk, slots: Arc::clone(slots) };
    disks.into_iter().map(named).collect()
}

/// Writes the disk and its state to files, and checks them with the real binary, with the ledger and without.
fn check(left: &Left, place: &Path) {
    let (file, state) = (place.join("target"), place.join("state/target"));
    fs::create_dir_all(&state).unwrap();
    let disk = fs::File::options().write(true).create(true).truncate(false).open(&file).unwrap();
    disk.write_all_at(left.disk.media(), 0).unwrap();
    for (slot, bytes) in left.slots.iter().enumerate() {
        let slot = state.join(format!("ledger.{slot}"));
        match bytes {
            Some(bytes) => fs::write(&slot, bytes).unwrap(),
            None if slot.exists() => fs::remove_file(&slot).unwrap(),
            None => {}
        }
    }
    for words in [&["check", "--json"][..], &["check", "--json", "--no-state"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_scrubd"))
            .args(words)
            .arg("--file")
            .arg(&file)
            .arg("--state-dir")
            .arg(place.join("state"))
            .env_remove("SCRUBD_LOG")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}: a false alarm?\n{said}", left.which);
        assert!(said.contains(r#""verdict":"intact""#), "{words:?}: {}\n{said}", left.which);
    }
}

/// Runs scrubd until so many writes are logged, from a disk that was written over once and then stopped, or cut: then
/// the log begins with the recovery and a new epoch.
fn logged(rig: &Rig, after_a_cut: bool, writes: u64) -> (Replayed, Vec<(Entry, Slots)>) {
    rig.init();
    rig.scrubd(&["run", "--passes", "1"]).with_code(0);
    if after_a_cut {
        let before = rig.store().store().counts.writes;
        let mut running = rig.start(&["run"]);
        running.until("writes before the cut", || rig.store().store().counts.writes >= before + 50);
        rig.cut(running, 7);
    }
    let begin = {
        let mut held = rig.store();
        assert_eq!(
            held.store().disk().volatile_atoms(),
            0,
            "a clean stop ends with a flush, a cut with nothing volatile"
        );
        held.store_mut().journal = Some(Journal::new(rig.slots()));
        // Completions are counted on from where the store is.
        Replayed { image: held.store().disk().clone(), in_flight: BTreeMap::new(), completed: held.store().completed() }
    };
    let before = rig.store().store().counts.writes;
    let mut running = rig.start(&["run"]);
    running.until("writes in the log", || rig.store().store().counts.writes >= before + writes);
    // The log ends where the disk freezes: nothing more is taken or answered.
    rig.cut(running, 1);
    let journal = rig.store().store_mut().journal.take().unwrap();
    (begin, journal.entries)
}

#[test]
fn every_prefix_of_the_write_log_is_a_disk_without_a_finding() {
    let begun = Instant::now();
    let worlds = [
        ["block_size=64KiB", "promise=flush", "order=random", "mode=powercut", "flush_every=512KiB"],
        ["block_size=4KiB", "promise=fua", "order=random", "mode=burn-in", "flush_every=512KiB"],
        ["block_size=4KiB", "promise=flush", "order=sequential", "mode=powercut", "flush_every=64KiB"],
    ];
    for (number, world) in worlds.iter().enumerate() {
        let sets: Vec<&str> = world.iter().copied().chain(["queue_depth=8", "verify.readback_lag=256KiB"]).collect();
        let rig = needs!(Rig::new(2 * MIB, [512, 4096][usize::from(number > 0)], number as u64, &sets));
        let (begin, entries) = logged(&rig, number > 0, cuts_wanted(128) / 2);
        let place = |thread: usize| -> PathBuf { rig.path(&format!("replay.{thread}")) };
        let (next, checks) = (AtomicUsize::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (begin, entries, next, checks, place) = (&begin, &entries, &next, &checks, &place);
                scope.spawn(move || {
                    let (mut before, mut at) = (begin.clone(), 0);
                    loop {
                        let entry = next.fetch_add(1, Ordering::Relaxed);
                        let Some((what, slots)) = entries.get(entry) else { return };
                        entries[at..entry].iter().for_each(|(entry, _)| before.apply(entry));
                        at = entry;
                        let mut after = before.clone();
                        after.apply(what);
                        for left in left(&before, &after, slots, entry) {
                            check(&left, &place(thread));
                            checks.fetch_add(2, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let flushes = entries.iter().filter(|(entry, _)| matches!(entry, Entry::Flushed(_))).count();
        let mut ledgers: Vec<_> = entries.iter().map(|(_, slots)| Arc::as_ptr(slots)).collect();
        ledgers.dedup();
        println!(
            "{world:?}: {} prefixes ({flushes} flushes, {} states of the ledger), {} checks, 0 findings, {:.1?} so far",
            entries.len(),
            ledgers.len(),
            checks.into_inner(),
            begun.elapsed()
        );
        assert!(entries.len() >= 100, "a log worth replaying");
    }
}
