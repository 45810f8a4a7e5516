//! Takes keys out of one target's input, one at a time, and remembers everything that is wrong with them.

use std::path::Path;

use toml::de::DeValue;

use super::error::ConfigError;
use super::inputs::Input;
use super::keys;
use super::settings::Origins;
use super::value::{Said, Value};

/// Unsets a key that has no value by default; so a drop-in can take back what `[defaults]` says.
pub(super) const OFF: &str = "off";

pub(super) struct Reader<'a> {
    target: &'a str,
    input: &'a Input,
    pub(super) origins: Origins,
    pub(super) errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(target: &'a str, input: &'a Input) -> Self {
        let keys = input.said.iter().map(|(&key, said)| (key, said.origin.clone())).collect();
        let origins = Origins { target: input.origin.clone(), keys };
        Reader { target, input, origins, errors: Vec::new() }
    }

    /// The value of a key that may be unset; `unset` is the word for that.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        unset: &str,
        accept: impl FnOnce(&Said) -> Result<T, String>,
    ) -> Option<T> {
        assert!(keys::find(key).is_some(), "{key} is in the schema");
        let said = self.input.said.get(key).filter(|said| !said.value.is_string(unset))?;
        accept(said).map_err(|why| self.blame(key, &why)).ok()
    }

    /// The value of a key, or its default; the default too where the value is wrong, so that judging can go on.
    pub(super) fn value<T>(&mut self, key: &'static str, accept: impl Fn(&Value) -> Result<T, String>) -> T {
        let fallback = || accept(&fallback(key)).expect("defaults are valid: a test reads all of them");
        self.optional(key, "", |said| accept(&said.value)).unwrap_or_else(fallback)
    }

    /// A key's value is wrong: the predicate follows the key and the value.
    pub(super) fn blame(&mut self, key: &str, why: &str) {
        let said = self.input.said.get(key).map_or_else(|| fallback(key), |said| said.value.clone());
        self.blame_with(key, format!("{key} {said} {why}"));
    }

    /// A key's value is wrong: the message names both.
    pub(super) fn blame_with(&mut self, key: &str, message: String) {
        let origin = self.origins.to_blame(key).clone();
        self.errors.push(ConfigError::at(origin, message).of_target(self.target).of_key(key));
    }

    /// The directory that a relative path in this value is relative to, if it may be relative at all.
    pub(super) fn base<'c>(said: &Said, cwd: &'c Path) -> Option<&'c Path> {
        said.origin.is_command_line().then_some(cwd)
    }
}

fn fallback(key: &str) -> Value {
    let key = keys::find(key).expect("only keys of the schema are read");
    let value = DeValue::parse(key.fallback.toml()).expect("defaults are TOML: a test reads all of them");
    Value::from(value.get_ref())
}
