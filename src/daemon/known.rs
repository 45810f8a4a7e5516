//! Findings that were reported before: `known.jsonl` in the state directory, one key a line, oldest first.
//!
//! Why not taken from the event log: that one rotates, and a finding of two years ago would be told anew. A key is
//! appended after its finding is durable in the event log: a cut in between tells the finding twice, never not at all.
//! Lines that cannot be read are skipped; the worst that comes of it is the same.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::ledger::state_dir::{replace_durably, sync_dir};
use crate::report::FindingKey;

/// Keys that are remembered; beyond, the oldest are forgotten. At some 150 bytes: 10 MiB.
pub const KNOWN_MAX: usize = 1 << 16;

/// The file is cut back to [`KNOWN_MAX`] keys when it has grown beyond this, in bytes.
const FILE_MAX: u64 = 32 << 20;

const NAME: &str = "known.jsonl";

/// Reads what was reported before from a target's state directory, oldest first; changes nothing. No file is no
/// findings.
///
/// # Errors
/// When the file is there and cannot be read: all its findings would be told anew.
pub fn load(dir: &Path) -> io::Result<Vec<FindingKey>> {
    Ok(read(&dir.join(NAME))?.0)
}

/// What the user should hear about the file: lines that cannot be read, as many as there are.
///
/// # Errors
/// As [`load`].
pub fn remark(dir: &Path) -> io::Result<Option<String>> {
    let (_, damaged) = read(&dir.join(NAME))?;
    let lines = if damaged == 1 { "1 line" } else { &format!("{damaged} lines") };
    Ok((damaged > 0)
        .then(|| format!("{lines} of {NAME} cannot be read: a finding that was told before may be told again")))
}

/// The keys, oldest first, and the number of lines that are none.
fn read(path: &Path) -> io::Result<(Vec<FindingKey>, usize)> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(FILE_MAX + (1 << 20)).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let (mut keys, mut damaged) = (Vec::new(), 0);
    for line in lines {
        match serde_json::from_slice(line) {
            Ok(key) => keys.push(key),
            Err(_) => damaged += 1,
        }
    }
    Ok((keys.split_off(keys.len().saturating_sub(KNOWN_MAX)), damaged))
}

/// The file, open for appending.
#[derive(Debug)]
pub(super) struct Known {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Known {
    pub(super) fn open(dir: &Path) -> io::Result<Known> {
        let path = dir.join(NAME);
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > FILE_MAX) {
            let lines: Vec<u8> = read(&path)?.0.iter().flat_map(line).collect();
            replace_durably(&path, &lines)?;
        }
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        sync_dir(dir)?;
        let length = file.metadata()?.len();
        let mut known = Known { path, file, length };
        known.close_torn_line()?;
        Ok(known)
    }

    /// A line that a cut left open must not swallow the next one.
    fn close_torn_line(&mut self) -> io::Result<()> {
        let mut last = [b'\n'];
        if self.length > 0 {
            self.file.read_exact_at(&mut last, self.length - 1)?;
        }
        if last != [b'\n'] {
            self.file.write_all(b"\n")?;
            self.length += 1;
        }
        Ok(())
    }

    /// Remembers a key, not durably.
    pub(super) fn append(&mut self, key: &FindingKey) -> io::Result<()> {
        // The engine forgets beyond its own bound; a file that grows for as long as a process lives is cut back at the
        // next start, and stops growing here.
        if self.length > 2 * FILE_MAX {
            return Ok(());
        }
        let line = line(key);
        self.length += line.len() as u64;
        self.file.write_all(&line)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn line(key: &FindingKey) -> Vec<u8> {
    let mut line = serde_json::to_vec(key).expect("plain numbers and names");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(block: u64) -> FindingKey {
        let json = format!(
            r#"{{"block":{block},"found":null,"class":"corrupt","persistence":"persistent","errno":null,"contents":"0000000000000007"}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn what_was_reported_is_known_after_a_restart_and_a_torn_line_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap().is_empty());
        let mut known = Known::open(dir.path()).unwrap();
        known.append(&key(1)).unwrap();
        known.append(&key(2)).unwrap();
        known.flush().unwrap();
        let mut torn = fs::read(dir.path().join(NAME)).unwrap();
        torn.truncate(torn.len() - 5);
        fs::write(dir.path().join(NAME), torn).unwrap();
        Known::open(dir.path()).unwrap().append(&key(3)).unwrap();
        assert_eq!(load(dir.path()).unwrap(), [key(1), key(3)]);
        assert!(remark(dir.path()).unwrap().unwrap().starts_with("1 line of known.jsonl cannot be read"));
    }
}
