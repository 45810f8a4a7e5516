//! The shipped `scrubd.toml`, `scrubd.toml(5)` and the schema say the same. None can drift without a test that fails.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use scrubd::config::keys::{Change, Fallback, KEYS};
use scrubd::config::{self, Environment, Overrides, Settings, Text};

const SAMPLE: &str = include_str!("../config/scrubd.toml");
const PAGE: &str = include_str!("../packaging/man/scrubd.toml.5");

/// Prose is `# …`; what can be uncommented is `#key = …` or `#[table]`.
fn is_key_line(line: &str) -> bool {
    line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
}

fn uncommented() -> String {
    let line = |line: &str| if is_key_line(line) { line[1..].to_owned() } else { line.to_owned() };
    SAMPLE.lines().map(|l| line(l) + "\n").collect()
}

fn settings(text: &str) -> Settings {
    let env = Environment {
        cwd: Path::new("/"),
        validate_cpus: &|_| Ok(()),
        find_program: &|_| false,
        default_state_dir: Some(Path::new("/var/lib/scrubd")),
    };
    let text = Text { path: PathBuf::from("scrubd.toml"), text: text.to_owned() };
    config::from_texts(&[text], &Overrides::default(), &env).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_shipped_file_says_nothing_until_it_is_edited() {
    assert_eq!(settings(SAMPLE).targets.len(), 0);
    assert!(SAMPLE.lines().all(|line| line.is_empty() || line.starts_with('#')));
}

#[test]
fn every_key_of_the_shipped_file_is_its_default() {
    let minimal = "[target.bay3]\npath = \"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4\"\n";
    let (mut all, defaults) = (settings(&uncommented()), settings(minimal));
    assert_eq!(all.state_dir, defaults.state_dir);
    let target = all.targets.get_mut("bay3").expect("the sample's target");
    // What the label decides differs by being said at all; a new label must come out the same.
    let init = |target| config::geometry_for_init(target, 1 << 40, 4096).expect("a geometry");
    assert_eq!(init(target), init(&defaults.targets["bay3"]));
    (target.offset, target.block_size, target.order, target.digest) = (None, None, None, None);
    assert_eq!(*target, defaults.targets["bay3"]);
}

#[test]
fn no_key_of_the_schema_is_missing_from_the_shipped_file_and_each_has_a_line_of_why() {
    let lines: Vec<&str> = SAMPLE.lines().collect();
    let mut named = BTreeSet::new();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| is_key_line(line) && !line.starts_with("#[")) {
        let (key, value) = line[1..].split_once(" = ").expect(line);
        assert!(lines[index - 1].starts_with("# "), "{key} is not explained");
        assert!(named.insert(key), "{key} stands there twice");
        if let Some(schema) = KEYS.iter().find(|schema| schema.name == key).filter(|_| key != "path") {
            assert_eq!(value, schema.fallback.toml(), "{key}");
        }
    }
    let schema: BTreeSet<&str> = KEYS.iter().map(|key| key.name).chain(["state_dir"]).collect();
    assert_eq!(named, schema);
}

#[test]
fn the_manual_names_every_key_with_its_default_and_whether_it_reloads() {
    let items: Vec<&str> = PAGE.split("\n.It Cm ").skip(1).collect();
    for key in KEYS {
        let mut of_key = items.iter().filter(|item| item.lines().next() == Some(key.name));
        let item = of_key.next().unwrap_or_else(|| panic!("{} is not in the page", key.name));
        assert_eq!(of_key.next(), None, "{} is in the page twice", key.name);
        let item = item.split("\n.El").next().unwrap_or_default();
        let (Fallback::Value(default) | Fallback::Label(default)) = key.fallback;
        let default = match default.strip_prefix('"') {
            Some(word) => format!("default\n.Qq {} ", word.trim_end_matches('"')),
            None => format!("default {default}."),
        };
        assert!(item.contains(&default), "{}: the page must say {default:?}", key.name);
        assert_eq!(item.contains("(reload)"), key.change == Change::Reload, "{}", key.name);
    }
    let known = |name: &str| name == "state_dir" || KEYS.iter().any(|key| key.name == name);
    for item in items {
        let name = item.lines().next().unwrap_or_default();
        assert!(known(name), "the page has a key {name} that does not exist");
    }
}

#[test]
fn the_example_of_the_manual_is_valid() {
    let example = PAGE.split(".Sh EXAMPLES").nth(1).expect("examples");
    let example = example.split(".Bd -literal -offset indent\n").nth(1).expect("one");
    let example = example.split("\n.Ed").next().expect("its end");
    assert_eq!(settings(example).targets.len(), 1);
}
