//! What a trigger puts on record, and when: its line becomes durable while the ledger does.

use super::*;
use crate::engine::{Reason, Record, TriggerIo};

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
