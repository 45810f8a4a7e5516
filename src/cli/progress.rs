//! What a person sees meanwhile: a bar on a terminal, else a plain line of log every few seconds.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{status, talk};
use crate::daemon::{Observer, StatusReport};
use crate::engine::Status;
use crate::report::text::{bytes, count, time};

/// Between two plain lines. The observer is called more often.
const EVERY: Duration = Duration::from_secs(5);

/// Steps of the bar.
const STEPS: u64 = 1000;

/// When it will be over, as far as that is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Goal {
    pub(crate) duration: Option<Duration>,
    pub(crate) passes: Option<u64>,
}

/// An observer for a job.
pub(crate) fn observer(goal: Goal) -> Observer {
    let mut so_far = SoFar { goal, first_write: None, told_at: None };
    if !std::io::stderr().is_terminal() {
        return Box::new(move |report| so_far.log(report));
    }
    let bar = ProgressBar::new(STEPS);
    let style = ProgressStyle::with_template("[{bar:16}] {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
    talk::show(Some(bar.clone()));
    Box::new(move |report| {
        let done = so_far.done(report).clamp(0.0, 1.0);
        bar.set_position((done * STEPS as f64) as u64);
        bar.set_message(so_far.short(report));
    })
}

struct SoFar {
    goal: Goal,
    /// The number of the first write of this process.
    first_write: Option<u64>,
    told_at: Option<Duration>,
}

impl SoFar {
    fn log(&mut self, report: &StatusReport) {
        let uptime = uptime(report);
        let words = self.words(report);
        if self.told_at.is_none_or(|at| uptime >= at + EVERY) {
            // Nothing has happened yet when it is told for the first time.
            if self.told_at.is_some() {
                tracing::info!("{words}");
            }
            self.told_at = Some(uptime);
        }
    }

    fn words(&mut self, report: &StatusReport) -> String {
        let Status { durable, next, findings, bytes: amounts, .. } = &report.engine;
        if let Some(patrol) = &report.engine.patrol {
            let mut parts = vec![
                status::activity(&report.engine),
                format!("{} verified ({:.0} MiB/s)", bytes(amounts.verified), report.rates.verified_mib_s),
                format!("findings {}", count(*findings)),
            ];
            parts.extend(patrol.lag_in_words());
            return parts.join(", ");
        }
        let mut parts = vec![
            status::activity(&report.engine),
            format!("{} written ({:.0} MiB/s)", bytes(amounts.written), report.rates.written_mib_s),
            format!("{} verified ({:.0} MiB/s)", bytes(amounts.verified), report.rates.verified_mib_s),
            format!("frontier lag {}", count(next.0.saturating_sub(durable.0))),
            format!("findings {}", count(*findings)),
        ];
        if let Some(left) = self.left(report) {
            parts.push(format!("{} left", time(left)));
        }
        parts.join(", ")
    }

    /// What fits on a terminal of 80 columns beside the bar.
    fn short(&mut self, report: &StatusReport) -> String {
        let Status { phase, pass, progress, durable, next, findings, .. } = &report.engine;
        if let Some(patrol) = &report.engine.patrol {
            let (percent, rate) = (progress * 100.0, report.rates.verified_mib_s);
            let lag = patrol.lag_in_words().map(|lag| format!(", {lag}")).unwrap_or_default();
            return format!("pass {pass} {percent:.1} %, {rate:.0} MiB/s{lag}, findings {}", count(*findings));
        }
        let at = match status::is_writing(&report.engine) {
            true => format!("pass {pass}"),
            false => phase.clone(),
        };
        let rate = report.rates.written_mib_s.max(report.rates.verified_mib_s);
        let lag = count(next.0.saturating_sub(durable.0));
        let left = self.left(report).map(|left| format!(", {} left", time(left))).unwrap_or_default();
        let percent = progress * 100.0;
        format!("{at} {percent:.0} %, {rate:.0} MiB/s, lag {lag}, findings {}{left}", count(*findings))
    }

    /// From 0 to 1: of the duration, of the passes, else of the pass or the check.
    fn done(&mut self, report: &StatusReport) -> f64 {
        match (self.goal.duration, self.passes_done(report)) {
            (Some(duration), _) => report.uptime_s / duration.as_secs_f64(),
            (None, Some(done)) => done,
            (None, None) => report.engine.progress,
        }
    }

    fn left(&mut self, report: &StatusReport) -> Option<Duration> {
        if let Some(duration) = self.goal.duration {
            return Some(duration.saturating_sub(uptime(report)));
        }
        let done = self.passes_done(report).filter(|done| *done > 0.01)?;
        Duration::try_from_secs_f64(report.uptime_s * (1.0 - done) / done).ok()
    }

    fn passes_done(&mut self, report: &StatusReport) -> Option<f64> {
        let Status { next, blocks, .. } = &report.engine;
        let passes = self.goal.passes?;
        if !status::is_writing(&report.engine) || *blocks == 0 {
            return None;
        }
        let first = *self.first_write.get_or_insert(next.0);
        Some((next.0.saturating_sub(first) as f64 / blocks.saturating_mul(passes) as f64).min(1.0))
    }
}

fn uptime(report: &StatusReport) -> Duration {
    Duration::try_from_secs_f64(report.uptime_s).unwrap_or_default()
}
