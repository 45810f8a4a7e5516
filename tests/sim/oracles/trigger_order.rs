//! The trigger's command runs only once the ledger is durable: no save is in flight, the newest one succeeded, and it was
//! handed over after the trigger's cause. Where nothing was written since the start there is nothing to save.

use std::collections::BTreeSet;

use scrubd::engine::{Action, Command, Event, OpId};
use scrubd::report::Overall;
use scrubd::sim::{Scene, Sight, Watcher};

#[derive(Default)]
pub struct TriggerOrder {
    trigger_writes: Option<u64>,
    writes: u64,
    failed: BTreeSet<OpId>,
    /// Something asked for the trigger, and it has not fired yet.
    asked: bool,
    /// A save is in flight; whether it was handed over after that.
    saving: Option<bool>,
    /// Such a save is durable.
    saved: bool,
    last_failed: bool,
    /// A check found something: nothing is written any more, and the state stays as it was found.
    concluded: bool,
}

impl TriggerOrder {
    /// A second cause is part of the first.
    fn ask(&mut self) {
        self.saved &= self.asked;
        self.asked = true;
    }
}

impl Watcher for TriggerOrder {
    fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { settings, .. } => {
                *self = TriggerOrder { trigger_writes: settings.trigger_writes, ..TriggerOrder::default() };
            }
            Sight::Told(Event::Command(Command::Trigger(_))) => self.ask(),
            Sight::Told(Event::Wrote(op, Err(_))) => {
                self.failed.insert(*op);
            }
            Sight::Acted(Action::Seal(op, ..)) => {
                self.failed.remove(op);
            }
            // A retry is no other write.
            Sight::Acted(Action::Write { op, .. }) if !self.failed.remove(op) => {
                self.writes += 1;
                if Some(self.writes) == self.trigger_writes {
                    self.ask();
                }
            }
            Sight::Acted(Action::Report(finding, _)) if !finding.known => self.ask(),
            Sight::Acted(Action::Judged(judgement)) => self.concluded = judgement.verdict == Overall::Violated,
            Sight::Acted(Action::Save(_)) => self.saving = Some(self.asked),
            Sight::Told(Event::Saved(_, result)) => {
                self.saved |= self.saving.take() == Some(true) && result.is_ok();
                self.last_failed = result.is_err();
            }
            Sight::Acted(Action::Fire(reason)) => {
                if self.saving.is_some() {
                    return Err(format!("the command runs ({reason}) while a save is in flight"));
                }
                if self.writes > 0 && !self.concluded && (!self.saved || self.last_failed) {
                    return Err(format!("the command runs ({reason}), and the ledger was not saved for it"));
                }
                (self.asked, self.saved) = (false, false);
            }
            _ => {}
        }
        Ok(())
    }
}
