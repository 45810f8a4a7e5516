//! Not an oracle: counts the corners that DESIGN section 3 says a naive version gets wrong, each by a name.

use std::collections::BTreeSet;

use scrubd::engine::{Action, Event, Mode, OpId, Record};
use scrubd::ledger::{Checkpoint, WriteState};
use scrubd::sim::{Scene, Sight};
use scrubd::tag::Class;
use scrubd::vocabulary::Seq;

use super::coverage::Covered;
use super::knowledge::witnesses;

#[derive(Default)]
pub struct Corners {
    loaded: Option<Checkpoint>,
    running: bool,
    save_failed: bool,
    write_failed: BTreeSet<OpId>,
    reserved: Seq,
    was_lost: bool,
}

impl Corners {
    pub fn look(&mut self, sight: &Sight<'_>, scene: Scene<'_>, covered: &mut Covered) {
        match sight {
            Sight::Started { settings, loaded, current } => {
                self.running = settings.mode != Mode::Check;
                self.loaded = loaded.cloned();
                self.save_failed = false;
                self.write_failed.clear();
                self.was_lost = !current;
                self.reserved = loaded.map_or(Seq(0), |loaded| loaded.reserved);
                if let Some(loaded) = *loaded {
                    started_from(loaded, settings.promise, scene, covered);
                }
            }
            Sight::Acted(Action::Save(checkpoint)) => self.save(checkpoint, covered),
            Sight::Told(Event::Saved(_, result)) => self.save_failed = result.is_err(),
            Sight::Told(Event::Wrote(op, Err(_))) => {
                self.write_failed.insert(*op);
            }
            Sight::Acted(Action::Write { op, .. }) if self.write_failed.remove(op) => {
                covered.count("corner: a failed write is tried again with the same bytes", 1);
            }
            Sight::Acted(Action::Record(Record::EpochBegan { why, .. })) => {
                if why.starts_with("a flush failed") {
                    covered.count("corner: a failed flush ends the epoch", 1);
                }
                if self.was_lost {
                    covered.count("corner: an epoch above all that a lost state knew of", 1);
                }
            }
            Sight::Acted(Action::Report(finding, _)) => {
                if finding.detail.starts_with("end of file") {
                    covered.count("corner: the end of the file where the region goes on", 1);
                }
                if finding.detail.starts_with("stuck:") {
                    covered.count("corner: I/O past its deadline", 1);
                }
            }
            Sight::Acted(Action::Judged(judgement)) => {
                for finding in &judgement.findings {
                    covered.count("corner: a known finding is listed again", u64::from(finding.known));
                    let confirmed = finding.class == Class::Misdirected && finding.confirmed == Some(true);
                    covered.count("corner: misdirected, and its home lacks it", u64::from(confirmed));
                }
            }
            _ => {}
        }
    }

    fn save(&mut self, checkpoint: &Checkpoint, covered: &mut Covered) {
        if self.save_failed {
            covered.count("corner: a failed save is tried again in the same slot", 1);
        }
        let above = (checkpoint.durable().0..checkpoint.window.end().0).map(Seq);
        if above.clone().any(|seq| checkpoint.window.state(seq) == WriteState::Durable) {
            covered.count("corner: flushed although a lower write is open", 1);
        }
        let after_cut = self.loaded.take().filter(|loaded| self.running && !loaded.clean);
        if after_cut.is_some_and(|loaded| loaded.reserved > checkpoint.durable()) {
            covered.count("corner: R stays up across a cut", 1);
        }
        if checkpoint.clean && checkpoint.reserved < self.reserved {
            covered.count("corner: a clean stop lowers R", 1);
        }
        if checkpoint.clean && checkpoint.reserved > checkpoint.durable() {
            covered.count("corner: a clean stop below the inherited R", 1);
        }
        self.reserved = checkpoint.reserved;
    }
}

fn started_from(loaded: &Checkpoint, promise: scrubd::vocabulary::Promise, scene: Scene<'_>, covered: &mut Covered) {
    if promise > loaded.promise {
        covered.count("corner: the promise has become stronger", 1);
    }
    if promise < loaded.promise {
        covered.count("corner: the promise has become weaker", 1);
    }
    let (highest, second) = witnesses(loaded, scene);
    if highest > loaded.durable() && second <= loaded.durable() {
        covered.count("corner: one witness alone, not judged by", 1);
    }
    if second > loaded.durable() {
        covered.count("corner: two witnesses above the saved D", 1);
    }
}
