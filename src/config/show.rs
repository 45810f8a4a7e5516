//! The settings as TOML again, each value with its origin.

use std::path::Path;

use super::choices::{self, format_signal, word};
use super::cpus::format_cpus;
use super::durations::{format_after, format_duration};
use super::error::Origin;
use super::keys::{Fallback, KEYS, Key};
use super::settings::{FlushEvery, Settings, TargetSettings};
use super::sizes::{format_rate, format_size};
use super::value::quoted;

/// One key as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Dotted.
    pub key: &'static str,
    /// As TOML. `None`: the label decides.
    pub value: Option<String>,
    /// Where it was said.
    pub origin: Origin,
}

/// Every key of the schema, in its order.
#[must_use]
pub fn shown(settings: &TargetSettings) -> Vec<Shown> {
    let show = |key: &Key| Shown {
        key: key.name,
        value: value_of(settings, key.name),
        origin: settings.origins.of(key.name).clone(),
    };
    KEYS.iter().map(show).collect()
}

/// A configuration file that says the same: `scrubd config show`.
#[must_use]
pub fn to_toml(settings: &Settings) -> String {
    let mut lines = vec![line("state_dir", &quoted_path(&settings.state_dir), &settings.state_dir_origin)];
    for target in settings.targets.values() {
        lines.push(format!("\n[target.{}]", quoted(&target.name)));
        for (key, Shown { value, origin, .. }) in KEYS.iter().zip(shown(target)) {
            lines.push(match (value, key.fallback) {
                (Some(value), _) => line(key.name, &value, &origin),
                (None, Fallback::Label(init) | Fallback::Value(init)) => {
                    format!("#{} = {init}  # the label decides; init takes this", key.name)
                }
            });
        }
    }
    lines.join("\n") + "\n"
}

fn line(key: &str, value: &str, origin: &Origin) -> String {
    // An origin may quote `--set`, and that anything: a line break in it must not become a line of its own.
    let origin = origin.to_string().replace(char::is_control, "\u{fffd}");
    format!("{key} = {value}  # {origin}")
}

/// A key's value as TOML; `None` where the label decides.
///
/// # Panics
/// When the key is not in the schema.
pub(super) fn value_of(settings: &TargetSettings, key: &str) -> Option<String> {
    let TargetSettings { verify, seal, trigger, .. } = settings;
    Some(match key {
        "path" => or_off(settings.path.as_deref(), quoted_path),
        "serial" => or_off(settings.serial.as_deref(), quoted),
        "offset" => text(format_size(settings.offset?)),
        "length" => text(format_size(settings.length?)),
        "mode" => quoted(word(settings.mode, choices::MODES)),
        "block_size" => text(format_size(settings.block_size?.into())),
        "atom" => text(format_size(settings.atom?.into())),
        "order" => quoted(word(settings.order?, choices::ORDERS)),
        "digest" => quoted(word(settings.digest?, choices::DIGESTS)),
        "promise" => quoted(word(settings.promise, choices::PROMISES)),
        "queue_depth" => settings.queue_depth.to_string(),
        "flush_every" => text(match settings.flush_every {
            FlushEvery::Bytes(bytes) => format_size(bytes),
            FlushEvery::Time(time) => format_duration(time),
        }),
        "on_finding" => quoted(word(settings.on_finding, choices::ON_FINDING)),
        "rate" => or_off(settings.rate, |rate| text(format_rate(rate))),
        "patrol.rate" => or_off(settings.patrol.rate, |rate| text(format_rate(rate))),
        "patrol.pass_time" => or_off(settings.patrol.pass_time, |time| text(format_duration(time))),
        "verify.retention" => verify.retention.to_string(),
        "verify.readback_lag" => text(format_size(verify.readback_lag)),
        "verify.threads" => verify.threads.to_string(),
        "verify.cpus" => cpus(verify.cpus.as_deref()),
        "verify.on_start" => quoted(word(verify.on_start, choices::ON_START)),
        "verify.deadline" => text(format_duration(verify.deadline)),
        "verify.rereads" => verify.rereads.to_string(),
        "seal.threads" => seal.threads.to_string(),
        "seal.cpus" => cpus(seal.cpus.as_deref()),
        "trigger.file" => or_off(trigger.file.as_deref(), quoted_path),
        "trigger.signal" => text(format_signal(trigger.signal)),
        "trigger.after" => or_off(trigger.after, |after| text(format_after(after))),
        "trigger.writes" => or_off(trigger.writes, |writes| writes.to_string()),
        "trigger.command" => or_off(trigger.command.as_deref(), argv),
        "trigger.io" => quoted(word(trigger.io, choices::TRIGGER_IO)),
        "trigger.then" => quoted(word(trigger.then, choices::THEN)),
        "trigger.timeout" => text(format_duration(trigger.timeout)),
        other => panic!("{other} is in the schema, but cannot be shown"),
    })
}

fn or_off<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| quoted(super::reader::OFF), show)
}

fn text(text: String) -> String {
    quoted(&text)
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn cpus(cpus: Option<&[usize]>) -> String {
    quoted(&cpus.map_or_else(|| "all".to_owned(), format_cpus))
}

fn argv(argv: &[String]) -> String {
    let words: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}
