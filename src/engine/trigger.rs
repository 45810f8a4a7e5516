//! A trigger: freeze the ledger, save it, run the command, go on or end.

use super::action::{Action, Outcome, Record};
use super::engine::{Engine, Goal, Phase};
use super::event::{Fault, Reason};
use super::settings::{Mode, Then, TriggerIo};
use crate::vocabulary::Now;

/// Tries of the trigger's save. If none is durable the command does not run.
const MAX_SAVE_TRIES: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TriggerStage {
    Begun,
    /// Waiting for what is in flight.
    Draining,
    Flushing,
    /// The save of this number is the one that counts.
    Saving(Option<u64>),
    /// The command runs.
    Firing,
}

#[derive(Clone, Debug)]
pub(super) struct Trigger {
    pub(super) reason: Reason,
    stage: TriggerStage,
    tries: u32,
    /// The reason that is on record, or about to be.
    recorded: Option<Reason>,
}

impl TriggerStage {
    /// Its save is on its way, or was: nothing may be begun until its command has ended.
    fn is_past_draining(self) -> bool {
        matches!(self, TriggerStage::Saving(Some(_)) | TriggerStage::Firing)
    }
}

impl Trigger {
    /// Puts on record what it is about to do, once for each reason.
    fn record(&mut self, actions: &mut Vec<Action>) {
        if self.recorded.as_ref() != Some(&self.reason) {
            self.recorded = Some(self.reason.clone());
            actions.push(Action::Record(Record::Triggered { reason: self.reason.clone() }));
        }
    }

    /// It waits for a save, its own or the one before.
    pub(super) fn is_saving(&self) -> bool {
        matches!(self.stage, TriggerStage::Saving(_))
    }

    pub(super) fn stage_in_words(&self) -> &'static str {
        match self.stage {
            TriggerStage::Begun => "waiting",
            TriggerStage::Draining => "draining",
            TriggerStage::Flushing => "flushing",
            TriggerStage::Saving(_) => "saving the ledger",
            TriggerStage::Firing => "the command runs",
        }
    }
}

impl Engine {
    /// A second trigger while one is being acted on is part of the first.
    pub(super) fn begin_trigger(&mut self, reason: Reason) {
        if let Some(trigger) = &mut self.trigger {
            // What follows a finding is not what follows the trigger that happens to be under way.
            if reason == Reason::Finding {
                trigger.reason = reason;
            }
        } else if !matches!(self.phase, Phase::Closing { .. } | Phase::Ended) {
            self.trigger = Some(Trigger { reason, stage: TriggerStage::Begun, tries: 0, recorded: None });
        }
    }

    /// A trigger whose command does not run yet begins anew: what it was about to save is of an epoch that is over.
    pub(super) fn restart_trigger(&mut self) {
        if let Some(trigger) = &mut self.trigger
            && trigger.stage != TriggerStage::Firing
        {
            trigger.stage = TriggerStage::Begun;
        }
    }

    /// Moves the trigger on. True while nothing else may be started.
    pub(super) fn trigger_holds_everything(&mut self, now: Now, actions: &mut Vec<Action>) -> bool {
        let Some(trigger) = &self.trigger else { return false };
        match (&self.phase, trigger.stage) {
            // Nothing was written yet: what is saved is what there is to be known.
            (Phase::Checking, TriggerStage::Begun) if !self.check.from_saved && !self.check.concluded => false,
            (Phase::Checking, TriggerStage::Begun) if self.tells_what_it_found() => false,
            (Phase::Checking, TriggerStage::Begun) => {
                self.fire(actions);
                true
            }
            (Phase::Checking, _) => true,
            (Phase::Running | Phase::Draining(Goal::Stop(_)), _) => {
                self.advance_trigger(now, actions);
                self.trigger.is_some() && self.settings.trigger_io != TriggerIo::Continue
            }
            // The epoch that is to begin waits for what does not return, and may do so for ever. What is saved instead
            // promises nothing of the window: no more than a stop would save from here.
            (Phase::Draining(_), stage) if stage.is_past_draining() || self.nothing_but_stuck() => {
                self.advance_trigger(now, actions);
                self.trigger.is_some()
            }
            // An epoch is about to begin: the trigger's save would be of one that is over.
            _ => false,
        }
    }

    /// What was found is told first: the command may take the rest of its evidence along. Not where that does not get on: to
    /// cut the power of a disk that hangs may be what the trigger is for.
    fn tells_what_it_found(&self) -> bool {
        self.check.found_all() && !self.paused && !self.check.stop_asked && !self.nothing_but_stuck()
    }

    fn advance_trigger(&mut self, now: Now, actions: &mut Vec<Action>) {
        let io = self.settings.trigger_io;
        // What does not return is not waited for, and a flush would wait behind it.
        let hung = self.nothing_but_stuck();
        let quiet = self.ops.in_flight() == 0 && !self.flushing || hung;
        let flush_stuck = self.flush_stuck;
        let Some(trigger) = &mut self.trigger else { return };
        if trigger.stage == TriggerStage::Begun {
            trigger.stage = match io {
                TriggerIo::Continue | TriggerIo::Hold => TriggerStage::Saving(None),
                TriggerIo::Drain | TriggerIo::Flush => TriggerStage::Draining,
            };
        }
        if trigger.stage == TriggerStage::Draining && quiet {
            let flush = io == TriggerIo::Flush && !hung;
            if hung {
                actions.push(Action::Record(Record::NotDrained { stuck: self.ops.stuck() + u32::from(flush_stuck) }));
            }
            trigger.stage = if flush { TriggerStage::Flushing } else { TriggerStage::Saving(None) };
            if flush {
                return self.submit_flush(actions);
            }
        }
        if trigger.stage == TriggerStage::Flushing && flush_stuck {
            actions.push(Action::Record(Record::NotDrained { stuck: self.ops.stuck() + 1 }));
            trigger.stage = TriggerStage::Saving(None);
        }
        if trigger.stage == TriggerStage::Saving(None) && !self.saves.in_flight() {
            // Before the save, so that the line becomes durable while the ledger does: neither needs the other.
            trigger.record(actions);
            let ledger = self.ledger.as_ref().expect("running");
            let reserved = ledger.reserved();
            let number = self.saves.submit(ledger, reserved, false, now, actions);
            trigger.stage = TriggerStage::Saving(Some(number));
        }
    }

    pub(super) fn trigger_flushed(&mut self, succeeded: bool) {
        let stopping = matches!(self.phase, Phase::Draining(Goal::Stop(_)));
        if let Some(trigger) = &mut self.trigger
            && trigger.stage == TriggerStage::Flushing
        {
            // After a failed flush the epoch ends first, and the trigger begins anew in the next one. On the way out
            // there is none: what is saved then promises nothing of what that flush covered.
            trigger.stage = if succeeded || stopping { TriggerStage::Saving(None) } else { TriggerStage::Begun };
        }
    }

    /// Whether the save was the trigger's, and if so, what follows.
    pub(super) fn trigger_saved(&mut self, number: u64, result: &Result<(), Fault>, actions: &mut Vec<Action>) -> bool {
        let Some(trigger) = &mut self.trigger else { return false };
        if trigger.stage != TriggerStage::Saving(Some(number)) {
            return false;
        }
        match result {
            Ok(()) => self.fire(actions),
            Err(fault) => {
                trigger.tries += 1;
                trigger.stage = TriggerStage::Saving(None);
                if trigger.tries >= MAX_SAVE_TRIES {
                    self.trigger_unsaved(fault.message.clone());
                }
            }
        }
        true
    }

    /// The ledger could not be made durable: the command does not run.
    pub(super) fn trigger_unsaved(&mut self, why: String) {
        self.trigger = None;
        self.stop(Outcome::StateNotSaved(why));
    }

    fn fire(&mut self, actions: &mut Vec<Action>) {
        let trigger = self.trigger.as_mut().expect("a trigger fires");
        trigger.stage = TriggerStage::Firing;
        // The command may cut the disk's power while this process lives on: from here on nothing that completes, and no
        // flush, proves anything, and nothing that is read is held against the disk.
        if let Some(ledger) = self.ledger.as_mut().filter(|_| self.settings.trigger_command) {
            ledger.distrust_window();
        }
        // A check tells what it met at its end, and begins again after a command; a patrol tells it at once.
        if self.settings.mode == Mode::Patrol && self.settings.trigger_command {
            self.check.start_over();
        }
        trigger.record(actions);
        actions.push(Action::Fire(trigger.reason.clone()));
    }

    /// The command has ended.
    pub(super) fn end_trigger(&mut self) {
        let Some(trigger) = self.trigger.take() else { return };
        if trigger.reason == Reason::Finding {
            return self.stop(Outcome::Broken);
        }
        match (self.settings.trigger_then, &self.phase) {
            (Then::Exit, _) => self.stop(Outcome::Kept),
            // The command may have cut the power: what was read before may no longer be there.
            (Then::Resume, Phase::Checking) if self.settings.trigger_command => self.check.start_over(),
            (Then::Resume, phase) if self.settings.trigger_command => {
                let why = "the trigger's command may have cut the power".to_owned();
                match phase {
                    Phase::Draining(Goal::Epoch(_)) => self.phase = Phase::Draining(Goal::Check(why)),
                    _ => self.begin_drain(Goal::Check(why)),
                }
            }
            (Then::Resume, _) => {}
        }
    }
}
