//! All that a state directory says about a target, gathered for `scrubd report`. Reads, changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::MAX_LISTED;
use super::event_log::{self, Entry, LogError, LoggedEvent};
use super::quarantine::{self, Quarantine};
use crate::ledger::state_dir::names;

/// Events that are listed: the newest. All are counted.
const EVENTS_LISTED: usize = 1000;

/// Longest file beside the log that is read, in bytes: a verdict lists at most [`MAX_LISTED`] findings.
const FILE_MAX: u64 = 16 << 20;

/// What there is to report.
#[derive(Clone, Debug, Serialize)]
pub struct Dossier {
    /// Version of this object; fields may be added without a new one.
    pub schema: u32,
    /// The target's name.
    pub target: String,
    /// Where its state is.
    pub state_dir: String,
    /// Which run, device and geometry: `target.json`; `null` where there is none, or none that is whole.
    pub identity: Value,
    /// The last check: `verdict.json`; `null` likewise.
    pub verdict: Value,
    /// Why nothing is written; `null` where that is not so.
    pub quarantine: Option<Quarantine>,
    /// New findings by class, all of them.
    pub classes: BTreeMap<String, u64>,
    /// Events by name, all of them.
    pub counts: BTreeMap<String, u64>,
    /// The first findings that were new.
    pub findings: Vec<Value>,
    /// The newest events but findings, oldest first.
    pub events: VecDeque<Value>,
    /// What the log has lost, in words.
    pub gaps: Vec<String>,
}

impl Dossier {
    /// Gathers it.
    ///
    /// # Errors
    /// When the log cannot be opened. What is damaged in it is told in `gaps`.
    pub fn gather(target: &str, dir: &Path) -> Result<Dossier, LogError> {
        let mut dossier = Dossier {
            schema: 1,
            target: target.to_owned(),
            state_dir: dir.display().to_string(),
            identity: read_json(&dir.join("target.json")),
            verdict: read_json(&dir.join(names::VERDICT)),
            quarantine: quarantine::read(dir),
            classes: BTreeMap::new(),
            counts: BTreeMap::new(),
            findings: Vec::new(),
            events: VecDeque::new(),
            gaps: Vec::new(),
        };
        let mut gaps = 0;
        for entry in event_log::read(dir)? {
            let gap = match entry {
                Ok(Entry::Event(event)) => {
                    dossier.add(event);
                    continue;
                }
                Ok(Entry::Damaged { torn: true, .. }) => continue,
                Ok(Entry::Damaged { file, line, .. }) => format!("{} line {line} is damaged", file.display()),
                Ok(Entry::Missing { first, last }) => format!("events {first} to {last} are missing"),
                Err(error) => format!("the event log cannot be read on: {error}"),
            };
            gaps += 1;
            if gaps <= EVENTS_LISTED {
                dossier.gaps.push(gap);
            }
        }
        Ok(dossier)
    }

    /// New findings in all.
    #[must_use]
    pub fn new_findings(&self) -> u64 {
        self.classes.values().sum()
    }

    fn add(&mut self, event: LoggedEvent) {
        let LoggedEvent { number, at, members } = event;
        let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = text("event");
        *self.counts.entry(name.clone()).or_default() += 1;
        let finding = name == "finding";
        let known = members.get("known") == Some(&Value::Bool(true));
        if finding && !known {
            *self.classes.entry(text("class")).or_default() += 1;
        }
        let mut listed = Map::from_iter([("n".to_owned(), json!(number)), ("at".to_owned(), json!(at))]);
        listed.extend(members);
        match (finding, known) {
            (true, true) => {}
            (true, false) if self.findings.len() < MAX_LISTED => self.findings.push(listed.into()),
            (true, false) => {}
            (false, _) => {
                if self.events.len() == EVENTS_LISTED {
                    self.events.pop_front();
                }
                self.events.push_back(listed.into());
            }
        }
    }
}

/// `null` for what is not there or makes no sense: a report of the rest is worth more than none.
fn read_json(path: &Path) -> Value {
    let read = || -> io::Result<Value> {
        let mut text = Vec::new();
        fs::File::open(path)?.take(FILE_MAX).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    };
    read().unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::report::event_log::EventLog;

    #[test]
    fn everything_is_counted_known_findings_are_not_new_and_lists_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = EventLog::open(dir.path()).unwrap();
        let mut append = |event: Value| log.append(SystemTime::UNIX_EPOCH, &event).unwrap();
        for n in 0..EVENTS_LISTED + 5 {
            append(json!({ "event": "pass_written", "pass": n }));
        }
        append(json!({ "event": "finding", "class": "torn", "block": 7, "known": false }));
        append(json!({ "event": "finding", "class": "torn", "block": 7, "known": true }));
        let dossier = Dossier::gather("bay3", dir.path()).unwrap();
        assert_eq!((dossier.new_findings(), dossier.counts["finding"]), (1, 2));
        assert_eq!(dossier.counts["pass_written"], (EVENTS_LISTED + 5) as u64);
        assert_eq!((dossier.findings.len(), dossier.events.len()), (1, EVENTS_LISTED));
        assert_eq!(dossier.events[0]["pass"], 5);
        assert!(dossier.gaps.is_empty() && dossier.verdict.is_null() && dossier.quarantine.is_none());
    }
}
