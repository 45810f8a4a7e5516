//! A check reads, and does nothing else.

use scrubd::engine::{Action, Mode};
use scrubd::sim::{Scene, Sight, Watcher};

#[derive(Default)]
pub struct CheckChangesNothing {
    checking: bool,
}

impl Watcher for CheckChangesNothing {
    fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Started { settings, .. } => self.checking = settings.mode == Mode::Check,
            Sight::Acted(Action::Write { .. } | Action::Flush | Action::Save(_) | Action::Seal(..))
                if self.checking =>
            {
                return Err(format!("a check changes something: {sight:?}"));
            }
            _ => {}
        }
        Ok(())
    }
}
