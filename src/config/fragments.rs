//! Stage 1: the text of one source, as entries that know where they stand. Types and values are not judged here.
//!
//! The spanned tree of the `toml` crate is walked by hand rather than with serde: serde stops at the first unknown key,
//! and an administrator deserves to hear of all of them at once.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Origin};
use super::keys::{self, Key};
use super::value::{Said, Value};

/// A key of a target that someone said.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: &'static Key,
    pub(super) said: Said,
}

/// One source.
#[derive(Clone, Debug, Default)]
pub(super) struct Fragment {
    pub(super) state_dir: Option<Said>,
    pub(super) defaults: Vec<Entry>,
    pub(super) targets: Vec<TargetFragment>,
}

/// What one source says about one target.
#[derive(Clone, Debug)]
pub(super) struct TargetFragment {
    pub(super) name: String,
    /// Of the name, to blame for what is missing.
    pub(super) origin: Origin,
    pub(super) entries: Vec<Entry>,
}

/// Reads one file's text. `None`, with the reasons in `errors`, where it is not TOML at all; unknown keys are errors
/// too, but what else the file says is still worth judging.
pub(super) fn parse_file(path: &Path, text: &str, errors: &mut Vec<ConfigError>) -> Option<Fragment> {
    let place = Place { path: path.into(), text };
    let (root, broken) = DeTable::parse_recoverable(text);
    if broken.is_empty() {
        let mut walk = Walk { place, errors };
        return Some(walk.root(root.get_ref()));
    }
    errors.extend(broken.iter().map(|why| {
        let start = why.span().map_or(0, |span| span.start);
        ConfigError::at(place.at(start), format!("not TOML: {}", why.message().replace('\n', " ")))
    }));
    None
}

/// Reads one `--set KEY=VALUE`.
pub(super) fn parse_set(set: &str) -> Result<Entry, ConfigError> {
    let origin = Origin::Set(set.to_owned());
    let Some((name, value)) = set.split_once('=') else {
        return Err(ConfigError::at(origin, "must be KEY=VALUE, such as \"trigger.file=/run/cut\""));
    };
    match keys::find(name) {
        Some(key) => Ok(Entry { key, said: Said { value: Value::from_command_line(value), origin } }),
        None if name == "state_dir" => {
            Err(ConfigError::at(origin, "state_dir is not a key of a target: use --state-dir").of_key(name))
        }
        None => Err(ConfigError::at(origin, unknown(name)).of_key(name)),
    }
}

/// Turns byte offsets into lines and columns.
struct Place<'a> {
    path: Arc<Path>,
    text: &'a str,
}

impl Place<'_> {
    fn at(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Origin::File {
            path: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    fn of<T>(&self, spanned: &Spanned<T>) -> Origin {
        self.at(spanned.span().start)
    }
}

struct Walk<'a> {
    place: Place<'a>,
    errors: &'a mut Vec<ConfigError>,
}

impl Walk<'_> {
    fn root(&mut self, table: &DeTable<'_>) -> Fragment {
        let mut fragment = Fragment::default();
        for (name, value) in in_order(table) {
            match name.get_ref().as_ref() {
                "state_dir" => fragment.state_dir = Some(self.said(value)),
                "defaults" => fragment.defaults = self.entries(name, value, None),
                "target" => fragment.targets = self.targets(value),
                other => {
                    let hint = match keys::find(other) {
                        Some(_) => format!("key \"{other}\" belongs into [target.NAME] or [defaults]"),
                        None => {
                            let other = super::value::quoted(other);
                            format!("unknown key {other}: known are state_dir, [defaults] and [target.NAME]")
                        }
                    };
                    self.errors.push(ConfigError::at(self.place.of(name), hint).of_key(other));
                }
            }
        }
        fragment
    }

    fn targets(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<TargetFragment> {
        let DeValue::Table(targets) = value.get_ref() else {
            self.errors.push(ConfigError::at(self.place.of(value), "target must be tables: [target.NAME]"));
            return Vec::new();
        };
        let mut fragments = Vec::new();
        for (name, value) in in_order(targets) {
            let origin = self.place.of(name);
            if let Err(wrong) = check_name(name.get_ref()) {
                self.errors.push(ConfigError::at(origin, wrong));
                continue;
            }
            let entries = self.entries(name, value, Some(name.get_ref()));
            fragments.push(TargetFragment { name: name.get_ref().to_string(), origin, entries });
        }
        fragments
    }

    fn entries<K: std::fmt::Display>(
        &mut self,
        name: &Spanned<K>,
        value: &Spanned<DeValue<'_>>,
        target: Option<&str>,
    ) -> Vec<Entry> {
        let mut entries = Vec::new();
        match value.get_ref() {
            DeValue::Table(table) => self.table("", table, target, &mut entries),
            _ => self.refuse(self.place.of(value), target, format!("{name} must be a table", name = name.get_ref())),
        }
        entries
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>, target: Option<&str>, entries: &mut Vec<Entry>) {
        for (name, value) in in_order(table) {
            let full = format!("{prefix}{}", name.get_ref());
            // A quoted "verify.threads" is one key with a dot in it, beside which verify.threads could stand again.
            let key = keys::find(&full).filter(|_| !name.get_ref().contains('.'));
            match (key, value.get_ref()) {
                (Some(key), _) => entries.push(Entry { key, said: self.said(value) }),
                (None, DeValue::Table(inner)) if keys::is_table(&full) => {
                    self.table(&format!("{full}."), inner, target, entries);
                }
                (None, _) if keys::is_table(&full) => {
                    self.refuse(self.place.of(value), target, format!("{full} must be a table of keys"));
                }
                (None, _) => self.refuse(self.place.of(name), target, unknown(&full)),
            }
        }
    }

    fn refuse(&mut self, origin: Origin, target: Option<&str>, message: String) {
        let error = ConfigError::at(origin, message);
        self.errors.push(match target {
            Some(target) => error.of_target(target),
            None => error,
        });
    }

    fn said(&self, value: &Spanned<DeValue<'_>>) -> Said {
        Said { value: Value::from(value.get_ref()), origin: self.place.of(value) }
    }
}

/// Refuses a name that could not be a directory, a unit's instance or a word in a log.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first && name.len() <= 64 && name.bytes().all(plain) {
        return Ok(());
    }
    let name = super::value::quoted(name);
    Err(format!("target name {name} must be 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit"))
}

fn unknown(name: &str) -> String {
    let quoted = super::value::quoted(name);
    match keys::nearest(name, keys::KEYS.iter().map(|key| key.name)) {
        Some(near) => format!("unknown key {quoted}: did you mean \"{near}\"?"),
        None => format!("unknown key {quoted}: scrubd.toml(5) lists the keys of a target"),
    }
}

/// By place in the text, not by name: errors read in the order of the file.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut items: Vec<_> = table.iter().collect();
    items.sort_by_key(|(name, _)| name.span().start);
    items
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn errors_of(text: &str) -> Vec<String> {
        let mut errors = Vec::new();
        let _fragment = parse_file(Path::new("a.toml"), text, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_unknown_key_is_named_with_its_place() {
        let text = "stat_dir = 1\nmode = 'x'\n[target.bay3]\n  blocksize = 1\n  verify.thread = 2\n  seal = 3\n\
                    [target.bay3.trigger]\nfiles = ''\n[defaults]\nnope = 1\n";
        assert_eq!(
            errors_of(text),
            [
                "a.toml:1:1: unknown key \"stat_dir\": known are state_dir, [defaults] and [target.NAME]",
                "a.toml:2:1: key \"mode\" belongs into [target.NAME] or [defaults]",
                "a.toml:4:3: target \"bay3\": unknown key \"blocksize\": did you mean \"block_size\"?",
                "a.toml:5:10: target \"bay3\": unknown key \"verify.thread\": did you mean \"verify.threads\"?",
                "a.toml:6:10: target \"bay3\": seal must be a table of keys",
                "a.toml:8:1: target \"bay3\": unknown key \"trigger.files\": did you mean \"trigger.file\"?",
                "a.toml:10:1: unknown key \"nope\": scrubd.toml(5) lists the keys of a target",
            ]
        );
    }

    #[test]
    fn a_quoted_key_with_a_dot_is_not_the_dotted_key() {
        let errors = errors_of("[target.a]\n\"verify.threads\" = 1\nverify.threads = 2\n\"a\\nb\" = 1\n");
        assert!(errors[0].starts_with("a.toml:2:1: target \"a\": unknown key \"verify.threads\""), "{errors:?}");
        assert_eq!(errors[1].lines().count(), 1, "a line break in a key forges no line");
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_every_place() {
        let errors = errors_of("[target.a]\npath = \n\nserial = 'x\n");
        assert!(errors.len() >= 2 && errors.iter().all(|e| e.contains(": not TOML: ")), "{errors:?}");
        assert!(errors[0].starts_with("a.toml:2:"), "{errors:?}");
        let twice = errors_of("[target.a]\npath = '/a'\npath = '/b'\n");
        assert!(twice[0].starts_with("a.toml:3:1: not TOML: duplicate key"), "{twice:?}");
    }

    #[test]
    fn columns_count_characters_and_names_are_checked() {
        let errors = errors_of("[target.\"bäy\"]\n[target.ok]\n'é' = 1\n[target.'../x']\n[[targets]]\n[target]\n");
        assert!(errors.iter().any(|e| e.starts_with("a.toml:1:9: target name \"bäy\" must be")), "{errors:?}");
        assert!(errors_of("target = 3").iter().any(|e| e == "a.toml:1:10: target must be tables: [target.NAME]"));
        assert!(errors_of("[[target]]\npath = '/x'").iter().any(|e| e.contains("[target.NAME]")));
        for name in ["", ".", "..", "-a", "a/b", "a b", "a\nb", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert_eq!(check_name("0bay.3_x-Y"), Ok(()));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), near in "(\\[target\\.[a-z]\\]\n|[a-z_.]{1,12} = [0-9a-z\"'{\\[]{0,6}\n){0,6}") {
            for text in [text, near] {
                let _errors = errors_of(&text);
            }
        }
    }
}
