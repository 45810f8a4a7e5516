//! A target that is named on the command line with `--file`: no configuration stands behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Origin};
use super::fragments::{Entry, check_name};
use super::inputs::{Input, Inputs};
use super::value::{Said, Value};

/// `--file PATH --size SIZE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdHoc {
    /// As it was given; relative to the shell's directory.
    pub file: PathBuf,
    /// Length of the region, label included, in bytes.
    pub size: Option<u64>,
}

/// The name of an ad-hoc target: its file's name, where that can be a target's name; else that with every other
/// character replaced by `_`, and eight digits of a hash of the original, so that `a b` and `a_b` stay apart.
///
/// The directory is left out on purpose. A file is identified by its label, not by its path: mounted elsewhere after a
/// cut it must find its state again. Two files of one name in two directories do name the same state directory; but state
/// is bound to the run id, so that the second run moves the first one's state aside, under its run id and aloud, and never
/// reads it as its own.
///
/// # Errors
/// When the path names no file, as `/` or `..` do.
pub fn name_of_file(file: &Path) -> Result<String, String> {
    let name = file.file_name().ok_or_else(|| format!("\"{}\" names no file", file.display()))?;
    if let Some(plain) = name.to_str().filter(|name| check_name(name).is_ok()) {
        return Ok(plain.to_owned());
    }
    let hash = blake3::hash(name.as_encoded_bytes()).to_hex();
    let lossy = name.to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    // 55 + 1 + 8 are the 64 that a name may have; `file` stands where a leading letter or digit is missing.
    let start = lossy.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let start = if start.is_empty() { "file" } else { start };
    let start: String = start.chars().map(plain).take(55).collect();
    Ok(format!("{start}-{}", &hash[..8]))
}

/// The input of the one target, as if a table of the configuration had said it.
pub(super) fn ad_hoc_input(ad_hoc: &AdHoc, sets: Vec<Entry>, errors: &mut Vec<ConfigError>) -> Inputs {
    let origin = Origin::Option("--file");
    let name = match (name_of_file(&ad_hoc.file), ad_hoc.file.to_str()) {
        (Ok(name), Some(_)) => name,
        (Ok(_), None) => {
            let path = ad_hoc.file.display();
            errors.push(ConfigError::at(origin, format!("path \"{path}\" must be valid UTF-8")).of_key("path"));
            return Inputs::default();
        }
        (Err(why), _) => {
            errors.push(ConfigError::at(origin, why).of_key("path"));
            return Inputs::default();
        }
    };
    let mut said = BTreeMap::new();
    let path = Value::String(ad_hoc.file.to_string_lossy().into_owned());
    said.insert("path", Said { value: path, origin: origin.clone() });
    if let Some(size) = ad_hoc.size {
        said.insert("length", Said { value: Value::Integer(size.into()), origin: Origin::Option("--size") });
    }
    for Entry { key, said: set } in sets {
        // Of two that say the same key, neither may win in silence: they come from one command line.
        match said.get(key.name) {
            Some(Said { origin: Origin::Option(option), .. }) => {
                let message = format!("{} is given by {option} already", key.name);
                errors.push(ConfigError::at(set.origin, message).of_target(&name).of_key(key.name));
            }
            _ => drop(said.insert(key.name, set)),
        }
    }
    Inputs { state_dir: None, targets: BTreeMap::from([(name, Input { origin, said })]) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_ad_hoc_target_is_named_after_its_file() {
        assert_eq!(name_of_file(Path::new("/mnt/a/disk.img")), Ok("disk.img".to_owned()));
        assert_eq!(name_of_file(Path::new("disk.img")), Ok("disk.img".to_owned()));
        let names = ["a b", "a_b", "a\tb", "été", ".hidden", "-", "a\nb"].map(|f| name_of_file(Path::new(f)).unwrap());
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        for path in ["/", "..", ".", ""] {
            assert!(name_of_file(Path::new(path)).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_file_has_a_valid_name(file in "[^/\0]{1,80}") {
            prop_assume!(file != "." && file != "..");
            let name = name_of_file(Path::new(&file)).unwrap();
            prop_assert_eq!(check_name(&name), Ok(()));
        }
    }
}
