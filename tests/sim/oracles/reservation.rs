//! Nothing is written at or above the newest durable reservation, and no reservation is ever saved below what was
//! written.

use std::collections::BTreeMap;

use scrubd::engine::{Action, Event, OpId};
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::vocabulary::Seq;

#[derive(Default)]
pub struct Reservation {
    sealed: BTreeMap<OpId, Seq>,
    saving: Option<Seq>,
    durable: Seq,
    written_below: Seq,
}

impl Watcher for Reservation {
    fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { loaded, current, .. } => {
                if !current {
                    // What the lost state had reserved may have left no trace on the disk; where it did, its tags are of
                    // an epoch that nobody knows.
                    self.written_below = Seq(0);
                }
                self.durable = loaded.map_or(Seq(0), |loaded| loaded.reserved);
                self.saving = None;
            }
            Sight::Acted(Action::Seal(op, _, claim)) => {
                self.sealed.insert(*op, claim.issue.seq);
            }
            Sight::Acted(Action::Write { op, .. }) => {
                let seq = self.sealed[op];
                if seq >= self.durable {
                    return Err(format!("write {seq} is not below the durable reservation {}", self.durable));
                }
                self.written_below = self.written_below.max(seq.next());
            }
            Sight::Acted(Action::Save(checkpoint)) => {
                if checkpoint.reserved < self.written_below {
                    return Err(format!(
                        "checkpoint {} reserves up to {}, and writes went up to {}",
                        checkpoint.number, checkpoint.reserved, self.written_below
                    ));
                }
                self.saving = Some(checkpoint.reserved);
            }
            Sight::Told(Event::Saved(_, result)) => {
                if let (Some(reserved), Ok(())) = (self.saving.take(), result) {
                    self.durable = reserved;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
