//! What a trigger puts on record, and when: its line becomes durable while the ledger does.

use super::*;
use crate::engine::{OnFinding, Reason, Record, TriggerIo};
use crate::ledger::Checkpoint;
use crate::vocabulary::Seq;

/// What of a step's actions a trigger is made of, in their order.
fn steps(actions: &[Action]) -> Vec<String> {
    let named = actions.iter().filter_map(|action| match action {
        Action::Record(Record::Triggered { reason }) => Some(format!("record {reason}")),
        Action::Save(_) => Some("save".to_owned()),
        Action::Fire(reason) => Some(format!("fire {reason}")),
        _ => None,
    });
    named.collect()
}

/// Steps with what has come, and once nothing is pending to the next wake-up; the trigger's own doings.
fn go_on(bench: &mut Bench, until: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..10_000 {
        let events: Vec<Event> = bench.pending.drain(..).collect();
        let mut actions = Vec::new();
        bench.engine.step(bench.now, &events, &mut actions);
        bench.now.mono_ns += 1_000_000;
        seen.extend(steps(&actions));
        for action in actions {
            assert_eq!(bench.act(action), None);
        }
        if seen.iter().any(|step| step.starts_with(until)) {
            return seen;
        }
    }
    panic!("no {until} in {seen:?}");
}

#[test]
fn a_trigger_is_on_record_before_its_save_is_handed_over_and_not_a_second_time_when_it_fires() {
    for trigger_io in [TriggerIo::Continue, TriggerIo::Hold, TriggerIo::Drain, TriggerIo::Flush] {
        let mut bench = Bench::new(13, Settings { trigger_io, ..settings(None) });
        assert_eq!(bench.run(50), None);
        bench.pending.push_back(Event::Command(Command::Trigger(Reason::File)));
        let seen = go_on(&mut bench, "fire");
        let at = |step: &str| seen.iter().position(|seen| seen == step).unwrap_or_else(|| panic!("{step}: {seen:?}"));
        assert_eq!(seen.iter().filter(|step| step.starts_with("record")).count(), 1, "{trigger_io:?} {seen:?}");
        let (record, fire) = (at("record file"), at("fire file"));
        assert_eq!(seen[record + 1], "save", "{trigger_io:?} {seen:?}");
        assert!(record < fire, "{trigger_io:?} {seen:?}");
    }
}

/// What follows a finding is not what follows the file: whoever reads the log after the cut is told the one that counted.
#[test]
fn a_finding_that_takes_a_trigger_over_is_on_record_before_it_fires() {
    let mut bench = Bench::new(13, Settings { trigger_io: TriggerIo::Continue, ..settings(None) });
    assert_eq!(bench.run(50), None);
    bench.hang_saves = true;
    bench.pending.push_back(Event::Command(Command::Trigger(Reason::File)));
    let seen = go_on(&mut bench, "save");
    assert_eq!(seen.last_chunk(), Some(&["record file".to_owned(), "save".to_owned()]));
    bench.pending.push_back(Event::Command(Command::Trigger(Reason::Finding)));
    bench.pending.push_back(Event::Saved(bench.engine.saves.newest_number(), Ok(())));
    let mut fired = go_on(&mut bench, "fire");
    fired.retain(|step| step != "save");
    let finding = Reason::Finding;
    assert_eq!(fired, [format!("record {finding}"), format!("fire {finding}")]);
}

/// A trigger's time comes while a check tells what it has found: a cut of the power would take the rest of the evidence.
#[test]
fn what_a_check_has_found_is_told_before_a_trigger_fires() {
    let mut written = Bench::new(13, settings(Some(1)));
    assert_eq!(written.run(100_000), Some(Outcome::Kept));
    let mut disk = written.disk.clone();
    for block in [2, 5, 8] {
        disk.get_mut(&Block(block)).expect("written")[100] ^= 1;
    }
    let unclean = Checkpoint { clean: false, verified: Seq(0), ..written.slot.clone() };
    for (on_finding, fires) in [(OnFinding::Stop, false), (OnFinding::Trigger, true), (OnFinding::Continue, true)] {
        let settings = Settings { on_finding, queue_depth: 1, ..settings(None) };
        let mut bench = Bench::restart(13, settings, unclean.clone(), disk.clone());
        let (mut asked, mut fired, mut ended) = (false, None, None);
        for _ in 0..1000 {
            if !asked && bench.engine.status().phase == "gathering evidence" {
                asked = true;
                assert_eq!((bench.reports.len(), bench.engine.status().findings), (0, 3), "met, and being told");
                bench.pending.push_back(Event::Command(Command::Trigger(Reason::Time)));
            }
            let events: Vec<Event> = bench.pending.drain(..).collect();
            let mut actions = Vec::new();
            bench.engine.step(bench.now, &events, &mut actions);
            bench.now.mono_ns += 1_000_000;
            for action in actions {
                if let Action::Fire(_) = &action {
                    fired.get_or_insert(bench.reports.len());
                }
                ended = ended.or(bench.act(action));
            }
            if ended.is_some() || fired.is_some() {
                break;
            }
        }
        assert!(asked, "{on_finding:?}");
        assert_eq!((bench.reports.len(), fired), (3, fires.then_some(3)), "{on_finding:?}");
    }
}
