//! One seeded history: a plan drawn from the seed, several lives of the engine with cuts between, and a check.

use std::cell::RefCell;
use std::rc::Rc;

use scrubd::engine::{
    Command, Engine, Fired, FlushEvery, Mode, OnFinding, OnStart, Outcome, Reason, Settings, Startup, Then, TriggerIo,
};
use scrubd::ledger::Checkpoint;
use scrubd::report::Overall;
use scrubd::sim::{At, Core, Ending, Fault, Pace, Planned, Random, Script, World, WorldSettings};
use scrubd::tag::Sealer;
use scrubd::vocabulary::{Block, Claim, Digest, Epoch, Geometry, Issue, LABEL_AREA, Order, Promise, RunId, Seq};

use crate::oracles::{self, Coverage, Covered};

pub const RUN: RunId = RunId([0x5c; 16]);
const OTHER_RUN: RunId = RunId([0xee; 16]);

/// What a history came to.
pub struct Told {
    pub covered: Covered,
    pub steps: u64,
    pub hash: u64,
}

/// What makes the engine of each start, or a mutant of it.
pub type Make<'a> = &'a dyn Fn(Startup, Settings) -> Box<dyn Core>;

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

/// Everything that a seed decides beforehand.
struct Plan {
    settings: Settings,
    world: WorldSettings,
    before: Vec<Before>,
    script: Script,
    cuts: u64,
    promise_changes: bool,
}

fn plan(seed: u64, honest: bool, hashed: bool, random: &mut Random) -> Plan {
    let blocks = random.pick(&[1, 2, 3, 5, 8, 13, 40]);
    let (block_size, atom) = random.pick(&[(4096, 4096), (4096, 2048), (4096, 1024), (4096, 512), (8192, 4096)]);
    let order = random.pick(&[Order::Sequential, Order::Random]);
    let digest = if random.chance(150) { Digest::Blake3 } else { Digest::Crc32c };
    let promise = random.pick(&[Promise::Flush, Promise::Flush, Promise::Flush, Promise::Fua, Promise::Ack]);
    let size = u64::from(block_size);
    let flush_every = match random.below(3) {
        0 => FlushEvery::Nanoseconds(random.pick(&[100_000, 1_000_000, 5_000_000])),
        _ => FlushEvery::Bytes(size * random.pick(&[1, 2, 3, 5, 8, 16, 50])),
    };
    let on_finding = match (honest, random.below(4)) {
        (true, _) | (_, 0) => OnFinding::Stop,
        (_, 1) => OnFinding::Trigger,
        _ => OnFinding::Continue,
    };
    let settings = Settings {
        mode: if random.chance(500) { Mode::BurnIn } else { Mode::Powercut },
        promise,
        queue_depth: random.pick(&[1, 2, 3, 4, 8, 16, 32]),
        flush_every,
        retention: random.chance(500),
        readback_lag: random.pick(&[0, size, 3 * size, 1 << 30]),
        rereads: random.pick(&[0, 1, 3]),
        on_start: random.pick(&[OnStart::AfterCut, OnStart::AfterCut, OnStart::Window, OnStart::Always]),
        on_finding,
        deadline_ns: 60_000_000_000,
        rate: random.chance(100).then_some(1 << 24),
        passes: None,
        ignore_state: false,
        trigger_writes: random.chance(200).then(|| 1 + random.below(2 * blocks)),
        trigger_command: random.chance(500),
        trigger_io: random.pick(&[TriggerIo::Continue, TriggerIo::Hold, TriggerIo::Drain, TriggerIo::Flush]),
        trigger_then: random.pick(&[Then::Exit, Then::Resume]),
    };
    let scale = random.pick(&[1, 1, 10, 100]);
    let usual = Pace::USUAL;
    let pace = Pace {
        io: (usual.io.0 * scale, usual.io.1 * scale),
        flush: (usual.flush.0 * scale, usual.flush.1 * scale),
        save: if random.chance(300) { (1_000_000, 100_000_000) } else { usual.save },
        slow_per_mille: random.pick(&[0, 5, 50]),
        batch: random.pick(&[1, 4, 16]),
        ..usual
    };
    let world = WorldSettings {
        geometry: geometry(blocks, block_size, atom, order, digest),
        run: RUN,
        seed,
        power_loss_protected: promise == Promise::Ack,
        failed_flush_shows: random.chance(500),
        pace,
        hashed,
    };
    let before = random.pick(&[
        &[Before::Zeros][..],
        &[Before::Garbage],
        &[Before::OtherRun],
        &[Before::Zeros, Before::Garbage, Before::OtherRun],
    ]);
    let cuts = random.between(1, 5);
    let mut script = Script::default();
    let span = cuts * (blocks + 10);
    for _ in 0..random.below(4) {
        script.plan(At::Nth(random.below(span / 2)), Fault::FailedFlush);
    }
    for _ in 0..random.below(4) {
        script.plan(At::Nth(random.below(span * 2)), Fault::FailedWrite);
    }
    for _ in 0..random.below(3) {
        script.plan(At::Nth(random.below(cuts * 4)), Fault::FailedSave);
    }
    if !honest {
        let faults: Vec<Planned> = (0..random.between(1, 3)).map(|_| lie(random, blocks, span * 2)).collect();
        // A script's first entry counts: lies go before honest failures.
        let mut lying = Script::new(faults);
        std::mem::swap(&mut script, &mut lying);
        script.append(lying);
    }
    Plan { settings, world, before: before.to_vec(), script, cuts, promise_changes: random.chance(80) }
}

fn lie(random: &mut Random, blocks: u64, span: u64) -> Planned {
    let nth = At::Nth(random.below(span));
    let (at, fault) = match random.below(12) {
        0 => (At::Every(1), Fault::LyingFlush),
        1 => (At::Every(random.between(2, 5)), Fault::LyingFlush),
        2 => (At::Nth(random.below(span / 4)), Fault::LyingFlush),
        3 | 4 => (nth, Fault::LostWrite),
        5 => (nth, Fault::PartialWrite(random.word())),
        6 => (nth, Fault::MisdirectedWrite(Block(random.below(blocks)))),
        7 => (nth, Fault::BitFlip),
        8 => (nth, Fault::Zeroed),
        9 => (nth, Fault::OldContent),
        10 => (nth, Fault::Shorn),
        _ => (nth, if random.chance(500) { Fault::ReadError } else { Fault::UnreadableBlock }),
    };
    Planned { at, fault }
}

/// Lives through the history of a seed.
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
    let mut plan = plan(seed, honest, hashed, &mut random);
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
    if std::env::var("SCRUBD_SIM_SEED").is_ok() {
        eprintln!("{:#?}\n{:#?}", plan.settings, plan.world);
    }
    let steps = story(&mut world, &mut plan, honest, &mut random, make)?;
    let mut covered = covered.borrow().clone();
    covered.count("histories", 1);
    Ok(Told { covered, steps, hash: world.hash() })
}

fn story(world: &mut World, plan: &mut Plan, honest: bool, random: &mut Random, make: Make<'_>) -> Result<u64, String> {
    let mut steps = 0;
    let mut current = true;
    let mut earlier = world.slots.clone();
    for _ in 0..plan.cuts {
        // Only the strong promises can be changed to and fro on one disk.
        if plan.promise_changes && plan.settings.promise != Promise::Ack && random.chance(300) {
            plan.settings.promise = random.pick(&[Promise::Flush, Promise::Fua]);
        }
        world.command_ends = match random.below(5) {
            0 => Fired::Failed("status 1".into()),
            _ => Fired::Done,
        };
        world.start(&plan.settings, current, make)?;
        let outcome = one_life(world, plan, random)?;
        steps += world.steps();
        if let Some(outcome) = outcome {
            acceptable(&outcome, honest)?;
        }
        current = true;
        match random.below(60) {
            0 => {
                world.slots.lose_newest();
                current = false;
            }
            1 => {
                world.slots.lose_all();
                current = false;
            }
            2 => {
                world.slots = earlier.clone();
                current = false;
            }
            3..13 => earlier = world.slots.clone(),
            _ => {}
        }
        if random.chance(350) {
            check(world, plan, current, honest, make)?;
        }
    }
    world.disk.script.clear();
    if honest {
        let last = Settings { passes: Some(1 + random.below(2)), trigger_writes: None, ..plan.settings.clone() };
        world.start(&last, current, make)?;
        let outcome = world.run_to_exit()?;
        steps += world.steps();
        if outcome != Outcome::Kept {
            return Err(format!("oracle outcome: no faults any more, and it ended {outcome:?}"));
        }
        current = true;
    }
    check(world, plan, current, honest, make)?;
    Ok(steps)
}

/// From a start to a cut, a stop, or whatever the engine makes of it.
fn one_life(world: &mut World, plan: &Plan, random: &mut Random) -> Result<Option<Outcome>, String> {
    let blocks = plan.world.geometry.blocks();
    let (most_steps, most_writes) = match random.below(4) {
        0 => (random.below(30), u64::MAX),
        1 => (u64::MAX, random.below(4)),
        _ => (u64::MAX, random.below(3 * blocks + 20)),
    };
    let cut_at_fire = random.chance(500);
    // A disk that keeps failing may never get so far: enough is enough.
    let enough = 40_000;
    let mut done = |world: &World| {
        world.steps() >= most_steps.min(enough) || world.writes_of_start > most_writes || cut_at_fire && world.fires > 0
    };
    if let Ending::Exited(outcome) = world.run(&mut done)? {
        return Ok(Some(outcome));
    }
    if random.chance(250) {
        interfere(world, plan, random)?;
        let until = world.steps() + random.below(60);
        if let Ending::Exited(outcome) = world.run(&mut |world| world.steps() >= until)? {
            return Ok(Some(outcome));
        }
    }
    match random.below(10) {
        0 => world.kill()?,
        1 => {
            world.command(Command::Stop)?;
            let until = world.steps() + enough;
            return match world.run(&mut |world| world.steps() > until)? {
                Ending::Exited(outcome) => Ok(Some(outcome)),
                Ending::Paused => Err(format!("oracle progress: asked to stop, and it does not: {:?}", world.status())),
            };
        }
        2 => {
            world.command(Command::StopNow)?;
            let until = world.steps() + random.below(100);
            if let Ending::Exited(outcome) = world.run(&mut |world| world.steps() > until)? {
                return Ok(Some(outcome));
            }
            world.cut_at_random()?;
        }
        _ => world.cut_at_random()?,
    }
    Ok(None)
}

fn interfere(world: &mut World, plan: &Plan, random: &mut Random) -> Result<(), String> {
    match random.below(5) {
        0 | 1 => {
            let mut chance = random.fork();
            world.blip(&mut |_, _, choices| chance.below(choices as u64) as usize)
        }
        2 => {
            world.command(Command::Pause)?;
            let until = world.steps() + random.below(40);
            let resume_at = world.now_ns() + 1_000_000;
            // Nothing need happen in a pause: only wait while something is under way.
            while world.is_running() && world.steps() < until && world.is_busy() && world.now_ns() < resume_at {
                let before = world.steps();
                world.run(&mut |world| world.steps() > before)?;
            }
            if world.is_running() { world.command(Command::Resume) } else { Ok(()) }
        }
        3 => world.command(Command::Trigger(Reason::Control)),
        _ => {
            let flush_every = FlushEvery::Bytes(u64::from(plan.world.geometry.block_size));
            world.command(Command::Reload(Box::new(Settings { flush_every, ..plan.settings.clone() })))
        }
    }
}

fn check(world: &mut World, plan: &Plan, current: bool, honest: bool, make: Make<'_>) -> Result<(), String> {
    let settings = Settings { mode: Mode::Check, trigger_writes: None, ..plan.settings.clone() };
    let done = world.judgements.len();
    world.start(&settings, current, make)?;
    let outcome = world.run_to_exit()?;
    let judgement = world.judgements.get(done).ok_or("oracle outcome: a check without a verdict")?;
    let kept = judgement.verdict == Overall::Intact && outcome == Outcome::Kept;
    let broken = judgement.verdict == Overall::Violated && outcome == Outcome::Broken;
    if !(kept || broken && !honest) {
        return Err(format!("oracle outcome: a check ended {outcome:?} and says {judgement:#?}"));
    }
    Ok(())
}

fn acceptable(outcome: &Outcome, honest: bool) -> Result<(), String> {
    match outcome {
        Outcome::Broken if honest => Err("oracle outcome: an honest disk was called broken".into()),
        _ => Ok(()),
    }
}
