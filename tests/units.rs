//! What two unit files must have in common.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

fn settings(unit: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(unit)).unwrap();
    let service = text.split("[Service]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let own = ["#", "ExecStart="];
    let lines = service.lines().filter(|line| !line.is_empty() && !own.iter().any(|own| line.starts_with(own)));
    lines.map(str::to_owned).collect()
}

#[test]
fn patrol_runs_in_the_very_sandbox_of_the_daemon() {
    let daemon = settings("scrubd@.service");
    assert!(daemon.len() > 40 && daemon.iter().any(|line| line == "NoNewPrivileges=yes"), "{daemon:?}");
    assert_eq!(settings("scrubd-patrol@.service"), daemon);
}
