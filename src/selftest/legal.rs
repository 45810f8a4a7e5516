//! What looks bad and is lawful: told, and nobody is accused of it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::Case;
use super::compare::Tally;
use super::stage::{Before, Stage, wrong_on_disk};
use crate::engine::{Action, Command, Event, Outcome, Record};
use crate::ledger::State;
use crate::report::{Judgement, Overall};
use crate::sim::{At, Fault, Origin, SaveFate, Scene, Script, Sight, Watcher, World};
use crate::vocabulary::{Block, Issue};

pub(super) const CASES: &[Case] = &[
    Case { class: None, how: "unwritten blocks", run: unwritten },
    Case { class: None, how: "blocks rolled back by a cut", run: rolled_back },
    Case { class: None, how: "blocks interrupted by a cut", run: interrupted },
    Case { class: None, how: "a wide read that fails once", run: wide_read_fails },
    Case { class: None, how: "a ledger older than the disk", run: stale },
    Case { class: None, how: "no ledger at all", run: without_state },
];

/// What a check must come to over a disk that kept its promises; `injected` blocks were left so that `judged` of them
/// had to be told.
fn lawful(stage: &Stage<'_>, world: &mut World, injected: u64, judged: fn(&Judgement) -> u64) -> Result<Tally, String> {
    let wrong = wrong_on_disk(world);
    if !wrong.is_empty() {
        return Err(format!("the disk was to be honest, and these are wrong: {wrong:?}"));
    }
    let (judgement, outcome) = stage.judge(world, false, stage.make)?;
    let detected = judged(&judgement);
    let false_alarms = judgement.blocks.findings + world.reports.len() as u64;
    let kept = (judgement.verdict, outcome, false_alarms) == (Overall::Intact, Outcome::Kept, 0);
    let named = if kept { detected } else { 0 };
    let mut tally = Tally { injected, detected, named, false_alarms, ..Tally::default() };
    if !kept || detected != injected {
        tally.problems.push(format!("{injected} were due, and the check says {judgement:?}"));
    }
    Ok(tally)
}

fn unwritten(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let before = stage.random.pick(&[Before::Zeros, Before::Garbage]);
    let mut world = stage.world(Script::default(), before, vec![]);
    lawful(stage, &mut world, stage.geometry.blocks(), |judgement| judgement.blocks.unwritten)
}

/// The issues that a block shows, by where its atoms come from; `None` is what was there before the run.
fn issues(world: &World, block: Block) -> BTreeSet<Option<Issue>> {
    let atoms = world.disk.shown(block).iter();
    atoms
        .map(|atom| match atom.origin {
            Origin::Write(id) => Some(world.truth().write(id).claim.issue),
            Origin::Before | Origin::Damaged(..) => None,
        })
        .collect()
}

/// Whether a save is in flight.
#[derive(Clone, Default)]
struct Saving(Rc<Cell<bool>>);

impl Watcher for Saving {
    fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Acted(Action::Save(_)) => self.0.set(true),
            Sight::Told(Event::Saved(..)) => self.0.set(false),
            _ => {}
        }
        Ok(())
    }
}

/// The ledger is saved with all that was issued, and then every write that no flush had covered is lost.
fn rolled_back(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let blocks = stage.geometry.blocks();
    let saving = Saving::default();
    let mut world = stage.world(Script::default(), Before::Garbage, vec![Box::new(saving.clone())]);
    world.start(&stage.settings, true, stage.make)?;
    let enough = stage.random.between(2, 2 * blocks);
    stage.until(&mut world, |world| {
        let writes = world.truth().writes();
        // A save that is in flight would be the last one, and knows less.
        writes.len() as u64 > enough && !saving.0.get() && writes.last().is_some_and(|write| !write.completed)
    })?;
    world.command(Command::StopNow)?;
    world.run_to_exit()?;
    world.disk.cut(&mut |_, _, _| 0);
    let all = (0..blocks).map(Block);
    let is_older = |block: &Block| {
        let newest = world.truth().of_block(*block).map(|write| write.claim.issue).max_by_key(|issue| issue.seq);
        newest.is_some() && issues(&world, *block) != BTreeSet::from([newest])
    };
    let injected = all.filter(is_older).count() as u64;
    lawful(stage, &mut world, injected, |judgement| judgement.blocks.rolled_back)
}

/// Of every write that a cut leaves open, the first atom lands and the others do not.
fn interrupted(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let blocks = stage.geometry.blocks();
    let mut world = stage.world(Script::default(), Before::Garbage, vec![]);
    world.start(&stage.settings, true, stage.make)?;
    let enough = stage.random.between(2, 2 * blocks);
    stage.until(&mut world, |world| {
        let writes = world.truth().writes();
        writes.len() as u64 > enough && writes.last().is_some_and(|write| !write.completed)
    })?;
    world.cut(&mut |_, atom, choices| if atom == 0 { choices - 1 } else { 0 }, None)?;
    let injected = (0..blocks).map(Block).filter(|block| issues(&world, *block).len() > 1).count() as u64;
    lawful(stage, &mut world, injected, |judgement| judgement.blocks.interrupted)
}

/// The state directory of before the last start is mounted over the present one.
fn stale(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let mut world = cut_in_the_first_pass(stage)?;
    let old = world.slots.clone();
    world.start(&stage.settings, true, stage.make)?;
    let enough = world.truth().writes().len() + 2 * stage.geometry.blocks() as usize;
    stage.until(&mut world, |world| world.truth().writes().len() > enough)?;
    // All of it survives: where nothing newer is left on the disk nobody could tell.
    world.cut(&mut |_, _, choices| choices - 1, None)?;
    world.slots = old;
    lawful(stage, &mut world, 1, |judgement| u64::from(judgement.state == State::Stale))
}

fn without_state(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let mut world = cut_in_the_first_pass(stage)?;
    world.slots.lose_all();
    lawful(stage, &mut world, 1, |judgement| u64::from(judgement.state == State::Missing))
}

fn cut_in_the_first_pass(stage: &mut Stage<'_>) -> Result<World, String> {
    let mut world = stage.world(Script::default(), Before::Garbage, vec![]);
    world.start(&stage.settings, true, stage.make)?;
    let enough = stage.random.between(4, stage.geometry.blocks()) as usize;
    stage.until(&mut world, |world| world.truth().writes().len() > enough)?;
    let fate = stage.random.pick(&[SaveFate::Absent, SaveFate::Landed]);
    world.cut(&mut |_, _, choices| choices - 1, Some(fate))?;
    Ok(world)
}

/// A read of many blocks fails, and each of them reads well alone: that is on record, and nobody is accused.
fn wide_read_fails(stage: &mut Stage<'_>) -> Result<Tally, String> {
    #[derive(Clone, Default)]
    struct Recorded(Rc<Cell<u64>>);
    impl Watcher for Recorded {
        fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
            if let Sight::Acted(Action::Record(Record::ReadFailedBeside { .. })) = sight {
                self.0.set(self.0.get() + 1);
            }
            Ok(())
        }
    }
    stage.settings.span_bytes = 1 << 20;
    let recorded = Recorded::default();
    let mut world = stage.written(2, vec![Box::new(recorded.clone())])?;
    let victim = stage.any_block();
    let next_read = At::OfBlock(victim, world.disk.reads_of(victim));
    world.disk.script.plan(next_read, Fault::ReadError);
    let blocks = stage.geometry.blocks();
    let mut tally = lawful(stage, &mut world, blocks, |judgement| judgement.blocks.intact)?;
    if recorded.0.get() != 1 {
        tally.problems.push(format!("one wide read failed, and {} are on record", recorded.0.get()));
    }
    // What was injected is the one read, and not the blocks that it was of.
    let found = |count: u64| u64::from(count == blocks);
    Ok(Tally { injected: 1, detected: recorded.0.get(), named: found(tally.named), ..tally })
}
