//! Writes that were promised and are not there, in whole or in part.

use std::collections::BTreeMap;

use super::Case;
use super::compare::{Expect, Tally};
use super::stage::{Before, Stage, due, due_seq, shown};
use crate::sim::{At, Fault, SaveFate, Script, World};
use crate::tag::Class;
use crate::vocabulary::{Block, Promise, Seq};

pub(super) const CASES: &[Case] = &[
    Case { class: Some(Class::LostWrite), how: "a flush took it and dropped it", run: |s| dropped(s, Promise::Flush) },
    Case { class: Some(Class::LostWrite), how: "a write with FUA is dropped", run: |s| dropped(s, Promise::Fua) },
    Case { class: Some(Class::LostWrite), how: "an acknowledged write is dropped", run: |s| dropped(s, Promise::Ack) },
    Case { class: Some(Class::LostWrite), how: "the first write never lands", run: first_write_dropped },
    Case { class: Some(Class::LostWrite), how: "flushes lie, then power is cut", run: flushes_lie },
    Case { class: Some(Class::Unserializable), how: "flushes lie, a later write survives", run: witness_survives },
    Case { class: Some(Class::Torn), how: "some of the atoms never land", run: partly_dropped },
];

/// The last write of a few blocks is acknowledged under this promise, and never lands.
fn dropped(stage: &mut Stage<'_>, promise: Promise) -> Result<Tally, String> {
    stage.settings.promise = promise;
    let victims = stage.victims();
    let mut script = Script::default();
    victims.iter().for_each(|block| script.plan(At::OfBlock(*block, 1), Fault::LostWrite));
    let mut world = stage.world(script, Before::Zeros, vec![]);
    stage.write(&mut world, 2)?;
    // Whatever shows it from a cache forgets it.
    world.disk.cut(&mut |_, _, _| 0);
    let must = victims.iter().map(|block| (*block, lost(&world, *block))).collect();
    stage.check(&mut world, &must)
}

fn lost(world: &World, block: Block) -> Expect {
    let due = due_seq(world, block);
    let older = due.and_then(|seq| world.inspector().schedule().newest_below(seq, block));
    Expect::persistent(Class::LostWrite, due, older)
}

fn first_write_dropped(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let victims = stage.victims();
    let mut script = Script::default();
    victims.iter().for_each(|block| script.plan(At::OfBlock(*block, 0), Fault::LostWrite));
    let mut world = stage.world(script, Before::Garbage, vec![]);
    stage.write(&mut world, 1)?;
    let must = victims.iter().map(|block| (*block, lost(&world, *block).saying("nothing of this run"))).collect();
    stage.check(&mut world, &must)
}

/// Every flush lies, from the first write on or from the second pass on; after a clean stop the cache is gone with the
/// power.
fn flushes_lie(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let honest_passes = stage.random.below(2);
    let mut world = stage.world(Script::default(), Before::Garbage, vec![]);
    if honest_passes > 0 {
        stage.write(&mut world, honest_passes)?;
    }
    world.disk.script.plan(At::Every(1), Fault::LyingFlush);
    stage.write(&mut world, 1)?;
    world.disk.cut(&mut |_, _, _| 0);
    let must = lost_with_the_cache(stage, &world, Class::LostWrite);
    stage.check(&mut world, &must)
}

fn lost_with_the_cache(stage: &Stage<'_>, world: &World, class: Class) -> BTreeMap<Block, Expect> {
    let mut must = BTreeMap::new();
    for block in (0..stage.geometry.blocks()).map(Block) {
        let (Some(due), there) = (due(world, block), shown(world, block)) else { continue };
        if there.is_none_or(|there| there.id < due.id) {
            let found = there.map(|there| there.claim.issue.seq);
            must.insert(block, Expect::persistent(class, Some(due.claim.issue.seq), found));
        }
    }
    must
}

/// Power is cut under the writer, and of all that the lying flushes covered nothing is left; but one block that was
/// sealed after the last of them survives, and its tags say what had been promised by then.
fn witness_survives(stage: &mut Stage<'_>) -> Result<Tally, String> {
    stage.settings.queue_depth = 1;
    let mut world = stage.written(1, vec![])?;
    world.disk.script.plan(At::Every(1), Fault::LyingFlush);
    world.start(&stage.settings, true, stage.make)?;
    let first_pass = Seq(stage.geometry.blocks());
    stage.until(&mut world, |world| {
        let (promised, writes) = (world.truth().promised_below(), world.truth().writes());
        // Nothing is promised beyond what the newest write attests to: that would be proved by nobody who is left.
        let no_more = writes.iter().all(|write| !write.promised || write.claim.issue.seq < promised);
        let attests = writes.last().is_some_and(|write| !write.completed && write.claim.durable == promised);
        promised > first_pass && no_more && attests
    })?;
    let witness = world.truth().writes().last().ok_or("nothing was written")?.block;
    world.cut(&mut |block, _, choices| if block == witness { choices - 1 } else { 0 }, Some(SaveFate::Absent))?;
    let must = lost_with_the_cache(stage, &world, Class::Unserializable);
    stage.check(&mut world, &must)
}

fn partly_dropped(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let victims = stage.victims();
    let mut script = Script::default();
    let all = (1 << stage.geometry.atoms()) - 1;
    for block in &victims {
        script.plan(At::OfBlock(*block, 1), Fault::PartialWrite(stage.random.between(1, all - 1)));
    }
    let mut world = stage.world(script, Before::Zeros, vec![]);
    stage.write(&mut world, 2)?;
    let torn = |block| Expect { class: Class::Torn, ..lost(&world, block) };
    let must = victims.iter().map(|block| (*block, torn(*block))).collect();
    stage.check(&mut world, &must)
}
