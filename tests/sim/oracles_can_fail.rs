//! Each oracle that asks for evidence, for accounts or for a word in time is shown an engine that lies to it, and must say
//! so. An oracle that cannot fail is none.

use scrubd::engine::{Action, Engine, Event, Settings, Startup, Status};
use scrubd::ledger::ProvedBy;
use scrubd::report::Finding;
use scrubd::sim::Core;
use scrubd::vocabulary::{Block, Now, Seq};

use crate::history::live_with;

/// The real engine, whose actions are changed on their way.
struct Changed {
    engine: Engine,
    change: fn(&mut Vec<Action>),
}

impl Core for Changed {
    fn operations(&self) -> u32 {
        self.engine.operations()
    }
    fn spans(&self) -> u32 {
        self.engine.spans()
    }
    fn step(&mut self, now: Now, events: &[Event], actions: &mut Vec<Action>) {
        self.engine.step(now, events, actions);
        (self.change)(actions);
    }
    fn next_wake(&self) -> Option<u64> {
        self.engine.next_wake()
    }
    fn status(&self) -> Status {
        self.engine.status()
    }
}

/// Seeds until some history must have shown the lie.
const SEEDS: u64 = 600;

fn is_caught(change: fn(&mut Vec<Action>), by_these_words: &str) {
    let make = |startup: Startup, settings: Settings| -> Box<dyn Core> {
        Box::new(Changed { engine: Engine::new(startup, settings), change })
    };
    // Others may notice the same lie in other histories: an engine that is silent of what it found ends as broken for no
    // reason, too.
    let mut others = Vec::new();
    for seed in 0..SEEDS {
        match live_with(seed, false, false, &make, &[]) {
            Err(why) if why.contains(by_these_words) => return,
            Err(why) => others.push(why.chars().take(100).collect::<String>()),
            Ok(_) => {}
        }
    }
    panic!("{SEEDS} histories, and nobody noticed by {by_these_words:?}; others said {others:#?}");
}

fn in_findings(actions: &mut [Action], change: impl Fn(&mut Finding)) {
    for action in actions {
        match action {
            Action::Report(finding, _) => change(finding),
            Action::Judged(judgement) => judgement.findings.iter_mut().for_each(&change),
            _ => {}
        }
    }
}

#[test]
fn an_expected_write_that_was_never_promised_is_noticed() {
    is_caught(
        |actions| in_findings(actions, |finding| finding.expected_seq = finding.expected_seq.map(|s| Seq(s.0 + 1))),
        "wrong evidence: write",
    );
}

#[test]
fn a_found_write_that_no_read_showed_is_noticed() {
    is_caught(
        |actions| {
            in_findings(actions, |finding| {
                finding.found.iter_mut().for_each(|found| found.seq = Seq(found.seq.0 + 1000));
                finding.found_seq = finding.found.map(|found| found.seq);
            });
        },
        "was found, and reads showed",
    );
}

#[test]
fn a_home_that_the_contents_do_not_have_is_noticed() {
    is_caught(
        |actions| in_findings(actions, |finding| finding.home = finding.home.map(|home| Block(home.0 + 1))),
        "it belongs to",
    );
}

#[test]
fn a_flush_that_never_was_is_noticed() {
    let change = |actions: &mut Vec<Action>| {
        in_findings(actions, |finding| {
            let flush = finding.guarantee.as_mut().and_then(|guarantee| guarantee.flush.as_mut());
            flush.into_iter().for_each(|flush| flush.wall_ns += 1);
        });
    };
    is_caught(change, "no such flush succeeded");
}

#[test]
fn a_proof_that_was_another_is_noticed() {
    let change = |actions: &mut Vec<Action>| {
        in_findings(actions, |finding| {
            finding.proved_by = finding.proved_by.map(|proof| match proof {
                ProvedBy::Checkpoint => ProvedBy::Disk,
                ProvedBy::Disk | ProvedBy::Witness => ProvedBy::Checkpoint,
            });
        });
    };
    is_caught(change, "sufficed");
}

#[test]
fn a_finding_that_is_swallowed_while_running_is_noticed() {
    is_caught(
        |actions| {
            let swallowed = |action: &Action| matches!(action, Action::Report(f, _) if !f.detail.starts_with("stuck:"));
            actions.retain(|action| !swallowed(action));
        },
        "overwritten without a word",
    );
}

#[test]
fn io_that_hangs_in_silence_is_noticed() {
    is_caught(
        |actions| {
            let told = |action: &Action| matches!(action, Action::Report(f, _) if f.detail.starts_with("stuck:"));
            actions.retain(|action| !told(action));
        },
        "and not reported",
    );
}

#[test]
fn bytes_that_were_not_read_and_are_counted_as_verified_are_noticed() {
    is_caught(
        |actions| {
            for action in actions {
                if let Action::Judged(judgement) = action {
                    judgement.bytes.verified += 1 << 30;
                }
            }
        },
        "bytes verified of",
    );
}

#[test]
fn a_block_that_a_check_leaves_out_is_noticed() {
    is_caught(
        |actions| {
            for action in actions {
                if let Action::Judged(judgement) = action {
                    judgement.blocks.intact = judgement.blocks.intact.saturating_sub(1);
                }
            }
        },
        "are accounted for",
    );
}
