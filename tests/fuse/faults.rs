//! Every fault, found by the real binary and called by its name: a table.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use scrubd::tag::Sealer;
use scrubd::vocabulary::{Block, Claim, Digest, Epoch, Geometry, Issue, Order, Promise, Seq};

use super::chance::Chance;
use super::decoder;
use super::fault::{Fault, Plan};
use super::honest::cuts_wanted;
use super::judge::{Tally, judge};
use super::mount::skipped;
use super::rig::{Ended, MIB, Rig};
use super::store::DATA;

pub(crate) const BLOCK: usize = 64 << 10;
const LENGTH: u64 = 5 * MIB;
const BLOCKS: u64 = (LENGTH - MIB) / BLOCK as u64;

/// How a fault is brought about and judged.
#[derive(Clone, Copy)]
enum Way {
    /// Under this promise, while writing; then the power is cut.
    Cut(&'static str, Fault, u64),
    /// While scrubd writes and reads back: it must end with 65 by itself.
    Running(Fault, u64, &'static [&'static str]),
    /// To what has been written long ago.
    AtRest(fn(&Rig, &mut Chance)),
    /// The device says that it failed: exit status 74 where it goes on, nothing broken where a retry or a new epoch
    /// makes good.
    Failing(Fault),
    /// A request is never answered.
    Stuck(Fault),
}

const TABLE: &[(&str, Way)] = &[
    ("flush lies, each", Way::Cut("flush", Fault::LyingFlush, 1)),
    ("flush lies, each 2nd", Way::Cut("flush", Fault::LyingFlush, 2)),
    ("O_DSYNC lies, each", Way::Cut("fua", Fault::LyingFua, 1)),
    ("O_DSYNC lies, each 5th", Way::Cut("fua", Fault::LyingFua, 5)),
    ("write dropped, cut", Way::Cut("flush", Fault::DroppedWrite, 3)),
    ("atom dropped, cut", Way::Cut("flush", Fault::DroppedAtom, 3)),
    ("misdirected, cut", Way::Cut("flush", Fault::Misdirected(7 * BLOCK), 3)),
    ("shorn, cut", Way::Cut("flush", Fault::Shorn, 3)),
    ("write dropped, running", Way::Running(Fault::DroppedWrite, 40, &["lost_write"])),
    ("atom dropped, running", Way::Running(Fault::DroppedAtom, 40, &["torn"])),
    ("misdirected, running", Way::Running(Fault::Misdirected(7 * BLOCK), 40, &["misdirected", "lost_write"])),
    ("shorn, running", Way::Running(Fault::Shorn, 40, &["shorn"])),
    ("bit error on the way", Way::Running(Fault::TransientFlip, 40, &["corrupt"])),
    ("EIO on a read, once", Way::Running(Fault::ReadError, 40, &["unreadable"])),
    ("bit rot", Way::AtRest(rot)),
    ("zeroed atom", Way::AtRest(zero)),
    ("another block of the run", Way::AtRest(swap)),
    ("foreign block", Way::AtRest(plant_foreign)),
    ("phantom block", Way::AtRest(plant_phantom)),
    ("EIO on reads, for good", Way::AtRest(make_unreadable)),
    ("end of file", Way::AtRest(end_early)),
    ("EIO on writes", Way::Failing(Fault::WriteError)),
    ("EIO on flushes", Way::Failing(Fault::FlushError)),
    ("write stuck", Way::Stuck(Fault::StuckWrite)),
    ("read stuck", Way::Stuck(Fault::StuckRead)),
];

#[test]
fn every_fault_is_found_and_called_by_its_name() {
    let begun = Instant::now();
    let (next, unfit) = (AtomicUsize::new(0), Mutex::new(None));
    let results = Mutex::new(vec![Tally::default(); TABLE.len()]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((name, way)) = TABLE.get(number) else { return };
                    for cycle in 0..cuts_wanted(128).div_ceil(32) {
                        let seed = (number as u64) << 16 | cycle;
                        match one_cycle(*way, seed, &format!("{name}, seed {seed}")) {
                            Ok(tally) => results.lock().unwrap()[number].add(tally),
                            Err(why) => return *unfit.lock().unwrap() = Some(why),
                        }
                    }
                }
            });
        }
    });
    if let Some(why) = unfit.into_inner().unwrap() {
        return skipped(&why);
    }
    let results = results.into_inner().unwrap();
    println!(
        "{:<24} {:>6} {:>6} {:>8} {:>6} {:>7} {:>12}",
        "fault", "cycles", "broke", "detected", "named", "blocks", "false alarms"
    );
    for ((name, _), Tally { cycles, broke, detected, named, blocks, false_alarms }) in TABLE.iter().zip(&results) {
        println!("{name:<24} {cycles:>6} {broke:>6} {detected:>8} {named:>6} {blocks:>7} {false_alarms:>12}");
    }
    println!("{:?}", begun.elapsed());
    for ((name, _), tally) in TABLE.iter().zip(&results) {
        assert!(tally.broke > 0, "{name} never broke a promise");
        assert_eq!((tally.detected, tally.named, tally.false_alarms), (tally.broke, tally.broke, 0), "{name}");
    }
}

/// A fresh disk, written twice over, and then the fault.
fn one_cycle(way: Way, seed: u64, which: &str) -> Result<Tally, String> {
    let mut chance = Chance(seed);
    let promise = if let Way::Cut(promise, ..) = way { promise } else { "flush" };
    let promise = format!("promise={promise}");
    // A forged block must belong where its number puts it; in address order that is simple arithmetic.
    let in_order = chance.below(2) == 0
        || matches!(way, Way::AtRest(damage) if std::ptr::fn_addr_eq(damage, plant_phantom as fn(&Rig, &mut Chance)));
    let order = if in_order { "order=sequential" } else { "order=random" };
    let sets = [order, &promise, "flush_every=1MiB", "verify.readback_lag=1MiB", "verify.deadline=1s"];
    let rig = Rig::new(LENGTH, [512, 4096][chance.below(2) as usize], seed, &sets)?;
    rig.init();
    let usual = std::mem::replace(&mut rig.store().0.slowness, 100);
    rig.scrubd(&["run", "--passes", "2"]).with_code(0);
    rig.store().0.slowness = usual;
    Ok(match way {
        Way::Cut(_, fault, every) => cut_under(&rig, fault, every, &mut chance, which),
        Way::Running(fault, every, names) => run_under(&rig, fault, every, names, which),
        Way::AtRest(damage) => {
            damage(&rig, &mut chance);
            judge(&rig, BLOCK, which)
        }
        Way::Failing(fault) => fail_under(&rig, fault, &mut chance, which),
        Way::Stuck(fault) => stick_under(&rig, fault, which),
    })
}

fn cut_under(rig: &Rig, fault: Fault, every: u64, chance: &mut Chance, which: &str) -> Tally {
    rig.store().store_mut().plans = vec![Plan::new(fault, every, u64::MAX)];
    let wanted = rig.store().store().counts.writes + 100 + chance.below(200);
    // What the next honest flush covers is kept after all: the ledger must be saved between the lie and that. It is
    // saved twice a second.
    let mut running = rig.start(&["run", "--set", "mode=powercut", "--set", "flush_every=300ms"]);
    let (mut flushes, mut saved) = (0, u64::MAX);
    running.until("a saved ledger that believes the lie", || {
        let (counts, lied) = rig.store().0.store.newest();
        let durable = rig.saved().durable;
        if counts.flushes != flushes {
            (flushes, saved) = (counts.flushes, durable);
        }
        counts.writes >= wanted && durable > saved && (lied || fault != Fault::LyingFlush)
    });
    rig.cut(running, chance.word());
    rig.store().store_mut().plans.clear();
    judge(rig, BLOCK, which)
}

fn run_under(rig: &Rig, fault: Fault, every: u64, names: &[&str], which: &str) -> Tally {
    // Three times, so that one that is written over unseen is not the last.
    rig.store().store_mut().plans = vec![Plan::new(fault, every, 3)];
    let Ended { code, out, err } = rig.scrubd(&["run", "--json", "--passes", "4"]);
    rig.store().store_mut().plans.clear();
    let verdict: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let found: Vec<_> = verdict["findings"].as_array().unwrap().iter().collect();
    let struck = rig.store().store().struck.clone();
    let mut places: Vec<u64> = struck.iter().map(|(_, offset)| ((offset - DATA) / BLOCK) as u64).collect();
    if let Fault::Misdirected(by) = fault {
        let landed: Vec<u64> = places.iter().map(|block| (block + (by / BLOCK) as u64) % BLOCKS).collect();
        places.extend(landed);
    }
    let transient = matches!(fault, Fault::TransientFlip | Fault::ReadError);
    let named = found.iter().all(|finding| {
        let persistence = if transient { "transient" } else { "persistent" };
        names.contains(&finding["class"].as_str().unwrap()) && finding["persistence"] == persistence
    });
    let false_alarms = found.iter().filter(|finding| !places.contains(&finding["block"].as_u64().unwrap())).count();
    let detected = code == 65 && !found.is_empty();
    if !(detected && named && false_alarms == 0) {
        println!("{which}: exit {code}, struck {struck:?}\n{verdict:#}\n{err}");
    }
    Tally::of(struck.len() as u64, detected, detected && named, false_alarms as u64)
}

/// First once, which scrubd survives without a finding; then for good, which ends it with 74.
fn fail_under(rig: &Rig, fault: Fault, chance: &mut Chance, which: &str) -> Tally {
    rig.store().store_mut().plans = vec![Plan::new(fault, 1 + chance.below(3), 1)];
    let once = rig.scrubd(&["run", "--passes", "2"]);
    assert_eq!(rig.store().store().struck.len(), 1, "{which}");
    rig.store().store_mut().plans = vec![Plan::new(fault, 1, u64::MAX)];
    let for_good = rig.scrubd(&["run", "--passes", "2"]);
    rig.store().store_mut().plans.clear();
    let after = judge(rig, BLOCK, which);
    let named = match fault {
        Fault::WriteError => "failed",
        _ => "flush",
    };
    let detected = once.code == 0 && for_good.code == 74;
    let named = for_good.err.contains(named);
    if !(detected && named) {
        println!("{which}: once {once:#?}, for good {for_good:#?}");
    }
    Tally::of(1, detected, detected && named, after.false_alarms)
}

/// The finding comes while the request still hangs. Then the power is cut, which is what ends such a request.
fn stick_under(rig: &Rig, fault: Fault, which: &str) -> Tally {
    rig.store().store_mut().plans = vec![Plan::new(fault, 30, 1)];
    let findings = |rig: &Rig| -> Vec<serde_json::Value> {
        rig.events().into_iter().filter(|event| event["event"] == "finding").collect()
    };
    let running = rig.start(&["run"]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while findings(rig).is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let found = findings(rig);
    let said = running.said();
    rig.cut(running, 1);
    let struck = rig.store().store().struck.clone();
    let place = struck.first().map(|(_, offset)| *offset as u64);
    let named = found.iter().all(|finding| {
        finding["class"] == "unreadable" && finding["detail"].as_str().unwrap().contains("not returned")
    });
    let elsewhere = found.iter().filter(|finding| finding["offset"].as_u64() != place).count() as u64;
    if found.is_empty() || !named || elsewhere > 0 {
        println!("{which}: struck {struck:?}, found {found:#?}\n{said}");
    }
    Tally::of(struck.len() as u64, !found.is_empty(), !found.is_empty() && named, elsewhere)
}

fn some_block(chance: &mut Chance) -> usize {
    DATA + BLOCK * chance.below(BLOCKS) as usize
}

fn rot(rig: &Rig, chance: &mut Chance) {
    let at = some_block(chance) + chance.below(BLOCK as u64) as usize;
    let mut held = rig.store();
    let byte = held.store().disk().read(at, 1)[0];
    held.store_mut().damage(at, &[byte ^ 1 << chance.below(8)]);
}

fn make_unreadable(rig: &Rig, chance: &mut Chance) {
    let mut held = rig.store();
    let (first, atom) = (DATA, held.store().disk().atom());
    let bad = first / atom + chance.below(((LENGTH as usize - first) / atom) as u64) as usize;
    held.store_mut().unreadable.insert(bad);
}

fn end_early(rig: &Rig, chance: &mut Chance) {
    rig.store().store_mut().end = Some(DATA + 4096 * (1 + chance.below(1000)) as usize);
}

fn zero(rig: &Rig, chance: &mut Chance) {
    let atom = rig.store().store().disk().atom();
    let at = some_block(chance) + atom * chance.below((BLOCK / atom) as u64) as usize;
    rig.store().store_mut().damage(at, &vec![0; atom]);
}

/// A block that was replaced by another one of the same run: what a controller does that mixes up its map.
fn swap(rig: &Rig, chance: &mut Chance) {
    let (from, by) = (some_block(chance), BLOCK * (1 + chance.below(BLOCKS - 1)) as usize);
    let to = DATA + (from - DATA + by) % (BLOCK * BLOCKS as usize);
    let bytes = rig.store().store().disk().read(from, BLOCK);
    rig.store().store_mut().damage(to, &bytes);
}

fn plant_foreign(rig: &Rig, chance: &mut Chance) {
    let atom = rig.store().store().disk().atom();
    let other = Rig::new(LENGTH, atom, chance.word(), &["order=sequential"]).unwrap();
    other.init();
    other.scrubd(&["run", "--passes", "1"]).with_code(0);
    let at = some_block(chance);
    let bytes = other.store().store().disk().read(at, BLOCK);
    rig.store().store_mut().damage(at, &bytes);
}

/// A block of this run, sealed as scrubd would, that says it is a write that was never reserved.
fn plant_phantom(rig: &Rig, chance: &mut Chance) {
    let at = some_block(chance);
    let atom = rig.store().store().disk().atom();
    let there = decoder::tag(&rig.store().store().disk().read(at, atom)).unwrap();
    let nonce = u64::from_le_bytes(rig.store().store().disk().read(at + 56, 8).try_into().unwrap());
    let geometry = Geometry {
        offset: 0,
        length: LENGTH,
        block_size: BLOCK as u32,
        atom: atom as u32,
        order: Order::Sequential,
        digest: Digest::Crc32c,
    };
    let passes = rig.saved().reserved.div_ceil(BLOCKS) + chance.below(3);
    let issue = Issue { seq: Seq(passes * BLOCKS + there.block), epoch: Epoch { number: there.epoch, nonce } };
    let (durable, checkpoint) = (Seq(there.durable), there.checkpoint);
    let claim = Claim { issue, durable, promise: Promise::Flush, checkpoint, wall_ns: 0 };
    let mut bytes = vec![0; BLOCK];
    Sealer::new(geometry, there.run.parse().unwrap()).seal(Block(there.block), &claim, &mut bytes);
    rig.store().store_mut().damage(at, &bytes);
}
