//! What is sealed into tags: a frontier that was really promised and is not above the write, an epoch that is new, and
//! whose checkpoint was durable before anything of it was written.

use std::collections::{BTreeMap, BTreeSet};

use scrubd::engine::{Action, Event, OpId};
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::vocabulary::{Claim, Epoch, Issue, Promise};

#[derive(Default)]
pub struct Claims {
    sealed: BTreeMap<OpId, Claim>,
    saving: Option<(u64, Option<Epoch>)>,
    durable_epochs: BTreeSet<Epoch>,
    newest_durable: u64,
    /// The highest number loaded or handed over since this start.
    saved: u64,
    /// Of all earlier starts.
    earlier: BTreeSet<Epoch>,
    present: BTreeSet<Epoch>,
    /// Sealed in this start.
    issues: BTreeSet<Issue>,
    state_was_lost: bool,
}

impl Claims {
    fn sealed(&mut self, claim: &Claim, scene: Scene<'_>) -> Result<(), String> {
        let epoch = claim.issue.epoch;
        if claim.durable > claim.issue.seq {
            return Err(format!("frontier {} in write {}", claim.durable, claim.issue.seq));
        }
        if claim.durable > scene.truth.promised_below() {
            return Err(format!(
                "a tag claims {} durable, and the disk has promised {}",
                claim.durable,
                scene.truth.promised_below()
            ));
        }
        if claim.checkpoint > self.newest_durable {
            return Err(format!("checkpoint {} named, {} durable", claim.checkpoint, self.newest_durable));
        }
        if !self.issues.insert(claim.issue) {
            return Err(format!("{:?} is sealed twice: two contents of one issue can't be told apart", claim.issue));
        }
        if self.earlier.contains(&epoch) {
            return Err(format!("{epoch:?} was used by an earlier start"));
        }
        if !self.state_was_lost && self.earlier.last().is_some_and(|last| last.number >= epoch.number) {
            return Err(format!("{epoch:?} is not above {:?}", self.earlier.last()));
        }
        if self.present.last().is_some_and(|last| last.number > epoch.number) {
            return Err(format!("{epoch:?} after {:?}", self.present.last()));
        }
        self.present.insert(epoch);
        Ok(())
    }
}

impl Watcher for Claims {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { current, loaded, .. } => {
                self.state_was_lost |= !current;
                self.earlier.append(&mut self.present);
                self.issues.clear();
                self.durable_epochs.clear();
                self.saving = None;
                self.saved = loaded.map_or(0, |loaded| loaded.number);
                // Without state the number goes on from what the disk's tags name.
                let seen = scene.truth.writes().iter().map(|write| write.claim.checkpoint).max();
                self.newest_durable = loaded.map_or(0, |loaded| loaded.number).max(seen.unwrap_or(0));
            }
            Sight::Acted(Action::Seal(op, _, claim)) => {
                self.sealed.insert(*op, *claim);
                return self.sealed(claim, scene);
            }
            Sight::Acted(Action::Write { op, dsync, .. }) => {
                let claim = &self.sealed[op];
                if !self.durable_epochs.contains(&claim.issue.epoch) {
                    return Err(format!("{claim:?} is written before a checkpoint of its epoch is durable"));
                }
                if *dsync != (claim.promise == Promise::Fua) {
                    return Err(format!("dsync {dsync} under {:?}", claim.promise));
                }
            }
            Sight::Acted(Action::Save(checkpoint)) => {
                if checkpoint.number <= self.saved {
                    return Err(format!("checkpoint {} after {}", checkpoint.number, self.saved));
                }
                self.saved = checkpoint.number;
                self.saving = Some((checkpoint.number, checkpoint.epochs.newest().map(|record| record.epoch)));
            }
            Sight::Told(Event::Saved(number, result)) => {
                let (saving, epoch) = self.saving.take().ok_or("a save that nobody asked for")?;
                assert_eq!(saving, *number);
                if result.is_ok() {
                    self.newest_durable = *number;
                    self.durable_epochs.extend(epoch);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
