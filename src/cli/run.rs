//! `scrubd run`: the daemon.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::args::{Args, Run};
use super::exit::{BROKEN, CONFIGURATION, Failure, STATE_NOT_SAVED, chain};
use super::{chosen, init, progress, quarantine as latch, state, talk};
use crate::config::{self, ConfigErrors, Origin, TargetSettings};
use crate::daemon::{self, DaemonError, Ended, Job, Reload, State, StatusReport};
use crate::engine::{self, Outcome};
use crate::ledger::state_dir::{Layout, StateDir};
use crate::report::event_log::{self, Entry};
use crate::report::json::{self, Summary};
use crate::report::text::{bytes, count, counted, rate, time};
use crate::report::{Finding, Frontiers, MAX_LISTED, Overall, quarantine, text};
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
        state_dir: dir.layout().dir().to_owned(),
        begun_ns: chosen::wall_ns(),
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
    Ok(end.tell(ended, args.common.json))
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
    state_dir: PathBuf,
    /// Wall clock at the start, in nanoseconds since 1970.
    begun_ns: u64,
    name: String,
    run: RunId,
    promise: Promise,
    blocks: u64,
}

impl End {
    fn tell(&self, ended: Ended, with_json: bool) -> u8 {
        let code = ended.outcome.exit_code();
        let findings = self.findings(&ended);
        let words = self.words(&ended, &findings);
        if with_json {
            talk::say(&words);
            talk::result(&json::line(&self.name, self.run, &self.summary(ended, findings)));
        } else {
            talk::result(&words);
        }
        code
    }

    /// What was found since the start: the event log has all of it, the last verdict only what its check met.
    fn findings(&self, ended: &Ended) -> Vec<Finding> {
        let listed = || ended.judgement.iter().flat_map(|judgement| judgement.findings.clone()).collect();
        if ended.status.engine.findings == 0 {
            return listed();
        }
        match event_log::read(&self.state_dir) {
            Ok(entries) => {
                entries.filter_map(Result::ok).filter_map(|entry| self.finding(entry)).take(MAX_LISTED).collect()
            }
            Err(error) => {
                tracing::warn!("not every finding is listed: {}", chain(&error));
                listed()
            }
        }
    }

    fn finding(&self, entry: Entry) -> Option<Finding> {
        let Entry::Event(event) = entry else { return None };
        if event.members.get("event").and_then(|name| name.as_str()) != Some("finding") {
            return None;
        }
        let finding: Finding = serde_json::from_value(event.members.into()).ok()?;
        (finding.wall_ns >= self.begun_ns).then_some(finding)
    }

    fn verdict(ended: &Ended) -> Overall {
        let unfinished = ended.judgement.as_ref().is_some_and(|judgement| judgement.verdict == Overall::Incomplete);
        match &ended.outcome {
            Outcome::Broken => Overall::Violated,
            Outcome::Kept | Outcome::CommandFailed(_) if !unfinished => Overall::Intact,
            // Of the disk nothing bad is known, and what was asked for did not come to its end.
            _ => Overall::Incomplete,
        }
    }

    /// The last check's verdict, moved on to where the run has come.
    fn summary(&self, ended: Ended, findings: Vec<Finding>) -> Summary {
        let verdict = Self::verdict(&ended);
        let StatusReport { engine, uptime_s, .. } = ended.status;
        let checked = ended.judgement.map(Summary::from);
        let mut summary = checked.unwrap_or_else(|| Summary::unchecked(verdict, self.promise, self.blocks));
        let new_in_check = |count: u64| count - summary.findings.iter().filter(|finding| finding.known).count() as u64;
        let while_running = engine.findings - summary.blocks.findings.map_or(0, new_in_check).min(engine.findings);
        summary.blocks.findings = Some(summary.blocks.findings.unwrap_or(0) + while_running);
        summary.verdict = verdict;
        summary.promise = self.promise;
        summary.state = summary.state.or(engine.state);
        summary.frontiers =
            Frontiers { durable: Some(engine.durable), issued: Some(engine.next), reserved: Some(engine.reserved) };
        summary.bytes = engine.bytes;
        summary.elapsed_s = uptime_s;
        summary.findings = findings;
        summary
    }

    fn words(&self, ended: &Ended, findings: &[Finding]) -> String {
        let StatusReport { engine, uptime_s, .. } = &ended.status;
        let conclusion = match &ended.outcome {
            Outcome::Kept if Self::verdict(ended) == Overall::Intact => "intact: every promise was kept".to_owned(),
            Outcome::Kept => "no broken promise was found; not every block was judged".to_owned(),
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
        let warnings: BTreeSet<&String> = ended.warnings.iter().chain(&ended.status.warnings).collect();
        lines.extend(warnings.into_iter().map(|warning| format!("  warning    {warning}")));
        lines.extend(findings.iter().map(text::finding));
        lines.join("\n")
    }
}
