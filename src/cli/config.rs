//! `scrubd config check` and `scrubd config show`.

use super::args::Args;
use super::exit::Failure;
use super::talk;
use crate::config::{self, Settings, Shown};
use crate::report::text;

pub(crate) fn check(args: &Args) -> Result<u8, Failure> {
    let settings = load(args)?;
    let names: Vec<&str> = settings.targets.keys().map(String::as_str).collect();
    talk::result(&match args.common.json {
        true => serde_json::json!({ "valid": true, "targets": names }).to_string(),
        false => match names.as_slice() {
            [] => "the configuration is valid; it names no target".to_owned(),
            names => {
                format!(
                    "the configuration is valid: {}: {}",
                    text::counted(names.len() as u64, "target"),
                    names.join(", ")
                )
            }
        },
    });
    Ok(0)
}

pub(crate) fn show(args: &Args) -> Result<u8, Failure> {
    let settings = load(args)?;
    talk::result(if args.common.json { json(&settings) } else { config::to_toml(&settings) }.trim_end());
    Ok(0)
}

fn load(args: &Args) -> Result<Settings, Failure> {
    let permitted = |cpus: &[usize]| crate::pool::check_cpus(cpus).map_err(|error| error.to_string());
    Ok(config::load(&args.source(), &args.overrides(), &permitted)?)
}

fn json(settings: &Settings) -> String {
    let key = |Shown { key, value, origin }: Shown| {
        (key.to_owned(), serde_json::json!({ "value": value, "origin": origin.to_string() }))
    };
    let targets = settings.targets.iter();
    let targets = targets.map(|(name, target)| (name.clone(), config::shown(target).into_iter().map(key).collect()));
    let targets: serde_json::Map<String, serde_json::Value> = targets.collect();
    let origin = settings.state_dir_origin.to_string();
    let state_dir = serde_json::json!({ "value": settings.state_dir, "origin": origin });
    serde_json::json!({ "state_dir": state_dir, "targets": targets }).to_string()
}
