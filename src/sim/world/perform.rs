//! Doing what the engine wants, and telling it what came of it.

use super::{Buffer, MAX_STEPS, Pending, Saving, World};
use crate::engine::{Action, Event, Fault, OpId};
use crate::ring::{IoFailure, Kind, Next, Progress};
use crate::sim::fault::{Fault as SimFault, Struck};
use crate::sim::observe::Sight;
use crate::sim::slots::Slots;
use crate::vocabulary::{Promise, mix};

impl World {
    pub(super) fn step_engine(&mut self, events: Vec<Event>) -> Result<(), String> {
        let now = self.now();
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(format!("no end after {MAX_STEPS} steps: {:?}", self.status()));
        }
        let mut actions = Vec::new();
        self.show(&Sight::Stepping)?;
        self.truth.stepped(now.wall_ns);
        let Some(engine) = &mut self.engine else { return Err("nobody is there to be told".into()) };
        engine.step(now, &events, &mut actions);
        if self.settings.hashed {
            self.hash = hash(self.hash, &format!("{now:?} {events:?} {actions:?}"));
        }
        // Woken for nothing: three times in a row at one instant is a loop that burns a core.
        let idle = events.is_empty() && actions.is_empty();
        self.spins = if idle { self.spins + 1 } else { 0 };
        for action in actions {
            if self.exited.is_some() {
                return Err(format!("after its exit the engine still wants {action:?}"));
            }
            self.show(&Sight::Acted(&action))?;
            self.perform(action)?;
        }
        if self.exited.is_some() {
            self.disk.orphan_writes();
            self.end_process(None);
        }
        Ok(())
    }

    /// Lets the next thing happen, and now and then a few more, and returns what the engine is to be told.
    pub(super) fn pass_time(&mut self) -> Result<Vec<Event>, String> {
        let wake = self.engine.as_ref().and_then(|engine| engine.next_wake());
        if self.spins > 3 && wake.is_some_and(|wake| wake <= self.now_ns) {
            return Err(format!("woken again and again for nothing: {:?}", self.status()));
        }
        let wanted = 1 + self.random.below(self.settings.pace.batch);
        let mut events = Vec::new();
        while (events.len() as u64) < wanted {
            let next = self.pending.first_key_value().map(|(key, _)| *key);
            let Some(key) = next.filter(|key| wake.is_none_or(|wake| key.0 <= wake.max(self.now_ns))) else {
                match wake {
                    Some(_) if !events.is_empty() => {}
                    Some(wake) => self.now_ns = self.now_ns.max(wake),
                    None if events.is_empty() => {
                        return Err(format!("nothing is pending and the engine sleeps: {:?}", self.status()));
                    }
                    None => {}
                }
                break;
            };
            self.now_ns = self.now_ns.max(key.0);
            let pending = self.pending.remove(&key).expect("seen just now");
            if let Some(event) = self.happen(pending)? {
                self.tell(&event)?;
                events.push(event);
            }
        }
        Ok(events)
    }

    /// What was pending happens; an event to be told now, if it was one.
    fn happen(&mut self, pending: Pending) -> Result<Option<Event>, String> {
        let of_the_device = matches!(
            pending,
            Pending::WriteEnds(..) | Pending::ReadEnds(..) | Pending::SpanEnds(_) | Pending::FlushEnds
        );
        if self.removed && of_the_device {
            self.later(0, pending);
            return self.fail_with_the_device().map(|()| None);
        }
        let event = match pending {
            Pending::Deliver(event) => return Ok(Some(event)),
            Pending::WriteEnds(op, io) => match self.try_write(op, io)? {
                Some(event) => event,
                None => return Ok(None),
            },
            Pending::ReadEnds(op, block, io) => match self.try_read(op, block, io)? {
                Some(event) => event,
                None => return Ok(None),
            },
            Pending::SpanEnds(id) => match self.try_read_span(id)? {
                Some(event) => event,
                None => return Ok(None),
            },
            Pending::FlushEnds => {
                let said = self.disk.complete_flush().map(|()| 0);
                match Progress::new(Kind::Flush, 0).advance(said) {
                    Next::Finished(result) => Event::Flushed(result.map_err(|failure| in_words(&failure))),
                    Next::Issue => return Err("a flush is repeated".into()),
                }
            }
            Pending::SaveEnds => return self.end_save().map(|()| None),
            Pending::PositionSaveEnds => self.end_position_save(),
        };
        let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.delivery);
        self.later(delay, Pending::Deliver(event));
        Ok(None)
    }

    /// The directory fails and lies for the position as it does for the ledger; what a lie loses is a little work.
    fn end_position_save(&mut self) -> Event {
        let failed = self.disk.script.fault(Struck::Save, self.saves, None) == Some(SimFault::FailedSave);
        self.saves += 1;
        match self.position_in_save.take() {
            Some(_) if failed => Event::PositionSaved(Err(fault(28, "save"))),
            position => {
                self.position = position.or(self.position);
                Event::PositionSaved(Ok(()))
            }
        }
    }

    fn end_save(&mut self) -> Result<(), String> {
        let Some(saving) = &mut self.in_save else { return Ok(()) };
        let (number, failed) = (saving.checkpoint.number, saving.fault == Some(SimFault::FailedSave));
        let result = if failed {
            self.slots.fail(Slots::draw_fate(&mut self.random));
            self.in_save = None;
            Err(fault(28, "save"))
        } else {
            saving.landed = true;
            let lies = saving.fault == Some(SimFault::LyingSave);
            let checkpoint = saving.checkpoint.clone();
            self.acknowledged = self.slots.succeed(lies);
            self.show(&Sight::SavedDurably(&checkpoint))?;
            Ok(())
        };
        let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.delivery);
        self.later(delay, Pending::Deliver(Event::Saved(number, result)));
        Ok(())
    }

    /// The engine is about to hear this: the truth hears it first.
    fn tell(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Wrote(op, result) => {
                let buffer = &mut self.buffers[op.0 as usize];
                buffer.busy = false;
                let (_, claim) = buffer.sealed.expect("it was sealed");
                let id = buffer.write.expect("it was written");
                if result.is_ok() {
                    self.truth.told_complete(id, claim.promise != Promise::Flush);
                }
            }
            Event::Sealed(op) | Event::Read(op, _) | Event::Inspected(op, _) | Event::Surveyed(op, _) => {
                self.buffers[op.0 as usize].busy = false;
            }
            Event::ReadSpan(id, _) | Event::InspectedSpan(id, _) | Event::SurveyedSpan(id, _) => {
                self.wide.get_mut(id).ok_or("a span that was never read")?.busy = false;
            }
            Event::Flushed(result) => self.truth.told_flushed(result.is_ok()),
            Event::Saved(..) => self.in_save = None,
            Event::PositionSaved(_) | Event::Fired(_) | Event::Command(_) => {}
        }
        self.show(&Sight::Told(event))
    }

    fn perform(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Seal(op, block, claim) => {
                let sealer = *self.inspector.sealer();
                let buffer = self.take(op, "seal")?;
                sealer.seal(block, &claim, &mut buffer.bytes);
                (buffer.sealed, buffer.holds, buffer.write) = (Some((block, claim)), None, None);
                self.work(op, Event::Sealed(op));
            }
            Action::Write { op, block, dsync } => self.write(op, block, dsync)?,
            Action::Read(op, block) => {
                self.read(op, block)?;
            }
            Action::Inspect(op, legal) => {
                let inspector = self.inspector;
                let buffer = self.take(op, "inspect")?;
                if buffer.holds != Some(legal.block) {
                    return Err(format!("{op:?} holds {:?} and is inspected as {}", buffer.holds, legal.block));
                }
                let inspection = inspector.inspect(&buffer.bytes, &legal);
                self.work(op, Event::Inspected(op, inspection));
            }
            Action::Survey(op, block) => {
                let inspector = self.inspector;
                let buffer = self.take(op, "survey")?;
                if buffer.holds != Some(block) {
                    return Err(format!("{op:?} holds {:?} and is surveyed as {block}", buffer.holds));
                }
                let claims = inspector.survey(&buffer.bytes, block);
                self.work(op, Event::Surveyed(op, claims));
            }
            Action::ReadSpan(id, span) => self.read_span(id, span)?,
            Action::InspectSpan(..) | Action::SurveySpan(_) => self.look_at_span(&action)?,
            Action::Flush => {
                self.truth.flush_handed_over();
                self.disk.submit_flush();
                let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.flush);
                self.later(delay + self.disk.lateness_of_flush(), Pending::FlushEnds);
            }
            Action::Save(checkpoint) => {
                let fault = self.disk.script.fault(Struck::Save, self.saves, None);
                self.saves += 1;
                self.slots.submit(&checkpoint, self.saves);
                self.in_save = Some(Saving { checkpoint: *checkpoint, landed: false, fault });
                let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.save);
                self.later(delay + fault.map_or(0, SimFault::lateness), Pending::SaveEnds);
            }
            Action::SavePosition(position) => {
                if self.position_in_save.replace(*position).is_some() {
                    return Err("two positions are saved at a time".into());
                }
                let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.save);
                self.later(delay, Pending::PositionSaveEnds);
            }
            Action::Report(finding, op) => {
                let held = op.map(|op| self.buffers.get(op.0 as usize).and_then(|buffer| buffer.holds));
                if held.is_some_and(|held| held != Some(finding.block)) {
                    return Err(format!("the evidence of {finding:?} is not in {op:?}: {held:?}"));
                }
                self.known.insert(finding.key());
                self.reports.push(*finding);
            }
            Action::Record(_) => {}
            Action::Judged(judgement) => self.judgements.push(*judgement),
            Action::Fire(_) => {
                self.fires += 1;
                if self.command_cuts_power {
                    let mut random = self.random.fork();
                    self.lose_power(5, &mut |_, _, choices| random.below(choices as u64) as usize)?;
                }
                let event = Event::Fired(self.command_ends.clone());
                let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.save);
                self.later(delay, Pending::Deliver(event));
            }
            Action::Exit(outcome) => self.exited = Some(outcome),
        }
        Ok(())
    }

    fn work(&mut self, op: OpId, event: Event) {
        debug_assert!(self.buffers[op.0 as usize].busy);
        let delay = self.settings.pace.draw(&mut self.random, self.settings.pace.work);
        self.later(delay, Pending::Deliver(event));
    }

    /// The buffer of an operation, which nothing else may be using.
    pub(super) fn take(&mut self, op: OpId, what: &str) -> Result<&mut Buffer, String> {
        let buffer =
            self.buffers.get_mut(op.0 as usize).ok_or_else(|| format!("{what} of {op:?}: no such operation"))?;
        if std::mem::replace(&mut buffer.busy, true) {
            return Err(format!("{what} of {op:?}, which is busy"));
        }
        Ok(buffer)
    }
}

pub(super) fn fault(errno: i32, what: &str) -> Fault {
    Fault { errno, end_of_file: false, removed: false, message: format!("{what} failed") }
}

/// As the daemon tells it.
pub(super) fn in_words(failure: &IoFailure) -> Fault {
    Fault { errno: failure.errno, end_of_file: failure.end_of_file, removed: false, message: failure.to_string() }
}

fn hash(so_far: u64, text: &str) -> u64 {
    text.as_bytes().chunks(8).fold(so_far, |hash, chunk| {
        let word = chunk.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        mix(hash ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15)
    })
}
