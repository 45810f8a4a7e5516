//! `scrubd quarantine clear`: after the evidence has been looked at.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use super::args::Args;
use super::exit::{Failure, STATE_NOT_SAVED, chain};
use super::{chosen, state, talk};
use crate::ledger::state_dir::{Layout, StateDir};
use crate::report::event_log::EventLog;
use crate::report::quarantine::{self, Quarantine};

pub(crate) fn clear(args: &Args) -> Result<u8, Failure> {
    let settings = chosen::target(args)?;
    let layout = state::layout(&settings.state_dir)?;
    let why = quarantine::read(layout.dir());
    let cleared = match &why {
        Some(why) => lift(layout, why)?,
        None => None,
    };
    let name = &settings.name;
    let told = match (why, cleared, args.common.json) {
        (Some(why), Some(kept), true) => {
            serde_json::json!({ "target": name, "cleared": true, "was": why, "kept": kept }).to_string()
        }
        (_, _, true) => serde_json::json!({ "target": name, "cleared": false }).to_string(),
        (Some(why), Some(kept), false) => {
            format!("{name}: the quarantine is lifted\n{}\n  kept as    {}", words(&why), kept.display())
        }
        _ => format!("{name}: not quarantined, nothing to clear"),
    };
    talk::result(&told);
    Ok(0)
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Note<'a> {
    /// Somebody lifts the quarantine.
    QuarantineCleared { was: &'a Quarantine },
}

/// On record first: whoever finds the target written to again can read that somebody allowed it.
fn lift(layout: Layout, why: &Quarantine) -> Result<Option<PathBuf>, Failure> {
    // A daemon that is about to stop on its finding still writes to the log.
    let claimed = StateDir::claim(layout)?;
    let dir = claimed.layout().dir();
    let not_saved = |error: &dyn std::error::Error| Failure::new(STATE_NOT_SAVED, chain(error));
    let (mut log, _) = EventLog::open(dir).map_err(|error| not_saved(&error))?;
    log.append_durable(SystemTime::now(), &Note::QuarantineCleared { was: why }).map_err(|error| not_saved(&error))?;
    let kept = quarantine::clear(dir).map_err(|error| not_saved(&error))?;
    state::hand_over(claimed.layout());
    Ok(kept)
}

/// Why a target is quarantined, indented by two.
pub(crate) fn words(quarantine: &Quarantine) -> String {
    let since = if quarantine.at.is_empty() { "unknown" } else { &quarantine.at };
    format!("  reason     {}\n  since      {since}", quarantine.reason)
}
