//! `scrubd run`: the daemon.

use std::collections::BTreeSet;

use super::args::{Args, Run};
use super::exit::{BROKEN, CONFIGURATION, Failure, STATE_NOT_SAVED, chain};
use super::{chosen, init, progress, quarantine as latch, state, talk};
use crate::config::{self, ConfigErrors, Origin, TargetSettings};
use crate::daemon::{self, DaemonError, Ended, Job, Reload, State, StatusReport};
use crate::engine::{self, Outcome};
use crate::ledger::state_dir::{Layout, StateDir};
use crate::report::json::{self, Summary};
use crate::report::text::{bytes, count, counted, rate, time};
use crate::report::{Frontiers, Overall, quarantine, text};
use crate::ring;
use crate::target::{self, Access, Kind, LOCK_WAIT, LabelState, OpenTarget, TargetError};
use crate::vocabulary::{Promise, RunId};

pub(crate) fn run(args: &Args, options: &Run) -> Result<u8, Failure> {
    let settings = chosen::target(args)?;
    let layout = state::layout(&settings.state_dir)?;
    let (target, dir) = open_or_make(&settings, args, layout)?;
    refuse_contradictions(&settings, &target)?;
    let state::Claimed { dir, store, choice, loaded, moved } = state::claim(dir, &target)?;
    if let Some(failure) = latched(&settings, &target, &dir)? {
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
    let end = End {
        name: settings.name.clone(),
        run: target.run_id,
        promise: settings.promise,
        blocks: target.geometry.blocks(),
    };
    let owner = state::owner(&target);
    let job = Job {
        name: settings.name.clone(),
        target,
        engine: engine::Settings { passes: options.passes, ..daemon::engine_settings(&settings) },
        ring: ring::Engine::Auto,
        saved: loaded.checkpoint,
        remarks,
        known,
        duration: options.duration,
        reload: Some(reload(args.clone())),
        observer: Some(progress::observer(progress::Goal { duration: options.duration, passes: options.passes })),
        settings,
    };
    let ended = daemon::run(job, State { dir, store, choice, owner }).map_err(failure)?;
    talk::show(None);
    end.tell(ended, args.common.json)
}

/// An ad-hoc file that does not exist is made and labelled; everything else must be there and labelled.
fn open_or_make(settings: &TargetSettings, args: &Args, layout: Layout) -> Result<(OpenTarget, StateDir), Failure> {
    let known = state::remembered(&layout);
    match target::open(&chosen::spec(settings), Access::ReadWrite, LOCK_WAIT, known.as_ref()) {
        Ok(target) => Ok((target, StateDir::claim(layout)?)),
        Err(TargetError::NotFound { path }) if settings.ad_hoc => {
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

/// The label is lost from what is proven to be the same target: a finding.
pub(crate) fn label_gone(target: &OpenTarget) -> Option<String> {
    match &target.label {
        LabelState::Present(_) => None,
        LabelState::Gone { fault, expected } => Some(format!(
            "the label of run {} is gone from the same target: {fault}; a promise was broken",
            expected.run_id
        )),
    }
}

/// The target is quarantined, or is so from now on.
fn latched(settings: &TargetSettings, target: &OpenTarget, dir: &StateDir) -> Result<Option<Failure>, Failure> {
    let state_dir = dir.layout().dir();
    if let Some(gone) = label_gone(target) {
        quarantine::set(state_dir, std::time::SystemTime::now(), &gone, &serde_json::Value::Null)
            .map_err(|error| Failure::new(STATE_NOT_SAVED, chain(&error)))?;
    }
    Ok(quarantine::read(state_dir).map(|why| {
        let name = &settings.name;
        let evidence = dir.layout().findings();
        let message = format!(
            "{name} is quarantined: a promise was broken, and nothing is written until somebody has looked\n{}\n  \
             evidence   {}\nthen: scrubd quarantine clear, with the same target and --state-dir",
            latch::words(&why),
            evidence.display(),
        );
        Failure::new(BROKEN, message)
    }))
}

fn reload(args: Args) -> Reload {
    Box::new(move || chosen::target(&args).map_err(|failure| failure.message))
}

pub(crate) fn failure(error: DaemonError) -> Failure {
    Failure::new(error.exit_code(), chain(&error))
}

/// What the last words need.
struct End {
    name: String,
    run: RunId,
    promise: Promise,
    blocks: u64,
}

impl End {
    fn tell(&self, ended: Ended, with_json: bool) -> Result<u8, Failure> {
        let code = ended.outcome.exit_code();
        let warned = ended.warnings.iter().chain(&ended.status.warnings).collect::<BTreeSet<_>>();
        let words = self.words(&ended, warned.len());
        if with_json {
            talk::say(&words);
            talk::result(&json::line(&self.name, self.run, &self.summary(ended)));
        } else {
            talk::result(&words);
        }
        Ok(code)
    }

    fn verdict(&self, outcome: &Outcome) -> Overall {
        match outcome {
            Outcome::Broken => Overall::Violated,
            Outcome::Kept | Outcome::CommandFailed(_) => Overall::Intact,
            // Of the disk nothing bad is known, and what was asked for did not come to its end.
            Outcome::StateNotSaved(_) | Outcome::DeviceErrors(_) | Outcome::Incomplete => Overall::Incomplete,
        }
    }

    /// The last check's verdict, moved on to where the run has come.
    fn summary(&self, ended: Ended) -> Summary {
        let StatusReport { engine, uptime_s, .. } = ended.status;
        let checked = ended.judgement.map(Summary::from);
        let mut summary = checked.unwrap_or_else(|| Summary::unchecked(Overall::Intact, self.promise, self.blocks));
        summary.verdict = self.verdict(&ended.outcome);
        summary.promise = self.promise;
        summary.state = summary.state.or(engine.state);
        summary.frontiers =
            Frontiers { durable: Some(engine.durable), issued: Some(engine.next), reserved: Some(engine.reserved) };
        summary.bytes = engine.bytes;
        summary.elapsed_s = uptime_s;
        summary
    }

    fn words(&self, ended: &Ended, warnings: usize) -> String {
        let StatusReport { engine, uptime_s, .. } = &ended.status;
        let conclusion = match &ended.outcome {
            Outcome::Kept => "intact: every promise was kept".to_owned(),
            Outcome::Broken => "VIOLATED: a promise was broken".to_owned(),
            Outcome::StateNotSaved(why) => format!("stopped: the state could not be saved: {why}"),
            Outcome::DeviceErrors(why) => format!("stopped: the device fails: {why}"),
            Outcome::CommandFailed(why) => format!("intact, but the trigger's command did not do its work: {why}"),
            Outcome::Incomplete => "incomplete: stopped before every block was judged".to_owned(),
        };
        let elapsed = std::time::Duration::try_from_secs_f64(*uptime_s).unwrap_or_default();
        let (durable, next, reserved) = (count(engine.durable.0), count(engine.next.0), count(engine.reserved.0));
        let amount = |amount| format!("{} ({})", bytes(amount), rate(amount, elapsed));
        let mut lines = vec![
            format!("{}: {conclusion}", self.name),
            format!("  run        {}, {} survived", self.run, counted(engine.cuts, "cut")),
            format!("  promise    {}", text::promise(self.promise)),
            format!("  frontiers  durable {durable}, issued {next}, reserved {reserved}"),
            format!("  written    {} in {}, up to pass {}", amount(engine.bytes.written), time(elapsed), engine.pass),
            format!("  verified   {}", amount(engine.bytes.verified)),
            format!("  findings   {}", count(engine.findings)),
        ];
        if warnings > 0 {
            lines.push(format!("  warnings   {}, in the log above", count(warnings as u64)));
        }
        let found = ended.judgement.iter().flat_map(|judgement| &judgement.findings);
        lines.extend(found.map(text::finding));
        lines.join("\n")
    }
}
