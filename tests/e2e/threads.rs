//! The workers run where the configuration says, as the kernel sees it.

use std::collections::BTreeMap;
use std::fs;

use super::room::{MIB, Room};

/// Name and allowed CPUs of each thread.
fn threads(pid: u32) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let task = task.unwrap().path();
        // A thread may end between being listed and being looked at.
        let (Ok(name), Ok(status)) = (fs::read_to_string(task.join("comm")), fs::read_to_string(task.join("status")))
        else {
            continue;
        };
        found.insert(name.trim().to_owned(), allowed(&status));
    }
    found
}

fn allowed(status: &str) -> String {
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
}

#[test]
fn workers_are_pinned_where_they_were_asked_to_be() {
    let mine = allowed(&fs::read_to_string("/proc/self/status").unwrap());
    let first: String = mine.chars().take_while(char::is_ascii_digit).collect();
    let last: String = mine.chars().rev().take_while(char::is_ascii_digit).collect::<Vec<_>>().iter().rev().collect();
    let (seal, verify) = (format!("seal.cpus=\"{first}\""), format!("verify.cpus=\"{last}\""));
    let room = Room::new(16 * MIB, &[&seal, &verify, "seal.threads=2", "verify.threads=2"]);
    let mut running = room.start_run(&[]);
    let pid = running.pid();
    running.until("four workers", || {
        ["seal/0", "seal/1", "verify/0", "verify/1"].iter().all(|n| threads(pid).contains_key(*n))
    });
    let threads = threads(pid);
    for (name, cpu) in [("seal/0", &first), ("seal/1", &first), ("verify/0", &last), ("verify/1", &last)] {
        assert_eq!(&threads[name], cpu, "{name} of {threads:?}");
    }
    assert!(threads.keys().any(|name| name.starts_with("ring/")), "{threads:?}");
    let status = room.scrubd(&["status", "--json"]).with_code(0).json();
    let workers = status["workers"].as_array().unwrap();
    assert!(
        workers.iter().any(|w| w["thread"] == "seal/0" && w["cpus_allowed"][0].as_u64() == first.parse().ok()),
        "{status:#}"
    );
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.ended().with_code(0);
}

#[test]
fn a_cpu_that_does_not_exist_is_a_configuration_error() {
    let room = Room::new(16 * MIB, &["verify.cpus=\"8000\""]);
    room.run(&["--passes", "1"]).with_code(78).saying("8000");
    assert!(!room.file().exists(), "refused before anything was made");
}
