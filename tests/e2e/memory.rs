//! Memory does not depend on the size of the region.

use std::fs;

use super::room::{MIB, Room, Running};

/// Kibibytes resident at the most so far.
fn high_water(running: &Running) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// After a while under the same load.
fn resident(size: u64) -> u64 {
    let room = Room::new(size, &["rate=60MiB/s", "flush_every=4MiB", "verify.readback_lag=8MiB"]);
    let mut running = room.start_run(&[]);
    running.until("a first epoch", || !room.events().is_empty());
    std::thread::sleep(std::time::Duration::from_secs(4));
    let resident = high_water(&running);
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = running.ended().with_code(0);
    assert!(ended.out.contains("intact"), "{ended:?}");
    resident
}

#[test]
fn a_region_of_256_gib_takes_as_much_memory_as_one_of_64_mib() {
    let (small, large) = (resident(64 * MIB), resident(256 << 30));
    println!("64 MiB: {small} KiB resident, 256 GiB: {large} KiB");
    assert!(large.abs_diff(small) < 4096, "64 MiB: {small} KiB, 256 GiB: {large} KiB");
}
