//! A check reads, and does nothing else. A patrol saves its own position beside, and no ledger.

use scrubd::engine::{Action, Mode};
use scrubd::sim::{Scene, Sight, Watcher};

#[derive(Default)]
pub struct CheckChangesNothing {
    checking: bool,
    patrols: bool,
}

impl Watcher for CheckChangesNothing {
    fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { settings, .. } => {
                self.checking = matches!(settings.mode, Mode::Check | Mode::Patrol);
                self.patrols = settings.mode == Mode::Patrol;
            }
            Sight::Acted(Action::Write { .. } | Action::Flush | Action::Save(_) | Action::Seal(..))
                if self.checking =>
            {
                return Err(format!("a check changes something: {sight:?}"));
            }
            Sight::Acted(Action::SavePosition(_)) if !self.patrols => {
                return Err("who is on no patrol has no position".to_owned());
            }
            _ => {}
        }
        Ok(())
    }
}
