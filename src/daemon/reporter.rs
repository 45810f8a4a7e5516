//! Makes the status that people see of what the data plane puts up.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use super::Job;
use super::board::Snapshot;
use super::status::{Rates, RingReport, StatusReport, WorkerReport};
use crate::pool::Placement;
use crate::ring::Description;

/// Rates are taken over this, in seconds.
const OVER_S: f64 = 1.0;

/// Between two samples at least, however often somebody asks.
const APART: Duration = Duration::from_millis(20);

pub(super) struct Reporter {
    fixed: StatusReport,
    started: Instant,
    /// When, bytes written, bytes verified; oldest first, about a second's worth.
    samples: VecDeque<(Instant, u64, u64)>,
    pub(super) warnings: Vec<String>,
}

impl Reporter {
    pub(super) fn new(job: &Job, ring: &Description, workers: Vec<Placement>) -> Self {
        let Description { engine, why, depth, registered_buffers, registered_file, direct, .. } = ring.clone();
        let fixed = StatusReport {
            schema: 1,
            target: job.name.clone(),
            path: job.target.path.display().to_string(),
            run_id: job.target.run_id,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            uptime_s: 0.0,
            engine: crate::engine::Status::default(),
            ring: RingReport { engine: engine.to_owned(), why, depth, registered_buffers, registered_file, direct },
            workers: workers
                .into_iter()
                .map(|Placement { thread, cpus_asked, cpus_allowed }| WorkerReport { thread, cpus_asked, cpus_allowed })
                .collect(),
            rates: Rates::default(),
            latencies: super::status::Latencies::default(),
            verdict: None,
            warnings: Vec::new(),
        };
        let warnings = job.remarks.iter().chain(&job.target.warnings).cloned().collect();
        Reporter { fixed, started: Instant::now(), samples: VecDeque::new(), warnings }
    }

    /// Takes a sample for the rates. To be called a few times a second while something goes on.
    pub(super) fn sample(&mut self, snapshot: &Snapshot) {
        let now = Instant::now();
        if self.samples.back().is_some_and(|(at, ..)| now.duration_since(*at) < APART) {
            return;
        }
        self.samples.push_back((now, snapshot.status.bytes.written, snapshot.status.bytes.verified));
        while self.samples.get(1).is_some_and(|(at, ..)| now.duration_since(*at).as_secs_f64() >= OVER_S) {
            self.samples.pop_front();
        }
    }

    /// Nothing has moved for as long as rates are taken over: another sample would say the same.
    pub(super) fn is_settled(&self) -> bool {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else { return false };
        let still = (first.1, first.2) == (last.1, last.2);
        still && last.0.duration_since(first.0).as_secs_f64() >= OVER_S
    }

    pub(super) fn report(&self, snapshot: &Snapshot) -> StatusReport {
        StatusReport {
            uptime_s: self.started.elapsed().as_secs_f64(),
            engine: snapshot.status.clone(),
            rates: self.rates(),
            latencies: snapshot.latencies,
            verdict: snapshot.verdict.clone(),
            warnings: self.warnings.iter().chain(&snapshot.warnings).cloned().collect(),
            ..self.fixed.clone()
        }
    }

    pub(super) fn rates(&self) -> Rates {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else { return Rates::default() };
        let seconds = last.0.duration_since(first.0).as_secs_f64();
        if seconds <= 0.0 {
            return Rates::default();
        }
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds / f64::from(1 << 20);
        Rates { written_mib_s: rate(first.1, last.1), verified_mib_s: rate(first.2, last.2) }
    }
}
