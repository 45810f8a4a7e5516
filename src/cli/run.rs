//! `scrubd run`: the daemon.

use super::args::{Args, Run};
use super::exit::{BROKEN, CONFIGURATION, Failure, STATE_NOT_SAVED, chain};
use super::last_words::LastWords;
use super::{chosen, init, progress, quarantine as latch, state, talk};
use crate::config::{self, ConfigErrors, Origin, TargetSettings};
use crate::daemon::{self, DaemonError, Job, Reload, State};
use crate::engine;
use crate::ledger::state_dir::{Layout, StateDir};
use crate::report::json::{self, Summary};
use crate::report::{Overall, quarantine};
use crate::ring;
use crate::target::{self, Access, Kind, LOCK_WAIT, OpenTarget, TargetError};
use crate::vocabulary::Promise;

pub(crate) fn run(args: &Args, options: &Run) -> Result<u8, Failure> {
    let settings = chosen::target(args)?;
    let layout = state::layout(&settings.state_dir)?;
    let (target, dir) = open_or_make(&settings, args, layout)?;
    refuse_contradictions(&settings, &target)?;
    let state::Claimed { dir, store, choice, loaded, moved } = state::claim(dir, &target)?;
    if let Some(failure) = latched(&settings, &dir) {
        if args.common.json {
            let summary = Summary::unchecked(Overall::Violated, settings.promise, target.geometry.blocks());
            talk::result(&json::line(&settings.name, target.run_id, &summary));
        }
        return Err(failure);
    }
    let mut remarks = loaded.remarks;
    if let Some((run, to)) = moved {
        remarks.push(format!("state of another run, {run}, was in the way; it is kept in {}", to.display()));
    }
    if loaded.checkpoint.is_none() {
        let dir = dir.layout().dir().display();
        remarks.push(format!("no ledger of this run in {dir}: going on from what the tags on the disk prove"));
    }
    remarks.extend(state::shared_fate(&target, dir.layout().dir()));
    let known = daemon::known::load(dir.layout().dir())
        .map_err(|error| Failure::new(STATE_NOT_SAVED, format!("what was reported before cannot be read: {error}")))?;
    remarks.extend(daemon::known::remark(dir.layout().dir()).ok().flatten());
    let end = LastWords {
        logged: remarks.iter().chain(&target.warnings).cloned().collect(),
        state_dir: dir.layout().dir().to_owned(),
        begun_ns: chosen::wall_ns(),
        name: settings.name.clone(),
        run: target.run_id,
        promise: settings.promise,
        geometry: target.geometry,
    };
    let (position, lost) = match settings.mode {
        config::Mode::Patrol => state::position(dir.layout(), &target, loaded.checkpoint.as_ref()),
        config::Mode::BurnIn | config::Mode::PowerCut => (None, Vec::new()),
    };
    remarks.extend(lost);
    let ignored = config::meaningless_on_patrol(&settings);
    if !ignored.is_empty() {
        tracing::info!("on patrol nothing is written: {} mean nothing", ignored.join(", "));
    }
    let owner = state::owner(&target);
    let layout = dir.layout().clone();
    let job = Job {
        name: settings.name.clone(),
        target,
        engine: engine::Settings { passes: options.passes, ..daemon::engine_settings(&settings) },
        ring: ring::Engine::Auto,
        saved: loaded.checkpoint,
        position,
        remarks,
        known,
        duration: options.duration,
        reload: Some(reload(args.clone())),
        observer: Some(progress::observer(progress::Goal { duration: options.duration, passes: options.passes })),
        settings,
    };
    let ended = daemon::run(job, State { dir, store, choice, owner });
    state::hand_over(&layout);
    let ended = ended.map_err(failure)?;
    talk::show(None);
    Ok(end.tell(ended, args.common.json))
}

/// An ad-hoc file that does not exist is made and labelled; everything else must be there and labelled.
fn open_or_make(settings: &TargetSettings, args: &Args, layout: Layout) -> Result<(OpenTarget, StateDir), Failure> {
    let known = state::remembered(&layout);
    // A patrol could not write to the target if it wanted to.
    let patrols = settings.mode == config::Mode::Patrol;
    let access = if patrols { Access::ReadOnly } else { Access::ReadWrite };
    match target::open(&chosen::spec(settings), access, LOCK_WAIT, known.as_ref()) {
        Ok(target) => Ok((target, StateDir::claim(layout)?)),
        Err(TargetError::NotFound { path }) if settings.ad_hoc && !patrols => {
            if let Some(known) = known {
                tracing::warn!("{} of run {} is gone; a new file begins a new run", path.display(), known.run_id);
            }
            let (target, dir) = init::make(settings, args)?;
            tracing::info!("{} is made and labelled: run {}", path.display(), target.run_id);
            Ok((target, dir))
        }
        Err(error) => Err(error.into()),
    }
}

/// Geometry comes from the label; a key that says something else is a configuration error.
pub(crate) fn refuse_contradictions(settings: &TargetSettings, target: &OpenTarget) -> Result<(), Failure> {
    let contradictions = config::contradictions(settings, &target.geometry);
    if !contradictions.is_empty() {
        return Err(ConfigErrors(contradictions).into());
    }
    if target.identity.kind == Kind::File && settings.promise == Promise::Ack {
        let origin = match settings.origins.of("promise") {
            Origin::Default => String::new(),
            origin => format!("{origin}: "),
        };
        let why = "promise \"ack\" is for drives with power-loss protection: no file system gives it; say \"flush\" or \"fua\"";
        return Err(Failure::new(CONFIGURATION, format!("{origin}target \"{}\": {why}", settings.name)));
    }
    Ok(())
}

/// Why nothing may be written, where the target is quarantined.
fn latched(settings: &TargetSettings, dir: &StateDir) -> Option<Failure> {
    quarantine::read(dir.layout().dir()).map(|why| {
        let name = &settings.name;
        let evidence = dir.layout().findings();
        let message = format!(
            "{name} is quarantined: a promise was broken, and nothing is written until somebody has looked\n{}\n  \
             evidence   {}\nthen: scrubd quarantine clear, with the same target and --state-dir",
            latch::words(&why),
            evidence.display(),
        );
        Failure::new(BROKEN, message)
    })
}

fn reload(args: Args) -> Reload {
    Box::new(move || chosen::target(&args).map_err(|failure| failure.message))
}

pub(crate) fn failure(error: DaemonError) -> Failure {
    Failure::new(error.exit_code(), chain(&error))
}
