//! Not an oracle: counts how often the histories came to the places that matter, so that a suite which no longer gets
//! there fails instead of passing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use scrubd::engine::{Action, Event, Mode, OpId, Record};
use scrubd::ledger::{ProvedBy, State};
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::tag::Verdict;
use scrubd::vocabulary::{Block, Seq};

use super::corners::Corners;

/// Counters by name.
#[derive(Clone, Debug, Default)]
pub struct Covered(pub BTreeMap<String, u64>);

impl Covered {
    pub fn count(&mut self, what: &str, by: u64) {
        *self.0.entry(what.to_owned()).or_default() += by;
    }

    pub fn add(&mut self, other: &Covered) {
        other.0.iter().for_each(|(what, by)| self.count(what, *by));
    }
}

/// The watcher that counts.
#[derive(Default)]
pub struct Coverage {
    covered: Rc<RefCell<Covered>>,
    foreign_start: bool,
    issued: BTreeSet<Seq>,
    sealed: BTreeMap<OpId, (Block, Seq)>,
    wrote: bool,
    blocks: u64,
    mode: Option<Mode>,
    corners: Corners,
}

impl Coverage {
    pub fn new(covered: Rc<RefCell<Covered>>, foreign_start: bool) -> Self {
        Coverage { covered, foreign_start, ..Coverage::default() }
    }

    fn count(&self, what: &str) {
        self.covered.borrow_mut().count(what, 1);
    }
}

impl Watcher for Coverage {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        self.corners.look(sight, scene, &mut self.covered.borrow_mut());
        match sight {
            Sight::Started { loaded, settings, .. } => {
                self.blocks = scene.disk.blocks();
                self.wrote = false;
                self.mode = Some(settings.mode);
                if let Some(loaded) = loaded.filter(|loaded| !loaded.clean) {
                    let (from, to) = (loaded.durable().0, loaded.window.end().0.max(1) - 1);
                    if from < to && from / self.blocks != to / self.blocks {
                        self.count("pass boundary inside the window");
                    }
                }
            }
            Sight::Cut { power, mode } => {
                self.count(if *power { "power cut" } else { "killed" });
                if *mode == Mode::Patrol {
                    self.count("patrol cut");
                } else if !self.wrote && *mode != Mode::Check {
                    self.count("cut during recovery");
                }
            }
            Sight::Blip => self.count("device reset"),
            Sight::Acted(Action::Seal(op, block, claim)) => {
                self.sealed.insert(*op, (*block, claim.issue.seq));
            }
            Sight::Acted(Action::Write { op, .. }) => {
                let (_, seq) = self.sealed[op];
                self.wrote = true;
                self.count("writes");
                if self.foreign_start && seq.0 < self.blocks {
                    self.count("first pass over foreign tags");
                }
                if !self.issued.insert(seq) {
                    self.count("reissued seq");
                }
            }
            Sight::Told(Event::Flushed(result)) => self.count(if result.is_ok() { "flush" } else { "failed flush" }),
            Sight::Told(Event::Wrote(_, Err(_))) => self.count("failed write"),
            Sight::Told(Event::Saved(_, result)) => self.count(if result.is_ok() { "save" } else { "failed save" }),
            Sight::Told(Event::Command(command)) => {
                let text = format!("{command:?}");
                self.count(&format!("command {}", text.split(['(', ' ']).next().unwrap_or_default()));
            }
            Sight::Acted(Action::ReadSpan(..)) => self.count("wide read"),
            Sight::Told(Event::ReadSpan(_, Err(_))) => self.count("wide read that failed"),
            Sight::Told(Event::InspectedSpan(_, inspections)) => {
                for (_, inspection) in &inspections.others {
                    match &inspection.verdict {
                        Verdict::Broken(broken) => self.count(&format!("seen in a wide read: {}", broken.class)),
                        verdict => self.count(&format!("seen in a wide read: {verdict:?}")),
                    }
                }
                for (_, heard) in &inspections.heard {
                    self.count(if heard.whole {
                        "heard in a wide read: whole"
                    } else {
                        "heard in a wide read: in parts"
                    });
                }
            }
            Sight::Acted(Action::Fire(_)) => self.count("trigger fired"),
            Sight::Told(Event::PositionSaved(result)) => {
                self.count(if result.is_ok() { "position saved" } else { "position not saved" });
            }
            Sight::Acted(Action::Record(record)) => match record {
                Record::PatrolBegan { from, .. } => {
                    self.count(if *from == Block(0) { "patrol from the start" } else { "patrol gone on with" });
                }
                Record::PassPatrolled { .. } => self.count("patrol pass ended"),
                Record::StateDistrusted { .. } => self.count("state distrusted"),
                Record::HeardAgain { .. } => self.count("tags heard again"),
                Record::ReadFailedBeside { why, .. } if why.starts_with("it has not returned") => {
                    self.count("wide read past its deadline");
                }
                Record::IoReturned { blocks: Some(_), .. } => self.count("wide read returned after its deadline"),
                _ => {}
            },
            Sight::Acted(Action::Report(finding, _)) => {
                if finding.detail.starts_with("stuck: the read of blocks") {
                    self.count("wide read told as stuck");
                }
                self.count(&format!("finding {}", finding.class));
                self.count(&format!("found at {:?}", finding.occasion));
                self.count(&format!("found {:?}", finding.persistence));
            }
            Sight::Acted(Action::Judged(judgement)) => {
                let mut covered = self.covered.borrow_mut();
                let blocks = judgement.blocks;
                covered.count("judged intact", blocks.intact);
                covered.count("judged rolled back", blocks.rolled_back);
                covered.count("judged interrupted", blocks.interrupted);
                covered.count("judged unwritten", blocks.unwritten);
                covered.count("judged broken", blocks.findings);
                covered.count(&format!("verdict {:?}", judgement.verdict), 1);
                covered.count(&format!("state {:?}", judgement.state), 1);
                covered.count("proved by the disk", u64::from(judgement.proved_by == ProvedBy::Disk));
                let stale = judgement.state == State::Stale;
                covered.count("stale state recognised", u64::from(stale));
                for finding in &judgement.findings {
                    covered.count(&format!("judged {}", finding.class), 1);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
