//! One seeded history: a plan drawn from the seed, several lives of the engine with cuts between, and a check.

use std::cell::RefCell;
use std::rc::Rc;

use scrubd::engine::{Command, Engine, Fired, FlushEvery, Mode, OnFinding, Outcome, Reason, Settings, Startup};
use scrubd::ledger::{Checkpoint, State};
use scrubd::report::Overall;
use scrubd::schedule::Pace;
use scrubd::sim::{Core, Ending, Planned, Random, Script, Slots, World};
use scrubd::tag::Sealer;
use scrubd::vocabulary::{Block, Claim, Digest, Epoch, Geometry, Issue, LABEL_AREA, Order, Promise, RunId, Seq};

use crate::oracles::{self, Coverage, Covered};
use crate::plan::Plan;

pub const RUN: RunId = RunId([0x5c; 16]);
const OTHER_RUN: RunId = RunId([0xee; 16]);

/// What a history came to.
pub struct Told {
    pub covered: Covered,
    pub steps: u64,
    pub hash: u64,
}

/// The real engine.
pub fn real(startup: Startup, settings: Settings) -> Box<dyn Core> {
    Box::new(Engine::new(startup, settings))
}

/// What the disk held before the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Zeros,
    Garbage,
    OtherRun,
}

pub fn geometry(blocks: u64, block_size: u32, atom: u32, order: Order, digest: Digest) -> Geometry {
    let length = LABEL_AREA + blocks * u64::from(block_size);
    Geometry { offset: 0, length, block_size, atom, order, digest }
}

/// The blocks of a disk before the run.
pub fn initial(geometry: &Geometry, before: &[Before], random: &mut Random) -> Vec<Vec<u8>> {
    let other = Sealer::new(*geometry, OTHER_RUN);
    let block = |number: u64| {
        let mut bytes = vec![0; geometry.block_size as usize];
        match random.pick(before) {
            Before::Zeros => {}
            Before::Garbage => {
                for word in bytes.chunks_mut(8) {
                    word.copy_from_slice(&random.word().to_le_bytes());
                }
            }
            Before::OtherRun => {
                let epoch = Epoch { number: 1 + random.below(3), nonce: random.word() };
                let issue = Issue { seq: Seq(random.below(100)), epoch };
                let claim = Claim {
                    issue,
                    durable: Seq(random.between(0, issue.seq.0)),
                    promise: Promise::Flush,
                    checkpoint: random.below(50),
                    wall_ns: 1,
                };
                other.seal(Block(number), &claim, &mut bytes);
            }
        }
        bytes
    };
    (0..geometry.blocks()).map(block).collect()
}

/// Makes the core of each life.
pub type Make<'a> = &'a dyn Fn(Startup, Settings) -> Box<dyn Core>;

/// Lives through the history of a seed with the real engine.
///
/// # Errors
/// What an oracle found wrong.
pub fn live(seed: u64, honest: bool, hashed: bool) -> Result<Told, String> {
    live_with(seed, honest, hashed, &real, &[])
}

/// Lives through the history of a seed with another core, on a disk that does these things too, before all else that the
/// seed says.
///
/// # Errors
/// What an oracle found wrong.
pub fn live_with(seed: u64, honest: bool, hashed: bool, make: Make<'_>, also: &[Planned]) -> Result<Told, String> {
    let mut random = Random::new(seed ^ if honest { 0 } else { 1 << 63 });
    let mut plan = Plan::of(seed, honest, hashed, &mut random);
    if !also.is_empty() {
        let seeded = std::mem::replace(&mut plan.script, Script::new(also.to_vec()));
        plan.script.append(seeded);
    }
    let covered = Rc::new(RefCell::new(Covered::default()));
    let mut watchers = oracles::all(honest);
    let foreign_start = plan.before == [Before::OtherRun];
    watchers.push(Box::new(Coverage::new(Rc::clone(&covered), foreign_start)));
    let blocks = initial(&plan.world.geometry, &plan.before, &mut random);
    let first = Checkpoint::first(plan.settings.promise, 0);
    let mut world = World::new(plan.world, blocks, std::mem::take(&mut plan.script), &first, watchers);
    world.command_cuts_power = plan.settings.trigger_command && random.chance(500);
    world.disk.mirrored = plan.mirrored;
    if plan.never_saved {
        world.slots.lose_all();
    }
    if std::env::var("SCRUBD_SIM_SEED").is_ok() {
        eprintln!("{:#?}\n{:#?}\n{:#?}", plan.settings, plan.world, world.disk.script);
    }
    let mut history = History { world, plan, honest, make, random, earlier: Vec::new(), steps: 0, covered };
    history.run()?;
    let History { world, steps, covered, .. } = history;
    let mut covered = covered.borrow().clone();
    covered.count("histories", 1);
    for fault in world.disk.script.struck() {
        covered.count(&format!("fault {}", fault.name()), 1);
    }
    Ok(Told { covered, steps, hash: world.hash() })
}

struct History<'a> {
    world: World,
    plan: Plan,
    honest: bool,
    make: Make<'a>,
    random: Random,
    /// Copies of the state directory that somebody may mount later.
    earlier: Vec<Slots>,
    steps: u64,
    covered: Rc<RefCell<Covered>>,
}

/// A disk that keeps failing may never get so far: enough is enough.
const ENOUGH: u64 = 40_000;

impl History<'_> {
    fn count(&self, what: &str) {
        self.covered.borrow_mut().count(what, 1);
    }

    fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.plan.cuts {
            if self.plan.promise_changes && self.random.chance(400) {
                let promises = [Promise::Flush, Promise::Fua, Promise::Ack];
                // Only a disk with power-loss protection can be held to the weakest promise.
                let all = if self.plan.world.power_loss_protected || !self.honest { 3 } else { 2 };
                self.plan.settings.promise = self.random.pick(&promises[..all]);
            }
            self.world.command_ends = match self.random.below(5) {
                0 => Fired::Failed("status 1".into()),
                _ => Fired::Done,
            };
            self.start(&self.plan.settings.clone())?;
            let outcome = self.one_life()?;
            self.steps += self.world.steps();
            if let Some(outcome) = outcome {
                self.acceptable(&outcome)?;
            }
            if self.world.disk.copies_that_differ() > 0 {
                self.count("copies of a mirror differ");
            }
            self.trouble_the_state();
            if self.random.chance(300) {
                self.patrol()?;
                self.trouble_the_state();
            }
            if self.random.chance(350) {
                self.check()?;
            }
        }
        self.world.disk.script.clear();
        self.progress()?;
        if self.random.chance(500) {
            self.patrol()?;
        }
        self.check()
    }

    /// A patrol, now and then cut short and gone on with, at some pace.
    fn patrol(&mut self) -> Result<(), String> {
        for _ in 0..self.random.below(4) {
            let settings = self.patrol_settings();
            self.start(&settings)?;
            if let Some(outcome) = self.part_of_a_patrol()? {
                self.acceptable(&outcome)?;
            }
            self.count("patrol cut short or ended early");
            self.steps += self.world.steps();
        }
        let settings = self.patrol_settings();
        self.start(&settings)?;
        let until = self.world.steps() + ENOUGH;
        match self.world.run(&mut |world| world.steps() > until)? {
            Ending::Paused => Err(format!("oracle progress: a patrol that does not end: {:?}", self.world.status())),
            Ending::Exited(Outcome::Broken) if !self.honest => Ok(()),
            Ending::Exited(Outcome::Kept) => {
                self.count("patrol ended as it should");
                Ok(())
            }
            // Its position, or an event, could not be saved; or nothing of this run is left to judge by.
            Ending::Exited(Outcome::StateNotSaved(_)) => Ok(()),
            Ending::Exited(Outcome::Incomplete) if self.ended_with_nothing_to_say() => Ok(()),
            Ending::Exited(outcome) => Err(format!("oracle outcome: a patrol ended {outcome:?}")),
        }
    }

    fn ended_with_nothing_to_say(&self) -> bool {
        self.world.judgements.last().is_some_and(|judgement| {
            // A trigger may have ended it, and what it was at stays open.
            judgement.verdict == Overall::Incomplete
        })
    }

    fn patrol_settings(&mut self) -> Settings {
        let random = &mut self.random;
        let size = u64::from(self.plan.world.geometry.block_size);
        let pace = Pace {
            rate: random.chance(400).then(|| size * random.pick(&[1, 100, 10_000])),
            pass_ns: random.chance(400).then(|| random.pick(&[1_000_000, 60_000_000_000, 14 * 86_400_000_000_000])),
        };
        let passes = Some(1 + random.below(2));
        Settings { mode: Mode::Patrol, trigger_writes: None, patrol: pace, passes, ..self.plan.settings.clone() }
    }

    fn part_of_a_patrol(&mut self) -> Result<Option<Outcome>, String> {
        let until = self.world.steps() + self.random.below(4 * self.plan.world.geometry.blocks() + 20);
        if let Ending::Exited(outcome) = self.world.run(&mut |world| world.steps() >= until)? {
            return Ok(Some(outcome));
        }
        if self.random.chance(400) {
            self.interfere()?;
            let until = self.world.steps() + self.random.below(60);
            if let Ending::Exited(outcome) = self.world.run(&mut |world| world.steps() >= until)? {
                return Ok(Some(outcome));
            }
        }
        match self.random.below(5) {
            0 => self.world.kill()?,
            1 | 2 => {
                let command = if self.random.chance(700) { Command::Stop } else { Command::StopNow };
                self.world.command(command)?;
                let until = self.world.steps() + ENOUGH;
                return match self.world.run(&mut |world| world.steps() > until)? {
                    Ending::Exited(outcome) => Ok(Some(outcome)),
                    Ending::Paused => {
                        Err(format!("oracle progress: a patrol that does not stop: {:?}", self.world.status()))
                    }
                };
            }
            _ => self.world.cut_at_random()?,
        }
        Ok(None)
    }

    fn start(&mut self, settings: &Settings) -> Result<(), String> {
        let current = self.world.state_is_current();
        self.world.start(settings, current, self.make)
    }

    /// Nothing goes wrong any more: the run gets through its passes and ends.
    fn progress(&mut self) -> Result<(), String> {
        let passes = Some(1 + self.random.below(2));
        let on_finding = if self.honest { OnFinding::Stop } else { OnFinding::Continue };
        let last = Settings { passes, trigger_writes: None, on_finding, ..self.plan.settings.clone() };
        self.start(&last)?;
        let outcome = self.world.run_to_exit()?;
        self.steps += self.world.steps();
        oracles::progress(&outcome, self.honest, &self.world, &last)
    }

    /// From a start to a cut, a stop, or whatever the engine makes of it.
    fn one_life(&mut self) -> Result<Option<Outcome>, String> {
        if let Some(outcome) = self.run_to_the_moment()? {
            return Ok(Some(outcome));
        }
        if self.random.chance(300) {
            self.interfere()?;
            let until = self.world.steps() + self.random.below(60);
            if let Ending::Exited(outcome) = self.world.run(&mut |world| world.steps() >= until)? {
                return Ok(Some(outcome));
            }
        }
        self.note_the_moment();
        match self.random.below(10) {
            0 => self.world.kill()?,
            1 => {
                self.world.command(Command::Stop)?;
                let until = self.world.steps() + ENOUGH;
                return match self.world.run(&mut |world| world.steps() > until)? {
                    Ending::Exited(outcome) => Ok(Some(outcome)),
                    Ending::Paused => {
                        Err(format!("oracle progress: asked to stop, and it does not: {:?}", self.world.status()))
                    }
                };
            }
            2 => {
                self.world.command(Command::StopNow)?;
                let until = self.world.steps() + self.random.below(100);
                if let Ending::Exited(outcome) = self.world.run(&mut |world| world.steps() > until)? {
                    return Ok(Some(outcome));
                }
                self.world.cut_at_random()?;
            }
            _ => self.world.cut_at_random()?,
        }
        Ok(None)
    }

    /// A life ends after so many steps, so many writes, at the trigger, or at a delicate moment.
    fn run_to_the_moment(&mut self) -> Result<Option<Outcome>, String> {
        let random = &mut self.random;
        let blocks = self.plan.world.geometry.blocks();
        let (most_steps, most_writes) = match random.below(4) {
            0 => (random.below(30), u64::MAX),
            1 => (u64::MAX, random.below(4)),
            _ => (u64::MAX, random.below(3 * blocks + 20)),
        };
        let cut_at_fire = random.chance(500);
        let moments =
            ["beginning an epoch", "saving the ledger", "the command runs", "draining", "surveying", "stopping"];
        let moment = random.chance(150).then(|| random.pick(&moments));
        let mut hung = 0;
        let mut done = |world: &World| {
            // Where nothing will ever return, deadlines still pass, and are told.
            hung = if world.is_hung() { hung + 1 } else { 0 };
            world.steps() >= most_steps.min(ENOUGH)
                || world.writes_of_start > most_writes
                || cut_at_fire && world.fires > 0
                || hung > 12
                || moment.is_some_and(|moment| world.status().is_some_and(|status| status.phase.contains(moment)))
        };
        match self.world.run(&mut done)? {
            Ending::Exited(outcome) => Ok(Some(outcome)),
            Ending::Paused => Ok(None),
        }
    }

    fn note_the_moment(&self) {
        let Some(status) = self.world.status() else { return };
        let delicate = [
            ("saving the ledger", "cut in a trigger's save"),
            ("the command runs", "cut in a trigger's command"),
            ("beginning an epoch", "cut before an epoch was durable"),
            ("surveying the window", "cut in a survey of the window"),
            ("surveying the region", "cut in a survey of the region"),
            ("draining", "cut in a drain"),
            ("stopping", "cut in a clean stop"),
        ];
        delicate.iter().filter(|(phase, _)| status.phase.contains(phase)).for_each(|(_, what)| self.count(what));
        if status.stuck > 0 {
            self.count("cut with I/O stuck");
        }
    }

    fn interfere(&mut self) -> Result<(), String> {
        match self.random.below(9) {
            0 | 1 => {
                let mut chance = self.random.fork();
                self.world.blip(&mut |_, _, choices| chance.below(choices as u64) as usize)
            }
            2 => self.pause(),
            3 => self.world.command(Command::Trigger(Reason::Control)),
            4 => {
                self.world.jump_wall_clock();
                self.count("wall clock jumped");
                Ok(())
            }
            5 => {
                let ns = self.random.pick(&[1_000_000, 10_000_000_000, 3_600_000_000_000]);
                self.world.suspend(ns);
                self.count("machine slept");
                Ok(())
            }
            6 => {
                if self.trouble_the_state() {
                    self.count("state troubled under a living engine");
                }
                Ok(())
            }
            7 => {
                self.count("device pulled out");
                self.world.pull_out()
            }
            _ => {
                let flush_every = FlushEvery::Bytes(u64::from(self.plan.world.geometry.block_size));
                let patrol = Pace { rate: None, pass_ns: Some(1_000_000_000) };
                let settings = Settings { flush_every, patrol, ..self.plan.settings.clone() };
                self.world.command(Command::Reload(Box::new(settings)))
            }
        }
    }

    fn pause(&mut self) -> Result<(), String> {
        let world = &mut self.world;
        world.command(Command::Pause)?;
        let until = world.steps() + self.random.below(40);
        let resume_at = world.now_ns() + 1_000_000;
        // Nothing need happen in a pause: only wait while something is under way.
        while world.is_running() && world.steps() < until && world.is_busy() && world.now_ns() < resume_at {
            let before = world.steps();
            world.run(&mut |world| world.steps() > before)?;
        }
        if world.is_running() { world.command(Command::Resume) } else { Ok(()) }
    }

    /// Whether something happened to the state directory.
    fn trouble_the_state(&mut self) -> bool {
        if self.random.chance(200) && self.earlier.len() < 4 && !self.world.is_running() {
            self.earlier.push(self.world.slots.clone());
        }
        if !self.random.chance(self.plan.state_trouble) {
            return false;
        }
        let what = match self.random.below(4) {
            0 => {
                self.world.slots.lose_newest();
                "newest slot lost"
            }
            1 => {
                self.world.slots.lose_all();
                "state directory gone"
            }
            _ if self.earlier.is_empty() => return false,
            _ => {
                let nth = self.random.below(self.earlier.len() as u64) as usize;
                self.world.slots.put_back(&self.earlier[nth]);
                "older state put back"
            }
        };
        self.count(what);
        true
    }

    /// A check by the ledger, and sometimes one by the tags alone.
    fn check(&mut self) -> Result<(), String> {
        self.check_with(false)?;
        if self.random.chance(400) {
            self.count("checked without state");
            self.check_with(true)?;
        }
        Ok(())
    }

    fn check_with(&mut self, ignore_state: bool) -> Result<(), String> {
        let settings = Settings { mode: Mode::Check, trigger_writes: None, ignore_state, ..self.plan.settings.clone() };
        let done = self.world.judgements.len();
        self.start(&settings)?;
        let outcome = self.world.run_to_exit()?;
        let judgement = self.world.judgements.get(done).ok_or("a check without a verdict")?;
        let well_ended = match (judgement.verdict, &outcome) {
            (Overall::Intact, Outcome::Kept) => true,
            (Overall::Violated, Outcome::Broken) => !self.honest,
            // A read did not return, which is a finding, and the check could not go on.
            (Overall::Incomplete, Outcome::Broken) => !self.honest,
            // Nothing of this run is left anywhere: nothing to judge by.
            (Overall::Incomplete, Outcome::Incomplete) => {
                judgement.state == State::Missing && judgement.blocks.unwritten == judgement.blocks.total
            }
            _ => false,
        };
        if well_ended {
            Ok(())
        } else {
            Err(format!("oracle outcome: a check ended {outcome:?} and says {judgement:#?}"))
        }
    }

    fn acceptable(&self, outcome: &Outcome) -> Result<(), String> {
        match outcome {
            Outcome::Broken if self.honest => Err("oracle outcome: an honest disk was called broken".into()),
            _ => Ok(()),
        }
    }
}
