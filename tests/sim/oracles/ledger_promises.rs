//! The ledger never promises what the disk has not acknowledged: every write below the D of a checkpoint, and every one
//! that its window calls durable, was completed before a flush that then succeeded (or under its promise acknowledged),
//! in the epoch that the checkpoint demands.

use scrubd::engine::Action;
use scrubd::ledger::WriteState;
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::vocabulary::Seq;

#[derive(Default)]
pub struct LedgerPromises {
    checked_below: u64,
}

impl Watcher for LedgerPromises {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { .. } => self.checked_below = 0,
            Sight::Acted(Action::Save(checkpoint)) => {
                let durable = checkpoint.durable();
                let open = (durable.0..checkpoint.window.end().0).map(Seq);
                let promised = open.filter(|seq| checkpoint.window.state(*seq) == WriteState::Durable);
                for seq in (self.checked_below..durable.0).map(Seq).chain(promised) {
                    let records = checkpoint.epochs.records().iter();
                    let required = records.filter(|record| record.restart <= seq).map(|record| record.epoch.number);
                    let required = required.max().unwrap_or(0);
                    let acknowledged = scene.truth.promised_in(seq);
                    if acknowledged.is_none_or(|epoch| epoch < required) {
                        return Err(format!(
                            "checkpoint {} promises write {seq} in epoch {required}; the disk: {acknowledged:?}",
                            checkpoint.number
                        ));
                    }
                }
                self.checked_below = durable.0;
            }
            _ => {}
        }
        Ok(())
    }
}
