//! What happens on the way from the disk: reads that fail, end too early, never return or differ, over a sound medium.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Case;
use super::compare::{Expect, Tally, compare};
use super::stage::{Stage, agree, bytes_of, due, due_seq, noise, plant, wrong_on_disk};
use crate::engine::{Action, Event, Fault, OpId, Outcome, SpanId, Status};
use crate::report::Persistence;
use crate::sim::{Core, Damage, Ending, Origin, Scene, Sight, Watcher, World};
use crate::tag::{Class, Span};
use crate::vocabulary::{Block, Now};

pub(super) const CASES: &[Case] = &[
    Case { class: Some(Class::Unreadable), how: "EIO on the first read", run: |stage| told(stage, Told::Once) },
    Case {
        class: Some(Class::Unreadable),
        how: "the device ends too early",
        run: |stage| told(stage, Told::EndOfFile),
    },
    Case { class: Some(Class::Unreadable), how: "a read that never returns", run: never_returns },
    Case { class: Some(Class::Corrupt), how: "damaged on the first read only", run: wrong_once },
    Case { class: Some(Class::Unstable), how: "every read differs", run: every_read_differs },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Once,
    EndOfFile,
    Never,
}

/// Stands between the disk and the engine, as a controller or a cable does.
struct Path {
    core: Box<dyn Core>,
    told: Told,
    victims: BTreeSet<Block>,
    reading: BTreeMap<OpId, Block>,
    reading_widely: BTreeMap<SpanId, Span>,
}

impl Path {
    /// What the engine hears instead of the end of a read; `None` for silence.
    fn tell(&mut self, event: Event) -> Option<Event> {
        let op = match &event {
            Event::Read(op, _) => *op,
            Event::ReadSpan(id, _) => return self.tell_widely(*id, event),
            _ => return Some(event),
        };
        let block = self.reading.remove(&op).filter(|block| self.victims.contains(block));
        let Some(block) = block else { return Some(event) };
        let failed = |errno, end_of_file| {
            let message = "read failed".to_owned();
            Some(Event::Read(op, Err(Fault { errno, end_of_file, removed: false, message })))
        };
        match self.told {
            Told::Once => {
                self.victims.remove(&block);
                failed(5, false)
            }
            Told::EndOfFile => failed(0, true),
            Told::Never => None,
        }
    }

    /// A read of many blocks fails with any one of them; once is once for that one alone, too.
    fn tell_widely(&mut self, id: SpanId, event: Event) -> Option<Event> {
        let span = self.reading_widely.remove(&id)?;
        if !self.victims.iter().any(|victim| (span.first()..=span.last()).contains(victim)) {
            return Some(event);
        }
        let (errno, end_of_file) = match self.told {
            Told::Once => (5, false),
            Told::EndOfFile => (0, true),
            Told::Never => return None,
        };
        Some(Event::ReadSpan(id, Err(Fault { errno, end_of_file, removed: false, message: "read failed".to_owned() })))
    }
}

impl Core for Path {
    fn operations(&self) -> u32 {
        self.core.operations()
    }

    fn spans(&self) -> u32 {
        self.core.spans()
    }

    fn step(&mut self, now: Now, events: &[Event], actions: &mut Vec<Action>) {
        let events: Vec<Event> = events.iter().filter_map(|event| self.tell(event.clone())).collect();
        self.core.step(now, &events, actions);
        for action in actions.iter() {
            match action {
                Action::Read(op, block) => drop(self.reading.insert(*op, *block)),
                Action::ReadSpan(id, span) => drop(self.reading_widely.insert(*id, span.clone())),
                _ => {}
            }
        }
    }

    fn next_wake(&self) -> Option<u64> {
        self.core.next_wake()
    }

    fn status(&self) -> Status {
        self.core.status()
    }
}

fn told(stage: &mut Stage<'_>, told: Told) -> Result<Tally, String> {
    let mut world = stage.written(2, vec![])?;
    let victims = stage.victims();
    let expect = |block| {
        let expect = Expect::persistent(Class::Unreadable, due_seq(&world, block), None);
        match told {
            Told::Once => Expect { persistence: Persistence::Transient, errno: Some(5), ..expect },
            _ => expect.saying("end of file or device"),
        }
    };
    let must: BTreeMap<Block, Expect> = victims.iter().map(|block| (*block, expect(*block))).collect();
    agree(&BTreeMap::new(), &wrong_on_disk(&world))?;
    stage.judge_and_compare(&mut world, &must, told, &victims)
}

impl Stage<'_> {
    fn judge_and_compare(
        &self,
        world: &mut World,
        must: &BTreeMap<Block, Expect>,
        told: Told,
        victims: &BTreeSet<Block>,
    ) -> Result<Tally, String> {
        let (judgement, outcome) = self.judge(world, true, &|startup, settings| {
            let core = (self.make)(startup, settings);
            Box::new(Path {
                core,
                told,
                victims: victims.clone(),
                reading: BTreeMap::new(),
                reading_widely: BTreeMap::new(),
            })
        })?;
        let mut found = judgement.findings;
        found.extend(world.reports.iter().cloned());
        let mut tally = compare(must, &found);
        if outcome != Outcome::Broken {
            tally.problems.push(format!("reads failed, and the check ended {outcome:?}"));
        }
        Ok(tally)
    }
}

/// A check does not wait for it for ever: past the deadline it says so, and ends.
fn never_returns(stage: &mut Stage<'_>) -> Result<Tally, String> {
    // One place is taken by the wide read that hangs, and one is needed to ask for its blocks.
    stage.settings.queue_depth = stage.settings.queue_depth.max(4);
    let mut world = stage.written(2, vec![])?;
    let victim = stage.any_block();
    let expect = Expect::persistent(Class::Unreadable, due_seq(&world, victim), None).saying("stuck: the read");
    let must = BTreeMap::from([(victim, expect)]);
    agree(&BTreeMap::new(), &wrong_on_disk(&world))?;
    stage.judge_and_compare(&mut world, &must, Told::Never, &BTreeSet::from([victim]))
}

/// Counts the times that each block was shown to a read.
#[derive(Clone, Default)]
struct Shown(Rc<RefCell<BTreeMap<Block, u64>>>);

impl Watcher for Shown {
    fn watch(&mut self, sight: &Sight<'_>, _: Scene<'_>) -> Result<(), String> {
        if let Sight::Shown(block) = sight {
            *self.0.borrow_mut().entry(*block).or_default() += 1;
        }
        Ok(())
    }
}

impl Shown {
    fn times(&self, block: Block) -> u64 {
        self.0.borrow().get(&block).copied().unwrap_or(0)
    }
}

fn wrong_once(stage: &mut Stage<'_>) -> Result<Tally, String> {
    flickers(stage, false)
}

fn every_read_differs(stage: &mut Stage<'_>) -> Result<Tally, String> {
    flickers(stage, true)
}

/// The block holds other noise after each read; or what it should, after the first.
fn flickers(stage: &mut Stage<'_>, for_ever: bool) -> Result<Tally, String> {
    let seen = Shown::default();
    let mut world = stage.written(2, vec![Box::new(seen.clone())])?;
    let victim = stage.any_block();
    let due = due(&world, victim).ok_or("nothing was written")?;
    let (sound, seq) = (bytes_of(&world, victim), Some(due.claim.issue.seq));
    let (class, persistence) = match for_ever {
        true => (Class::Unstable, Persistence::Unstable),
        false => (Class::Corrupt, Persistence::Transient),
    };
    let must = BTreeMap::from([(victim, Expect { persistence, ..Expect::persistent(class, seq, seq) })]);
    let mut random = stage.random.fork();
    let mut damaged = || {
        let mut bytes = sound.clone();
        let at = bytes.len() - 64;
        bytes[at..].copy_from_slice(&noise(&mut random, 64));
        bytes
    };
    let first = damaged();
    plant(&mut world, victim, Damage::Flipped, first);
    agree(&must, &wrong_on_disk(&world))?;
    let mut times = seen.times(victim);
    world.start(&stage.check_settings(), true, stage.make)?;
    let outcome = loop {
        let step = world.steps();
        if let Ending::Exited(outcome) = world.run(&mut |world| world.steps() > step)? {
            break outcome;
        }
        if seen.times(victim) > times {
            times = seen.times(victim);
            match for_ever {
                true => {
                    let bytes = damaged();
                    plant(&mut world, victim, Damage::Flipped, bytes);
                }
                false => world.disk.plant(victim, Origin::Write(due.id), sound.clone()),
            }
        }
    };
    let judgement = world.judgements.last().ok_or("a check without a verdict")?;
    let mut tally = compare(&must, &judgement.findings);
    if outcome != Outcome::Broken {
        tally.problems.push(format!("a read was damaged, and the check ended {outcome:?}"));
    }
    Ok(tally)
}
