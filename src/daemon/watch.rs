//! What the control plane sees of the data plane, and how long it has heard nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::board::{Board, Snapshot};
use crate::ring::Waker;

pub(super) struct Watch {
    board: Arc<Board>,
    waker: Waker,
    /// The oldest call that is not answered, and when it was made.
    open: Option<(u64, Instant)>,
}

impl Watch {
    pub(super) fn new(board: Arc<Board>, waker: Waker) -> Watch {
        Watch { board, waker, open: None }
    }

    pub(super) fn newest(&self) -> Arc<Snapshot> {
        self.board.newest()
    }

    /// Asks the data plane to put up what it is at now.
    pub(super) fn call(&mut self) -> u64 {
        self.forget_answered();
        let call = self.board.call();
        self.open.get_or_insert((call, Instant::now()));
        // After the call is there, or the wake could be spent before it.
        self.waker.wake();
        call
    }

    /// Sees to it that what is put up is not older than this, where the data plane lives.
    pub(super) fn keep_younger_than(&mut self, age: Duration) {
        if !self.board.is_over() && self.board.age() >= age {
            self.call();
        }
    }

    pub(super) fn is_answered(&self, call: u64) -> bool {
        self.board.is_answered(call)
    }

    /// How long the data plane has been at one turn, or has not answered. A call that it has not heard yet because it
    /// hangs while it waits, in the kernel, counts as well as a turn that does not end.
    pub(super) fn silence(&mut self) -> Duration {
        if self.board.is_over() {
            return Duration::ZERO;
        }
        self.forget_answered();
        let unanswered = self.open.map_or(Duration::ZERO, |(_, at)| at.elapsed());
        self.board.turn().max(unanswered)
    }

    /// Asks to be roused by the next turn of the data plane; false when there is something to look after still.
    pub(super) fn lie_down(&mut self) -> bool {
        self.forget_answered();
        let Snapshot { status, .. } = &*self.newest();
        let waits =
            status.writes_in_flight + status.reads_in_flight + status.stuck == 0 && status.stuck_save_s.is_none();
        waits && self.open.is_none() && self.board.lie_down()
    }

    /// Waits for an answer, or to be roused. Safe to be dropped while it waits.
    pub(super) async fn heard(&self) {
        self.board.rung().await;
    }

    fn forget_answered(&mut self) {
        self.open = self.open.filter(|(call, _)| !self.board.is_answered(*call));
    }
}
