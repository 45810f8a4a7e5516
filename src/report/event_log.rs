//! The event log: append-only lines of JSON, each with a number and a checksum, durable before anything acts on them.
//!
//! ```text
//! {"n":7,"at":"2026-03-01T12:00:00.000000000Z","event":"flush_failed","errno":5,"crc32c":"89abcdef"}
//! ```
//!
//! A line is one JSON object and a newline (0x0A), at most 256 KiB. `n` counts up by one, below 2^63; `at` is RFC 3339 in UTC with
//! nanoseconds. `crc32c` is the last member: CRC-32C (Castagnoli, as in RFC 3720) as eight lower-case hexadecimal digits,
//! over the bytes of the line from `{` up to and without `,"crc32c":"`; the line's last 21 bytes are not covered.
//!
//! `events.jsonl` is the newest file. At 64 MiB it becomes `events.1.jsonl`, that one `events.2.jsonl`, and so on; what
//! was `events.4.jsonl` is gone. Numbers run on across files and restarts. A number that is missing was lost in a cut
//! before it was durable, or belongs to a line that is damaged.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::ledger::state_dir::{names, remedy, sync_dir};

/// Longest line, in bytes, newline included: an event with a few hundred named blocks.
pub const LINE_MAX: usize = 256 << 10;

/// A file that would grow beyond this, in bytes, is rotated: 100,000 events of 600 bytes and more.
pub const FILE_MAX: u64 = 64 << 20;

/// Older files that are kept: with the newest, 320 MiB a target.
pub const OLDER_FILES: u32 = 4;

/// `,"crc32c":"01234567"}`
const TRAILER: usize = 21;
const TRAILER_START: &str = ",\"crc32c\":\"";

/// Why an event is not in the log, or not durably; the errno is in `source`.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log cannot be opened or read.
    #[error("cannot open the event log {path}; {}", remedy(source))]
    Open {
        /// The file.
        path: PathBuf,
        /// With errno.
        source: io::Error,
    },
    /// The line may be there in part. Its number is used up; appending the event again gives it a new one.
    #[error("cannot write event {number}; {}", remedy(source))]
    Write {
        /// The event's number.
        number: u64,
        /// With errno.
        source: io::Error,
    },
    /// Every line since the last successful flush may be lost: append again what something acts on.
    #[error("cannot make the event log durable up to event {number}; {}", remedy(source))]
    Flush {
        /// The newest event.
        number: u64,
        /// With errno.
        source: io::Error,
    },
    /// Nothing was appended; the next append tries again.
    #[error("cannot rotate the event log in {path}; {}", remedy(source))]
    Rotate {
        /// The directory.
        path: PathBuf,
        /// With errno.
        source: io::Error,
    },
    /// A fault of scrubd: nothing was appended.
    #[error("not an event: {0}")]
    NotAnEvent(String),
}

/// The log of one target, open for appending.
#[derive(Debug)]
pub struct EventLog {
    dir: PathBuf,
    file: Option<File>,
    /// The same file opened once more, with `file`: see [`EventLog::flush_beside`].
    twin: Option<Arc<File>>,
    length: u64,
    next: u64,
    /// The file does not end with a newline: the next line begins with one.
    torn: bool,
    /// The last flush failed, and nothing was appended since.
    flush_failed: bool,
    file_max: u64,
}

/// What was found in the newest file when the log was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The largest number of a whole line, in the newest file that has one.
    pub last: Option<u64>,
    /// Line numbers, from 1, of damaged lines: the first 64 of them.
    pub damaged_lines: Vec<u64>,
    /// How many lines are damaged.
    pub damaged: u64,
    /// The last line was cut short. It was closed with a newline, and numbering goes on behind it.
    pub torn: bool,
}

impl EventLog {
    /// Opens or creates the log in a target's state directory, and reads the newest file through.
    ///
    /// # Errors
    /// When it cannot be created, read or written.
    pub fn open(dir: &Path) -> Result<(EventLog, Found), LogError> {
        EventLog::open_with_limit(dir, FILE_MAX)
    }

    /// As [`EventLog::open`], rotating at another size in bytes.
    ///
    /// # Errors
    /// When it cannot be created, read or written.
    pub fn open_with_limit(dir: &Path, file_max: u64) -> Result<(EventLog, Found), LogError> {
        let path = dir.join(names::EVENTS);
        let failed = |source| LogError::Open { path: path.clone(), source };
        let (found, behind_last) = scan(dir).map_err(failed)?;
        let mut log = EventLog {
            dir: dir.to_owned(),
            file: None,
            twin: None,
            length: 0,
            next: found.last.unwrap_or(0) + behind_last + 1,
            torn: false,
            flush_failed: false,
            file_max,
        };
        let file = log.file().map_err(failed)?;
        if found.torn || !ends_with_newline(&path).map_err(failed)? {
            file.write_all(b"\n").map_err(failed)?;
            log.length += 1;
        }
        // What a killed process left in the page cache has just been read, and may be acted on.
        log.flush()?;
        Ok((log, found))
    }

    /// The number that the next event gets.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Appends an event: a struct or an enum that serialises to a JSON object with a string member `event`, and without
    /// members `n`, `at` and `crc32c`. Not durable: a cut may take it.
    ///
    /// # Errors
    /// See [`LogError`]. The log stays usable.
    pub fn append(&mut self, at: SystemTime, event: &impl Serialize) -> Result<u64, LogError> {
        let number = self.next;
        let line = line(number, at, event)?;
        self.make_room(line.len() as u64)?;
        // Used up from here on, whatever happens: a line that may be there in part must not share its number.
        self.next += 1;
        let closed = if self.torn { [b"\n", line.as_slice()].concat() } else { line };
        let write = |log: &mut EventLog| log.file()?.write_all(&closed);
        match write(self) {
            Ok(()) => {
                self.length += closed.len() as u64;
                (self.torn, self.flush_failed) = (false, false);
                Ok(number)
            }
            Err(source) => {
                self.torn = true;
                self.file = None;
                Err(LogError::Write { number, source })
            }
        }
    }

    /// Appends an event and makes the log durable up to and with it: what acts on the event comes after this.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn append_durable(&mut self, at: SystemTime, event: &impl Serialize) -> Result<u64, LogError> {
        let number = self.append(at, event)?;
        self.flush()?;
        Ok(number)
    }

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    /// Lines since the last success may be lost, and no later success vouches for them.
    pub fn flush(&mut self) -> Result<(), LogError> {
        // The kernel has forgotten which pages it could not write: asked again, it would say that all is well.
        let flushed = match &self.file {
            _ if self.flush_failed => Err(io::Error::from_raw_os_error(nix::libc::EIO)),
            Some(file) => file.sync_data(),
            None => Ok(()),
        };
        flushed.map_err(|source| {
            (self.file, self.flush_failed) = (None, true);
            LogError::Flush { number: self.next - 1, source }
        })
    }

    /// A flush of everything appended so far that may go on, on any thread, while lines are appended and flushed here.
    /// `None` where only [`EventLog::flush`] will do: something was lost, or nothing can be opened.
    ///
    /// It has an open file of its own. The kernel tells a failed write-back once to each: over one shared file either
    /// flush could take the other's failure away, and the other would succeed over lines that are lost.
    #[must_use]
    pub fn flush_beside(&self) -> Option<impl FnOnce() -> io::Result<()> + Send + use<>> {
        let twin = Arc::clone(self.twin.as_ref().filter(|_| !self.torn && !self.flush_failed && self.file.is_some())?);
        Some(move || twin.sync_data())
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let path = self.dir.join(names::EVENTS);
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
            sync_dir(&self.dir)?;
            self.length = file.metadata()?.len();
            // Before anything is appended through either: it hears of whatever happens to that.
            self.twin = File::open(self.dir.join(names::EVENTS)).ok().map(Arc::new);
            self.file = Some(file);
        }
        Ok(self.file.as_mut().expect("opened above"))
    }

    fn make_room(&mut self, bytes: u64) -> Result<(), LogError> {
        if self.length == 0 || self.length + bytes <= self.file_max {
            return Ok(());
        }
        if !self.flush_failed {
            self.flush()?;
        }
        self.file = None;
        rotate(&self.dir).map_err(|source| LogError::Rotate { path: self.dir.clone(), source })?;
        (self.length, self.torn) = (0, false);
        Ok(())
    }
}

/// From the oldest on, so that each step moves into a place that is free, and each is durable before the next: a cut
/// leaves a hole in the row, which readers step over, and never two files that want one name.
fn rotate(dir: &Path) -> io::Result<()> {
    for age in (0..OLDER_FILES).rev() {
        match fs::rename(dir.join(file_name(age)), dir.join(file_name(age + 1))) {
            Ok(()) => sync_dir(dir)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn file_name(age: u32) -> String {
    if age == 0 { names::EVENTS.to_owned() } else { format!("events.{age}.jsonl") }
}

fn line(number: u64, at: SystemTime, event: &impl Serialize) -> Result<Vec<u8>, LogError> {
    let refuse = |why: &str| Err(LogError::NotAnEvent(why.to_owned()));
    let json = serde_json::to_string(event).map_err(|error| LogError::NotAnEvent(error.to_string()))?;
    let Ok(members) = serde_json::from_str::<Map<String, Value>>(&json) else { return refuse("no JSON object") };
    if !members.get("event").is_some_and(Value::is_string) {
        return refuse("no member \"event\" that names it");
    }
    if let Some(taken) = ["n", "at", "crc32c"].iter().find(|name| members.contains_key(**name)) {
        return refuse(&format!("it has a member \"{taken}\" of its own"));
    }
    let at = humantime::format_rfc3339_nanos(at);
    let covered = format!("{{\"n\":{number},\"at\":\"{at}\",{}", &json[1..json.len() - 1]);
    let sum = crc32c::crc32c(covered.as_bytes());
    let line = format!("{covered}{TRAILER_START}{sum:08x}\"}}\n").into_bytes();
    if line.len() > LINE_MAX { refuse(&format!("{} bytes, longer than a line may be", line.len())) } else { Ok(line) }
}

/// An event read back.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedEvent {
    /// Its number.
    pub number: u64,
    /// When, as written.
    pub at: String,
    /// All members but `n`, `at` and `crc32c`.
    pub members: Map<String, Value>,
}

/// What a reader comes upon.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A line that is whole.
    Event(LoggedEvent),
    /// A line that is not.
    Damaged {
        /// Its file.
        file: PathBuf,
        /// Its place in the file, from 1.
        line: u64,
        /// The last line of the file, and not closed: an append that was cut short, or is going on.
        torn: bool,
    },
    /// Numbers that no line has, with no damaged line between that could have had them.
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
}

/// Reads the log of a target from its oldest file to its newest; changes nothing.
///
/// # Errors
/// When a file that is there cannot be opened. A log that does not exist is empty.
pub fn read(dir: &Path) -> Result<Reader, LogError> {
    let mut files = Vec::new();
    // All are opened at once, so that a rotation meanwhile moves nothing out from under the reader.
    for path in (0..=OLDER_FILES).map(|age| dir.join(file_name(age))) {
        match File::open(&path) {
            Ok(file) => files.push(Lines { path, line: 0, reader: BufReader::new(file) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(LogError::Open { path, source }),
        }
    }
    Ok(Reader { files, last: None, damaged_since: false, held_back: None })
}

/// Iterates over the entries of a log. An I/O error ends it.
#[derive(Debug)]
pub struct Reader {
    /// Oldest last.
    files: Vec<Lines>,
    last: Option<u64>,
    damaged_since: bool,
    held_back: Option<LoggedEvent>,
}

impl Iterator for Reader {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        if let Some(event) = self.held_back.take() {
            return Some(Ok(Entry::Event(event)));
        }
        let lines = self.files.last_mut()?;
        let (line, closed) = match lines.next_line() {
            Ok(None) => {
                self.files.pop();
                return self.next();
            }
            Ok(Some(line)) => line,
            Err(error) => {
                self.files.clear();
                return Some(Err(error));
            }
        };
        let Some(event) = parse(&line) else {
            self.damaged_since = true;
            return Some(Ok(Entry::Damaged { file: lines.path.clone(), line: lines.line, torn: !closed }));
        };
        let expected = self.last.map_or(event.number, |last| last.saturating_add(1));
        let missing = event.number > expected && !self.damaged_since;
        (self.last, self.damaged_since) = (Some(event.number), false);
        if missing {
            let last = event.number - 1;
            self.held_back = Some(event);
            return Some(Ok(Entry::Missing { first: expected, last }));
        }
        Some(Ok(Entry::Event(event)))
    }
}

#[derive(Debug)]
struct Lines {
    path: PathBuf,
    line: u64,
    reader: BufReader<File>,
}

impl Lines {
    /// The next line without its newline, and whether it had one. Of a line that is too long only the beginning is kept:
    /// no checksum will fit it.
    fn next_line(&mut self) -> io::Result<Option<(Vec<u8>, bool)>> {
        let mut line = Vec::new();
        if self.reader.by_ref().take(LINE_MAX as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        let mut closed = line.pop_if(|last| *last == b'\n').is_some();
        if !closed && line.len() == LINE_MAX {
            self.reader.skip_until(b'\n')?;
            closed = !self.reader.fill_buf()?.is_empty() || ends_with_newline(&self.path)?;
        }
        Ok(Some((line, closed)))
    }
}

/// What the checksum covers, once it has vouched for it.
fn covered(line: &[u8]) -> Option<&[u8]> {
    let (covered, trailer) = line.split_at_checked(line.len().checked_sub(TRAILER)?)?;
    let expected = format!("{TRAILER_START}{:08x}\"}}", crc32c::crc32c(covered));
    (trailer == expected.as_bytes()).then_some(covered)
}

fn parse(line: &[u8]) -> Option<LoggedEvent> {
    covered(line)?;
    let mut members: Map<String, Value> = serde_json::from_slice(line).ok()?;
    members.remove("crc32c")?;
    // The writer counts on by what a line begins with: a line that says two numbers is none of ours.
    let number = members.remove("n")?.as_u64().filter(|number| number_of(line) == Some(*number))?;
    let Value::String(at) = members.remove("at")? else { return None };
    Some(LoggedEvent { number, at, members })
}

/// The number of a whole line, without parsing the rest of it.
fn number_of(line: &[u8]) -> Option<u64> {
    let digits = covered(line)?.strip_prefix(b"{\"n\":")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    let number: u64 = std::str::from_utf8(&digits[..end]).ok()?.parse().ok()?;
    // Nobody lives to see more events; counting on from a larger one must not overflow.
    (number >> 63 == 0).then_some(number)
}

/// What the newest file holds, and how many damaged lines stand behind the newest whole one: each may have had a number.
fn scan(dir: &Path) -> io::Result<(Found, u64)> {
    let mut found = Found::default();
    let mut behind_last = 0;
    for age in 0..=OLDER_FILES {
        let path = dir.join(file_name(age));
        let mut lines = match File::open(&path) {
            Ok(file) => Lines { path, line: 0, reader: BufReader::new(file) },
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut damaged_behind = 0;
        while let Some((line, closed)) = lines.next_line()? {
            if let Some(number) = number_of(&line) {
                // The largest, not the last: files that were put together by hand may count backwards, and no number
                // is given twice.
                (found.last, damaged_behind) = (found.last.max(Some(number)), 0);
                continue;
            }
            damaged_behind += 1;
            if age == 0 && closed {
                found.damaged += 1;
                found.damaged_lines.push(lines.line);
                found.damaged_lines.truncate(64);
            }
            found.torn |= age == 0 && !closed;
        }
        behind_last += damaged_behind;
        if found.last.is_some() {
            break;
        }
    }
    Ok((found, behind_last))
}

fn ends_with_newline(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut last = *b"\n";
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests;
