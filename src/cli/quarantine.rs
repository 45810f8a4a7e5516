//! `scrubd quarantine clear`: after the evidence has been looked at.

use super::args::Args;
use super::exit::{Failure, STATE_NOT_SAVED, chain};
use super::{chosen, state, talk};
use crate::report::quarantine::{self, Quarantine};

pub(crate) fn clear(args: &Args) -> Result<u8, Failure> {
    let settings = chosen::target(args)?;
    let layout = state::layout(&settings.state_dir)?;
    let why = quarantine::read(layout.dir());
    let cleared = quarantine::clear(layout.dir()).map_err(|error| Failure::new(STATE_NOT_SAVED, chain(&error)))?;
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

/// Why a target is quarantined, indented by two.
pub(crate) fn words(quarantine: &Quarantine) -> String {
    let since = if quarantine.at.is_empty() { "unknown" } else { &quarantine.at };
    format!("  reason     {}\n  since      {since}", quarantine.reason)
}
