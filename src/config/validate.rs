//! Stage 3: what was said, judged, as settings. Every error is found, not just the first.

use std::path::Path;

use super::accept::{self, word};
use super::choices::{self, parse_signal};
use super::error::{ConfigError, Origin};
use super::geometry::judge_geometry;
use super::inputs::Input;
use super::keys::{QUEUE_DEPTHS, REREADS, THREADS};
use super::reader::{OFF, Reader};
use super::settings::{
    FlushEvery, Mode, PatrolSettings, SealSettings, TargetSettings, TriggerSettings, VerifySettings,
};
use super::value::{Said, Value};

/// What validation asks of the machine that it runs on.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// What a relative path on the command line is relative to.
    pub cwd: &'a Path,
    /// Refuses CPUs that do not exist or are not permitted, in words for the user.
    pub validate_cpus: &'a dyn Fn(&[usize]) -> Result<(), String>,
    /// Whether a program of this name, without a slash, is found in PATH.
    pub find_program: &'a dyn Fn(&str) -> bool,
    /// Where state lives where nobody says; `None` where there is no such place.
    pub default_state_dir: Option<&'a Path>,
}

impl std::fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("cwd", &self.cwd).finish_non_exhaustive()
    }
}

/// Judges one target. `state_dir` is the one of all targets.
pub(super) fn target(
    name: &str,
    input: &Input,
    state_dir: &Path,
    env: &Environment<'_>,
) -> Result<TargetSettings, Vec<ConfigError>> {
    let mut reader = Reader::new(name, input);
    let settings = TargetSettings {
        name: name.to_owned(),
        path: reader.optional("path", OFF, |said| accept::path(&said.value, Reader::base(said, env.cwd))),
        serial: reader.optional("serial", OFF, |said| serial(&said.value)),
        offset: reader.optional("offset", "", of(accept::size)),
        length: reader.optional("length", "rest", of(accept::size)),
        mode: reader.value("mode", |value| word(value, choices::MODES)),
        block_size: reader.optional("block_size", "", of(accept::size_u32)),
        atom: reader.optional("atom", "device", of(accept::size_u32)),
        order: reader.optional("order", "", |said| word(&said.value, choices::ORDERS)),
        digest: reader.optional("digest", "", |said| word(&said.value, choices::DIGESTS)),
        promise: reader.value("promise", |value| word(value, choices::PROMISES)),
        queue_depth: reader.value("queue_depth", |value| accept::count(value, QUEUE_DEPTHS)),
        flush_every: reader.value("flush_every", accept::flush_every),
        on_finding: reader.value("on_finding", |value| word(value, choices::ON_FINDING)),
        rate: reader.optional("rate", OFF, of(accept::rate)),
        patrol: PatrolSettings {
            rate: reader.optional("patrol.rate", OFF, of(accept::patrol_rate)),
            pass_time: reader.optional("patrol.pass_time", OFF, of(accept::some_time)),
        },
        verify: verify(&mut reader, env),
        seal: seal(&mut reader, env),
        trigger: trigger(&mut reader, env),
        state_dir: state_dir.join(name),
        ad_hoc: false,
        origins: reader.origins.clone(),
    };
    judge_identity(&mut reader, &settings);
    judge_geometry(&mut reader, &settings);
    judge_block_units(&mut reader, &settings);
    if reader.errors.is_empty() { Ok(settings) } else { Err(reader.errors) }
}

fn verify(reader: &mut Reader<'_>, env: &Environment<'_>) -> VerifySettings {
    let threads = reader.value("verify.threads", |value| accept::count(value, THREADS));
    VerifySettings {
        retention: reader.value("verify.retention", accept::yes_or_no),
        readback_lag: reader.value("verify.readback_lag", accept::size),
        threads,
        cpus: cpus(reader, "verify.cpus", threads, env),
        on_start: reader.value("verify.on_start", |value| word(value, choices::ON_START)),
        deadline: reader.value("verify.deadline", accept::some_time),
        rereads: reader.value("verify.rereads", |value| accept::count(value, REREADS)),
    }
}

fn seal(reader: &mut Reader<'_>, env: &Environment<'_>) -> SealSettings {
    let threads = reader.value("seal.threads", |value| accept::count(value, THREADS));
    SealSettings { threads, cpus: cpus(reader, "seal.cpus", threads, env) }
}

fn trigger(reader: &mut Reader<'_>, env: &Environment<'_>) -> TriggerSettings {
    TriggerSettings {
        file: reader.optional("trigger.file", OFF, |said| accept::path(&said.value, Reader::base(said, env.cwd))),
        signal: reader.value("trigger.signal", |value| parse_signal(accept::text(value)?)),
        after: reader.optional("trigger.after", OFF, of(accept::after)),
        writes: reader.optional("trigger.writes", OFF, of(accept::writes)),
        command: reader.optional("trigger.command", OFF, |said| accept::command(&said.value, env.find_program)),
        io: reader.value("trigger.io", |value| word(value, choices::TRIGGER_IO)),
        then: reader.value("trigger.then", |value| word(value, choices::THEN)),
        timeout: reader.value("trigger.timeout", accept::some_time),
    }
}

fn of<T>(accept: impl FnOnce(&Value) -> Result<T, String>) -> impl FnOnce(&Said) -> Result<T, String> {
    |said| accept(&said.value)
}

fn serial(value: &Value) -> Result<String, String> {
    match accept::text(value)? {
        serial if serial.trim().is_empty() => Err("must be the device's serial number or WWN".to_owned()),
        serial => Ok(serial.to_owned()),
    }
}

fn cpus(reader: &mut Reader<'_>, key: &'static str, threads: u32, env: &Environment<'_>) -> Option<Vec<usize>> {
    let cpus = reader.optional(key, "all", |said| {
        let cpus = accept::cpus(&said.value)?;
        (env.validate_cpus)(&cpus).map_err(|why| format!("cannot be used: {why}"))?;
        Ok(cpus)
    })?;
    // Inline work runs on the engine's thread. An affinity that nobody has would be a promise broken in silence.
    if threads == 0 {
        let table = key.split('.').next().unwrap_or_default();
        reader.blame(key, &format!("needs threads to pin: {table}.threads is 0"));
    }
    Some(cpus)
}

fn judge_identity(reader: &mut Reader<'_>, settings: &TargetSettings) {
    let blamed = reader.errors.iter().any(|error| matches!(error.key.as_deref(), Some("path" | "serial")));
    if settings.path.is_none() && settings.serial.is_none() && !blamed {
        reader.blame_with("path", "path or serial must be given".to_owned());
    }
}

/// What must hold a block at least. Where the label decides the block size, the smallest that there is; the label's own
/// is held against it in [`super::contradictions`].
fn judge_block_units(reader: &mut Reader<'_>, settings: &TargetSettings) {
    let block = settings.block_size.unwrap_or(*crate::vocabulary::BLOCK_SIZES.start());
    for key in below_one_block(settings, block) {
        reader.blame(key, &format!("must be at least one block, {}", super::format_size(block.into())));
    }
}

/// Keys that were said, and that nothing of a patrol depends on. They are not refused: a timer patrols the very targets
/// that are written otherwise.
#[must_use]
pub fn meaningless_on_patrol(settings: &TargetSettings) -> Vec<&'static str> {
    const OF_WRITING: [&str; 8] = [
        "flush_every",
        "verify.retention",
        "verify.readback_lag",
        "verify.on_start",
        "seal.threads",
        "seal.cpus",
        "trigger.writes",
        // What cuts the power of a rig while it writes must not cut it, month after month, while it is only read.
        "trigger.after",
    ];
    let said = |key: &&str| *settings.origins.of(key) != Origin::Default;
    let patrols = settings.mode == Mode::Patrol;
    OF_WRITING.into_iter().filter(|key| patrols && said(key)).collect()
}

/// The keys whose sizes hold no block of this size.
pub(super) fn below_one_block(settings: &TargetSettings, block_size: u32) -> impl Iterator<Item = &'static str> {
    let block = u64::from(block_size);
    let flush = matches!(settings.flush_every, FlushEvery::Bytes(bytes) if bytes < block);
    let lag = settings.verify.readback_lag < block;
    flush.then_some("flush_every").into_iter().chain(lag.then_some("verify.readback_lag"))
}
