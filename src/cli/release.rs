//! `scrubd release`: takes the label off a target and gives it back.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use super::args::Args;
use super::exit::{BROKEN, Failure, STATE_NOT_SAVED, chain};
use super::{chosen, quarantine as latch, state, talk};
use crate::ledger::state_dir::StateDir;
use crate::report::event_log::EventLog;
use crate::report::quarantine;
use crate::target::{self, Access, Identity, LOCK_WAIT, OpenTarget};
use crate::vocabulary::RunId;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Note<'a> {
    /// The label is about to go.
    Released { run_id: RunId, path: &'a std::path::Path, identity: &'a Identity },
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let settings = chosen::target(args)?;
    let layout = state::layout(&settings.state_dir)?;
    if let Some(why) = quarantine::read(layout.dir()) {
        let name = &settings.name;
        let words = latch::words(&why);
        let message = format!(
            "{name} is quarantined, and its label is part of the evidence\n{words}\nfirst look, then: scrubd quarantine clear"
        );
        return Err(Failure::new(BROKEN, message));
    }
    let known = state::remembered(&layout);
    let target = target::open(&chosen::spec(&settings), Access::ReadWrite, LOCK_WAIT, known.as_ref())?;
    let confirm = args.common.confirm.as_ref().map(|path| path.display().to_string());
    target::may_release(&target, confirm.as_deref())?;
    let run = known.map_or(target.run_id, |known| known.run_id);
    let kept = put_away(StateDir::claim(layout)?, run, &target)?;
    target::release(&target)?;
    let (name, path, run_id) = (&settings.name, target.path.display(), target.run_id);
    talk::result(&match args.common.json {
        true => serde_json::json!({
            "target": name, "released": true, "run_id": run_id, "path": target.path, "state": kept,
        })
        .to_string(),
        false => {
            let kept = kept.display();
            format!(
                "{name}: {path} is released, and no target any more\n  run        {run_id}\n  state      kept in {kept}"
            )
        }
    });
    Ok(0)
}

/// Moves the state aside, and says where to, with the release as its last event.
///
/// Before the label goes. A cut in between leaves a label without state, of which the tags tell what they prove; in the other
/// order it would leave state without a label, and the next start would hold that against the disk.
fn put_away(dir: StateDir, run: RunId, target: &OpenTarget) -> Result<PathBuf, Failure> {
    let not_saved = |error: &dyn std::error::Error| Failure::new(STATE_NOT_SAVED, chain(error));
    let (mut log, _) = EventLog::open(dir.layout().dir()).map_err(|error| not_saved(&error))?;
    let note = Note::Released { run_id: target.run_id, path: &target.path, identity: &target.identity };
    log.append_durable(SystemTime::now(), &note).map_err(|error| not_saved(&error))?;
    drop(log);
    let kept = dir.move_aside(run)?;
    state::hand_over(dir.layout());
    Ok(kept)
}
