//! The ledger as a check sees it: what was saved, corrected by what the disk itself attests to.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::epochs::{Acquaintance, Epochs};
use super::ledger::{Ledger, newest_in_state, oldest_covering};
use super::legal::{Guarantee, Legal, ProvedBy, Rule};
use super::window::{MAX_WINDOW, WriteState};
use crate::schedule::Schedule;
use crate::vocabulary::{Block, Claim, Epoch, Promise, Seq};

/// What became of the saved ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is the newest there ever was, as far as the disk can tell.
    Current,
    /// The disk was written by somebody who had a newer one.
    Stale,
    /// There is none, or none was to be used.
    Missing,
}

/// What whole atoms on the disk claim, epoch by epoch.
///
/// An atom of a later epoch, or of a higher frontier, only ever raises what is known, so the order of adding does not
/// matter, and nothing that happens to the disk later takes it back. Bounded by the epochs on the disk.
#[derive(Clone, Debug, Default)]
pub struct Attestation {
    epochs: BTreeMap<Epoch, EpochClaims>,
    highest_seq: Option<Seq>,
}

#[derive(Clone, Debug, Default)]
struct EpochClaims {
    /// The two highest frontiers claimed, each by a whole atom of its own; one alone is not judged by.
    highest: Option<Seq>,
    second: Option<Seq>,
    /// What two atoms attested to when the disk was heard before.
    before: Option<Seq>,
    checkpoint: u64,
}

impl Attestation {
    /// To hear the disk once more, from its first block on: what it has attested to stands, and an atom that is heard a
    /// second time is no second witness.
    #[must_use]
    pub fn once_more(self) -> Self {
        let proved = |claims: EpochClaims| {
            let before = claims.frontier();
            EpochClaims { highest: None, second: None, before, ..claims }
        };
        let epochs = self.epochs.into_iter().map(|(epoch, claims)| (epoch, proved(claims))).collect();
        Attestation { epochs, ..self }
    }

    /// Counts in `atoms` whole atoms that make the same claim.
    pub fn add(&mut self, claim: &Claim, atoms: u32, held_to: Promise) {
        self.highest_seq = self.highest_seq.max(Some(claim.issue.seq));
        let entry = self.epochs.entry(claim.issue.epoch).or_default();
        entry.checkpoint = entry.checkpoint.max(claim.checkpoint);
        // A frontier that was earned under a weaker promise proves nothing for a stronger one.
        if claim.promise < held_to || claim.durable > claim.issue.seq {
            return;
        }
        let durable = Some(claim.durable);
        for _ in 0..atoms.min(2) {
            if durable > entry.highest {
                entry.second = entry.highest;
                entry.highest = durable;
            } else {
                entry.second = entry.second.max(durable);
            }
        }
    }

    /// Whether a tag of this epoch was seen.
    #[must_use]
    pub fn has_heard_of(&self, epoch: Epoch) -> bool {
        self.epochs.contains_key(&epoch)
    }

    /// The epochs seen.
    pub fn epochs(&self) -> impl DoubleEndedIterator<Item = Epoch> + '_ {
        self.epochs.keys().copied()
    }

    /// The highest write seen.
    #[must_use]
    pub fn highest_seq(&self) -> Option<Seq> {
        self.highest_seq
    }

    /// The frontier that two whole atoms of an epoch attest to that were there when the disk was heard last.
    fn witnessed(&self, epoch: Epoch) -> Option<Seq> {
        self.epochs.get(&epoch)?.second
    }

    /// The frontier that two whole atoms of an epoch attest to, or have attested to before.
    #[must_use]
    pub fn frontier(&self, epoch: Epoch) -> Option<Seq> {
        self.epochs.get(&epoch)?.frontier()
    }

    /// The highest checkpoint number named by any tag.
    #[must_use]
    pub fn highest_checkpoint(&self) -> u64 {
        self.epochs.values().map(|claims| claims.checkpoint).max().unwrap_or(0)
    }
}

impl EpochClaims {
    fn frontier(&self) -> Option<Seq> {
        self.second.max(self.before)
    }
}

/// The frontiers and rules by which the region is judged when no write is in flight: after a cut, or in a check.
#[derive(Clone, Debug)]
pub struct Recovered {
    schedule: Schedule,
    state: State,
    promise: Promise,
    saved: Option<Checkpoint>,
    /// D.
    durable: Seq,
    /// The frontier that the disk itself attests to, where that is what counts.
    attested: Option<Seq>,
    /// R; `None` where the ledger is stale or missing.
    reserved: Option<Seq>,
    /// Empty where the ledger is stale or missing: every epoch is then accepted.
    epochs: Arc<Epochs>,
    /// Nobody asks in which order writes were lost: what is judged is long past its guarantee.
    long_past: bool,
    /// The witnesses of the window are being heard along with what is judged.
    hearing: bool,
}

impl Recovered {
    /// Believes a saved ledger until the disk contradicts it.
    #[must_use]
    pub fn from_saved(schedule: Schedule, saved: Checkpoint) -> Self {
        Recovered {
            schedule,
            state: State::Current,
            promise: saved.promise,
            durable: saved.durable(),
            attested: None,
            reserved: Some(saved.reserved),
            epochs: Arc::new(saved.epochs.clone()),
            saved: Some(saved),
            long_past: false,
            hearing: false,
        }
    }

    /// Rebuilds what can be known from the tags alone.
    ///
    /// `saved` is the stale ledger, if there is one: its epochs tell which of those on the disk contend. D is the
    /// smallest frontier among these: which of two epochs that went on from different copies of the state was the last
    /// to write cannot be known, and what one of them has proved the other may have lawfully overwritten.
    #[must_use]
    pub fn rebuilt(schedule: Schedule, promise: Promise, saved: Option<Checkpoint>, disk: &Attestation) -> Self {
        let contending = match &saved {
            Some(saved) => contending_with(&saved.epochs, disk),
            None => contending_alone(disk),
        };
        let frontier = contending.iter().map(|&epoch| disk.frontier(epoch)).min().flatten();
        Recovered {
            schedule,
            state: if saved.is_some() { State::Stale } else { State::Missing },
            promise,
            saved,
            durable: frontier.unwrap_or(Seq(0)),
            attested: frontier,
            reserved: None,
            epochs: Arc::default(),
            long_past: false,
            hearing: false,
        }
    }

    /// To look at the region once: what it says of blocks without a write in the window holds already, as a witness can
    /// raise D within the window only. The others are heard.
    #[must_use]
    pub fn while_hearing(&self) -> Self {
        Recovered { hearing: true, ..self.clone() }
    }

    /// Whether a block is to be heard, and judged when all are.
    #[must_use]
    pub fn hears(&self, block: Block) -> bool {
        self.hearing && self.has_open_write(block)
    }

    /// Whether a block has a write in the window: whether that is guaranteed, witnesses may decide.
    #[must_use]
    pub fn has_open_write(&self, block: Block) -> bool {
        let newest = self.reserved.and_then(|reserved| self.schedule.newest_below(reserved, block));
        newest.is_some_and(|seq| seq >= self.durable)
    }

    /// From here on it judges for a patrol: a lost write is just that, whatever was sealed after its guarantee.
    pub fn judge_what_is_long_past(&mut self) {
        self.long_past = true;
    }

    /// Raises D to what the disk attests to in the newest epoch. What older epochs could prove is contained in its
    /// restart point.
    pub fn attest(&mut self, disk: &Attestation) {
        let newest = self.epochs.newest().map(|record| record.epoch);
        self.attested = newest.and_then(|epoch| disk.witnessed(epoch));
        self.durable = self.durable.max(newest.and_then(|epoch| disk.frontier(epoch)).unwrap_or(Seq(0)));
    }

    /// Whether a tag shows that the saved ledger is older than the disk.
    #[must_use]
    pub fn is_outrun_by(&self, claim: &Claim) -> bool {
        self.state == State::Current && self.epochs.acquaintance(claim) == Acquaintance::Ahead
    }

    /// Whether the ledger is believed and yet knows of no epoch: then what is legal may show that it is stale.
    #[must_use]
    pub fn accepts_any_epoch(&self) -> bool {
        self.state == State::Current && self.epochs.records().is_empty()
    }

    /// What may be in a block.
    #[must_use]
    pub fn legal(&self, block: Block) -> Legal {
        let mut legal = Legal {
            block,
            rule: Rule::Anything,
            newest_issued: None,
            reserved: self.reserved,
            issued_below: None,
            epochs: Arc::clone(&self.epochs),
        };
        self.move_on(&mut legal, block);
        legal
    }

    /// Makes of what was legal in one block what may be in another.
    pub fn move_on(&self, legal: &mut Legal, block: Block) {
        let mut writes = self.schedule.writes_of(block);
        let window = self.saved.as_ref().filter(|_| self.state == State::Current).map(|saved| &saved.window);
        let mut in_window = |state| window.and_then(|window| newest_in_state(&mut writes, window, state));
        // First of all, as it is the newest as a rule, and the others are below it.
        let issued = in_window(WriteState::Issued);
        let in_window = match issued {
            Some(seq) if window.is_some_and(|window| window.state(seq) == WriteState::Durable) => issued,
            _ => in_window(WriteState::Durable),
        };
        let guaranteed = writes.newest_below(self.durable).max(in_window);
        legal.block = block;
        legal.rule = guaranteed.map_or(Rule::Anything, |seq| Rule::AtLeast(self.guarantee(seq)));
        legal.newest_issued = guaranteed.max(issued);
    }

    fn guarantee(&self, seq: Seq) -> Guarantee {
        let current = self.saved.as_ref().filter(|_| self.state == State::Current);
        let by_checkpoint = current.is_some_and(|saved| saved.window.state(seq) == WriteState::Durable);
        let unverified_after_cut = current.is_some_and(|saved| !saved.clean && seq >= saved.verified);
        Guarantee {
            seq,
            proved_by: if by_checkpoint { ProvedBy::Checkpoint } else { ProvedBy::Disk },
            flush: current.and_then(|saved| oldest_covering(saved.flushes.iter(), seq)),
            attested: !self.long_past && unverified_after_cut && self.attested.is_some_and(|attested| seq < attested),
        }
    }

    /// The ledger from which the run goes on: P = D, an empty window, and a reservation that is never lower than what
    /// may have been issued.
    #[must_use]
    pub fn restart(&self, disk: &Attestation, judged_all: bool) -> Ledger {
        let mut from = self.saved.clone().unwrap_or_else(|| Checkpoint::first(self.promise, 0));
        from.number = from.number.max(disk.highest_checkpoint());
        from.totals.cuts += u64::from(!from.clean);
        if judged_all {
            from.verified = self.durable;
        }
        let reserved = self.reserved.unwrap_or_else(|| {
            // Nothing was issued further than a window above a durable frontier, and the highest write seen is at
            // least that of a block that could not be read.
            let seen = disk.highest_seq().map_or(0, |seq| seq.0 + 1);
            Seq(seen.max(self.durable.0).max(from.reserved.0) + MAX_WINDOW)
        });
        if self.state != State::Current {
            from.epochs = Epochs::default();
            // They guaranteed issues that others have replaced.
            from.flushes.clear();
        }
        Ledger::restart(self.schedule, self.promise, &from, self.durable, reserved)
    }

    /// The number of the next epoch: above any on the disk or in the state.
    #[must_use]
    pub fn next_epoch(&self, disk: &Attestation) -> u64 {
        let saved = self.saved.as_ref().and_then(|saved| saved.epochs.newest()).map(|record| record.epoch.number);
        let seen = disk.epochs().next_back().map(|epoch| epoch.number);
        saved.max(seen).unwrap_or(0) + 1
    }

    /// What became of the saved ledger.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The ledger that was saved, stale or not.
    #[must_use]
    pub fn saved(&self) -> Option<&Checkpoint> {
        self.saved.as_ref()
    }

    /// D.
    #[must_use]
    pub fn durable(&self) -> Seq {
        self.durable
    }

    /// R, where it is known.
    #[must_use]
    pub fn reserved(&self) -> Option<Seq> {
        self.reserved
    }

    /// What proved D.
    #[must_use]
    pub fn proved_by(&self) -> ProvedBy {
        let saved = self.saved.as_ref().filter(|_| self.state == State::Current);
        if saved.is_some_and(|saved| saved.durable() == self.durable) { ProvedBy::Checkpoint } else { ProvedBy::Disk }
    }

    /// What the disk was held to.
    #[must_use]
    pub fn promise(&self) -> Promise {
        self.promise
    }
}

/// With a stale ledger: the epochs that it has not heard of or whose checkpoints went on without it, and all from the first of
/// these on. Where one of them has the number of an epoch that the ledger knows, both went on from copies of the state, and
/// the one that is known may have been the last to write.
fn contending_with(known: &Epochs, disk: &Attestation) -> Vec<Epoch> {
    let ahead = |epoch: &Epoch| match known.records().binary_search_by_key(&epoch.number, |r| r.epoch.number) {
        Ok(at) => {
            let record = known.records()[at];
            record.epoch != *epoch || disk.epochs[epoch].checkpoint > record.last_checkpoint
        }
        Err(at) => at > 0 || known.records().is_empty(),
    };
    let from = disk.epochs().filter(ahead).map(|epoch| epoch.number).min();
    disk.epochs().filter(|epoch| from.is_some_and(|from| epoch.number >= from)).collect()
}

/// Without a ledger: the newest epoch, and where two share a number, all from that number on.
fn contending_alone(disk: &Attestation) -> Vec<Epoch> {
    let epochs: Vec<Epoch> = disk.epochs().collect();
    let forked = epochs.windows(2).find(|pair| pair[0].number == pair[1].number).map(|pair| pair[0].number);
    let from = forked.or(epochs.last().map(|epoch| epoch.number));
    epochs.into_iter().filter(|epoch| Some(epoch.number) >= from).collect()
}
