//! A world of its own for each case: a few blocks in a geometry drawn by chance, an engine, and what it reported.

use std::collections::{BTreeMap, BTreeSet};

use super::Make;
use super::compare::{Expect, Tally, compare};
use crate::engine::{FlushEvery, Mode, OnFinding, Outcome, Settings};
use crate::ledger::Checkpoint;
use crate::report::{Finding, Judgement, Overall};
use crate::sim::{Damage, Ending, Origin, Pace, Random, Script, Watcher, World, WorldSettings, WriteFact};
use crate::vocabulary::{Block, Digest, Geometry, LABEL_AREA, Order, Promise, RunId, Seq};

/// Steps within which every story here comes to its point, hundreds of times over.
const ENOUGH: u64 = 20_000;

/// What the disk held before the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Zeros,
    Garbage,
}

/// What a case plays on.
pub(super) struct Stage<'a> {
    pub(super) settings: Settings,
    pub(super) geometry: Geometry,
    pub(super) random: Random,
    pub(super) make: Make<'a>,
    run: RunId,
    seed: u64,
}

impl<'a> Stage<'a> {
    /// Eight to fourteen blocks of two to eight atoms; settings under which nothing but the case happens: no reading, and
    /// flushes often enough that each pass has several.
    pub(super) fn new(seed: u64, make: Make<'a>) -> Self {
        let mut random = Random::new(seed);
        let blocks = random.between(8, 14);
        let (block_size, atom) = random.pick(&[(4096, 512), (4096, 1024), (4096, 2048), (8192, 4096)]);
        let geometry = Geometry {
            offset: 0,
            length: LABEL_AREA + blocks * u64::from(block_size),
            block_size,
            atom,
            order: random.pick(&[Order::Sequential, Order::Random]),
            digest: random.pick(&[Digest::Crc32c, Digest::Crc32c, Digest::Blake3]),
        };
        let settings = Settings {
            mode: Mode::Powercut,
            queue_depth: random.pick(&[1, 4, 16]),
            span_bytes: random.pick(&[block_size, 3 * block_size, 1 << 20]),
            flush_every: FlushEvery::Bytes(3 * u64::from(block_size)),
            on_finding: OnFinding::Continue,
            ..Settings::default()
        };
        let mut run = [0; 16];
        run[..8].copy_from_slice(&random.word().to_le_bytes());
        Stage { settings, geometry, random, make, run: RunId(run), seed }
    }

    pub(super) fn world(&mut self, script: Script, before: Before, watchers: Vec<Box<dyn Watcher>>) -> World {
        let world = WorldSettings {
            geometry: self.geometry,
            run: self.run,
            seed: self.seed,
            power_loss_protected: self.settings.promise == Promise::Ack,
            failed_flush_shows: self.random.chance(500),
            pace: Pace { slow_per_mille: 0, ..Pace::USUAL },
            hashed: false,
        };
        let size = self.geometry.block_size as usize;
        let block = |random: &mut Random| match before {
            Before::Zeros => vec![0; size],
            Before::Garbage => noise(random, size),
        };
        let initial = (0..self.geometry.blocks()).map(|_| block(&mut self.random)).collect();
        World::new(world, initial, script, &Checkpoint::first(self.settings.promise, 0), watchers)
    }

    /// Writes whole passes and stops cleanly.
    pub(super) fn write(&self, world: &mut World, passes: u64) -> Result<Outcome, String> {
        world.start(&Settings { passes: Some(passes), ..self.settings.clone() }, true, self.make)?;
        world.run_to_exit()
    }

    /// A world in which so many passes were written, and nothing is wrong yet.
    pub(super) fn written(&mut self, passes: u64, watchers: Vec<Box<dyn Watcher>>) -> Result<World, String> {
        let mut world = self.world(Script::default(), Before::Zeros, watchers);
        match self.write(&mut world, passes)? {
            Outcome::Kept => Ok(world),
            outcome => Err(format!("nothing is wrong yet, and writing ended {outcome:?}")),
        }
    }

    pub(super) fn until(&self, world: &mut World, mut seen: impl FnMut(&World) -> bool) -> Result<(), String> {
        let enough = world.steps() + ENOUGH;
        match world.run(&mut |world| seen(world) || world.steps() > enough)? {
            Ending::Paused if seen(world) => Ok(()),
            ended => Err(format!("the case never came to its point: {ended:?}, {:?}", world.status())),
        }
    }

    /// A few blocks, by chance.
    pub(super) fn victims(&mut self) -> BTreeSet<Block> {
        let count = self.random.between(1, 3);
        (0..count).map(|_| self.any_block()).collect()
    }

    pub(super) fn any_block(&mut self) -> Block {
        Block(self.random.below(self.geometry.blocks()))
    }

    /// Judges the whole region and compares.
    pub(super) fn check(&self, world: &mut World, must: &BTreeMap<Block, Expect>) -> Result<Tally, String> {
        self.check_with(world, must, self.make)
    }

    pub(super) fn check_with(
        &self,
        world: &mut World,
        must: &BTreeMap<Block, Expect>,
        make: Make<'_>,
    ) -> Result<Tally, String> {
        agree(must, &wrong_on_disk(world))?;
        let (judgement, outcome) = self.judge(world, true, make)?;
        let mut tally = compare(must, &judgement.findings);
        let verdict = if must.is_empty() { Overall::Intact } else { Overall::Violated };
        let ended = if must.is_empty() { Outcome::Kept } else { Outcome::Broken };
        if (judgement.verdict, judgement.blocks.findings) != (verdict, must.len() as u64) || outcome != ended {
            tally.problems.push(format!("the check ended {outcome:?} and says {:?}", judgement.blocks));
        }
        Ok(tally)
    }

    /// A check to its end.
    pub(super) fn judge(
        &self,
        world: &mut World,
        current: bool,
        make: Make<'_>,
    ) -> Result<(Judgement, Outcome), String> {
        let before = world.judgements.len();
        world.start(&self.check_settings(), current, make)?;
        let outcome = world.run_to_exit()?;
        let judgement = world.judgements.get(before).cloned();
        judgement.map(|judgement| (judgement, outcome)).ok_or_else(|| "a check without a verdict".to_owned())
    }

    pub(super) fn check_settings(&self) -> Settings {
        Settings { mode: Mode::Check, ..self.settings.clone() }
    }
}

/// Compares what was reported while running.
pub(super) fn compare_reports(world: &World, must: &BTreeMap<Block, Expect>) -> Result<Tally, String> {
    let reports: Vec<Finding> = world.reports.clone();
    let told = compare(must, &reports);
    match reports.len() as u64 > told.injected + told.false_alarms {
        true => Err(format!("one finding was told several times: {reports:?}")),
        false => Ok(told),
    }
}

/// What is wrong by the script must be what is wrong on the disk: else the table would count what never happened.
pub(super) fn agree(must: &BTreeMap<Block, Expect>, wrong: &BTreeSet<Block>) -> Result<(), String> {
    match must.keys().copied().collect::<BTreeSet<_>>() == *wrong {
        true => Ok(()),
        false => Err(format!("injected were {must:?}, and on the disk these are wrong: {wrong:?}")),
    }
}

/// The newest write of a block that the disk has promised to keep.
pub(super) fn due(world: &World, block: Block) -> Option<WriteFact> {
    world.truth().of_block(block).rev().find(|write| write.promised).copied()
}

pub(super) fn due_seq(world: &World, block: Block) -> Option<Seq> {
    due(world, block).map(|write| write.claim.issue.seq)
}

/// The write that stands in a block whole, by where its atoms come from.
pub(super) fn shown(world: &World, block: Block) -> Option<WriteFact> {
    let atoms = world.disk.shown(block);
    match (atoms[0].origin, atoms.iter().all(|atom| atom.origin == atoms[0].origin && atom.home == block)) {
        (Origin::Write(id), true) => Some(*world.truth().write(id)),
        _ => None,
    }
}

/// Blocks that show, by where their atoms come from, anything else than what was promised or a later write.
pub(super) fn wrong_on_disk(world: &World) -> BTreeSet<Block> {
    let is_wrong = |block: &Block| {
        let due = due(world, *block);
        let kept = |origin, home| match (origin, &due) {
            (Origin::Write(id), Some(due)) => {
                home == *block && (id >= due.id || world.truth().write(id).claim.issue == due.claim.issue)
            }
            (Origin::Write(_), None) => home == *block,
            (Origin::Before, due) => due.is_none(),
            (Origin::Damaged(..), _) => false,
        };
        world.disk.is_unreadable(*block) || !world.disk.shown(*block).iter().all(|atom| kept(atom.origin, atom.home))
    };
    (0..world.disk.blocks()).map(Block).filter(is_wrong).collect()
}

/// What a block shows, as bytes.
pub(super) fn bytes_of(world: &World, block: Block) -> Vec<u8> {
    (0..world.disk.shown(block).len()).flat_map(|atom| world.disk.atom_bytes(block, atom)).copied().collect()
}

/// Puts bytes into a block that no write put there.
pub(super) fn plant(world: &mut World, block: Block, damage: Damage, bytes: Vec<u8>) {
    world.disk.plant(block, Origin::Damaged(damage, None), bytes);
}

pub(super) fn noise(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length.div_ceil(8)).flat_map(|_| random.word().to_le_bytes()).take(length).collect()
}
