//! Log lines that are known by an id: what `journalctl -x` explains, and what a monitor can match.
//!
//! Each is a target of tracing, as in `tracing::error!(target: notable::FINDING, …)`; the journal's lines carry its id as
//! MESSAGE_ID. An id never changes its meaning: the catalog (`systemd/scrubd.catalog`) and whoever matches it hold us to it.

/// A promise was broken.
pub const FINDING: &str = "scrubd::finding";
/// The label is gone, or the target ends before its region.
pub const DAMAGED: &str = "scrubd::damaged";
/// A check has ended.
pub const VERDICT: &str = "scrubd::verdict";
/// Nothing is written: a finding has latched the target.
pub const QUARANTINED: &str = "scrubd::quarantined";
/// The data plane starts.
pub const STARTED: &str = "scrubd::started";
/// Draining, then the end.
pub const STOPPING: &str = "scrubd::stopping";
/// The end, with an exit status.
pub const ENDED: &str = "scrubd::ended";
/// A trigger was pulled.
pub const TRIGGERED: &str = "scrubd::triggered";
/// The trigger's command was missing, failed or timed out.
pub const COMMAND_FAILED: &str = "scrubd::command_failed";
/// New settings were taken over.
pub const RELOADED: &str = "scrubd::reloaded";
/// New settings were refused, the old ones stay.
pub const RELOAD_REFUSED: &str = "scrubd::reload_refused";
/// The device lost its power, was reset or came back.
pub const DEVICE_RESET: &str = "scrubd::device_reset";
/// A checkpoint could not be saved.
pub const SAVE_FAILED: &str = "scrubd::save_failed";
/// The state directory does not answer.
pub const STATE_HANGS: &str = "scrubd::state_hangs";

/// The MESSAGE_ID of each.
pub const IDS: [(&str, &str); 14] = [
    (FINDING, "f3c573fcd301423393734872c029db54"),
    (DAMAGED, "5693d812caa64ff38390ff8eee8dfeac"),
    (VERDICT, "6411696388db4689b19d7c6aeb9821ac"),
    (QUARANTINED, "a42dfd51e5b84088beada55eedfaf193"),
    (STARTED, "c056eb5fa5354694bee799f21d03e5ab"),
    (STOPPING, "acc8b30e6adb4210a7e2f59ac4cc2565"),
    (ENDED, "2ac0cbd66b14414dbe5612fa009f4229"),
    (TRIGGERED, "300d69c95d4447c498af41ef9173dc8a"),
    (COMMAND_FAILED, "1851c6293204491d8e30c00c225fd114"),
    (RELOADED, "ab7f09d3a7a54f77ba6d0c831e526162"),
    (RELOAD_REFUSED, "3d56ee21ef554308a8fe1a834a8febdc"),
    (DEVICE_RESET, "aaf5f8a875e84f799b2c28d9835ace92"),
    (SAVE_FAILED, "c350dcbe324042c29ba3561dee9bf35b"),
    (STATE_HANGS, "623a430b48c642959fe37b55e3d1222a"),
];

/// The MESSAGE_ID of a line, by its tracing target; `None` for the many that have none.
#[must_use]
pub fn message_id(target: &str) -> Option<&'static str> {
    IDS.iter().find(|(name, _)| *name == target).map(|(_, id)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_explains_every_line_that_has_an_id_and_no_other() {
        let catalog = include_str!("../../systemd/scrubd.catalog");
        let explained: Vec<&str> = catalog.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        let known: Vec<&str> = IDS.iter().map(|(_, id)| *id).collect();
        assert_eq!(explained, known);
        for entry in catalog.split("-- ").skip(1) {
            let lines: Vec<&str> = entry.lines().collect();
            assert!(lines.iter().any(|line| line.starts_with("Subject: ")), "{entry}");
            assert!(lines.iter().any(|line| line.starts_with("Documentation: man:scrubd")), "{entry}");
        }
    }

    #[test]
    fn no_two_lines_share_an_id() {
        let distinct: std::collections::BTreeSet<&str> = IDS.iter().map(|(_, id)| *id).collect();
        assert_eq!(distinct.len(), IDS.len());
        assert!(distinct.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }
}
