//! The evidence of each finding, kept as files: `findings/<n>/`.
//!
//! | file | contents |
//! |---|---|
//! | `summary.txt` | what was promised and what is there instead, for anybody |
//! | `finding.json` | the finding, as reported, and its circumstances |
//! | `found.bin` | the block as it was read |
//! | `expected.bin` | the block as rebuilt, where it can be |
//! | `diff.txt` | the difference, for people |
//! | `before.bin`, `after.bin` | the neighbouring blocks, where they were read |
//!
//! A directory appears whole or not at all. Beyond the bounds below findings are only counted, in `findings/LEFT_OUT`,
//! whose first word is the count.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::ledger::state_dir::{create_durably, names, remedy, replace_durably, sync_dir};

/// Most findings whose evidence is kept.
pub const FINDINGS_MAX: u64 = 256;

/// Most evidence that is kept, in bytes: 1 MiB each on average, or 16 findings of four 4 MiB blocks.
pub const BYTES_MAX: u64 = 256 << 20;

const LEFT_OUT: &str = "LEFT_OUT";
const NEW: &str = ".new";

/// A finding with all there is to show for it. Blocks are raw bytes.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a, F> {
    /// Becomes `finding.json`.
    pub finding: &'a F,
    /// What was read.
    pub found: &'a [u8],
    /// What should have been there.
    pub expected: Option<&'a [u8]>,
    /// The account of it for somebody who does not know scrubd.
    pub summary: &'a str,
    /// The difference, as readable text.
    pub diff: &'a str,
    /// The block before.
    pub before: Option<&'a [u8]>,
    /// The block after.
    pub after: Option<&'a [u8]>,
}

/// Where the evidence went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Into this directory.
    At {
        /// The `n` of `findings/<n>`.
        number: u64,
        /// The directory.
        path: PathBuf,
    },
    /// Nowhere, the bounds being reached: so many findings were left out by now.
    LeftOut(u64),
}

/// The evidence could not be kept. The finding stands all the same: report it, and say this with it.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep evidence in {path}; {}", remedy(source))]
pub struct EvidenceError {
    /// What was being written.
    pub path: PathBuf,
    /// With errno.
    pub source: io::Error,
}

/// The findings directory of one target.
#[derive(Debug)]
pub struct EvidenceRoom {
    dir: PathBuf,
    next: u64,
    kept: u64,
    bytes: u64,
    left_out: u64,
    /// As `LEFT_OUT` says it.
    left_out_noted: u64,
    bounds: (u64, u64),
}

impl EvidenceRoom {
    /// Opens or creates `findings/` in a target's state directory, and counts what is there.
    ///
    /// # Errors
    /// When it cannot be created, read or tidied.
    pub fn open(state_dir: &Path) -> Result<EvidenceRoom, EvidenceError> {
        EvidenceRoom::open_with_bounds(state_dir, FINDINGS_MAX, BYTES_MAX)
    }

    /// As [`EvidenceRoom::open`] with other bounds, in findings and in bytes.
    ///
    /// # Errors
    /// When it cannot be created, read or tidied.
    pub fn open_with_bounds(state_dir: &Path, findings: u64, bytes: u64) -> Result<EvidenceRoom, EvidenceError> {
        let dir = state_dir.join(names::FINDINGS);
        let mut room = EvidenceRoom {
            dir: dir.clone(),
            next: 1,
            kept: 0,
            bytes: 0,
            left_out: 0,
            left_out_noted: 0,
            bounds: (findings, bytes),
        };
        room.count().map(|()| room).map_err(|source| EvidenceError { path: dir, source })
    }

    /// How many findings have been left out by now.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// There is room for no finding more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.kept >= self.bounds.0 || self.bytes >= self.bounds.1
    }

    /// Counts a finding whose evidence is not kept.
    pub fn leave_out(&mut self) {
        self.left_out += 1;
    }

    /// Keeps the evidence of a finding durably, or counts it where the bounds are reached: see
    /// [`EvidenceRoom::note_left_out`].
    ///
    /// # Errors
    /// It is not there, or not known to be durable. The next finding is tried anew.
    pub fn keep<F: Serialize>(&mut self, evidence: &Evidence<'_, F>) -> Result<Kept, EvidenceError> {
        let path = self.dir.join(self.next.to_string());
        let finding = serde_json::to_vec_pretty(evidence.finding)
            .map_err(|error| EvidenceError { path: path.join("finding.json"), source: error.into() })?;
        let files = [
            ("summary.txt", Some(evidence.summary.as_bytes())),
            ("finding.json", Some(finding.as_slice())),
            ("found.bin", Some(evidence.found)),
            ("expected.bin", evidence.expected),
            ("diff.txt", Some(evidence.diff.as_bytes())),
            ("before.bin", evidence.before),
            ("after.bin", evidence.after),
        ];
        let files = files.iter().filter_map(|(name, contents)| Some((*name, (*contents)?)));
        let bytes = files.clone().map(|(_, contents)| contents.len() as u64).sum::<u64>();
        if self.kept >= self.bounds.0 || self.bytes.saturating_add(bytes) > self.bounds.1 {
            self.left_out += 1;
            return Ok(Kept::LeftOut(self.left_out));
        }
        let new = self.dir.join(NEW);
        let number = self.next;
        // Used up also by a failure: its directory may be there, when only the last step failed, and then it counts.
        self.next += 1;
        let written = self.write(&new, &path, files);
        if written.is_ok() || path.is_dir() {
            self.kept += 1;
            self.bytes += bytes;
        }
        match written {
            Ok(()) => Ok(Kept::At { number, path }),
            Err(error) => {
                // Best effort, as the failure is already told: what remains goes before the next finding is written.
                drop(sweep(&new));
                Err(error)
            }
        }
    }

    /// Contents, then their names, then the name of the whole: each durable before the next, so that a cut leaves all
    /// of `findings/<n>` or nothing of it.
    fn write<'f>(
        &self,
        new: &Path,
        path: &Path,
        files: impl Iterator<Item = (&'static str, &'f [u8])>,
    ) -> Result<(), EvidenceError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            |source| EvidenceError { path, source }
        };
        sweep(new).and_then(|()| create_durably(new)).map_err(at(new))?;
        for (name, contents) in files {
            let file = new.join(name);
            write_durably(&file, contents).map_err(at(&file))?;
        }
        sync_dir(new).map_err(at(new))?;
        fs::rename(new, path).map_err(at(path))?;
        sync_dir(&self.dir).map_err(at(&self.dir))
    }

    /// Writes durably how many findings were left out, when that has changed: once for many, as thousands may be left
    /// out at once.
    ///
    /// # Errors
    /// The count on disk is an older one. The next call tries again.
    pub fn note_left_out(&mut self) -> Result<(), EvidenceError> {
        if self.left_out == self.left_out_noted {
            return Ok(());
        }
        let (findings, bytes) = self.bounds;
        let path = self.dir.join(LEFT_OUT);
        let note = format!(
            "{} findings were left out: evidence is kept of at most {findings} findings, {bytes} bytes in all.\n\
             The event log has them one by one, but for those beyond the first 1000 of a check: these are counted,\n\
             and grouped by what they have in common, in its verdict.\n",
            self.left_out
        );
        replace_durably(&path, note.as_bytes()).map_err(|source| EvidenceError { path, source })?;
        self.left_out_noted = self.left_out;
        Ok(())
    }

    fn count(&mut self) -> io::Result<()> {
        create_durably(&self.dir)?;
        sweep(&self.dir.join(NEW))?;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) else { continue };
            self.next = self.next.max(number.saturating_add(1));
            if !entry.file_type()?.is_dir() {
                continue;
            }
            self.kept += 1;
            for file in fs::read_dir(entry.path())? {
                self.bytes += file?.metadata()?.len();
            }
        }
        let note = self.dir.join(LEFT_OUT);
        match fs::read(&note) {
            Ok(text) => match first_word(&text) {
                Some(count) => (self.left_out, self.left_out_noted) = (count, count),
                // Not ours any more: kept aside, as counting on from nothing over it would hide that there was a count.
                None => fs::rename(&note, self.dir.join("LEFT_OUT.unreadable"))?,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What a cut or an error left half written was never reported as kept.
fn sweep(new: &Path) -> io::Result<()> {
    match fs::remove_dir_all(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_durably(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn first_word(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn evidence(finding: &Value) -> Evidence<'_, Value> {
        let (summary, diff) = ("torn", "bit 3");
        Evidence { finding, found: &[1; 600], expected: None, summary, diff, before: Some(&[2; 300]), after: None }
    }

    fn numbers(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn evidence_is_kept_whole_and_numbering_goes_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let finding = json!({"class": "torn", "block": 7});
        for number in 1..=3 {
            let mut room = EvidenceRoom::open(dir.path()).unwrap();
            let path = dir.path().join("findings").join(number.to_string());
            assert_eq!(room.keep(&evidence(&finding)).unwrap(), Kept::At { number, path: path.clone() });
            assert_eq!(numbers(&path), ["before.bin", "diff.txt", "finding.json", "found.bin", "summary.txt"]);
            assert_eq!(fs::read(path.join("found.bin")).unwrap(), [1; 600]);
            let read: Value = serde_json::from_slice(&fs::read(path.join("finding.json")).unwrap()).unwrap();
            assert_eq!(read, finding);
        }
    }

    #[test]
    fn beyond_the_bounds_findings_are_counted_and_the_count_outlives_a_restart() {
        for (findings, bytes) in [(2, u64::MAX), (99, 2500)] {
            let dir = tempfile::tempdir().unwrap();
            let open = || EvidenceRoom::open_with_bounds(dir.path(), findings, bytes).unwrap();
            let finding = json!({"class": "torn"});
            let mut room = open();
            (0..2).for_each(|_| assert!(matches!(room.keep(&evidence(&finding)), Ok(Kept::At { .. }))));
            assert_eq!(room.keep(&evidence(&finding)).unwrap(), Kept::LeftOut(1));
            room.note_left_out().unwrap();
            let mut room = open();
            assert_eq!(room.keep(&evidence(&finding)).unwrap(), Kept::LeftOut(2));
            room.note_left_out().unwrap();
            assert_eq!(open().left_out(), 2);
            let note = fs::read_to_string(dir.path().join("findings/LEFT_OUT")).unwrap();
            assert!(note.starts_with("2 findings were left out"), "{note}");
            assert_eq!(numbers(&dir.path().join("findings")), ["1", "2", "LEFT_OUT"]);
        }
    }

    #[test]
    fn a_cut_while_evidence_was_written_leaves_none_of_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("findings/.new")).unwrap();
        fs::write(dir.path().join("findings/.new/found.bin"), "half").unwrap();
        EvidenceRoom::open(dir.path()).unwrap();
        assert!(numbers(&dir.path().join("findings")).is_empty());
    }

    #[test]
    fn evidence_that_cannot_be_written_says_so_and_the_next_one_is_tried_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut room = EvidenceRoom::open(dir.path()).unwrap();
        let finding = json!({});
        let in_the_way = dir.path().join("findings/1");
        fs::write(&in_the_way, "").unwrap();
        let error = room.keep(&evidence(&finding)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot keep evidence in {}; ", in_the_way.display())));
        fs::remove_file(in_the_way).unwrap();
        assert!(matches!(room.keep(&evidence(&finding)), Ok(Kept::At { number: 2, .. })));
        assert_eq!(numbers(&dir.path().join("findings")), ["2"]);
    }

    #[test]
    fn a_note_that_cannot_be_read_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("findings")).unwrap();
        fs::write(dir.path().join("findings/LEFT_OUT"), "many").unwrap();
        assert_eq!(EvidenceRoom::open(dir.path()).unwrap().left_out(), 0);
        assert_eq!(numbers(&dir.path().join("findings")), ["LEFT_OUT.unreadable"]);
    }
}
