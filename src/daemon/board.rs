//! Where the data plane puts up what it is at, for whoever looks: never waited for by either side for longer than a
//! copy of a pointer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::status::{Latencies, Latency};
use crate::engine::Status;
use crate::ring::Kind;

/// Puts up at most this often: far more often than anybody looks.
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

#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Sheet>);

#[derive(Debug, Default)]
struct Sheet {
    newest: Arc<Snapshot>,
    put_at: Option<Instant>,
    last: bool,
}

impl Board {
    /// Puts a snapshot up, unless somebody is looking this very moment: then the next one will be.
    pub(super) fn put(&self, snapshot: Snapshot) {
        if let Ok(mut sheet) = self.0.try_lock() {
            (sheet.newest, sheet.put_at) = (Arc::new(snapshot), Some(Instant::now()));
        }
    }

    /// Puts the last snapshot up: what comes after it takes seconds at the most, and is no silence.
    pub(super) fn put_last(&self, snapshot: Snapshot) {
        let mut sheet = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (sheet.newest, sheet.last) = (Arc::new(snapshot), true);
    }

    pub(super) fn newest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner).newest)
    }

    /// How long nothing was put up. Nothing that the data plane waits for by itself takes a second; only a call into the
    /// kernel that does not return, as into the event log on a disk that hangs, keeps it silent.
    pub(super) fn silence(&self) -> Duration {
        let sheet = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sheet.put_at.filter(|_| !sheet.last).map_or(Duration::ZERO, |at| at.elapsed())
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
