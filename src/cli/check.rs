//! `scrubd check`: a read-only verdict over the whole region. Nothing is changed anywhere.

use super::args::Args;
use super::exit::Failure;
use super::{chosen, progress, run, state, talk};
use crate::daemon::{self, Ended, Job};
use crate::engine::{Mode, Outcome, Settings};
use crate::ledger::State;
use crate::ledger::state_dir::Layout;
use crate::report::json::{self, Summary};
use crate::report::{FindingKey, Judgement, Overall, quarantine, text};
use crate::ring;
use crate::target::{self, Access, LOCK_WAIT, OpenTarget};
use std::collections::BTreeSet;

pub(crate) fn run(args: &Args, no_state: bool) -> Result<u8, Failure> {
    let settings = chosen::target(args)?;
    let layout = state::layout(&settings.state_dir)?;
    let known = state::remembered(&layout);
    let target = target::open(&chosen::spec(&settings), Access::ReadOnly, LOCK_WAIT, known.as_ref())?;
    run::refuse_contradictions(&settings, &target)?;
    let no_directory = state::no_directory(&layout);
    let (loaded, reported) = match &no_directory {
        // What stands there is not read as if it were one.
        Some(why) => (state::Loaded { remarks: vec![why.clone()], checkpoint: None }, Vec::new()),
        None => from_state_dir(&layout, &target, no_state),
    };
    let remarks = loaded.remarks;
    let (name, run_id, blocks) = (settings.name.clone(), target.run_id, target.geometry.blocks());
    let logged: BTreeSet<String> = remarks.iter().chain(&target.warnings).cloned().collect();
    let job = Job {
        name: name.clone(),
        engine: Settings {
            mode: Mode::Check,
            ignore_state: no_state,
            passes: None,
            ..daemon::engine_settings(&settings)
        },
        ring: ring::Engine::Auto,
        saved: loaded.checkpoint,
        position: None,
        remarks,
        known: reported,
        duration: None,
        reload: None,
        observer: Some(progress::observer(progress::Goal::default())),
        target,
        settings: settings.clone(),
    };
    let ended = daemon::check(job).map_err(run::failure)?;
    talk::show(None);
    let Ended { judgement, outcome, warnings, .. } = ended;
    let unsaid: Vec<String> = warnings.into_iter().filter(|warning| !logged.contains(warning)).collect();
    unsaid.iter().for_each(|warning| tracing::error!("{warning}"));
    let mut code = outcome.exit_code();
    if let Some(mut judgement) = judgement {
        if let Some(why) = unprovable(&judgement) {
            tracing::warn!("{why}");
        }
        if outcome == Outcome::Kept && proves_nothing(&judgement) {
            (judgement.verdict, code) = (Overall::Incomplete, Outcome::Incomplete.exit_code());
        }
        // A label that is gone is a broken promise without a block.
        if outcome == Outcome::Broken {
            judgement.verdict = Overall::Violated;
        }
        // They come in the order of judging, the window first; a person reads by address.
        judgement.findings.sort_by_key(|finding| finding.block);
        talk::result(&match args.common.json {
            true => json::line(&name, run_id, &Summary::from(judgement)),
            false => text::verdict(&name, run_id, &judgement),
        });
    } else {
        let summary = Summary::unchecked(Overall::Incomplete, settings.promise, blocks);
        talk::result(&match args.common.json {
            true => json::line(&name, run_id, &summary),
            false => format!("{name}: incomplete: not every block was judged"),
        });
    }
    Ok(code)
}

/// What the state directory has to say, and what was reported before.
fn from_state_dir(layout: &Layout, target: &OpenTarget, no_state: bool) -> (state::Loaded, Vec<FindingKey>) {
    let mut loaded = if no_state { state::Loaded::default() } else { state::look(layout, target) };
    let has_ledger = loaded.checkpoint.is_some();
    loaded.remarks.extend(state::shared_fate(target, layout.dir()).filter(|_| has_ledger));
    if let Some(latch) = quarantine::read(layout.dir()) {
        loaded.remarks.push(format!("the target is quarantined: {}", latch.reason));
    }
    let reported = daemon::known::load(layout.dir()).unwrap_or_else(|error| {
        loaded.remarks.push(format!("what was reported before cannot be read: {error}"));
        Vec::new()
    });
    loaded.remarks.extend(daemon::known::remark(layout.dir()).ok().flatten());
    (loaded, reported)
}

/// No block holds a write of this run, and no ledger says whether any should: of a fresh target and of one that has lost
/// everything nothing else is left. The engine finds nothing illegal in that; but nobody who asks may be told "intact".
fn proves_nothing(judgement: &Judgement) -> bool {
    judgement.state == State::Missing && judgement.blocks.unwritten == judgement.blocks.total
}

/// What a check without a ledger cannot know, in words.
fn unprovable(judgement: &Judgement) -> Option<String> {
    if judgement.state != State::Missing {
        return None;
    }
    let durable = judgement.frontiers.durable.filter(|durable| durable.0 > 0);
    Some(match durable {
        _ if proves_nothing(judgement) => {
            "no block holds a write of this run, and without a ledger nothing says whether one should: the target is \
             fresh, or everything is gone, and the verdict is incomplete"
                .to_owned()
        }
        Some(durable) => format!(
            "the tags prove what was promised below write {durable}; whether more was, only a ledger could tell"
        ),
        None => "no tag says that anything was durable: the blocks that are there are whole, and what should be there \
                 only a ledger could tell"
            .to_owned(),
    })
}
