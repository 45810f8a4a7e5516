//! What was found is told: a finding that a judgement lists was reported, an exit that says "broken" has a report or a
//! verdict behind it, and after a new report no exit says "kept". Known findings are called known, and no others.

use std::collections::BTreeSet;

use scrubd::engine::{Action, Mode, Outcome};
use scrubd::report::{FindingKey, Overall};
use scrubd::sim::{Scene, Sight, Watcher};

#[derive(Default)]
pub struct Told {
    check: bool,
    patrols: bool,
    /// Reported by earlier starts.
    earlier: BTreeSet<FindingKey>,
    reported: BTreeSet<FindingKey>,
    new_reports: u64,
    violated: bool,
    told_violated: bool,
}

impl Watcher for Told {
    fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { settings, .. } => {
                self.earlier.append(&mut self.reported);
                (self.check, self.new_reports) = (settings.mode == Mode::Check, 0);
                self.patrols = settings.mode == Mode::Patrol;
                (self.violated, self.told_violated) = (false, false);
            }
            Sight::Acted(Action::Report(finding, _)) => {
                let key = finding.key();
                let stuck = finding.detail.starts_with("stuck");
                if finding.known && !self.earlier.contains(&key) && !self.reported.contains(&key) {
                    return Err(format!("called known and never reported: {finding:#?}"));
                }
                if !finding.known && !stuck && self.earlier.contains(&key) {
                    return Err(format!("reported by an earlier start, and called new: {finding:#?}"));
                }
                self.reported.insert(key);
                self.new_reports += u64::from(!finding.known);
            }
            Sight::Acted(Action::Judged(judgement)) => {
                self.violated = judgement.verdict == Overall::Violated;
                // A patrol speaks after each pass, and the process ends as the worst of them.
                self.told_violated = self.violated || self.patrols && self.told_violated;
                let mut listed = judgement.findings.iter().filter(|_| self.violated && !self.check);
                if let Some(finding) = listed.find(|finding| !self.reported.contains(&finding.key())) {
                    return Err(format!("judged and not reported: {finding:#?}"));
                }
            }
            Sight::Acted(Action::Exit(outcome)) => {
                let found = self.new_reports > 0 || self.told_violated;
                if *outcome == Outcome::Broken && !found {
                    return Err("it ends as broken and has told nobody why".into());
                }
                if *outcome == Outcome::Kept && self.new_reports > 0 {
                    return Err(format!("{} new findings, and it ends as kept", self.new_reports));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
