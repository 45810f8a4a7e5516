//! The table is right over the engine, and cannot be got right by anything less.

use super::*;
use crate::engine::{Action, Event, Outcome, Status};
use crate::report::{Finding, Judgement, Overall};
use crate::vocabulary::{Block, Now};

/// An engine whose findings pass through somebody's hands.
struct Sabotaged {
    core: Box<dyn Core>,
    /// What becomes of a finding; `None`: nobody hears of it.
    tamper: fn(Finding) -> Option<Finding>,
    /// Accuses a block in every check.
    accuses: Option<Finding>,
}

impl Sabotaged {
    fn judged(&self, mut judgement: Judgement) -> Judgement {
        let before = judgement.findings.len() as u64;
        judgement.findings = judgement.findings.into_iter().filter_map(self.tamper).collect();
        judgement.findings.extend(self.accuses.clone());
        judgement.blocks.findings = judgement.blocks.findings + judgement.findings.len() as u64 - before;
        if judgement.blocks.findings == 0 && judgement.verdict == Overall::Violated {
            judgement.verdict = Overall::Intact;
        }
        judgement
    }
}

impl Core for Sabotaged {
    fn operations(&self) -> u32 {
        self.core.operations()
    }
    fn spans(&self) -> u32 {
        self.core.spans()
    }

    fn step(&mut self, now: Now, events: &[Event], actions: &mut Vec<Action>) {
        let mut meant = Vec::new();
        self.core.step(now, events, &mut meant);
        actions.extend(meant.into_iter().filter_map(|action| match action {
            Action::Report(finding, op) => (self.tamper)(*finding).map(|finding| Action::Report(Box::new(finding), op)),
            Action::Judged(judgement) => Some(Action::Judged(Box::new(self.judged(*judgement)))),
            action => Some(action),
        }));
    }

    fn next_wake(&self) -> Option<u64> {
        self.core.next_wake()
    }

    fn status(&self) -> Status {
        self.core.status()
    }
}

fn sabotaged(tamper: fn(Finding) -> Option<Finding>) -> Table {
    run(1, 1, &|startup, settings| Box::new(Sabotaged { core: engine(startup, settings), tamper, accuses: None }))
}

fn swallowed<const CLASS: usize>(finding: Finding) -> Option<Finding> {
    (finding.class != CLASSES[CLASS]).then_some(finding)
}

#[test]
fn the_table_is_right_over_the_engine() {
    let table = run(1, 5, &engine);
    for row in &table.rows {
        assert!(row.is_right(), "{row:#?}");
    }
    assert!(table.is_right());
}

#[test]
fn the_same_seed_gives_the_same_table_and_a_later_round_can_be_had_alone() {
    let (both, second) = (run(40, 2, &engine), run(41, 1, &engine));
    assert_eq!(both.rows, run(40, 2, &engine).rows);
    let first = run(40, 1, &engine);
    for ((both, first), second) in both.rows.iter().zip(&first.rows).zip(&second.rows) {
        assert_eq!(both.injected, first.injected + second.injected, "{}", both.how);
    }
}

#[test]
fn an_engine_that_swallows_any_one_class_is_convicted_by_the_rows_of_that_class() {
    let tampers: [fn(Finding) -> Option<Finding>; CLASSES.len()] = [
        swallowed::<0>,
        swallowed::<1>,
        swallowed::<2>,
        swallowed::<3>,
        swallowed::<4>,
        swallowed::<5>,
        swallowed::<6>,
        swallowed::<7>,
        swallowed::<8>,
        swallowed::<9>,
        swallowed::<10>,
    ];
    for (class, tamper) in CLASSES.into_iter().zip(tampers) {
        let table = sabotaged(tamper);
        assert!(!table.is_right(), "{class} was swallowed");
        for row in &table.rows {
            match row.class {
                Some(of) if of == class => {
                    assert!(row.injected > 0 && row.detected < row.injected, "{class}: {row:#?}");
                    assert!(row.problems.iter().any(|problem| problem.contains("missed")), "{class}: {row:#?}");
                }
                // What is written elsewhere is lost where it belongs.
                Some(Class::Misdirected) if class == Class::LostWrite => {}
                _ => assert!(row.is_right(), "{class}: {row:#?}"),
            }
        }
    }
}

#[test]
fn a_finding_by_a_wrong_name_is_detected_and_not_named() {
    let table = sabotaged(|finding| match finding.class {
        Class::LostWrite => Some(Finding { class: Class::Corrupt, ..finding }),
        _ => Some(finding),
    });
    assert!(!table.is_right());
    for row in table.rows.iter().filter(|row| row.class == Some(Class::LostWrite)) {
        assert_eq!((row.detected, row.named), (row.injected, 0), "{row:#?}");
        assert!(!row.is_right());
    }
}

#[test]
fn a_finding_with_wrong_evidence_is_not_named() {
    let table = sabotaged(|finding| Some(Finding { found_seq: finding.expected_seq, ..finding }));
    let right = |row: &&Row| row.is_right() && row.class.is_some_and(|class| class == Class::LostWrite);
    assert_eq!(table.rows.iter().filter(right).count(), 0, "the write that was found is part of the accusation");
}

#[test]
fn an_accusation_without_a_fault_is_a_false_alarm_in_every_row_that_is_lawful() {
    let finding = some_finding();
    let table = run(1, 1, &|startup, settings| {
        Box::new(Sabotaged { core: engine(startup, settings), tamper: Some, accuses: Some(finding.clone()) })
    });
    assert!(!table.is_right());
    for row in table.rows.iter().filter(|row| row.class.is_none()) {
        assert!(row.false_alarms > 0 && row.named < row.injected, "{row:#?}");
    }
}

#[test]
fn an_engine_that_panics_has_no_row_right_and_the_table_is_still_made() {
    struct Panics(Box<dyn Core>);
    impl Core for Panics {
        fn operations(&self) -> u32 {
            self.0.operations()
        }
        fn spans(&self) -> u32 {
            self.0.spans()
        }
        fn step(&mut self, _: Now, _: &[Event], _: &mut Vec<Action>) {
            panic!("on the first step");
        }
        fn next_wake(&self) -> Option<u64> {
            self.0.next_wake()
        }
        fn status(&self) -> Status {
            self.0.status()
        }
    }
    let table = run(1, 1, &|startup, settings| Box::new(Panics(engine(startup, settings))));
    assert!(table.rows.iter().all(|row| !row.is_right() && row.problems == ["seed 1: panicked: on the first step"]));
}

#[test]
fn a_table_without_a_class_is_not_right() {
    let mut table = run(1, 1, &engine);
    table.rows.retain(|row| row.class != Some(Class::Phantom));
    assert_eq!((table.is_right(), table.untried()), (false, vec![Class::Phantom]));
}

/// A finding of the engine's own making, of a block that every world has.
fn some_finding() -> Finding {
    let mut stage = Stage::new(3, &engine);
    let mut world = stage.written(1, vec![]).unwrap();
    world.disk.damage(Block(0), crate::sim::Fault::Zeroed);
    let (judgement, outcome) = stage.judge(&mut world, true, &engine).unwrap();
    assert_eq!(outcome, Outcome::Broken);
    judgement.findings[0].clone()
}
