//! Configuration: errors have words, and what is accepted can be shown, read again, and is the same.
//!
//! What stands behind the first NUL is the command line: one `--set` a line.

use std::path::Path;

use scrubd::config::{
    self, AdHoc, ConfigErrors, Environment, Overrides, Settings, Text, format_after, format_cpus, format_duration,
    format_rate, format_size, parse_after, parse_cpus, parse_duration, parse_rate, parse_size, shown, to_toml,
};

pub fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (toml, line) = text.split_once('\0').unwrap_or((text, ""));
    let sets: Vec<String> = line.lines().map(str::to_owned).collect();
    let from_file = settle(toml, &sets);
    assert_eq!(from_file.as_ref().map_err(words), settle(toml, &sets).as_ref().map_err(words), "reading twice");
    match &from_file {
        Ok(settings) => shown_reads_back(settings),
        Err(errors) => errors_have_words(errors),
    }
    let file = AdHoc { file: "/x/disk.img".into(), size: Some(64 << 20) };
    if let Err(errors) = with_environment(|env| config::from_ad_hoc(&file, &overrides(&sets), env)) {
        errors_have_words(&errors);
    }
    values(toml);
}

fn with_environment<T>(use_it: impl FnOnce(&Environment<'_>) -> T) -> T {
    use_it(&Environment {
        cwd: Path::new("/somewhere"),
        validate_cpus: &|cpus| if cpus.iter().all(|cpu| *cpu < 64) { Ok(()) } else { Err("no such CPU".to_owned()) },
        find_program: &|_| true,
        default_state_dir: Some(Path::new("/var/lib/scrubd")),
    })
}

fn overrides(sets: &[String]) -> Overrides {
    Overrides { target: None, sets: sets.to_vec(), state_dir: None }
}

fn settle(toml: &str, sets: &[String]) -> Result<Settings, ConfigErrors> {
    let text = Text { path: "scrubd.toml".into(), text: toml.to_owned() };
    with_environment(|env| config::from_texts(&[text], &overrides(sets), env))
}

fn words(errors: &ConfigErrors) -> String {
    errors.to_string()
}

fn errors_have_words(errors: &ConfigErrors) {
    assert!(!errors.0.is_empty(), "refused for no reason");
    errors.0.iter().for_each(super::told);
}

/// `config show` is a configuration that means the same.
fn shown_reads_back(settings: &Settings) {
    let toml = to_toml(settings);
    let again = settle(&toml, &[]).unwrap_or_else(|errors| panic!("{toml}\nis refused: {errors}"));
    let values = |settings: &Settings| -> Vec<_> {
        let targets = settings.targets.iter();
        let keys = targets.flat_map(|(name, target)| shown(target).into_iter().map(move |key| (name.clone(), key)));
        keys.map(|(name, key)| (name, key.key, key.value)).collect()
    };
    assert_eq!(values(settings), values(&again), "{toml}");
}

/// Values by themselves: what is parsed is formatted so that it parses to the same.
fn values(text: &str) {
    if let Ok(size) = parse_size(text) {
        assert_eq!(parse_size(&format_size(size)), Ok(size));
    }
    if let Ok(rate) = parse_rate(text) {
        assert_eq!(parse_rate(&format_rate(rate)), Ok(rate));
    }
    if let Ok(duration) = parse_duration(text) {
        assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }
    if let Ok(after) = parse_after(text) {
        assert_eq!(parse_after(&format_after(after)), Ok(after));
    }
    if let Ok(cpus) = parse_cpus(text) {
        assert!(cpus.len() <= 1 << 20, "{} CPUs", cpus.len());
        assert_eq!(parse_cpus(&format_cpus(&cpus)), Ok(cpus));
    }
    for error in [parse_size(text).err(), parse_rate(text).err(), parse_cpus(text).err()].iter().flatten() {
        super::told(error);
    }
}
