//! The worst bug: a finding where no promise was broken.

use std::collections::{BTreeMap, BTreeSet};

use scrubd::engine::{Action, Event, OpId};
use scrubd::report::Overall;
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::vocabulary::Block;

use super::knowledge::something_is_wrong;

/// Over an honest disk: no finding at all, ever.
#[derive(Default)]
pub struct NoAlarm;

impl Watcher for NoAlarm {
    fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Acted(Action::Report(finding, _)) => Err(format!("a false alarm: {finding:#?}")),
            Sight::Acted(Action::Judged(judgement)) if judgement.verdict == Overall::Violated => {
                Err(format!("a false verdict: {judgement:#?}"))
            }
            _ => Ok(()),
        }
    }
}

/// Over a dishonest disk: findings only of blocks in which something was wrong at some time that they were read.
#[derive(Default)]
pub struct OnlyTrueFindings {
    wrong: BTreeSet<Block>,
    reading: BTreeMap<OpId, Block>,
}

impl Watcher for OnlyTrueFindings {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Shown(block) if something_is_wrong(*block, scene) => {
                self.wrong.insert(*block);
            }
            Sight::Garbled(block) => {
                self.wrong.insert(*block);
            }
            Sight::Acted(Action::Read(op, block)) => {
                self.reading.insert(*op, *block);
            }
            Sight::Told(Event::Read(op, Err(_))) => self.wrong.extend(self.reading.get(op)),
            // Whether it was really stuck is asked by an oracle of its own.
            Sight::Acted(Action::Report(finding, _)) if finding.detail.starts_with("stuck:") => {}
            Sight::Acted(Action::Report(finding, _)) if !self.wrong.contains(&finding.block) => {
                return Err(format!("a false alarm on block {}: {finding:#?}", finding.block));
            }
            Sight::Acted(Action::Judged(judgement)) => {
                if let Some(finding) = judgement.findings.iter().find(|finding| !self.wrong.contains(&finding.block)) {
                    return Err(format!("a false finding in a check, on block {}: {finding:#?}", finding.block));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
