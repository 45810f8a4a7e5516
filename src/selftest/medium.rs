//! What happens to a block at rest, or as it lands: on the medium, the same on every read.

use std::collections::{BTreeMap, BTreeSet};

use super::Case;
use super::compare::{Expect, Tally};
use super::stage::{Before, Stage, agree, bytes_of, compare_reports, due, due_seq, noise, plant, wrong_on_disk};
use crate::engine::{Mode, Outcome};
use crate::sim::{At, Damage, Fault, Origin, Script, World};
use crate::tag::{Class, Sealer};
use crate::vocabulary::{Block, Claim, Epoch, Issue, POISON, Promise, RunId, Seq};

pub(super) const CASES: &[Case] = &[
    Case { class: Some(Class::Corrupt), how: "a bit flips at rest", run: |stage| at_rest(stage, Fault::BitFlip) },
    Case { class: Some(Class::Corrupt), how: "a bit flips as it lands", run: |stage| landing(stage, Fault::BitFlip) },
    Case { class: Some(Class::Corrupt), how: "noise in one atom", run: noise_in_one_atom },
    Case { class: Some(Class::Zeroed), how: "bytes 00", run: |stage| constant(stage, 0x00) },
    Case { class: Some(Class::Zeroed), how: "bytes ff", run: |stage| constant(stage, 0xff) },
    Case { class: Some(Class::Zeroed), how: "not read: the buffer's poison", run: |stage| constant(stage, POISON) },
    Case { class: Some(Class::Zeroed), how: "zeroed as it lands", run: |stage| landing(stage, Fault::Zeroed) },
    Case { class: Some(Class::Shorn), how: "half an atom is old, at rest", run: |stage| at_rest(stage, Fault::Shorn) },
    Case { class: Some(Class::Shorn), how: "half an atom is old", run: |stage| landing(stage, Fault::Shorn) },
    Case { class: Some(Class::LostWrite), how: "old contents return", run: |stage| at_rest(stage, Fault::OldContent) },
    Case { class: Some(Class::Misdirected), how: "written to another block", run: written_elsewhere },
    Case { class: Some(Class::Misdirected), how: "a copy of another block", run: copied_elsewhere },
    Case { class: Some(Class::Foreign), how: "a block of another run", run: other_run },
    Case { class: Some(Class::Phantom), how: "a write that was never issued", run: never_issued },
    Case {
        class: Some(Class::Unreadable),
        how: "EIO on every read",
        run: |stage| at_rest(stage, Fault::UnreadableBlock),
    },
];

/// The disk does this to a few blocks after a clean stop.
fn at_rest(stage: &mut Stage<'_>, fault: Fault) -> Result<Tally, String> {
    let mut world = stage.written(2, vec![])?;
    let mut must = BTreeMap::new();
    for block in stage.victims() {
        world.disk.damage(block, fault);
        must.insert(block, expect(&world, block, fault));
    }
    stage.check(&mut world, &must)
}

/// The disk does this to the last write of a few blocks as it lands; the read-back behind the writer must see it.
fn landing(stage: &mut Stage<'_>, fault: Fault) -> Result<Tally, String> {
    stage.settings.mode = Mode::BurnIn;
    // Past the cache, so that what a shorn atom keeps of the write before is what the medium held.
    stage.settings.promise = Promise::Fua;
    stage.settings.readback_lag = u64::from(stage.geometry.block_size);
    let victims = stage.victims();
    let mut script = Script::default();
    victims.iter().for_each(|block| script.plan(At::OfBlock(*block, 1), fault));
    let mut world = stage.world(script, Before::Garbage, vec![]);
    let outcome = stage.write(&mut world, 2)?;
    let must = victims.iter().map(|block| (*block, expect(&world, *block, fault))).collect();
    agree(&must, &wrong_on_disk(&world))?;
    let mut tally = compare_reports(&world, &must)?;
    if outcome != Outcome::Broken {
        tally.problems.push(format!("promises were broken while running, and it ended {outcome:?}"));
    }
    Ok(tally)
}

/// A block has two atoms at the least, so that a sound neighbour says which write a damaged one is of.
fn expect(world: &World, block: Block, fault: Fault) -> Expect {
    let due = due_seq(world, block);
    let older = due.and_then(|seq| world.inspector().schedule().newest_below(seq, block));
    match fault {
        Fault::BitFlip => Expect::persistent(Class::Corrupt, due, due).saying("1 bits in 1 bytes differ"),
        Fault::Shorn => Expect::persistent(Class::Shorn, due, due),
        Fault::Zeroed => Expect::persistent(Class::Zeroed, due, None),
        Fault::OldContent => Expect::persistent(Class::LostWrite, due, older),
        _ => Expect { errno: Some(5), ..Expect::persistent(Class::Unreadable, due, None) },
    }
}

fn noise_in_one_atom(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let mut world = stage.written(2, vec![])?;
    let mut must = BTreeMap::new();
    for block in stage.victims() {
        let mut bytes = bytes_of(&world, block);
        let size = stage.geometry.atom as usize;
        let at = stage.random.below(u64::from(stage.geometry.atoms())) as usize * size;
        let noise = noise(&mut stage.random, size);
        bytes[at..at + size].copy_from_slice(&noise);
        must.insert(block, Expect::persistent(Class::Corrupt, due_seq(&world, block), due_seq(&world, block)));
        plant(&mut world, block, Damage::Flipped, bytes);
    }
    stage.check(&mut world, &must)
}

fn constant(stage: &mut Stage<'_>, byte: u8) -> Result<Tally, String> {
    let mut world = stage.written(1, vec![])?;
    let mut must = BTreeMap::new();
    for block in stage.victims() {
        let words = match byte {
            0x00 => "constant 00",
            0xff => "constant ff",
            _ => "not_read",
        };
        must.insert(block, Expect::persistent(Class::Zeroed, due_seq(&world, block), None).saying(words));
        plant(&mut world, block, Damage::Zeroed, vec![byte; stage.geometry.block_size as usize]);
    }
    stage.check(&mut world, &must)
}

/// The last write of one block lands in another, which was written earlier in the pass: there it stays, and its home
/// keeps what it had.
fn written_elsewhere(stage: &mut Stage<'_>) -> Result<Tally, String> {
    // In flight one at a time and far apart, so that they land in the order of the pass: neighbours are sealed side by
    // side, and may change places.
    stage.settings.queue_depth = 1;
    let blocks = stage.geometry.blocks();
    let mut world = stage.world(Script::default(), Before::Zeros, vec![]);
    let earlier = stage.random.below(blocks - 4);
    let later = stage.random.between(earlier + 4, blocks - 1);
    let in_second_pass = |position| world.inspector().schedule().block_of(Seq(blocks + position));
    let (over, home) = (in_second_pass(earlier), in_second_pass(later));
    world.disk.script.plan(At::OfBlock(home, 1), Fault::MisdirectedWrite(over));
    stage.write(&mut world, 2)?;
    let stray = due_seq(&world, home);
    let older = stray.and_then(|seq| world.inspector().schedule().newest_below(seq, home));
    let misdirected = Expect::persistent(Class::Misdirected, due_seq(&world, over), stray);
    let must = BTreeMap::from([
        (over, Expect { home: Some((home, true)), ..misdirected }),
        (home, Expect::persistent(Class::LostWrite, stray, older)),
    ]);
    stage.check(&mut world, &must)
}

fn copied_elsewhere(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let mut world = stage.written(2, vec![])?;
    let over = stage.any_block();
    let home = Block((over.0 + stage.random.between(1, stage.geometry.blocks() - 1)) % stage.geometry.blocks());
    let bytes = bytes_of(&world, home);
    plant(&mut world, over, Damage::Planted, bytes);
    let misdirected = Expect::persistent(Class::Misdirected, due_seq(&world, over), due_seq(&world, home));
    let must = BTreeMap::from([(over, Expect { home: Some((home, false)), ..misdirected })]);
    stage.check(&mut world, &must)
}

fn other_run(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let mut world = stage.written(2, vec![])?;
    let mut other = [0xff; 16];
    other[8..].copy_from_slice(&stage.random.word().to_le_bytes());
    let sealer = Sealer::new(stage.geometry, RunId(other));
    let mut must = BTreeMap::new();
    for block in stage.victims() {
        let Some(due) = due(&world, block) else { continue };
        must.insert(block, Expect::persistent(Class::Foreign, Some(due.claim.issue.seq), None));
        let bytes = sealed(stage, &sealer, block, &due.claim);
        plant(&mut world, block, Damage::Planted, bytes);
    }
    stage.check(&mut world, &must)
}

/// Whole, of the newest epoch, naming a checkpoint that is known, and beyond everything that was reserved.
fn never_issued(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let mut world = stage.written(2, vec![])?;
    let saved = world.slots.load().ok_or("nothing is saved after a clean stop")?;
    let epoch: Epoch = saved.epochs.newest().ok_or("no epoch after a clean stop")?.epoch;
    let blocks = stage.geometry.blocks();
    let beyond: BTreeSet<Seq> = (0..2).map(|_| Seq(saved.reserved.0 + stage.random.below(2 * blocks))).collect();
    let mut must = BTreeMap::new();
    for seq in beyond {
        let block = world.inspector().schedule().block_of(seq);
        let issue = Issue { seq, epoch };
        let claim = Claim { issue, durable: Seq(0), promise: Promise::Flush, checkpoint: saved.number, wall_ns: 1 };
        let sealer = *world.inspector().sealer();
        let bytes = sealed(stage, &sealer, block, &claim);
        must.insert(block, Expect::persistent(Class::Phantom, due_seq(&world, block), Some(seq)));
        world.disk.plant(block, Origin::Damaged(Damage::Planted, None), bytes);
    }
    stage.check(&mut world, &must)
}

fn sealed(stage: &Stage<'_>, sealer: &Sealer, block: Block, claim: &Claim) -> Vec<u8> {
    let mut bytes = vec![0; stage.geometry.block_size as usize];
    sealer.seal(block, claim, &mut bytes);
    bytes
}
