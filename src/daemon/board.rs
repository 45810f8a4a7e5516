//! Where the data plane puts up what it is at, for whoever looks: never waited for by either side for longer than a
//! copy of a pointer.
//!
//! Neither side wakes up to look whether the other has something to say. Who wants to know what is going on calls, and
//! the data plane puts a new snapshot up; a control plane with nothing to look after lies down, and the data plane's next
//! turn rouses it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Notify;

use super::status::{Latencies, Latency};
use crate::engine::Status;
use crate::ring::Kind;

/// Puts up at most this often without being called: far more often than anybody looks.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);

/// Longest latency told apart, in microseconds: ten minutes. A deadline is below that.
const LONGEST_US: u64 = 600_000_000;

/// What the data plane is at.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) status: Status,
    pub(super) latencies: Latencies,
    pub(super) verdict: Option<String>,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Board {
    sheet: Mutex<Sheet>,
    origin: Instant,
    /// When the turn began that the data plane is at, in nanoseconds from `origin`; [`RESTING`] while it waits.
    turn: AtomicU64,
    /// Calls so far, and how many of them the newest snapshot answers.
    calls: AtomicU64,
    answered: AtomicU64,
    /// The control plane wants to be roused by the next turn.
    lain_down: AtomicBool,
    /// Rung for a call that is answered, and to rouse.
    bell: Notify,
}

/// No turn is under way: the data plane waits for something to happen.
const RESTING: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Sheet {
    newest: Arc<Snapshot>,
    put_at: Option<Instant>,
    last: bool,
}

/// How many calls a turn of the data plane has heard: what came before them is part of the turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard(u64);

impl Board {
    pub(super) fn new() -> Board {
        Board {
            sheet: Mutex::default(),
            origin: Instant::now(),
            turn: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            lain_down: AtomicBool::new(false),
            bell: Notify::new(),
        }
    }

    /// The data plane begins a turn: to be called before it looks at what has happened.
    pub(super) fn turns(&self) -> Heard {
        // In one order with `lie_down`: either that one sees the turn, or this one sees that somebody is to be roused.
        self.turn.store(self.now_ns(), Ordering::SeqCst);
        if self.lain_down.load(Ordering::SeqCst) && self.lain_down.swap(false, Ordering::SeqCst) {
            self.bell.notify_one();
        }
        Heard(self.calls.load(Ordering::SeqCst))
    }

    /// The data plane waits from now on.
    pub(super) fn rests(&self) {
        self.turn.store(RESTING, Ordering::SeqCst);
    }

    /// Puts a snapshot up that is the answer to all calls that were heard. False when somebody is looking this very
    /// moment: then the next one will be.
    pub(super) fn put(&self, snapshot: Snapshot, heard: Heard) -> bool {
        let Ok(mut sheet) = self.sheet.try_lock() else { return false };
        (sheet.newest, sheet.put_at) = (Arc::new(snapshot), Some(Instant::now()));
        drop(sheet);
        if self.answered.swap(heard.0, Ordering::SeqCst) < heard.0 {
            self.bell.notify_one();
        }
        true
    }

    /// Puts the last snapshot up: what comes after it takes seconds at the most, and is no silence.
    pub(super) fn put_last(&self, snapshot: Snapshot) {
        let mut sheet = self.sheet();
        (sheet.newest, sheet.last) = (Arc::new(snapshot), true);
        drop(sheet);
        self.answered.store(u64::MAX, Ordering::SeqCst);
        self.bell.notify_one();
    }

    /// Whether somebody waits for a snapshot that is newer than the last one.
    pub(super) fn awaited(&self, heard: Heard) -> bool {
        self.answered.load(Ordering::SeqCst) < heard.0
    }

    pub(super) fn newest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.sheet().newest)
    }

    /// How old the newest snapshot is; none was put up yet, and it is as old as can be.
    pub(super) fn age(&self) -> Duration {
        self.sheet().put_at.map_or(Duration::MAX, |at| at.elapsed())
    }

    /// Asks for a snapshot; the number of the call. Whoever calls wakes the data plane after it.
    pub(super) fn call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn is_answered(&self, call: u64) -> bool {
        self.answered.load(Ordering::SeqCst) >= call
    }

    /// The data plane has put its last snapshot up.
    pub(super) fn is_over(&self) -> bool {
        self.sheet().last
    }

    /// How long the turn has taken that is under way. Nothing that the data plane does by itself takes a second; only a
    /// call into the kernel that does not return, as into the event log on a disk that hangs.
    pub(super) fn turn(&self) -> Duration {
        match self.turn.load(Ordering::SeqCst) {
            RESTING => Duration::ZERO,
            began => Duration::from_nanos(self.now_ns().saturating_sub(began)),
        }
    }

    /// Asks to be roused by the next turn. False, and nothing is asked, when one is under way.
    pub(super) fn lie_down(&self) -> bool {
        self.lain_down.store(true, Ordering::SeqCst);
        let resting = self.turn.load(Ordering::SeqCst) == RESTING;
        if !resting {
            self.lain_down.store(false, Ordering::SeqCst);
        }
        resting
    }

    /// Waits for the bell. Safe to be dropped while it waits.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(RESTING - 1)
    }

    fn sheet(&self) -> std::sync::MutexGuard<'_, Sheet> {
        self.sheet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Latencies since the start.
pub(super) struct Stopwatches {
    read: Histogram<u64>,
    write: Histogram<u64>,
    flush: Histogram<u64>,
}

impl Stopwatches {
    pub(super) fn new() -> Self {
        // Two digits: 1 %, in 2,000 counters a histogram.
        let histogram = || Histogram::new_with_bounds(1, LONGEST_US, 2).expect("sound bounds");
        Stopwatches { read: histogram(), write: histogram(), flush: histogram() }
    }

    pub(super) fn record(&mut self, kind: Kind, latency: Duration) {
        let histogram = match kind {
            Kind::Read { .. } => &mut self.read,
            Kind::Write { .. } => &mut self.write,
            Kind::Flush => &mut self.flush,
        };
        histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US));
    }

    pub(super) fn latencies(&self) -> Latencies {
        let of = |histogram: &Histogram<u64>| Latency {
            count: histogram.len(),
            p50_us: histogram.value_at_quantile(0.5),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        };
        Latencies { read: of(&self.read), write: of(&self.write), flush: of(&self.flush) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_answered_only_by_a_snapshot_of_a_turn_that_began_after_it() {
        let board = Board::new();
        let before = board.turns();
        let call = board.call();
        assert!(!board.awaited(before));
        assert!(board.put(Snapshot::default(), before));
        assert!(!board.is_answered(call), "what was asked for before the call may not be in there");
        let after = board.turns();
        assert!(board.awaited(after));
        assert!(board.put(Snapshot::default(), after));
        assert!(board.is_answered(call) && !board.awaited(after));
    }

    #[test]
    fn who_lies_down_is_roused_by_the_next_turn_and_not_by_rest() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let board = Board::new();
            assert!(!board.lie_down(), "a turn is under way from the start");
            board.rests();
            assert!(board.lie_down());
            assert!(tokio::time::timeout(Duration::from_millis(20), board.rung()).await.is_err());
            board.turns();
            board.rung().await;
        });
    }

    #[test]
    fn a_turn_that_does_not_end_is_silence_and_rest_is_none() {
        let board = Board::new();
        board.rests();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(board.turn(), Duration::ZERO);
        board.turns();
        std::thread::sleep(Duration::from_millis(5));
        assert!(board.turn() >= Duration::from_millis(5));
    }
}
