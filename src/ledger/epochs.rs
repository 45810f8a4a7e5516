//! The epochs that may still have left something on the disk.

use crate::vocabulary::{Claim, Epoch, Seq};
use serde::{Deserialize, Serialize};

/// Epochs kept, 40 bytes each in a slot: 160 KiB at most. A rig that cuts more often than this within two passes
/// forgets the oldest; what they wrote is then legal from "some epoch before the oldest known", which can only make a
/// check milder.
pub const MAX_EPOCHS: usize = 4096;

/// One epoch: who it is, and from where it issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Its identity.
    pub epoch: Epoch,
    /// P: it issued every number from here upward, and none below.
    pub restart: Seq,
    /// The frontier below which everything it could issue stood when it ended; for the newest epoch, R.
    pub reserved: Seq,
    /// The number of the last checkpoint that was durable in it.
    pub last_checkpoint: u64,
}

/// What the ledger knows of the epoch that a tag names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquaintance {
    /// Listed, and the tag names no checkpoint that we do not know of.
    Known(EpochRecord),
    /// Older than every listed epoch.
    Forgotten,
    /// Not listed although it is not older than the oldest, or it names a checkpoint above the last that we know of:
    /// somebody went on with a newer copy of the state than ours.
    Ahead,
}

/// The epochs of one pass back, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    records: Vec<EpochRecord>,
}

impl Epochs {
    /// A table from records in ascending order.
    ///
    /// # Errors
    /// When they are not, or are too many: the bytes were not written by this program.
    pub fn from_records(records: Vec<EpochRecord>) -> Result<Self, &'static str> {
        if records.len() > MAX_EPOCHS {
            return Err("more epochs than are ever kept");
        }
        if !records.is_sorted_by(|a, b| a.epoch.number < b.epoch.number) {
            return Err("epochs out of order");
        }
        Ok(Epochs { records })
    }

    /// All records, oldest first.
    #[must_use]
    pub fn records(&self) -> &[EpochRecord] {
        &self.records
    }

    /// The epoch that is, or was last, issuing.
    #[must_use]
    pub fn newest(&self) -> Option<&EpochRecord> {
        self.records.last()
    }

    /// The newest epoch whose restart point is not above a write: the one that the guaranteed issue must carry.
    #[must_use]
    pub fn required_for(&self, seq: Seq) -> Option<&EpochRecord> {
        self.records.iter().rev().find(|record| record.restart <= seq)
    }

    /// What is known of the epoch that a tag names.
    #[must_use]
    pub fn acquaintance(&self, claim: &Claim) -> Acquaintance {
        let epoch = claim.issue.epoch;
        match self.records.binary_search_by_key(&epoch.number, |record| record.epoch.number) {
            Ok(at) if self.records[at].epoch == epoch && claim.checkpoint <= self.records[at].last_checkpoint => {
                Acquaintance::Known(self.records[at])
            }
            Err(0) if !self.records.is_empty() => Acquaintance::Forgotten,
            _ => Acquaintance::Ahead,
        }
    }

    /// Adds the epoch that begins, and forgets those that can have left nothing that is still legal: everything they
    /// could have issued lies below `floor`, and a younger epoch restarted at or below it.
    ///
    /// # Panics
    /// When the epoch is not newer than all others: tags could then not tell them apart.
    pub fn begin(&mut self, record: EpochRecord, floor: Seq) {
        assert!(self.newest().is_none_or(|newest| newest.epoch.number < record.epoch.number), "epochs only grow");
        self.records.push(record);
        let forgettable = |pair: &&[EpochRecord]| pair[1].restart <= floor && pair[0].reserved <= floor;
        let stale = self.records.windows(2).take_while(forgettable).count();
        self.records.drain(..stale.max(self.records.len().saturating_sub(MAX_EPOCHS)));
    }

    /// The newest epoch's record, to move its reservation and its last checkpoint along.
    pub(super) fn newest_mut(&mut self) -> Option<&mut EpochRecord> {
        self.records.last_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(count: usize) -> Vec<EpochRecord> {
        let record = |number| EpochRecord {
            epoch: Epoch { number, nonce: 1 },
            restart: Seq(number),
            reserved: Seq(number),
            last_checkpoint: number,
        };
        (1..=count as u64).map(record).collect()
    }

    #[test]
    fn as_many_epochs_as_are_kept_are_read_back_and_not_one_more() {
        let most = Epochs::from_records(records(MAX_EPOCHS)).unwrap();
        assert_eq!(most.records().len(), MAX_EPOCHS);
        assert!(Epochs::from_records(records(MAX_EPOCHS + 1)).is_err());
        assert!(Epochs::from_records(records(3).into_iter().rev().collect()).is_err());
    }

    #[test]
    fn a_rig_that_cuts_too_often_forgets_the_oldest_epoch_first() {
        let mut epochs = Epochs::from_records(records(MAX_EPOCHS)).unwrap();
        let next = EpochRecord { epoch: Epoch { number: 5000, nonce: 1 }, ..epochs.records()[0] };
        epochs.begin(next, Seq(0));
        assert_eq!(epochs.records().len(), MAX_EPOCHS);
        assert_eq!((epochs.records()[0].epoch.number, epochs.newest()), (2, Some(&next)));
    }
}
