//! A loop device on top of the file: the block-device path, whose cache is the file system's.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::fault::{Fault, Plan};
use super::faults::BLOCK;
use super::honest::{Sums, cut_once, cuts_wanted, told};
use super::judge::judge;
use super::mount::skipped;
use super::rig::{MIB, Rig};

/// Detached when it is dropped; drop it before the disk.
struct Loop(PathBuf);

impl Loop {
    fn over(rig: &Rig, sector: usize) -> Result<Loop, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("a loop device needs root".into());
        }
        let sector = sector.to_string();
        let arguments = ["--show", "-f", "--direct-io=on", "--sector-size", &sector];
        // Finding a free one and attaching it are two steps: somebody else may win the race.
        let mut why = String::new();
        for _ in 0..5 {
            let output = Command::new("losetup").args(arguments).arg(rig.disk.target()).output();
            let output = output.map_err(|error| format!("losetup: {error}"))?;
            if output.status.success() {
                return Ok(Loop(String::from_utf8(output.stdout).unwrap().trim().into()));
            }
            why = format!("losetup: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Err(why)
    }

    fn is_attached(&self) -> bool {
        let name = self.0.file_name().unwrap().to_str().unwrap();
        PathBuf::from(format!("/sys/block/{name}/loop/backing_file")).exists()
    }
}

impl Drop for Loop {
    /// "Detached" is true only once the last opener is gone, and others look at every loop device.
    fn drop(&mut self) {
        let detached = Command::new("losetup").arg("-d").arg(&self.0).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.is_attached() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.is_attached() {
            eprintln!("not detached: {} ({detached:?})", self.0.display());
        }
    }
}

/// The device and the rig, in the order in which they must go.
struct Device {
    _device: Loop,
    rig: Rig,
}

fn device(sector: usize, seed: u64, sets: &[&str]) -> Result<Device, String> {
    let mut rig = Rig::new(5 * MIB, sector, seed, sets)?;
    let device = Loop::over(&rig, sector)?;
    rig.target = device.0.clone();
    Ok(Device { _device: device, rig })
}

#[test]
fn no_cut_below_a_block_device_leads_to_a_finding() {
    let begun = Instant::now();
    let mut sums = Sums::default();
    let worlds = [
        (4096, "promise=flush", "mode=powercut"),
        (512, "promise=fua", "mode=burn-in"),
        (512, "promise=flush", "mode=burn-in"),
    ];
    for (number, (sector, promise, mode)) in (0..).zip(worlds) {
        let sets = [promise, mode, "flush_every=1MiB", "verify.readback_lag=1MiB", "queue_depth=32"];
        let Device { rig, .. } = &match device(sector, number, &sets) {
            Ok(device) => device,
            Err(why) => return skipped(&why),
        };
        rig.init();
        sums.durable = 0;
        for cut in 0..cuts_wanted(128).div_ceil(16) {
            let seed = Chance((900 + number) << 32 | cut).word();
            cut_once(rig, seed, &mut sums, &format!("{sector} {promise} {mode} world {number} cut {cut}"));
        }
    }
    println!("honest, loop device: {}", told(&sums, begun.elapsed()));
    assert!(sums.cuts >= 10 && sums.rolled_back + sums.interrupted > 0);
}

#[test]
fn a_flush_that_lies_below_a_block_device_is_found() {
    for (seed, sector) in [(1, 512), (2, 4096)] {
        let Device { rig, .. } = &match device(sector, seed, &["flush_every=1MiB"]) {
            Ok(device) => device,
            Err(why) => return skipped(&why),
        };
        rig.init();
        rig.scrubd(&["run", "--passes", "2"]).with_code(0);
        rig.store().store_mut().plans = vec![Plan::new(Fault::LyingFlush, 1, u64::MAX)];
        let saved = rig.saved().durable;
        let mut running = rig.start(&["run", "--set", "mode=powercut"]);
        running.until("a saved ledger that promises more", || rig.saved().durable > saved + 64);
        // Nearly all of the cache goes at this seed's cut.
        rig.cut(running, 4);
        let tally = judge(rig, BLOCK, "a lying flush below a loop device");
        println!("loop device, flush lies, atoms of {sector}: {tally:?}");
        assert_eq!((tally.broke, tally.detected, tally.named, tally.false_alarms), (1, 1, 1, 0));
    }
}
