//! What is in flight, since when, and under which name. Names the requests and decides which of them are stuck. Pure.
//!
//! A read that does not come back is given up: its buffer stays with the kernel, and a later completion under its name
//! is nobody's. A write is never given up, as it might land on top of what is written there next.

use std::time::Duration;

use super::settings::nanoseconds;
use crate::engine::OpId;
use crate::ring::Token;
use crate::vocabulary::Block;

/// Reads that may be given up before the run ends: each keeps its place in the ring.
pub(super) const GIVEN_UP_MAX: u32 = 16;

/// What a cancelled read is given to come back in, in nanoseconds.
const GRACE_NS: u64 = 2_000_000_000;

/// Deadlines that a write or a flush is waited for, cancelled or not, before the run ends.
const DEADLINES: u64 = 4;

const FLUSH: Token = Token(u32::MAX);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Read(Block),
    Write(Block),
    Flush,
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Task::Read(block) => write!(f, "read of block {block}"),
            Task::Write(block) => write!(f, "write of block {block}"),
            Task::Flush => write!(f, "flush"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    task: Task,
    since: u64,
    cancelled: bool,
}

/// Whose completion it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landed {
    /// Of this operation, or of the flush.
    Op { op: Option<OpId>, task: Task, cancelled: bool },
    /// Of a read that was given up.
    Forgotten,
}

/// What is to be done about something that is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Ask for its end.
    Cancel(Token, Task),
    /// Tell the engine that the read failed, and give the operation another buffer.
    GiveUp(OpId, Task),
    /// Nothing more can be done with this disk.
    Hopeless(Task),
}

pub(super) struct Flights {
    flights: Vec<Option<Flight>>,
    /// Reads of each operation that were given up: the next request of the operation has a new name.
    generations: Vec<u32>,
    flush: Option<Flight>,
    given_up: u32,
    deadline: u64,
}

impl Flights {
    pub(super) fn new(operations: u32, deadline: Duration) -> Self {
        let operations = operations as usize;
        Flights {
            flights: vec![None; operations],
            generations: vec![0; operations],
            flush: None,
            given_up: 0,
            deadline: nanoseconds(deadline),
        }
    }

    /// Names a request that is about to be submitted. `None` is the flush.
    pub(super) fn depart(&mut self, op: Option<OpId>, task: Task, now: u64) -> Token {
        let flight = Some(Flight { task, since: now, cancelled: false });
        match op {
            Some(op) => {
                assert!(self.flights[op.0 as usize].is_none(), "{op:?} has one request at a time");
                self.flights[op.0 as usize] = flight;
                self.name(op)
            }
            None => {
                assert!(self.flush.is_none(), "one flush at a time");
                self.flush = flight;
                FLUSH
            }
        }
    }

    pub(super) fn land(&mut self, token: Token) -> Landed {
        let op = (token != FLUSH).then(|| OpId(token.0 % self.count()));
        let slot = match op {
            Some(op) if self.name(op) != token => {
                self.given_up -= 1;
                return Landed::Forgotten;
            }
            Some(op) => &mut self.flights[op.0 as usize],
            None => &mut self.flush,
        };
        let Flight { task, cancelled, .. } = slot.take().expect("what lands has departed");
        Landed::Op { op, task, cancelled }
    }

    /// What has been in flight for too long.
    pub(super) fn overdue(&mut self, now: u64) -> Vec<Overdue> {
        let mut overdue = Vec::new();
        for index in 0..self.flights.len() {
            let op = OpId(u32::try_from(index).expect("as many as operations"));
            let token = self.name(op);
            let verdict = self.flights[index].as_mut().and_then(|flight| judge(flight, now, self.deadline));
            overdue.extend(match verdict {
                Some(Stuck::Cancel(task)) => Some(Overdue::Cancel(token, task)),
                Some(Stuck::Late(task @ Task::Read(_))) if self.given_up < GIVEN_UP_MAX => {
                    self.flights[index] = None;
                    self.generations[index] += 1;
                    self.given_up += 1;
                    Some(Overdue::GiveUp(op, task))
                }
                Some(Stuck::Late(task)) => Some(Overdue::Hopeless(task)),
                None => None,
            });
        }
        let flush = self.flush.as_mut().and_then(|flight| judge(flight, now, self.deadline));
        overdue.extend(flush.map(|stuck| match stuck {
            Stuck::Cancel(task) => Overdue::Cancel(FLUSH, task),
            Stuck::Late(task) => Overdue::Hopeless(task),
        }));
        overdue
    }

    fn name(&self, op: OpId) -> Token {
        Token(op.0 + self.generations[op.0 as usize] * self.count())
    }

    fn count(&self) -> u32 {
        u32::try_from(self.flights.len()).expect("as many as operations")
    }
}

enum Stuck {
    Cancel(Task),
    Late(Task),
}

fn judge(flight: &mut Flight, now: u64, deadline: u64) -> Option<Stuck> {
    let elapsed = now.saturating_sub(flight.since);
    if elapsed <= deadline {
        return None;
    }
    if !std::mem::replace(&mut flight.cancelled, true) {
        return Some(Stuck::Cancel(flight.task));
    }
    let last = match flight.task {
        Task::Read(_) => deadline.saturating_add(GRACE_NS),
        Task::Write(_) | Task::Flush => deadline.saturating_mul(DEADLINES),
    };
    (elapsed > last).then_some(Stuck::Late(flight.task))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_stuck_read_is_cancelled_then_given_up_and_its_late_completion_is_nobodys() {
        let mut flights = Flights::new(3, Duration::from_secs(30));
        let op = OpId(1);
        let task = Task::Read(Block(7));
        let old = flights.depart(Some(op), task, 0);
        assert_eq!(flights.overdue(30 * SECOND), []);
        assert_eq!(flights.overdue(31 * SECOND), [Overdue::Cancel(old, task)]);
        assert_eq!(flights.overdue(32 * SECOND), []);
        assert_eq!(flights.overdue(33 * SECOND), [Overdue::GiveUp(op, task)]);
        let new = flights.depart(Some(op), task, 33 * SECOND);
        assert_ne!(new, old);
        assert_eq!(flights.land(old), Landed::Forgotten);
        assert_eq!(flights.land(new), Landed::Op { op: Some(op), task, cancelled: false });
    }

    #[test]
    fn a_stuck_write_is_never_given_up() {
        let mut flights = Flights::new(1, Duration::from_secs(30));
        let task = Task::Write(Block(0));
        let token = flights.depart(Some(OpId(0)), task, 0);
        flights.depart(None, Task::Flush, 0);
        assert_eq!(flights.overdue(31 * SECOND), [Overdue::Cancel(token, task), Overdue::Cancel(FLUSH, Task::Flush)]);
        assert_eq!(flights.overdue(119 * SECOND), []);
        assert_eq!(flights.overdue(121 * SECOND), [Overdue::Hopeless(task), Overdue::Hopeless(Task::Flush)]);
        assert_eq!(flights.land(token), Landed::Op { op: Some(OpId(0)), task, cancelled: true });
    }

    #[test]
    fn more_stuck_reads_than_the_ring_has_room_for_are_hopeless() {
        let mut flights = Flights::new(GIVEN_UP_MAX + 1, Duration::from_secs(1));
        for op in 0..=GIVEN_UP_MAX {
            flights.depart(Some(OpId(op)), Task::Read(Block(0)), 0);
        }
        assert_eq!(flights.overdue(2 * SECOND).len(), 17);
        let last = flights.overdue(4 * SECOND);
        assert_eq!(last.iter().filter(|overdue| matches!(overdue, Overdue::GiveUp(..))).count(), 16);
        assert_eq!(last.last(), Some(&Overdue::Hopeless(Task::Read(Block(0)))));
    }
}
