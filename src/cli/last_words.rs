//! How a run ended: a summary for people, and the line of JSON.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::exit::chain;
use super::talk;
use crate::daemon::{Ended, StatusReport};
use crate::engine::Outcome;
use crate::report::event_log::{self, Entry};
use crate::report::json::{self, Summary};
use crate::report::text::{self, bytes, count, counted, rate, time};
use crate::report::{Finding, Frontiers, MAX_LISTED, Overall};
use crate::vocabulary::{Promise, RunId};

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
    pub(crate) blocks: u64,
}

impl LastWords {
    /// Prints them, and says with what to exit.
    pub(crate) fn tell(&self, ended: Ended, with_json: bool) -> u8 {
        let code = ended.outcome.exit_code();
        let findings = self.findings(&ended);
        let words = self.words(&ended, &findings);
        if with_json {
            talk::say(&words);
            talk::result(&json::line(&self.name, self.run, &self.summary(ended, findings)));
        } else {
            talk::result(&words);
        }
        code
    }

    /// What was found since the start: the event log has all of it, the last verdict only what its check met.
    fn findings(&self, ended: &Ended) -> Vec<Finding> {
        let listed = || ended.judgement.iter().flat_map(|judgement| judgement.findings.clone()).collect();
        if ended.status.engine.findings == 0 {
            return listed();
        }
        match event_log::read(&self.state_dir) {
            Ok(entries) => {
                entries.filter_map(Result::ok).filter_map(|entry| self.finding(entry)).take(MAX_LISTED).collect()
            }
            Err(error) => {
                tracing::warn!("not every finding is listed: {}", chain(&error));
                listed()
            }
        }
    }

    fn finding(&self, entry: Entry) -> Option<Finding> {
        let Entry::Event(event) = entry else { return None };
        if event.members.get("event").and_then(|name| name.as_str()) != Some("finding") {
            return None;
        }
        let finding: Finding = serde_json::from_value(event.members.into()).ok()?;
        (finding.wall_ns >= self.begun_ns).then_some(finding)
    }

    fn verdict(ended: &Ended) -> Overall {
        let unfinished = ended.judgement.as_ref().is_some_and(|judgement| judgement.verdict == Overall::Incomplete);
        match &ended.outcome {
            Outcome::Broken => Overall::Violated,
            Outcome::Kept | Outcome::CommandFailed(_) if !unfinished => Overall::Intact,
            // Of the disk nothing bad is known, and what was asked for did not come to its end.
            _ => Overall::Incomplete,
        }
    }

    /// The last check's verdict, moved on to where the run has come.
    fn summary(&self, ended: Ended, findings: Vec<Finding>) -> Summary {
        let verdict = Self::verdict(&ended);
        let StatusReport { engine, uptime_s, .. } = ended.status;
        let checked = ended.judgement.map(Summary::from);
        let mut summary = checked.unwrap_or_else(|| Summary::unchecked(verdict, self.promise, self.blocks));
        let new_in_check = |count: u64| count - summary.findings.iter().filter(|finding| finding.known).count() as u64;
        let while_running = engine.findings - summary.blocks.findings.map_or(0, new_in_check).min(engine.findings);
        summary.blocks.findings = Some(summary.blocks.findings.unwrap_or(0) + while_running);
        summary.verdict = verdict;
        summary.promise = self.promise;
        summary.state = summary.state.or(engine.state);
        summary.frontiers =
            Frontiers { durable: Some(engine.durable), issued: Some(engine.next), reserved: Some(engine.reserved) };
        summary.bytes = engine.bytes;
        summary.elapsed_s = uptime_s;
        summary.findings = findings;
        summary
    }

    fn words(&self, ended: &Ended, findings: &[Finding]) -> String {
        let StatusReport { engine, uptime_s, .. } = &ended.status;
        let conclusion = match &ended.outcome {
            Outcome::Kept if Self::verdict(ended) == Overall::Intact => "intact: every promise was kept".to_owned(),
            Outcome::Kept => "no broken promise was found; not every block was judged".to_owned(),
            Outcome::Broken => "VIOLATED: a promise was broken".to_owned(),
            Outcome::StateNotSaved(why) => format!("stopped: the state could not be saved: {why}"),
            Outcome::DeviceErrors(why) => format!("stopped: the device fails: {why}"),
            Outcome::CommandFailed(why) => format!("intact, but the trigger's command did not do its work: {why}"),
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
            format!("  written    {} in {}, up to pass {}", amount(engine.bytes.written), time(elapsed), engine.pass),
            format!("  verified   {}", amount(engine.bytes.verified)),
            format!("  findings   {}", count(engine.findings)),
        ];
        let warnings: BTreeSet<&String> = ended.warnings.iter().chain(&ended.status.warnings).collect();
        let unsaid = warnings.into_iter().filter(|warning| !self.logged.contains(*warning));
        lines.extend(unsaid.map(|warning| format!("  warning    {warning}")));
        lines.extend(findings.iter().map(text::finding));
        lines.join("\n")
    }
}
