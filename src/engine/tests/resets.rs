//! A device that is reset, loses its power or goes away under the living process.

use super::*;

fn gone() -> Fault {
    Fault { errno: 19, end_of_file: false, removed: false, message: "the device went away".to_owned() }
}

impl Bench {
    /// A read that has ended says that the device is gone, whatever it has read. False where none has.
    fn device_goes_away(&mut self) -> bool {
        let read = self.pending.iter_mut().find_map(|event| match event {
            Event::Read(_, result @ Ok(())) | Event::ReadSpan(_, result @ Ok(())) => Some(result),
            _ => None,
        });
        read.is_some_and(|result| std::mem::replace(result, Err(gone())).is_ok())
    }
}

/// The simulator's seed 51490: behind the command to stop, the read before an overwrite said that the device was gone, and
/// the block was called unreadable. A device that is reset under the living process has broken no promise by that.
#[test]
fn a_read_that_a_reset_made_fail_accuses_nobody_whatever_the_engine_is_at() {
    for command in [Some(Command::StopNow), Some(Command::Stop), None] {
        let mut bench = Bench::new(6, Settings { retention: true, rereads: 0, ..settings(Some(4)) });
        let (mut went, mut ended) = (false, None);
        while ended.is_none() {
            if !went && bench.engine.status().next.0 > 8 {
                went = bench.device_goes_away();
                command.iter().filter(|_| went).for_each(|command| {
                    bench.pending.push_front(Event::Command(command.clone()));
                });
            }
            ended = bench.run(1);
        }
        assert!(went, "{command:?}: no read ended");
        assert_eq!(bench.reports, [], "{command:?}");
        assert_eq!(ended, Some(Outcome::Kept), "{command:?}");
    }
}

#[test]
fn a_check_begins_anew_when_the_device_went_away_and_finds_it_gone_when_it_stays_away() {
    let mut written = Bench::new(6, settings(Some(2)));
    assert_eq!(written.run(100_000), Some(Outcome::Kept));
    for (goes, finds) in [(1, false), (3, false), (usize::MAX, true)] {
        let settings = Settings { mode: Mode::Check, ..settings(None) };
        let mut check = Bench::restart(6, settings, written.slot.clone(), written.disk.clone());
        let (mut went, mut ended) = (0, None);
        while ended.is_none() {
            if went < goes && check.device_goes_away() {
                went += 1;
                // All that was in flight fails together.
                while check.device_goes_away() {}
            }
            ended = check.run(1);
        }
        assert_eq!(ended, Some(if finds { Outcome::Broken } else { Outcome::Kept }), "gone {goes} times");
        let findings = &check.judged.last().expect("a verdict").findings;
        assert_eq!(findings.iter().any(|finding| finding.class == crate::tag::Class::Unreadable), finds);
        assert_eq!(findings.len(), if finds { 6 } else { 0 });
    }
}

/// All that is in flight fails, as it does on a disk that was pulled out and seems to end at once.
fn pull_out(bench: &mut Bench) {
    for event in &mut bench.pending {
        let (Event::Read(_, result) | Event::ReadSpan(_, result) | Event::Wrote(_, result) | Event::Flushed(result)) =
            event
        else {
            continue;
        };
        let message = "vdb was removed".to_owned();
        *result = Err(Fault { errno: 5, end_of_file: true, removed: true, message });
    }
}

fn end_of_a_pulled_disk(bench: &mut Bench) -> Option<Outcome> {
    (0..10_000).find_map(|_| {
        pull_out(bench);
        bench.run(1)
    })
}

#[test]
fn a_disk_that_is_pulled_out_ends_the_run_and_accuses_nobody() {
    for (writes, mode) in [(8, Mode::BurnIn), (70, Mode::BurnIn), (70, Mode::Powercut)] {
        let mut bench = Bench::new(6, Settings { mode, ..settings(None) });
        while bench.engine.status().next.0 < writes {
            assert_eq!(bench.run(1), None);
        }
        let ended = end_of_a_pulled_disk(&mut bench);
        assert_eq!(ended, Some(Outcome::DeviceErrors("vdb was removed".to_owned())), "{mode:?}, after {writes} writes");
        assert_eq!(bench.reports, []);
        assert!(!bench.slot.clean, "the next start judges the whole region");
    }
}

#[test]
fn a_check_or_a_patrol_whose_disk_is_pulled_out_accuses_nobody() {
    let mut written = Bench::new(6, settings(Some(2)));
    assert_eq!(written.run(100_000), Some(Outcome::Kept));
    for (mode, span_bytes) in [(Mode::Check, 4096), (Mode::Check, 1 << 20), (Mode::Patrol, 1 << 20)] {
        let settings = Settings { mode, span_bytes, ..settings(None) };
        let mut bench = Bench::restart(6, settings, written.slot.clone(), written.disk.clone());
        let ended = end_of_a_pulled_disk(&mut bench);
        assert_eq!(ended, Some(Outcome::DeviceErrors("vdb was removed".to_owned())), "{mode:?}");
        assert_eq!(bench.reports, []);
        let verdict = bench.judged.last().expect("a verdict");
        assert_eq!((verdict.verdict, verdict.findings.len()), (Overall::Incomplete, 0));
    }
}

/// Everything was durable when the power went, and the stop was called clean: the next start looked at 16 blocks, and a
/// flush that had lied was not found.
#[test]
fn a_stop_after_the_devices_power_was_cut_is_no_clean_one() {
    type Cut = fn(&mut Bench);
    let by_command: Cut =
        |bench| bench.pending.push_back(Event::Command(Command::Trigger(crate::engine::Reason::Control)));
    let before_the_stop: Cut = |bench| {
        bench.pending.push_back(Event::Command(Command::DeviceReset("it was reset".to_owned())));
        bench.pending.push_back(Event::Command(Command::Stop));
    };
    let after_the_stop: Cut = |bench| {
        bench.pending.push_back(Event::Command(Command::Stop));
        bench.pending.push_back(Event::Command(Command::DeviceReset("it was reset".to_owned())));
    };
    for cut in [by_command, before_the_stop, after_the_stop] {
        let io = crate::engine::TriggerIo::Flush;
        let flush_every = crate::engine::FlushEvery::Nanoseconds(1);
        let exit = Settings { trigger_command: true, trigger_io: io, flush_every, ..settings(None) };
        let mut bench = Bench::new(40, exit);
        assert_eq!(bench.run(200), None);
        // Paused, until all is flushed.
        bench.pending.push_back(Event::Command(Command::Pause));
        assert_eq!(bench.run(200), None);
        cut(&mut bench);
        assert_eq!(bench.run(10_000), Some(Outcome::Kept));
        assert_eq!(bench.slot.durable(), bench.slot.window.end(), "all was durable when the power went");
        assert!(!bench.slot.clean, "the next start judges the whole region");
    }
}

/// The last save was on its way, and called the end clean, when the device was reset.
#[test]
fn a_reset_while_the_last_save_is_on_its_way_is_followed_by_another_save() {
    let mut bench = Bench::new(40, settings(None));
    assert_eq!(bench.run(200), None);
    bench.pending.push_back(Event::Command(Command::Stop));
    for _ in 0..1000 {
        assert_eq!(bench.run(1), None);
        if bench.slot.clean {
            break;
        }
    }
    bench.pending.push_front(Event::Command(Command::DeviceReset("it was reset".to_owned())));
    assert_eq!(bench.run(100), Some(Outcome::Kept));
    assert!(!bench.slot.clean);
}

#[test]
fn a_reset_before_an_epoch_has_begun_is_followed_by_a_check() {
    let mut bench = Bench::new(40, settings(None));
    bench.hang_saves = true;
    assert_eq!(bench.run(200), None);
    assert_eq!((bench.engine.status().phase.as_str(), bench.judged.len()), ("beginning an epoch", 0), "after a probe");
    bench.pending.push_back(Event::Command(Command::DeviceReset("it was reset".to_owned())));
    bench.pending.push_back(Event::Saved(bench.slot.number + 1, Ok(())));
    bench.hang_saves = false;
    assert_eq!(bench.run(200), None);
    assert_eq!(bench.judged.len(), 1, "of the whole region");
    assert!(bench.reports.is_empty() && bench.engine.status().durable.0 > 0, "{:?}", bench.reports);
}
