//! How a run ended: a summary for people, and the line of JSON.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::exit::chain;
use super::talk;
use crate::daemon::{Ended, StatusReport};
use crate::engine::Outcome;
use crate::report::causes::{CauseList, Causes};
use crate::report::event_log::{self, Entry};
use crate::report::json::{self, Summary};
use crate::report::text::{self, bytes, count, counted, rate, time};
use crate::report::{Finding, Frontiers, MAX_LISTED, Occasion, Overall};
use crate::vocabulary::{Geometry, Promise, RunId};

/// What they need to know from before.
pub(crate) struct LastWords {
    pub(crate) state_dir: PathBuf,
    /// Wall clock at the start, in nanoseconds since 1970.
    pub(crate) begun_ns: u64,
    /// What the user has heard already.
    pub(crate) logged: BTreeSet<String>,
    pub(crate) name: String,
    pub(crate) run: RunId,
    pub(crate) promise: Promise,
    pub(crate) geometry: Geometry,
}

/// What was found since the start.
#[derive(Default)]
struct Found {
    listed: Vec<Finding>,
    causes: CauseList,
}

impl LastWords {
    /// Prints them, and says with what to exit.
    pub(crate) fn tell(&self, ended: Ended, with_json: bool) -> u8 {
        let code = ended.outcome.exit_code();
        let found = self.found(&ended);
        let words = self.words(&ended, &found);
        if with_json {
            talk::say(&words);
            talk::result(&json::line(&self.name, self.run, &self.summary(ended, found)));
        } else {
            talk::result(&words);
        }
        code
    }

    /// The event log has all that was found while running, and of what the last check met as much as it lists; what is
    /// beyond that is among the causes that the check itself told.
    fn found(&self, ended: &Ended) -> Found {
        let judgement = ended.judgement.as_ref();
        let mut found = Found {
            listed: judgement.map(|judgement| judgement.findings.clone()).unwrap_or_default(),
            causes: judgement.map(|judgement| judgement.causes.clone()).unwrap_or_default(),
        };
        if ended.status.engine.findings == 0 {
            return found;
        }
        let entries = match event_log::read(&self.state_dir) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!("not every finding is listed: {}", chain(&error));
                return found;
            }
        };
        found.listed.clear();
        let listed = judgement.map(|judgement| &judgement.findings[..]).unwrap_or_default();
        let in_last_pass: BTreeSet<_> = listed.iter().map(Finding::key).collect();
        let mut while_running = Causes::new(self.geometry);
        let mut grouped = 0;
        for finding in entries.filter_map(Result::ok).filter_map(|entry| self.finding(entry)) {
            // What its check met has been told by the check; where none could be made, by nobody yet. A patrol's verdict is
            // over its last pass, and what it lists is all of that while there is room.
            let told = match finding.occasion {
                Occasion::Check => true,
                Occasion::Patrol => listed.len() == MAX_LISTED || in_last_pass.contains(&finding.key()),
                Occasion::ReadBack | Occasion::BeforeOverwrite | Occasion::Scan => false,
            };
            if !told || judgement.is_none() {
                while_running.add(&finding);
                grouped += 1;
            }
            if found.listed.len() < MAX_LISTED {
                found.listed.push(finding);
            }
        }
        found.causes.append(while_running.conclude(None));
        if judgement.is_none() {
            // Blocks that were only counted.
            found.causes.further_findings += ended.status.engine.findings.saturating_sub(grouped);
        }
        found
    }

    fn finding(&self, entry: Entry) -> Option<Finding> {
        let Entry::Event(event) = entry else { return None };
        if event.members.get("event").and_then(|name| name.as_str()) != Some("finding") {
            return None;
        }
        let finding: Finding = serde_json::from_value(event.members.into()).ok()?;
        (finding.wall_ns >= self.begun_ns).then_some(finding)
    }

    /// Findings of the last check that had been reported before.
    fn known(ended: &Ended) -> u64 {
        ended.judgement.as_ref().map_or(0, |judgement| judgement.known)
    }

    fn verdict(ended: &Ended) -> Overall {
        let unfinished = ended.judgement.as_ref().is_some_and(|judgement| judgement.verdict == Overall::Incomplete);
        match &ended.outcome {
            Outcome::Broken => Overall::Violated,
            Outcome::Kept | Outcome::CommandFailed(_) if Self::known(ended) > 0 => Overall::Violated,
            Outcome::Kept | Outcome::CommandFailed(_) if !unfinished => Overall::Intact,
            // Of the disk nothing bad is known, and what was asked for did not come to its end.
            _ => Overall::Incomplete,
        }
    }

    /// The last check's verdict, moved on to where the run has come.
    fn summary(&self, ended: Ended, found: Found) -> Summary {
        let verdict = Self::verdict(&ended);
        let StatusReport { engine, uptime_s, .. } = ended.status;
        let patrolled = engine.patrol.is_some() && ended.judgement.is_some();
        let checked = ended.judgement.map(Summary::from);
        let mut summary = checked.unwrap_or_else(|| Summary::unchecked(verdict, self.promise, self.geometry.blocks()));
        let known = summary.known;
        let new_in_check = |count: u64| count - known.min(count);
        let while_running = engine.findings - summary.blocks.findings.map_or(0, new_in_check).min(engine.findings);
        // What a patrol tells while it runs is in the verdict over its pass, but for reads that do not return.
        let in_check = summary.blocks.findings.unwrap_or(0);
        summary.blocks.findings =
            Some(if patrolled { in_check.max(engine.findings) } else { in_check + while_running });
        summary.verdict = verdict;
        summary.promise = self.promise;
        summary.state = summary.state.or(engine.state);
        summary.frontiers =
            Frontiers { durable: Some(engine.durable), issued: Some(engine.next), reserved: Some(engine.reserved) };
        summary.bytes = engine.bytes;
        summary.elapsed_s = uptime_s;
        (summary.findings, summary.causes) = (found.listed, found.causes);
        summary
    }

    fn words(&self, ended: &Ended, found: &Found) -> String {
        let StatusReport { engine, uptime_s, .. } = &ended.status;
        let conclusion = match &ended.outcome {
            Outcome::Kept if Self::known(ended) > 0 => {
                format!("no new findings, {} known from before", count(Self::known(ended)))
            }
            Outcome::Kept if Self::verdict(ended) == Overall::Intact => "intact: every promise was kept".to_owned(),
            Outcome::Kept => "no broken promise was found; not every block was judged".to_owned(),
            Outcome::Broken => "VIOLATED: a promise was broken".to_owned(),
            Outcome::StateNotSaved(why) => format!("stopped: the state could not be saved: {why}"),
            Outcome::DeviceErrors(why) => format!("stopped, as I/O to the device failed: {why}"),
            Outcome::CommandFailed(why) => {
                format!("no new findings, but the trigger's command did not do its work: {why}")
            }
            Outcome::Incomplete => "incomplete: stopped before every block was judged".to_owned(),
        };
        let elapsed = Duration::try_from_secs_f64(*uptime_s).unwrap_or_default();
        let (durable, next, reserved) = (count(engine.durable.0), count(engine.next.0), count(engine.reserved.0));
        let amount = |amount| format!("{} ({})", bytes(amount), rate(amount, elapsed));
        let mut lines = vec![
            format!("{}: {conclusion}", self.name),
            format!("  run        {}, {} survived", self.run, counted(engine.cuts, "cut")),
            format!("  promise    {}", text::promise(self.promise)),
            format!("  ledger     {}", engine.state.map_or("not looked for", text::state)),
            format!("  frontiers  durable {durable}, issued {next}, reserved {reserved}"),
            match &engine.patrol {
                None => format!(
                    "  written    {} in {}, up to pass {}",
                    amount(engine.bytes.written),
                    time(elapsed),
                    engine.pass
                ),
                Some(patrol) => format!(
                    "  patrol     nothing written in {}; pass {}, block {} of {} is next",
                    time(elapsed),
                    engine.pass,
                    count(patrol.next),
                    count(engine.blocks)
                ),
            },
            format!("  verified   {}", amount(engine.bytes.verified)),
            format!("  findings   {} new, {} known from before", count(engine.findings), count(Self::known(ended))),
        ];
        let warnings: BTreeSet<&String> = ended.warnings.iter().chain(&ended.status.warnings).collect();
        let unsaid = warnings.into_iter().filter(|warning| !self.logged.contains(*warning));
        lines.extend(unsaid.map(|warning| format!("  warning    {warning}")));
        lines.extend(text::causes(&found.causes));
        let total = engine.findings + Self::known(ended);
        lines.extend(text::listed(&found.listed, total, !found.causes.listed.is_empty()));
        lines.join("\n")
    }
}
