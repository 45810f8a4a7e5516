//! The three stages in a row: texts → fragments → inputs → settings. Pure: what it asks of the machine is an argument.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::accept;
use super::ad_hoc::{AdHoc, ad_hoc_input};
use super::error::{ConfigError, ConfigErrors, Origin};
use super::fragments::{Entry, parse_file, parse_set};
use super::inputs::{Inputs, merge};
use super::keys::nearest;
use super::settings::Settings;
use super::validate::{self, Environment};
use super::value::Value;

/// A source's text and the name that errors call it by.
#[derive(Clone, Debug)]
pub struct Text {
    /// As errors name it.
    pub path: PathBuf,
    /// TOML, it is hoped.
    pub text: String,
}

/// What the command line says beside the sources.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Judge and return only this target; `--set` means this one. `None`: all of them.
    pub target: Option<String>,
    /// `KEY=VALUE` each, in their order.
    pub sets: Vec<String>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
}

/// Settings from texts, later ones overriding single keys of earlier ones.
///
/// With a target selected, the values of the others are not judged, so that one bad drop-in cannot keep every disk of a
/// machine from being tested; what is not TOML, or no key at all, refuses all of them, since nobody knows whom it meant.
///
/// # Errors
/// Everything that is wrong.
pub fn from_texts(texts: &[Text], overrides: &Overrides, env: &Environment<'_>) -> Result<Settings, ConfigErrors> {
    settle(texts, overrides, env, Vec::new())
}

/// As [`from_texts`], for sources some of which could not even be read.
pub(super) fn settle(
    texts: &[Text],
    overrides: &Overrides,
    env: &Environment<'_>,
    mut errors: Vec<ConfigError>,
) -> Result<Settings, ConfigErrors> {
    let selected = overrides.target.as_deref();
    let fragments: Vec<_> = texts.iter().filter_map(|t| parse_file(&t.path, &t.text, &mut errors)).collect();
    let whole = errors.is_empty();
    let sets = parse_sets(&overrides.sets, &mut errors);
    // A key that stands in text nobody could read is not missing: judging the rest would accuse the wrong line.
    if !whole {
        return Err(in_reading_order(errors, texts));
    }
    let inputs = merge(fragments, &sets, selected);
    if let Some(unknown) = selected.filter(|name| !inputs.targets.contains_key(*name)) {
        errors.push(not_configured(unknown, &inputs));
    }
    judge(&inputs, overrides, env, errors).map_err(|errors| in_reading_order(errors.0, texts))
}

/// Files in the order in which they were read, each from its top: an administrator goes through them once. What no file
/// is to blame for comes last.
fn in_reading_order(mut errors: Vec<ConfigError>, texts: &[Text]) -> ConfigErrors {
    errors.sort_by_key(|error| match &error.origin {
        Some(Origin::File { path, line, column }) => {
            let file = texts.iter().position(|text| *text.path == **path).unwrap_or(texts.len());
            (file, *line, *column)
        }
        _ => (usize::MAX, 0, 0),
    });
    ConfigErrors(errors)
}

/// Settings of a file that was named on the command line; no configuration is read.
///
/// # Errors
/// Everything that is wrong.
pub fn from_ad_hoc(file: &AdHoc, overrides: &Overrides, env: &Environment<'_>) -> Result<Settings, ConfigErrors> {
    let mut errors = Vec::new();
    let sets = parse_sets(&overrides.sets, &mut errors);
    let inputs = ad_hoc_input(file, sets, &mut errors);
    let overrides = Overrides { target: None, ..overrides.clone() };
    let mut settings = judge(&inputs, &overrides, env, errors)?;
    settings.targets.values_mut().for_each(|target| target.ad_hoc = true);
    Ok(settings)
}

fn parse_sets(sets: &[String], errors: &mut Vec<ConfigError>) -> Vec<Entry> {
    sets.iter().filter_map(|set| parse_set(set).map_err(|error| errors.push(error)).ok()).collect()
}

fn judge(
    inputs: &Inputs,
    overrides: &Overrides,
    env: &Environment<'_>,
    mut errors: Vec<ConfigError>,
) -> Result<Settings, ConfigErrors> {
    let (state_dir, state_dir_origin) = match state_dir(inputs, overrides, env) {
        Ok(found) => found,
        Err(error) => {
            errors.push(error);
            (PathBuf::new(), Origin::Default)
        }
    };
    let selected = overrides.target.as_deref();
    let mut targets = BTreeMap::new();
    for (name, input) in inputs.targets.iter().filter(|(name, _)| selected.is_none_or(|selected| selected == *name)) {
        errors.extend(shared_trigger_file(name, inputs));
        errors.extend(shared_region(name, inputs));
        match validate::target(name, input, &state_dir, env) {
            Ok(settings) => drop(targets.insert(name.clone(), settings)),
            Err(wrong) => errors.extend(wrong),
        }
    }
    if errors.is_empty() { Ok(Settings { state_dir, state_dir_origin, targets }) } else { Err(ConfigErrors(errors)) }
}

fn state_dir(inputs: &Inputs, overrides: &Overrides, env: &Environment<'_>) -> Result<(PathBuf, Origin), ConfigError> {
    if let Some(path) = &overrides.state_dir {
        let origin = Origin::Option("--state-dir");
        if path.as_os_str().is_empty() {
            return Err(ConfigError::at(origin, "state_dir \"\" must be a path"));
        }
        return Ok((env.cwd.join(path), origin));
    }
    if let Some(said) = &inputs.state_dir {
        let wrong = |why: String| {
            ConfigError::at(said.origin.clone(), format!("state_dir {} {why}", said.value)).of_key("state_dir")
        };
        return accept::path(&said.value, None).map(|path| (path, said.origin.clone())).map_err(wrong);
    }
    let nowhere =
        || ConfigError::nowhere("no state directory: neither root nor $HOME, so say state_dir or --state-dir");
    env.default_state_dir.map(|path| (path.to_owned(), Origin::Default)).ok_or_else(nowhere)
}

fn not_configured(name: &str, inputs: &Inputs) -> ConfigError {
    let known: Vec<&str> = inputs.targets.keys().map(String::as_str).collect();
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if known.is_empty() => "no target is: say [target.NAME], or --file PATH".to_owned(),
        None => format!("configured are {}", known.join(", ")),
    };
    ConfigError::nowhere(format!("target {} is not configured: {hint}", super::value::quoted(name)))
}

/// A trigger file is unlinked by the daemon that sees it first. Two that share one would each miss half of the triggers,
/// and a rig would cut the power of a disk whose ledger was not saved.
fn shared_trigger_file(name: &str, inputs: &Inputs) -> Option<ConfigError> {
    let file_of = |input: &super::inputs::Input| match input.said.get("trigger.file") {
        Some(said) => match &said.value {
            Value::String(file) if Path::new(file).is_absolute() => Some((said.clone(), file.clone())),
            _ => None,
        },
        None => None,
    };
    let (said, file) = file_of(inputs.targets.get(name)?)?;
    let same = |input: &super::inputs::Input| file_of(input).is_some_and(|(_, other)| other == file);
    let (other, _) = inputs.targets.iter().find(|(other, input)| *other != name && same(input))?;
    let message = format!("trigger.file {} must not be the one of target \"{other}\" too", said.value);
    Some(ConfigError::at(said.origin, message).of_target(name).of_key("trigger.file"))
}

/// Each target has a ledger of its own, and would take what the other has written for a fault of the disk.
fn shared_region(name: &str, inputs: &Inputs) -> Option<ConfigError> {
    let value = |input: &super::inputs::Input, key| input.said.get(key).map(|said| said.value.to_string());
    let input = inputs.targets.get(name)?;
    let said = input.said.get("path").filter(|said| !said.value.is_string(super::reader::OFF))?;
    let same = |other: &super::inputs::Input| {
        ["path", "serial", "offset"].into_iter().all(|key| value(other, key) == value(input, key))
    };
    let (other, _) = inputs.targets.iter().find(|(other, input)| *other != name && same(input))?;
    let message = format!("path {} must not be the one of target \"{other}\" too, at the same offset", said.value);
    Some(ConfigError::at(said.origin.clone(), message).of_target(name).of_key("path"))
}
