//! Saving the ledger: one save in flight, ahead of need, and again when it fails.

use super::action::{Action, Outcome, Record};
use super::engine::{Engine, Phase};
use super::event::Fault;
use crate::ledger::{Ledger, MAX_WINDOW};
use crate::vocabulary::{Epoch, Now, Seq, mix};

/// A checkpoint at least so often while D moves: what a cut leaves to the disk's own witness is at most this old.
const INTERVAL_NS: u64 = 500_000_000;

/// What is reserved ahead is what is written in this time, or in four times what a save takes where that is longer. All of
/// it is read first after a cut: a second's worth of a quick disk would be a large part of the region.
const AHEAD_NS: u64 = 250_000_000;

/// Pause before a failed save is tried again.
const RETRY_NS: u64 = 200_000_000;

/// Failed saves in a row before the run ends.
const MAX_FAILURES: u32 = 4;

#[derive(Clone, Debug, Default)]
pub(super) struct Saves {
    in_flight: Option<Save>,
    newest_number: u64,
    failures: u32,
    /// Set after a failure: not before this time.
    retry_at: Option<u64>,
    /// When the newest save was durable, the D in it, and the write that was next then.
    saved_at: u64,
    saved_durable: Seq,
    saved_next: Seq,
    /// Writes to be reserved ahead: see [`AHEAD_NS`].
    ahead: u64,
    /// There is something to save by this time.
    due_at: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Save {
    number: u64,
    reserved: Seq,
    durable: Seq,
    /// When it was handed over, and whether it is past its deadline.
    since: u64,
    stuck: bool,
}

impl Saves {
    pub(super) fn in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Marks a save that has been in flight since `before` or longer.
    pub(super) fn watch(&mut self, before: u64) {
        if let Some(save) = &mut self.in_flight {
            save.stuck |= save.since <= before;
        }
    }

    /// Number and start of a save that is past its deadline.
    pub(super) fn stuck(&self) -> Option<(u64, u64)> {
        self.in_flight.filter(|save| save.stuck).map(|save| (save.number, save.since))
    }

    /// Moves the time at which the save in flight began.
    pub(super) fn postpone(&mut self, by_ns: u64) {
        if let Some(save) = &mut self.in_flight {
            save.since += by_ns;
        }
    }

    pub(super) fn newest_number(&self) -> u64 {
        self.newest_number
    }

    pub(super) fn retry_at(&self) -> Option<u64> {
        self.retry_at
    }

    pub(super) fn due_at(&self) -> Option<u64> {
        self.due_at.filter(|_| self.in_flight.is_none())
    }

    fn may_submit(&self, now: Now) -> bool {
        self.in_flight.is_none() && self.retry_at.is_none_or(|at| now.mono_ns >= at)
    }

    /// Hands a checkpoint to the store. Numbers are never used twice, failed saves included: what a failed save left
    /// in its slot is then told from what the next one puts there.
    pub(super) fn submit(
        &mut self,
        ledger: &Ledger,
        reserved: Seq,
        clean: bool,
        now: Now,
        actions: &mut Vec<Action>,
    ) -> u64 {
        assert!(self.in_flight.is_none(), "one save in flight at a time");
        let number = ledger.checkpoint_number().max(self.newest_number) + 1;
        self.newest_number = number;
        self.retry_at = None;
        self.due_at = None;
        let (durable, since) = (ledger.durable(), now.mono_ns);
        self.in_flight = Some(Save { number, reserved, durable, since, stuck: false });
        actions.push(Action::Save(Box::new(ledger.checkpoint(number, reserved, clean, now))));
        number
    }
}

impl Engine {
    /// Ends whatever epoch there was and begins the next at P = D. It counts once its checkpoint is durable.
    pub(super) fn open_epoch(&mut self, why: String) {
        let disk = self.check.attestation();
        let number = self.recovered.next_epoch(disk);
        let ledger = self.ledger.as_mut().expect("a ledger is made before its first epoch");
        let number = ledger.epochs().newest().map_or(number, |record| number.max(record.epoch.number + 1));
        let nonce = mix(self.nonce_seed ^ mix(number));
        self.inherited = self.inherited.max(ledger.reserved());
        ledger.begin_epoch(Epoch { number, nonce }, self.settings.promise);
        self.next = ledger.durable();
        // What was not read back before a clean stop is read back after it, unless a whole pass has gone by.
        let one_pass_back = Seq(self.next.0.saturating_sub(self.schedule.blocks()));
        self.read_back = self.ledger().verified().max(one_pass_back);
        self.reading_back.clear();
        self.unflushed_since = None;
        self.saves.saved_next = self.next;
        self.saves.ahead = self.saves.ahead.max(u64::from(self.settings.queue_depth) * 8);
        self.phase = Phase::Opening { why, tries: 0 };
    }

    pub(super) fn advance_opening(&mut self, now: Now, actions: &mut Vec<Action>) {
        // Read and judged, but perhaps out of a volatile cache: under a stronger promise it is held to be durable only
        // once a flush has made it so.
        if self.flush_before_epoch {
            if !self.flushing {
                self.submit_flush(actions);
            }
            return;
        }
        if self.saves.may_submit(now) {
            let ledger = self.ledger.as_ref().expect("an epoch is being opened");
            let reserved = reservation(ledger, self.next, self.saves.ahead);
            self.saves.submit(ledger, reserved, false, now, actions);
        }
    }

    /// Extends the reservation before it is needed, and lets the saved D follow the living one.
    pub(super) fn advance_saves(&mut self, now: Now, actions: &mut Vec<Action>) {
        let ledger = self.ledger.as_ref().expect("running");
        let target = reservation(ledger, self.next, self.saves.ahead);
        let left = ledger.reserved().0 - self.next.0;
        let reserve = left < self.saves.ahead / 2 && target > ledger.reserved();
        let moved = ledger.durable() > self.saves.saved_durable;
        let interval_over = now.mono_ns >= self.saves.saved_at + INTERVAL_NS;
        if !self.saves.may_submit(now) {
            return;
        }
        if reserve || moved && interval_over {
            self.saves.submit(ledger, target.max(ledger.reserved()), false, now, actions);
        } else {
            self.saves.due_at = moved.then_some(self.saves.saved_at + INTERVAL_NS);
        }
    }

    pub(super) fn saved(&mut self, now: Now, number: u64, result: &Result<(), Fault>, actions: &mut Vec<Action>) {
        let save = self.saves.in_flight.take().expect("a save was in flight");
        assert_eq!(save.number, number, "the save that was asked for");
        if save.stuck {
            let after_ms = now.mono_ns.saturating_sub(save.since) / 1_000_000;
            actions.push(Action::Record(Record::SaveReturned { number, after_ms }));
        }
        if let Err(fault) = result {
            actions.push(Action::Record(Record::SaveFailed { number, why: fault.message.clone() }));
            self.saves.failures += 1;
            self.saves.retry_at = Some(now.mono_ns + RETRY_NS);
        } else {
            self.saves.failures = 0;
            let ledger = self.ledger.as_mut().expect("saved");
            ledger.saved(number, save.reserved);
            let elapsed = now.mono_ns.saturating_sub(self.saves.saved_at).max(1);
            let written = self.next.0.saturating_sub(self.saves.saved_next.0);
            let worth_ns = AHEAD_NS.max(now.mono_ns.saturating_sub(save.since).saturating_mul(4));
            let ahead = u128::from(written) * u128::from(worth_ns) / u128::from(elapsed);
            let least = u64::from(self.settings.queue_depth) * 8;
            // Half a window at the most: the rest is what may wait for a flush.
            self.saves.ahead = u64::try_from(ahead).unwrap_or(u64::MAX).clamp(least, MAX_WINDOW / 2);
            (self.saves.saved_at, self.saves.saved_durable, self.saves.saved_next) =
                (now.mono_ns, save.durable, self.next);
            self.record_pass(now, actions);
        }
        if self.trigger_saved(number, result, actions) {
            return;
        }
        match self.phase.clone() {
            Phase::Closing { saved: Some(wanted), .. } if wanted == number => self.closed(result, actions),
            Phase::Opening { why, tries } => match result {
                Ok(()) => self.opened(why, actions),
                Err(fault) if tries + 1 >= MAX_FAILURES => {
                    self.exit(Outcome::StateNotSaved(fault.message.clone()), actions);
                }
                Err(_) => self.phase = Phase::Opening { why, tries: tries + 1 },
            },
            Phase::Running => {
                if let Err(fault) = result
                    && self.saves.failures >= MAX_FAILURES
                {
                    self.stop(Outcome::StateNotSaved(fault.message.clone()));
                }
            }
            _ => {}
        }
    }

    fn opened(&mut self, why: String, actions: &mut Vec<Action>) {
        let ledger = self.ledger();
        let epoch = ledger.epoch();
        actions.push(Action::Record(Record::EpochBegan {
            epoch: epoch.number,
            nonce: epoch.nonce,
            restart: ledger.restart_point(),
            reserved: ledger.reserved(),
            promise: ledger.promise(),
            why,
        }));
        self.phase = Phase::Running;
    }
}

/// What to reserve up to: enough ahead, within the window, never less than is reserved.
fn reservation(ledger: &Ledger, next: Seq, ahead: u64) -> Seq {
    Seq(next.0 + ahead).min(ledger.reservable()).max(ledger.reserved())
}
