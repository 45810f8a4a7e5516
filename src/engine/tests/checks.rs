//! How much a check judges at a start, and what it says when it is cut short.

use super::*;
use crate::engine::OnStart;
use crate::report::Persistence;
use crate::tag::Class;

/// A run of 13 blocks that was stopped cleanly after two passes.
fn stopped(promise: Promise) -> Bench {
    let mut bench = Bench::new(13, Settings { promise, ..settings(Some(2)) });
    assert_eq!(bench.run(100_000), Some(Outcome::Kept));
    bench
}

/// What the check at a start says, before anything is written.
fn judged_at_start(from: &Bench, settings: Settings) -> Option<(Overall, u64)> {
    let mut bench = Bench::restart(13, settings, from.slot.clone(), from.disk.clone());
    while bench.engine.status().bytes.written == 0 {
        assert_eq!(bench.run(1), None);
    }
    bench.judged.first().map(|judgement| (judgement.verdict, judgement.blocks.intact))
}

#[test]
fn a_promise_that_changes_has_the_whole_region_judged_and_a_clean_stop_alone_has_not() {
    let before = stopped(Promise::Ack);
    for on_start in [OnStart::AfterCut, OnStart::Window] {
        let start = |promise| judged_at_start(&before, Settings { promise, on_start, ..settings(None) });
        assert_eq!(start(Promise::Ack), None, "{on_start:?}: a few blocks show that the state is current");
        assert_eq!(start(Promise::Flush), Some((Overall::Intact, 13)), "{on_start:?}");
    }
    let always = Settings { promise: Promise::Ack, on_start: OnStart::Always, ..settings(None) };
    assert_eq!(judged_at_start(&before, always), Some((Overall::Intact, 13)));
}

/// Stops the check of a start after each of its steps; how the run ended each time.
fn stopped_after_every_step(disk: &BTreeMap<Block, Vec<u8>>, slot: &Checkpoint) -> Vec<Outcome> {
    // Several reads, so that there is a time before the first of them shows what is wrong.
    let settings = Settings { on_start: OnStart::Always, queue_depth: 1, span_bytes: 4 * 4096, ..settings(None) };
    let stop_after = |steps| {
        let mut bench = Bench::restart(13, settings.clone(), slot.clone(), disk.clone());
        if let Some(outcome) = bench.run(steps) {
            return outcome;
        }
        bench.pending.push_back(Event::Command(Command::Stop));
        bench.run(1000).expect("a stop ends the run")
    };
    (1..60).map(stop_after).collect()
}

#[test]
fn a_check_that_is_stopped_before_its_end_accuses_nobody_and_does_not_acquit_either() {
    let mut bench = stopped(Promise::Flush);
    let sound = stopped_after_every_step(&bench.disk, &bench.slot);
    assert!(sound.iter().all(|outcome| *outcome == Outcome::Kept), "{sound:?}");
    bench.disk.values_mut().nth(6).expect("13 blocks")[500] ^= 1;
    let rotten = stopped_after_every_step(&bench.disk, &bench.slot);
    let first = |wanted: &Outcome| rotten.iter().position(|outcome| outcome == wanted);
    let (suspected, proved) = (first(&Outcome::Incomplete), first(&Outcome::Broken));
    assert!(first(&Outcome::Kept) == Some(0) && suspected.is_some() && suspected < proved, "{rotten:?}");
    let kept_later = rotten.iter().rposition(|outcome| *outcome == Outcome::Kept);
    assert!(kept_later < suspected, "once it was seen it is never passed over: {rotten:?}");
}

/// The survey of a check without state meets a block that can't be read, and the judgement can read it.
#[test]
fn a_block_that_only_the_survey_could_not_read_is_a_transient_finding() {
    let before = stopped(Promise::Flush);
    let settings = Settings { mode: Mode::Check, ignore_state: true, queue_depth: 1, ..settings(None) };
    for failures in [1, 1000] {
        let mut bench = Bench::restart(13, settings.clone(), before.slot.clone(), before.disk.clone());
        let (mut left, mut outcome, mut victim) = (failures, None, None);
        for _ in 0..5000 {
            outcome = bench.run(1);
            if outcome.is_some() {
                break;
            }
            let surveying = bench.engine.status().phase == "surveying the region";
            for event in &mut bench.pending {
                let gone =
                    || Err(Fault { errno: 5, end_of_file: false, removed: false, message: "gone for now".to_owned() });
                if let Event::ReadSpan(_, result) = event {
                    // A wide read that fails is not what is looked for: each of its blocks is read alone.
                    *result = if surveying { gone() } else { Ok(()) };
                }
                let Event::Read(op, result) = event else { continue };
                let fails = surveying && left > 0 && *victim.get_or_insert(*op) == *op;
                if fails {
                    left -= 1;
                    *result = gone();
                }
            }
        }
        assert_eq!(outcome, Some(Outcome::Broken), "{failures}");
        let judgement = bench.judged.pop().expect("a check ends with a judgement");
        assert!(!judgement.findings.is_empty(), "{failures}");
        for finding in &judgement.findings {
            assert_eq!((finding.class, finding.persistence), (Class::Unreadable, Persistence::Transient), "{failures}");
        }
    }
}

/// A path that is being switched over fails for some moments: the last look comes a second later, and is a good one.
#[test]
fn the_last_look_at_a_block_that_cannot_be_read_comes_after_a_while() {
    let before = stopped(Promise::Flush);
    for comes_back in [true, false] {
        let settings = Settings { mode: Mode::Check, rereads: 3, span_bytes: 4096, ..settings(None) };
        let mut bench = Bench::restart(13, settings, before.slot.clone(), before.disk.clone());
        bench.dead = Some(Block(9));
        let began = bench.now.mono_ns;
        let mut outcome = None;
        for _ in 0..1000 {
            outcome = bench.run(1);
            let looks = bench.read.iter().filter(|block| **block == Block(9)).count();
            assert!(looks <= 3 || bench.now.mono_ns >= began + 1_000_000_000, "{looks} looks at once");
            if looks == 3 && comes_back {
                // The third has failed already, and is on its way.
                bench.dead = None;
            }
            if outcome.is_some() {
                break;
            }
        }
        assert_eq!(outcome, Some(Outcome::Broken));
        let [finding] = &bench.judged.pop().expect("a check ends with a judgement").findings[..] else { panic!("one") };
        let persistence = if comes_back { Persistence::Transient } else { Persistence::Persistent };
        assert_eq!((finding.class, finding.persistence, finding.reads.len()), (Class::Unreadable, persistence, 4));
    }
}
