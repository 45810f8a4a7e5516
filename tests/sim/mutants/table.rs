//! All mutants, what is wrong with each, and who must notice.

use scrubd::engine::{Action, Command, Event, Mode};
use scrubd::ledger::{Epochs, JudgedBy, Position, Window};
use scrubd::report::{Occasion, Overall};
use scrubd::sim::{At, Fault, Planned};
use scrubd::tag::{Claims, Class, Verdict};
use scrubd::vocabulary::{Block, Epoch, Promise, Seq};

use super::answers::{EarlyFlushes, EarlySaves, FiresBeforeSave, HastyWrites, ReadsWhatItWrites, RetriesOtherBytes};
use super::fields;
use super::ledgers::{self, Books, Counting, Renamed, saving};
use super::seam::{Mutation, acting, deaf_to, hearing, omits, starting};
use super::verifiers::{self, CountsTheUnread, accuses, blind_to, misnames, witnesses};
use super::{Suspect, Wrong};

type Oracles = &'static [&'static str];

/// Whoever judges what was found.
const JUDGES: Oracles = &["no_miss", "outcome"];
/// Whoever knows what was promised.
const KEEPERS: Oracles = &["ledger_promises", "claims"];
const ALARM: Oracles = &["no_false_alarm"];

fn wrong(name: &'static str, by: Oracles, breed: impl Fn() -> Box<dyn Mutation> + Send + Sync + 'static) -> Suspect {
    Suspect { name, wrong: Wrong::Core(Box::new(breed)), by }
}

fn disk(name: &'static str, at: At, fault: Fault) -> Suspect {
    Suspect { name, wrong: Wrong::Disk(vec![Planned { at, fault }]), by: ALARM }
}

pub fn all() -> Vec<Suspect> {
    let mut all = disks();
    all.extend(ledger());
    all.extend(issuing());
    all.extend(answers());
    all.extend(beginnings());
    all.extend(verifiers());
    all.extend(telling());
    all.extend(patrols());
    all
}

fn patrols() -> Vec<Suspect> {
    let saving = |change: fn(&mut Position)| {
        acting(move |action| match action {
            Action::SavePosition(mut position) => {
                change(&mut position);
                Action::SavePosition(position)
            }
            other => other,
        })
    };
    vec![
        wrong("a patrol that nobody tells of a loss of power", &["patrol_position"], || {
            deaf_to(|event| matches!(event, Event::Command(Command::DeviceReset(_))))
        }),
        wrong("a patrol whose position runs ahead", &["patrol_position"], move || {
            saving(|position| {
                if position.next.0 < position.counts.total {
                    (position.next, position.counts.intact) = (Block(position.next.0 + 1), position.counts.intact + 1);
                }
            })
        }),
        wrong("a patrol that goes on although the target was written to", &["patrol_position"], || {
            starting(|startup, _| {
                if let Some(position) = &mut startup.position {
                    position.judged_by = JudgedBy::of(startup.saved.as_ref());
                }
            })
        }),
        wrong("a patrol whose losses are called unserializable", &["evidence"], || {
            acting(|action| match action {
                Action::Report(mut finding, op)
                    if finding.occasion == Occasion::Patrol && finding.class == Class::LostWrite =>
                {
                    finding.class = Class::Unserializable;
                    Action::Report(finding, op)
                }
                other => other,
            })
        }),
        wrong("a patrol that writes", &["check_changes_nothing"], || {
            starting(|_, set| {
                if set.mode == Mode::Patrol {
                    set.mode = Mode::BurnIn;
                }
            })
        }),
    ]
}

/// Disks that lie where the suite was told that they are honest: a finding on each of them is a false alarm to it.
fn disks() -> Vec<Suspect> {
    let often = At::Every(5);
    vec![
        disk("a disk that lies about every flush", At::Every(1), Fault::LyingFlush),
        disk("a disk that lies about every third flush", At::Every(3), Fault::LyingFlush),
        disk("a disk that loses writes", often, Fault::LostWrite),
        disk("a disk that lands a part of a write", often, Fault::PartialWrite(0b0101)),
        disk("a disk that misdirects writes", often, Fault::MisdirectedWrite(Block(0))),
        disk("a disk that flips bits", often, Fault::BitFlip),
        disk("a disk that zeroes blocks", often, Fault::Zeroed),
        disk("a disk that puts old contents back", often, Fault::OldContent),
        disk("a disk that shears atoms", often, Fault::Shorn),
        disk("a disk that fails reads now and then", often, Fault::ReadError),
        disk("a disk with latent read errors", often, Fault::UnreadableBlock),
    ]
}

fn ledger() -> Vec<Suspect> {
    let books = |name, counting| wrong(name, KEEPERS, move || Books::kept_by(counting));
    vec![
        books("a ledger that counts submissions as completions", Counting::SubmissionsAsCompletions),
        books("a flush that promises later completions", Counting::LaterCompletions),
        books("a flush that promises from its submission on", Counting::FlushesNotYetBack),
        books("a completion that counts as flushed", Counting::CompletionsAsFlushed),
        wrong("a checkpoint with D one too high", KEEPERS, || saving(ledgers::durable_too_high)),
        wrong("a checkpoint without its window", &["ledger_remembers"], || saving(ledgers::window_forgotten)),
        wrong("a checkpoint with R as low as what was issued", &["reservation"], || {
            saving(ledgers::reservation_lowered)
        }),
        wrong("a checkpoint that always calls itself clean", &["ledger_remembers"], || {
            saving(|checkpoint| checkpoint.clean = true)
        }),
        wrong("an epoch saved as if it began at write 0", ALARM, || saving(ledgers::restart_point(|_| Seq(0)))),
        wrong("an epoch saved as if it began later", ALARM, || saving(ledgers::restart_point(|at| Seq(at.0 + 3)))),
        wrong("epochs that do not grow", &["claims"], || {
            Box::new(Renamed(|epoch: Epoch| Epoch { number: 1, ..epoch }))
        }),
        wrong("a nonce that is used again", &["claims"], || Box::new(Renamed(|epoch| Epoch { nonce: 7, ..epoch }))),
    ]
}

fn issuing() -> Vec<Suspect> {
    vec![
        wrong("the reservation is skipped", &["reservation", "claims"], EarlySaves::all),
        wrong("R is extended after the issue", &["reservation"], EarlySaves::within_epoch),
        wrong("two writes of one block in flight", &["concurrency"], || Box::<HastyWrites>::default()),
        wrong("a block is read while it is written", &["concurrency"], || Box::new(ReadsWhatItWrites::new())),
        wrong("a queue that is one too deep", &["concurrency"], || starting(|_, set| set.queue_depth += 1)),
        wrong("a retry with other bytes under the same epoch", &["claims"], || Box::<RetriesOtherBytes>::default()),
        wrong("a fua write without dsync", &["claims"], || {
            acting(|action| match action {
                Action::Write { op, block, .. } => Action::Write { op, block, dsync: false },
                other => other,
            })
        }),
        wrong("a tag that claims all below its write", &["claims"], || {
            acting(|action| match action {
                Action::Seal(op, block, mut claim) => {
                    claim.durable = claim.issue.seq;
                    Action::Seal(op, block, claim)
                }
                other => other,
            })
        }),
        wrong("a tag that names a checkpoint not yet durable", &["claims"], || {
            acting(|action| match action {
                Action::Seal(op, block, mut claim) => {
                    claim.checkpoint += 1;
                    Action::Seal(op, block, claim)
                }
                other => other,
            })
        }),
    ]
}

fn answers() -> Vec<Suspect> {
    vec![
        wrong("a flush answered by the result of an earlier one", KEEPERS, || Box::<EarlyFlushes>::default()),
        wrong("a failed flush that counts", KEEPERS, || {
            hearing(|event| match event {
                Event::Flushed(_) => Event::Flushed(Ok(())),
                other => other,
            })
        }),
        wrong("a failed write that counts", KEEPERS, || {
            hearing(|event| match event {
                Event::Wrote(op, _) => Event::Wrote(op, Ok(())),
                other => other,
            })
        }),
        wrong("a failed save that counts", &["reservation", "claims", "trigger_order"], || {
            hearing(|event| match event {
                Event::Saved(number, _) => Event::Saved(number, Ok(())),
                other => other,
            })
        }),
        wrong("a reset of the device that nobody hears of", KEEPERS, || {
            deaf_to(|event| matches!(event, Event::Command(Command::DeviceReset(_))))
        }),
        wrong("a command that cuts the power unbeknown", KEEPERS, || starting(|_, set| set.trigger_command = false)),
        wrong("a promise weaker than the one asked for", ALARM, || {
            starting(|_, set| {
                if set.mode != Mode::Check {
                    set.promise = Promise::Ack;
                }
            })
        }),
        wrong("a trigger that fires before the save", &["trigger_order"], || Box::<FiresBeforeSave>::default()),
        wrong("a stop that nobody hears", &["progress"], || {
            deaf_to(|event| matches!(event, Event::Command(Command::Stop)))
        }),
        wrong("an engine that is never woken", &["progress"], || Box::new(Sleeps)),
    ]
}

/// It sleeps until something happens.
struct Sleeps;

impl Mutation for Sleeps {
    fn wake(&self, _: Option<u64>) -> Option<u64> {
        None
    }
}

fn beginnings() -> Vec<Suspect> {
    let saved = |name, by, change: fn(&mut scrubd::ledger::Checkpoint)| {
        wrong(name, by, move || {
            starting(move |startup, _| {
                if let Some(saved) = &mut startup.saved {
                    change(saved);
                }
            })
        })
    };
    vec![
        saved("a start that skips its check", &["window_first"], |saved| saved.clean = true),
        saved("a start that forgets the window", JUDGES, ledgers::window_forgotten),
        saved("a start that forgets D", JUDGES, |saved| {
            (saved.window, saved.verified) = (Window::new(Seq(0)), Seq(0));
        }),
        saved("a start that takes D one too high", ALARM, ledgers::durable_too_high),
        saved("a start that takes what was issued for R", ALARM, ledgers::reservation_lowered),
        saved("a start that forgets the epochs", JUDGES, |saved| saved.epochs = Epochs::default()),
        wrong("a start that does not use its state", JUDGES, || starting(|_, set| set.ignore_state = true)),
        wrong("a check that writes", &["check_changes_nothing"], || starting(|_, set| set.mode = Mode::BurnIn)),
    ]
}

fn verifiers() -> Vec<Suspect> {
    let blind = |name, class| wrong(name, JUDGES, move || blind_to(move |found| found == class));
    let mut all = vec![
        wrong("a verifier that says always intact", JUDGES, || blind_to(|_| true)),
        blind("a verifier to which corrupt is intact", Class::Corrupt),
        blind("a verifier to which zeroed is intact", Class::Zeroed),
        blind("a verifier to which lost_write is intact", Class::LostWrite),
        blind("a verifier to which unserializable is intact", Class::Unserializable),
        blind("a verifier to which torn is intact", Class::Torn),
        blind("a verifier to which shorn is intact", Class::Shorn),
        blind("a verifier to which misdirected is intact", Class::Misdirected),
        blind("a verifier to which foreign is intact", Class::Foreign),
        wrong("a verifier that calls corrupt torn", JUDGES, || misnames(Class::Corrupt, Class::Torn)),
        wrong("a verifier that calls torn a lost write", JUDGES, || misnames(Class::Torn, Class::LostWrite)),
        wrong("a verifier that calls a legal tear torn", ALARM, || {
            accuses(|verdict| *verdict == Verdict::Interrupted, Class::Torn)
        }),
        wrong("a verifier that calls a legal loss a lost write", ALARM, || {
            accuses(|verdict| *verdict == Verdict::RolledBack, Class::LostWrite)
        }),
        wrong("a read that counts as verified without bytes", JUDGES, || Box::<CountsTheUnread>::default()),
        wrong("witnesses to whom nobody listens", JUDGES, || witnesses(|_| Claims::default())),
        wrong("witnesses that claim more than they know", &["no_false_alarm", "claims", "ledger_promises"], || {
            witnesses(verifiers::boastful)
        }),
        wrong("blocks of the window that are whole, whatever their atoms say", JUDGES, verifiers::all_whole),
        wrong("tags ahead of the state that nobody notices", ALARM, verifiers::deaf_to_claims),
    ];
    let phantom = || blind_to(|found| found == Class::Phantom);
    all.push(Suspect {
        name: "a verifier to which phantom is intact",
        wrong: Wrong::CoreIn(Box::new(phantom), |make| {
            let mut phantoms =
                fields::all().into_iter().filter(|field| field.shows == fields::Shows::As(Class::Phantom));
            phantoms.try_for_each(|field| fields::judged_right(&field, false, make))
        }),
        by: &["right_name"],
    });
    all
}

fn telling() -> Vec<Suspect> {
    vec![
        wrong("findings that are swallowed", &["told"], || omits(|action| matches!(action, Action::Report(..)))),
        wrong("findings told at first sight", &["read_again"], || starting(|_, set| set.rereads = 0)),
        wrong("findings that are forgotten from start to start", &["told"], || {
            starting(|startup, _| startup.known.clear())
        }),
        wrong("a verdict that is always intact", &["counts"], || {
            acting(|action| match action {
                Action::Judged(mut judgement) if judgement.verdict == Overall::Violated => {
                    judgement.verdict = Overall::Intact;
                    Action::Judged(judgement)
                }
                other => other,
            })
        }),
        wrong("a check that leaves a block out of its count", &["counts"], || {
            acting(|action| match action {
                Action::Judged(mut judgement) => {
                    judgement.blocks.intact = judgement.blocks.intact.saturating_sub(1);
                    Action::Judged(judgement)
                }
                other => other,
            })
        }),
        Suspect {
            name: "stuck I/O that is never reported",
            wrong: Wrong::CoreIn(
                Box::new(|| {
                    omits(|action| matches!(action, Action::Report(finding, _) if finding.detail.starts_with("stuck")))
                }),
                fields::stuck_is_told,
            ),
            by: &["stuck"],
        },
        Suspect {
            name: "a deadline that never comes",
            wrong: Wrong::CoreIn(Box::new(|| starting(|_, set| set.deadline_ns = u64::MAX / 4)), fields::stuck_is_told),
            by: &["stuck"],
        },
    ]
}
