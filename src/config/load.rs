//! The thin loader: reads files and asks the machine; decides nothing.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::ad_hoc::AdHoc;
use super::error::{ConfigError, ConfigErrors};
use super::settings::Settings;
use super::settle::{Overrides, Text, from_ad_hoc, settle};
use super::validate::Environment;

/// Where the configuration of the machine lives: `scrubd.toml`, then `conf.d/*.toml`.
pub const SYSTEM_DIRECTORY: &str = "/etc/scrubd";

/// A configuration of a thousand targets is some 100 KiB; a file of more than this is a mistake (a disk image, say).
const LARGEST_FILE: u64 = 1 << 20;

/// Where settings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `scrubd.toml` in this directory, then `conf.d/*.toml` by name; either may be missing. See [`SYSTEM_DIRECTORY`].
    Directory(PathBuf),
    /// `--config FILE`: this file, which must exist, and nothing else.
    File(PathBuf),
    /// `--file PATH`: no configuration at all.
    AdHoc(AdHoc),
}

/// Reads and judges the configuration. `validate_cpus` refuses CPUs that do not exist or are not permitted.
///
/// # Errors
/// Everything that is wrong. A file that exists but cannot be read is wrong: falling back to defaults would test the
/// disk for a promise that nobody asked about.
pub fn load(
    source: &Source,
    overrides: &Overrides,
    validate_cpus: &dyn Fn(&[usize]) -> Result<(), String>,
) -> Result<Settings, ConfigErrors> {
    let nowhere = |why| ConfigErrors::from(ConfigError::nowhere(format!("the current directory is unknown: {why}")));
    let cwd = std::env::current_dir().map_err(nowhere)?;
    let default_state_dir = default_state_dir();
    let env = Environment {
        cwd: &cwd,
        validate_cpus,
        find_program: &in_path,
        default_state_dir: default_state_dir.as_deref(),
    };
    let mut errors = Vec::new();
    let texts = match source {
        Source::AdHoc(ad_hoc) => return from_ad_hoc(ad_hoc, overrides, &env),
        Source::File(file) => read(file, &mut errors).into_iter().collect(),
        Source::Directory(directory) => read_directory(directory, &mut errors),
    };
    settle(&texts, overrides, &env, errors)
}

/// `/var/lib/scrubd` for root, else `scrubd` in `$XDG_STATE_HOME`, else in `~/.local/state`. `None`: there is no home.
#[must_use]
pub fn default_state_dir() -> Option<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/scrubd"));
    }
    // The XDG Base Directory Specification: relative paths are to be ignored.
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("scrubd"))
}

fn read_directory(directory: &Path, errors: &mut Vec<ConfigError>) -> Vec<Text> {
    let main = directory.join("scrubd.toml");
    // Only a file that is not there is no file: a dangling link or a directory without permission is a mistake.
    let main = match fs::symlink_metadata(&main) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => None,
        _ => read(&main, errors),
    };
    let mut drop_ins = Vec::new();
    match drop_in_files(&directory.join("conf.d")) {
        Ok(files) => drop_ins = files,
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        Err(why) => errors.push(unreadable(&directory.join("conf.d"), &why)),
    }
    main.into_iter().chain(drop_ins.iter().filter_map(|file| read(file, errors))).collect()
}

fn drop_in_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        // An editor's `.#bay3.toml` is nobody's configuration.
        if name.as_bytes().ends_with(b".toml") && !name.as_bytes().starts_with(b".") {
            files.push(directory.join(name));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn read(path: &Path, errors: &mut Vec<ConfigError>) -> Option<Text> {
    match read_bounded(path) {
        Ok(text) => Some(Text { path: path.to_owned(), text }),
        Err(why) => {
            errors.push(unreadable(path, &why));
            None
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("larger than 1 MiB, which no configuration is"));
    }
    String::from_utf8(bytes).map_err(|why| {
        let line = why.as_bytes()[..why.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
        io::Error::other(format!("not UTF-8 in line {line}"))
    })
}

fn unreadable(path: &Path, why: &io::Error) -> ConfigError {
    ConfigError::nowhere(format!("{}: cannot be read: {why}", path.display()))
}

fn in_path(program: &str) -> bool {
    let executable = |file: &Path| file.is_file() && nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok();
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A relative entry of PATH means the directory of whoever starts the daemon, not the daemon's.
    std::env::split_paths(&path).any(|directory| directory.is_absolute() && executable(&directory.join(program)))
}
