//! `scrubd selftest` as any user meets it.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::room::{is_root, skipped};

fn selftest(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scrubd"));
    command.arg("selftest").args(words).stdin(Stdio::null()).env_remove("SCRUBD_LOG").env_remove("JOURNAL_STREAM");
    command
}

const CLASSES: &str =
    "corrupt zeroed lost_write unserializable torn shorn misdirected foreign phantom unreadable unstable";

#[test]
fn every_class_is_injected_found_and_named_and_nothing_else_is_accused() {
    let begun = Instant::now();
    let ended = selftest(&["--json", "--rounds", "3"]).output().unwrap();
    let took = begun.elapsed();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    let out = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(out.lines().count(), 1, "{out}");
    let table: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&table["schema"], &table["selftest"]), (&1.into(), &"passed".into()), "{table:#}");
    let rows = table["rows"].as_array().unwrap();
    for row in rows {
        assert!(row["injected"].as_u64() > Some(0), "{row:#}");
        assert_eq!((&row["detected"], &row["named"]), (&row["injected"], &row["injected"]), "{row:#}");
        assert_eq!(row["false_alarms"], 0, "{row:#}");
    }
    for class in CLASSES.split(' ') {
        assert!(rows.iter().any(|row| row["class"] == class), "no row of {class}");
    }
    assert!(rows.iter().filter(|row| row["class"].is_null()).count() >= 6, "what is lawful has rows too");
    assert!(took < Duration::from_secs(60), "seconds were promised, and {took:?} it took, on a machine however busy");
}

#[test]
fn the_table_for_people_has_a_row_a_case_and_the_seed_that_replays_it() {
    let ended = selftest(&["--seed", "7", "--rounds", "1"]).output().unwrap();
    let again = selftest(&["--seed", "7", "--rounds", "1"]).output().unwrap();
    let rows = |out: &[u8]| {
        let out = String::from_utf8(out.to_vec()).unwrap();
        out.lines().filter(|line| !line.starts_with("in ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let told = rows(&ended.stdout);
    assert_eq!((ended.status.code(), &told), (Some(0), &rows(&again.stdout)));
    assert!(told[0].starts_with("class ") && told[0].ends_with("false alarms"), "{told:#?}");
    for class in CLASSES.split(' ') {
        assert!(told.iter().any(|line| line.starts_with(class)), "{told:#?}");
    }
    assert!(told.last().is_some_and(|line| line.starts_with("passed: ") && line.ends_with("1 round, seed 7")));
}

#[test]
fn it_needs_no_home_no_state_no_writable_place_and_no_reader() {
    let everything = |command: &mut Command| {
        command.env_clear().current_dir("/proc").args(["--rounds", "1"]);
    };
    let mut closed = Command::new("sh");
    closed.args(["-c", "exec \"$0\" selftest \"$@\" >&- 2>&-", env!("CARGO_BIN_EXE_scrubd")]);
    everything(&mut closed);
    assert!(closed.status().unwrap().success(), "with stdout and stderr closed");
    let mut gone = selftest(&[]);
    everything(&mut gone);
    let mut child = gone.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success(), "into a pipe that nobody reads");
    if !is_root() {
        return skipped("only root can become nobody: selftest ran as this user alone");
    }
    // The binary may lie where nobody may look.
    let nobody = 65534;
    let place = tempfile::Builder::new().prefix("scrubd-selftest-").tempdir_in("/tmp").unwrap();
    let copy = place.path().join("scrubd");
    std::fs::copy(env!("CARGO_BIN_EXE_scrubd"), &copy).unwrap();
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(&copy);
    command.arg("selftest").uid(nobody).gid(nobody);
    everything(&mut command);
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "as nobody: {ended:?}");
}

#[test]
fn options_of_a_target_are_usage_errors() {
    for words in [&["bay3"][..], &["--rounds", "0"], &["--file", "a"], &["--state-dir", "/s"], &["--seed", "-1"]] {
        let ended = selftest(words).output().unwrap();
        assert_eq!(ended.status.code(), Some(64), "{words:?}: {ended:?}");
    }
}
