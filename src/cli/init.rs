//! `scrubd init`: label a target, and begin its state.

use super::args::Args;
use super::exit::{Failure, STATE_NOT_SAVED, chain};
use super::{chosen, state, talk};
use crate::config::{INIT_BLOCK_SIZE, INIT_DIGEST, INIT_ORDER, TargetSettings};
use crate::ledger::Checkpoint;
use crate::ledger::slots;
use crate::ledger::state_dir::StateDir;
use crate::report::text;
use crate::target::{self, InitPlan, LOCK_WAIT, OpenTarget};

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let settings = chosen::target(args)?;
    let (target, dir) = make(&settings, args)?;
    state::hand_over(dir.layout());
    target.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let told = if args.common.json { json(&settings, &target) } else { words(&settings, &target) };
    talk::result(&told);
    Ok(0)
}

/// Labels the target and saves the first ledger of its run. The state directory is taken first, so that a place where
/// nothing can be saved is found out before a byte of the target is changed.
pub(crate) fn make(settings: &TargetSettings, args: &Args) -> Result<(OpenTarget, StateDir), Failure> {
    let dir = StateDir::claim(state::layout(&settings.state_dir)?)?;
    let plan = InitPlan {
        length: settings.length,
        block_size: settings.block_size.unwrap_or(INIT_BLOCK_SIZE),
        atom: settings.atom,
        order: settings.order.unwrap_or(INIT_ORDER),
        digest: settings.digest.unwrap_or(INIT_DIGEST),
        run_id: chosen::new_run(),
        now_unix_ns: chosen::wall_ns(),
        confirm: args.common.confirm.as_ref().map(|path| path.display().to_string()),
    };
    let target = target::init(&chosen::spec(settings), &plan, LOCK_WAIT)?;
    let state::Claimed { dir, mut store, choice, moved, .. } = state::claim(dir, &target)?;
    if let Some((run, to)) = moved {
        tracing::warn!("state of another run, {run}, was in the way; it is kept in {}", to.display());
    }
    let first = Checkpoint::first(settings.promise, chosen::wall_ns());
    let sealed = slots::seal(first.number, &state::owner(&target), &first.encode());
    let sealed = sealed.map_err(|error| Failure::new(STATE_NOT_SAVED, error.to_string()))?;
    store.save(choice.turn().next(), &sealed).map_err(|error| {
        let labelled = "the target is labelled, but its state could not be saved";
        Failure::new(STATE_NOT_SAVED, format!("{labelled}: {}", chain(&error)))
    })?;
    Ok((target, dir))
}

fn words(settings: &TargetSettings, target: &OpenTarget) -> String {
    let geometry = &target.geometry;
    let name = &settings.name;
    format!(
        "{name}: {} is labelled\n  run        {}\n  target     {}\n  region     {} from byte {}: {} of {}, atoms of {}\n  \
         state      {}",
        target.path.display(),
        target.run_id,
        target.identity,
        text::bytes(geometry.length),
        geometry.offset,
        text::counted(geometry.blocks(), "block"),
        text::bytes(geometry.block_size.into()),
        text::bytes(geometry.atom.into()),
        settings.state_dir.display(),
    )
}

fn json(settings: &TargetSettings, target: &OpenTarget) -> String {
    let value = serde_json::json!({
        "target": settings.name,
        "run_id": target.run_id,
        "path": target.path,
        "identity": target.identity,
        "geometry": target.geometry,
        "state_dir": settings.state_dir,
    });
    value.to_string()
}
