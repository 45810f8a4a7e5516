//! `scrubd report`: what the state directory says about a target, as a page of HTML or a line of JSON.

use super::args::Args;
use super::exit::{CONFIGURATION, Failure, STATE_NOT_SAVED, chain};
use super::{chosen, state, talk};
use crate::report::dossier::Dossier;
use crate::report::html;

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let settings = chosen::target(args)?;
    let layout = state::layout(&settings.state_dir)?;
    if !layout.dir().is_dir() {
        let message = format!("{}: there is no state of {} to report", layout.dir().display(), settings.name);
        return Err(Failure::new(CONFIGURATION, message));
    }
    let dossier = Dossier::gather(&settings.name, layout.dir());
    let dossier = dossier.map_err(|error| Failure::new(STATE_NOT_SAVED, chain(&error)))?;
    talk::result(&match args.common.json {
        true => serde_json::to_string(&dossier).expect("plain values have a JSON form"),
        false => html::page(&dossier),
    });
    Ok(0)
}
