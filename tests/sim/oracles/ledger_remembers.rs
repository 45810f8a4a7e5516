//! The ledger forgets nothing that it was promised: every write of the living epoch that the disk has promised is
//! durable in each checkpoint of that epoch, below its D or in its window. And a checkpoint calls itself clean only when
//! all that its epoch issued was promised.
//!
//! What is promised after something that may have lost the cache (a failed flush, a reset, a command that may cut the
//! power) need not be believed, so it need not be remembered.

use std::collections::BTreeSet;

use scrubd::engine::{Action, Command, Event};
use scrubd::ledger::{Checkpoint, WriteState};
use scrubd::sim::{Scene, Sight, Watcher};
use scrubd::vocabulary::{Epoch, Seq};

#[derive(Default)]
pub struct LedgerRemembers {
    epoch: Option<Epoch>,
    due: BTreeSet<Seq>,
    doubted: bool,
    command_may_cut: bool,
    /// What was due when the newest save was answered: a command that follows from it runs before whatever else was told
    /// in the same step.
    due_at_save: BTreeSet<Seq>,
}

impl LedgerRemembers {
    fn gather(&mut self, scene: Scene<'_>) {
        if self.doubted {
            return;
        }
        let start = scene.truth.starts;
        let of_this_start = scene.truth.writes().iter().rev().take_while(|write| write.start == start);
        let living = of_this_start.filter(|write| Some(write.claim.issue.epoch) == self.epoch && write.promised);
        self.due.extend(living.map(|write| write.claim.issue.seq));
    }

    fn saved(&mut self, checkpoint: &Checkpoint, scene: Scene<'_>) -> Result<(), String> {
        let epoch = checkpoint.epochs.newest().map(|record| record.epoch);
        if epoch != self.epoch {
            *self = LedgerRemembers { epoch, command_may_cut: self.command_may_cut, ..LedgerRemembers::default() };
        }
        self.gather(scene);
        let forgotten = self.due.iter().find(|seq| checkpoint.window.state(**seq) != WriteState::Durable);
        if let Some(seq) = forgotten {
            return Err(format!("checkpoint {} does not know that write {seq} was promised", checkpoint.number));
        }
        let start = scene.truth.starts;
        let mut of_this_start = scene.truth.writes().iter().rev().take_while(|write| write.start == start);
        // A write that failed is handed over again as another one of the same issue.
        let open = of_this_start.find(|write| {
            let issue = write.claim.issue;
            Some(issue.epoch) == epoch && scene.truth.promised_in(issue.seq) < Some(issue.epoch.number)
        });
        match open.filter(|_| checkpoint.clean) {
            Some(open) => Err(format!("checkpoint {} calls itself clean, and {open:?} is open", checkpoint.number)),
            None => Ok(()),
        }
    }
}

impl Watcher for LedgerRemembers {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        let may_have_lost = match sight {
            Sight::Started { settings, .. } => {
                *self = LedgerRemembers { command_may_cut: settings.trigger_command, ..LedgerRemembers::default() };
                false
            }
            Sight::Acted(Action::Save(checkpoint)) => return self.saved(checkpoint, scene),
            Sight::Told(Event::Saved(..)) if self.command_may_cut => {
                self.gather(scene);
                self.due_at_save.clone_from(&self.due);
                false
            }
            Sight::Acted(Action::Fire(_)) if self.command_may_cut => {
                self.due = std::mem::take(&mut self.due_at_save);
                self.doubted = true;
                false
            }
            Sight::Blip | Sight::Told(Event::Flushed(Err(_)) | Event::Command(Command::DeviceReset(_))) => true,
            _ => false,
        };
        if may_have_lost {
            self.gather(scene);
            self.doubted = true;
        }
        Ok(())
    }
}
