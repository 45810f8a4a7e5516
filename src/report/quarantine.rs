//! The latch: once a finding has set it, the target stays quarantined until someone has looked at the evidence.
//!
//! The file's existence is the latch; its contents only explain it. `touch QUARANTINE` latches too, and a file that
//! cannot be read counts as latched: the error to make is to stop.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::ledger::state_dir::{names, remedy, replace_durably, sync_dir};

/// Longest file that is read, in bytes: what [`set`] writes is far below.
const READ_MAX: u64 = 1 << 20;

/// Why a target is quarantined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quarantine {
    /// In words.
    pub reason: String,
    /// RFC 3339, UTC, nanoseconds; empty where the file does not say.
    pub at: String,
    /// Summary of the finding that set it; `null` where there is none.
    pub finding: serde_json::Value,
}

/// What could not be done; the errno is in `source`.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The target must be treated as quarantined all the same, and the finding is not latched.
    #[error("cannot set the quarantine {path}; {}", remedy(source))]
    Set {
        /// The latch.
        path: PathBuf,
        /// With errno.
        source: io::Error,
    },
    /// The target is still quarantined, or is so after the next power cut.
    #[error("cannot clear the quarantine {path}; {}", remedy(source))]
    Clear {
        /// The latch.
        path: PathBuf,
        /// With errno.
        source: io::Error,
    },
}

/// Sets the latch durably. A latch that is set keeps its first reason; `false` says that it was.
///
/// # Errors
/// When it is not known to be durable.
pub fn set(dir: &Path, at: SystemTime, reason: &str, finding: &impl Serialize) -> Result<bool, QuarantineError> {
    let path = dir.join(names::QUARANTINE);
    let write = || {
        if fs::symlink_metadata(&path).is_ok() {
            // Whoever set it may have been cut off before it was durable.
            sync_dir(dir)?;
            return Ok(false);
        }
        let finding = serde_json::to_value(finding).map_err(io::Error::other)?;
        let at = humantime::format_rfc3339_nanos(at).to_string();
        let mut json = serde_json::to_vec_pretty(&Quarantine { reason: reason.to_owned(), at, finding })?;
        json.push(b'\n');
        replace_durably(&path, &json).or_else(|error| {
            // On a full disk there may be no room for the reason. The name alone latches: what was found must not be
            // written over because of that.
            tracing::error!("the quarantine has no room for its reason: {error}");
            fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path)?.sync_all()?;
            sync_dir(dir)
        })?;
        Ok(true)
    };
    write().map_err(|source| QuarantineError::Set { path: path.clone(), source })
}

/// Whether the target is quarantined, and why. Changes nothing.
#[must_use]
pub fn read(dir: &Path) -> Option<Quarantine> {
    let explain = |reason: String| Quarantine { reason, at: String::new(), finding: serde_json::Value::Null };
    let mut text = String::new();
    let contents = fs::File::open(dir.join(names::QUARANTINE)).and_then(|f| f.take(READ_MAX).read_to_string(&mut text));
    match contents {
        Ok(_) => Some(serde_json::from_str(&text).unwrap_or_else(|_| explain("the file does not say why".to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(explain(format!("the file cannot be read: {error}"))),
    }
}

/// Lifts the quarantine: the file becomes `quarantine-cleared.<n>.json`, whose path is returned. `None`: it was not set.
///
/// # Errors
/// When it is still set, or its lifting is not known to be durable.
pub fn clear(dir: &Path) -> Result<Option<PathBuf>, QuarantineError> {
    let path = dir.join(names::QUARANTINE);
    let cleared = (1u32..).map(|n| dir.join(format!("quarantine-cleared.{n}.json")));
    let cleared =
        cleared.into_iter().find(|path| fs::symlink_metadata(path).is_err()).expect("fewer than 2^32 of them");
    match fs::rename(&path, &cleared).and_then(|()| sync_dir(dir)) {
        Ok(()) => Ok(Some(cleared)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(QuarantineError::Clear { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AT: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_latch_keeps_its_first_reason_until_it_is_cleared_and_is_then_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), None);
        assert_eq!(clear(dir.path()).unwrap(), None);
        for n in 1..=2 {
            assert!(set(dir.path(), AT, "lost_write at block 7", &json!({"class": "lost_write"})).unwrap());
            assert!(!set(dir.path(), AT, "later", &json!(null)).unwrap());
            let latched = read(dir.path()).unwrap();
            assert_eq!(
                (latched.reason.as_str(), latched.at.as_str()),
                ("lost_write at block 7", "1970-01-01T00:00:00.000000000Z")
            );
            assert_eq!(latched.finding, json!({"class": "lost_write"}));
            let cleared = clear(dir.path()).unwrap().unwrap();
            assert_eq!(cleared, dir.path().join(format!("quarantine-cleared.{n}.json")));
            assert_eq!(serde_json::from_slice::<Quarantine>(&fs::read(cleared).unwrap()).unwrap(), latched);
            assert_eq!(read(dir.path()), None);
        }
    }

    #[test]
    fn a_latch_that_says_nothing_or_cannot_be_read_still_holds() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("QUARANTINE"), "").unwrap();
        assert_eq!(read(dir.path()).unwrap().reason, "the file does not say why");
        clear(dir.path()).unwrap().unwrap();
        fs::create_dir(dir.path().join("QUARANTINE")).unwrap();
        assert!(read(dir.path()).unwrap().reason.starts_with("the file cannot be read: "));
    }

    #[test]
    fn a_latch_that_cannot_be_set_says_where_and_why() {
        let error = set(Path::new("/proc/nowhere"), AT, "x", &json!(null)).unwrap_err();
        assert!(error.to_string().starts_with("cannot set the quarantine /proc/nowhere/QUARANTINE; "), "{error}");
    }

    /// A finding met a full state disk: the reason could not be written, nothing was latched, and once there was room
    /// again the next run wrote over what had been found.
    #[test]
    fn a_latch_whose_reason_cannot_be_written_is_set_by_its_name_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(format!("{}.new", names::QUARANTINE))).unwrap();
        assert!(set(dir.path(), AT, "lost_write", &"a finding").unwrap());
        assert_eq!(read(dir.path()).unwrap().reason, "the file does not say why");
        assert!(clear(dir.path()).unwrap().is_some());
        assert_eq!(read(dir.path()), None);
    }
}
