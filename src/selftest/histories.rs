//! Honest histories: power cut, process killed or device reset at random moments, with reported failures of writes,
//! flushes and saves in between. Whatever survives, nobody may be accused.

use super::Case;
use super::compare::Tally;
use super::stage::{Before, Stage};
use crate::engine::{Command, FlushEvery, Mode, OnFinding, OnStart, Outcome, Settings};
use crate::report::Overall;
use crate::sim::{At, Ending, Fault, Script, World};
use crate::vocabulary::Promise;

pub(super) const CASES: &[Case] =
    &[Case { class: None, how: "power cuts, kills and resets at random", run: histories }];

/// Histories of one round.
const HISTORIES: u64 = 20;

/// Cuts of one history at the most.
const MAX_CUTS: u64 = 3;

fn histories(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let mut all = Tally::default();
    for _ in 0..HISTORIES {
        let seed = stage.random.word();
        let tally = history(&mut Stage::new(seed, stage.make))?;
        all.injected += tally.injected;
        all.detected += tally.detected;
        all.named += tally.named;
        all.false_alarms += tally.false_alarms;
        all.problems.extend(tally.problems);
    }
    Ok(all)
}

/// Each cut is judged by a check, and survived when that says that all promises were kept.
fn history(stage: &mut Stage<'_>) -> Result<Tally, String> {
    let (cuts, script) = plan(stage);
    let before = stage.random.pick(&[Before::Zeros, Before::Garbage]);
    let mut world = stage.world(script, before, vec![]);
    let mut tally = Tally::default();
    for _ in 0..cuts {
        world.start(&stage.settings, true, stage.make)?;
        live(stage, &mut world)?;
        let (judgement, outcome) = stage.judge(&mut world, true, stage.make)?;
        let kept = (judgement.verdict, outcome, judgement.blocks.findings) == (Overall::Intact, Outcome::Kept, 0);
        tally.injected += 1;
        tally.detected += u64::from(judgement.verdict != Overall::Incomplete);
        tally.named += u64::from(kept);
        tally.false_alarms += judgement.blocks.findings;
        if !kept {
            tally.problems.push(format!("no promise was broken, and the check says {judgement:?}"));
        }
    }
    tally.false_alarms += world.reports.len() as u64;
    tally.problems.extend(world.reports.first().map(|finding| format!("a false alarm while running: {finding:?}")));
    Ok(tally)
}

fn plan(stage: &mut Stage<'_>) -> (u64, Script) {
    let random = &mut stage.random;
    let size = u64::from(stage.geometry.block_size);
    stage.settings = Settings {
        mode: random.pick(&[Mode::BurnIn, Mode::Powercut]),
        promise: random.pick(&[Promise::Flush, Promise::Flush, Promise::Fua, Promise::Ack]),
        queue_depth: random.pick(&[1, 2, 4, 16]),
        flush_every: FlushEvery::Bytes(size * random.pick(&[1, 3, 8, 20])),
        retention: random.chance(500),
        readback_lag: random.pick(&[0, size, 1 << 30]),
        on_start: random.pick(&[OnStart::AfterCut, OnStart::Window, OnStart::Always]),
        on_finding: OnFinding::Stop,
        ..Settings::default()
    };
    let mut script = Script::default();
    for fault in [Fault::FailedFlush, Fault::FailedWrite, Fault::FailedSave] {
        if random.chance(300) {
            script.plan(At::Nth(random.below(20)), fault);
        }
    }
    (random.between(1, MAX_CUTS), script)
}

/// From a start to some end.
fn live(stage: &mut Stage<'_>, world: &mut World) -> Result<(), String> {
    let most_writes = stage.random.below(3 * stage.geometry.blocks());
    let most_steps = if stage.random.chance(300) { stage.random.below(40) } else { 5_000 };
    if ended(world, |world| world.writes_of_start > most_writes || world.steps() > most_steps)? {
        return Ok(());
    }
    if stage.random.chance(200) {
        let mut chance = stage.random.fork();
        world.blip(&mut |_, _, choices| chance.below(choices as u64) as usize)?;
        let until = world.steps() + stage.random.below(60);
        if ended(world, |world| world.steps() > until)? {
            return Ok(());
        }
    }
    match stage.random.below(8) {
        0 => world.kill(),
        1 => {
            world.command(Command::Stop)?;
            world.run_to_exit().map(|_| ())
        }
        _ => world.cut_at_random(),
    }
}

fn ended(world: &mut World, mut pause: impl FnMut(&World) -> bool) -> Result<bool, String> {
    Ok(matches!(world.run(&mut pause)?, Ending::Exited(_)))
}
