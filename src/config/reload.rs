//! What a running daemon can take over from new settings.

use super::keys::{Change, KEYS};
use super::settings::TargetSettings;
use super::show::value_of;

/// Whether a running daemon can go from `old` to `new`: everything that differs is a key with [`Change::Reload`].
///
/// # Errors
/// Each change that needs a new start, in words for the log. None of `new` may be used then.
pub fn reloadable_change(old: &TargetSettings, new: &TargetSettings) -> Result<(), Vec<String>> {
    let mut refused = Vec::new();
    if old.name != new.name {
        refused.push(format!("target \"{}\" cannot become \"{}\"", old.name, new.name));
    }
    if old.state_dir != new.state_dir {
        let (old, new) = (old.state_dir.display(), new.state_dir.display());
        refused.push(format!("state_dir: \"{old}\" is in use, \"{new}\" needs a restart"));
    }
    let of_label = || "what the label says".to_owned();
    for key in KEYS.iter().filter(|key| key.change == Change::Restart) {
        let (running, wanted) = (value_of(old, key.name), value_of(new, key.name));
        if running != wanted {
            let (running, wanted) = (running.unwrap_or_else(of_label), wanted.unwrap_or_else(of_label));
            let origin = new.origins.of(key.name);
            refused.push(format!("{origin}: {}: {running} is in use, {wanted} needs a restart", key.name));
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(refused) }
}
