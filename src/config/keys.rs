//! The schema: every key of a target, its default, and whether a running daemon can take a new value.
//!
//! This table is the only place that names a default. The settings, the shipped `scrubd.toml` and `scrubd.toml(5)` are
//! held to it by tests.

/// Largest number of I/Os in flight: 256 blocks of the largest size are 1 GiB of buffers a target.
pub const QUEUE_DEPTHS: std::ops::RangeInclusive<u32> = 1..=256;
/// Workers of one pool; 0 works inline. 64 at 3 GiB/s of BLAKE3 each are beyond any device.
pub const THREADS: std::ops::RangeInclusive<u32> = 0..=64;
/// Re-reads of a mismatch. None at all could not tell the path from the medium.
pub const REREADS: std::ops::RangeInclusive<u32> = 1..=100;

/// What holds where nobody says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This TOML value.
    Value(&'static str),
    /// The label decides; this TOML value is what `scrubd init` writes into a new label.
    Label(&'static str),
}

impl Fallback {
    /// The TOML value in either case.
    #[must_use]
    pub fn toml(self) -> &'static str {
        match self {
            Fallback::Value(toml) | Fallback::Label(toml) => toml,
        }
    }
}

/// Whether a running daemon can take a new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// On SIGHUP.
    Reload,
    /// Only by a new start.
    Restart,
}

/// One key of `[target.NAME]` and of `[defaults]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Dotted, as in `verify.readback_lag`.
    pub name: &'static str,
    /// What holds where nobody says anything.
    pub fallback: Fallback,
    /// Whether a running daemon can take a new value.
    pub change: Change,
}

const fn key(name: &'static str, toml: &'static str, change: Change) -> Key {
    Key { name, fallback: Fallback::Value(toml), change }
}

const fn of_label(name: &'static str, toml: &'static str) -> Key {
    Key { name, fallback: Fallback::Label(toml), change: Change::Restart }
}

/// All keys, in the order of the manual.
pub const KEYS: &[Key] = &[
    key("path", r#""off""#, Change::Restart),
    key("serial", r#""off""#, Change::Restart),
    of_label("offset", "0"),
    of_label("length", r#""rest""#),
    key("mode", r#""burn-in""#, Change::Restart),
    of_label("block_size", r#""64KiB""#),
    of_label("atom", r#""device""#),
    of_label("order", r#""random""#),
    of_label("digest", r#""crc32c""#),
    key("promise", r#""flush""#, Change::Restart),
    key("queue_depth", "32", Change::Restart),
    key("flush_every", r#""128MiB""#, Change::Reload),
    key("on_finding", r#""stop""#, Change::Reload),
    key("rate", r#""off""#, Change::Reload),
    key("patrol.rate", r#""off""#, Change::Reload),
    key("patrol.pass_time", r#""off""#, Change::Reload),
    key("verify.retention", "false", Change::Reload),
    key("verify.readback_lag", r#""1GiB""#, Change::Reload),
    key("verify.threads", "2", Change::Restart),
    key("verify.cpus", r#""all""#, Change::Restart),
    key("verify.on_start", r#""after-cut""#, Change::Reload),
    key("verify.deadline", r#""60s""#, Change::Reload),
    key("verify.rereads", "3", Change::Reload),
    key("seal.threads", "1", Change::Restart),
    key("seal.cpus", r#""all""#, Change::Restart),
    key("trigger.file", r#""off""#, Change::Reload),
    key("trigger.signal", r#""USR2""#, Change::Reload),
    key("trigger.after", r#""off""#, Change::Reload),
    key("trigger.writes", r#""off""#, Change::Reload),
    key("trigger.command", r#""off""#, Change::Reload),
    key("trigger.io", r#""flush""#, Change::Reload),
    key("trigger.then", r#""exit""#, Change::Reload),
    key("trigger.timeout", r#""30s""#, Change::Reload),
];

/// The key of this dotted name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether keys live below this name, as `verify.threads` below `verify`.
pub(super) fn is_table(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The name that was probably meant, if one is near.
pub(super) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let tail = |name: &str| name.rsplit('.').next().map(str::len).unwrap_or_default();
    let length = wrong.chars().count();
    let near = |name: &'a str| {
        let limit = (tail(name) / 3).max(1);
        // `threads` for `verify.threads` is a forgotten table, whatever the distance says.
        let distance = match name.ends_with(&format!(".{wrong}")) {
            true => 1,
            // What differs more in length is further away: nearly all names need no measuring.
            false if length.abs_diff(name.chars().count()) > limit => return None,
            false => distance(wrong, name),
        };
        (distance <= limit).then_some((distance, name))
    };
    names.into_iter().filter_map(near).min_by_key(|&(distance, _)| distance).map(|(_, name)| name)
}

/// Levenshtein's edit distance. Words beyond 64 characters are near to nothing, so the cost stays bounded.
fn distance(a: &str, b: &str) -> usize {
    if a.len().max(b.len()) > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_finds_its_neighbour_and_nonsense_finds_none() {
        let names = || KEYS.iter().map(|key| key.name);
        assert_eq!(nearest("verify.readbak_lag", names()), Some("verify.readback_lag"));
        assert_eq!(nearest("readback_lag", names()), Some("verify.readback_lag"));
        assert_eq!(nearest("blocksize", names()), Some("block_size"));
        assert_eq!(nearest("colour", names()), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), names()), None);
    }

    #[test]
    fn no_key_is_a_table_too() {
        assert!(KEYS.iter().all(|key| !is_table(key.name)));
        assert!(is_table("verify") && !is_table("verif"));
    }
}
