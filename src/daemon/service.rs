//! What is said to systemd, where it listens.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::status::Rates;
use crate::engine::Status;

/// STATUS= changes at most this often.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// A stop that gets on asks for this much more time, so often. The control plane itself gives up after half of it without a
/// word of the data plane, so that systemd never has to.
const MORE_TIME: Duration = Duration::from_secs(60);
const MORE_TIME_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Service {
    /// A check says nothing: it is no service.
    speaks: bool,
    /// Pinged twice as often as asked for.
    watchdog: Option<Duration>,
    pinged: Instant,
    said: Option<(Instant, String)>,
    /// When more time was asked for to stop.
    extended: Option<Instant>,
    /// Why the newest settings are not in force, while they are not.
    refused: Option<String>,
}

impl Service {
    pub(super) fn new(speaks: bool) -> Self {
        let watchdog = sd_notify::watchdog_enabled().filter(|_| speaks).map(|usec| usec / 2);
        Service { speaks, watchdog, pinged: Instant::now(), said: None, extended: None, refused: None }
    }

    pub(super) fn ready(&self) {
        self.say(&[NotifyState::Ready]);
    }

    /// New settings are looked at. Followed by [`Service::reloaded`], whatever comes of it.
    pub(super) fn reloading(&self) {
        // Without the time, systemd 253 and later take the READY=1 for that of an earlier reload, and wait on.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.say(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "no clock"),
        }
    }

    /// They are in force, or why they are not: that is then part of the status.
    pub(super) fn reloaded(&mut self, refused: Option<String>) {
        self.refused = refused;
        self.said = None;
        self.say(&[NotifyState::Ready]);
    }

    pub(super) fn stopping(&mut self) {
        self.say(&[NotifyState::Stopping]);
        self.said = None;
        self.extended = None;
        self.draining();
    }

    /// To be called while a stop gets on.
    pub(super) fn draining(&mut self) {
        let now = Instant::now();
        if self.extended.is_none_or(|at| now.duration_since(at) >= MORE_TIME_EVERY) {
            self.extended = Some(now);
            self.say(&[NotifyState::ExtendTimeoutUsec(MORE_TIME.as_micros() as u32)]);
        }
    }

    /// To be called a few times a second while something goes on, and at [`Service::next_ping`].
    pub(super) fn tick(&mut self, status: &Status, rates: Rates) {
        let now = Instant::now();
        if self.watchdog.is_some_and(|every| now.duration_since(self.pinged) >= every) {
            self.pinged = now;
            self.say(&[NotifyState::Watchdog]);
        }
        let due = self.said.as_ref().is_none_or(|(at, _)| now.duration_since(*at) >= STATUS_EVERY);
        let text = self.text(status, rates);
        if due && self.said.as_ref().is_none_or(|(_, said)| *said != text) {
            self.say(&[NotifyState::Status(&text)]);
            self.said = Some((now, text));
        }
    }

    fn say(&self, states: &[NotifyState<'_>]) {
        if self.speaks
            && let Err(error) = sd_notify::notify(states)
        {
            tracing::debug!(%error, "systemd does not hear");
        }
    }

    /// Whether systemd knows what there is to know.
    pub(super) fn is_settled(&self, status: &Status, rates: Rates) -> bool {
        self.said.as_ref().is_some_and(|(_, said)| *said == self.text(status, rates))
    }

    fn text(&self, status: &Status, rates: Rates) -> String {
        let refused = self.refused.as_ref().map(|why| format!("; the last reload was refused: {why}"));
        in_words(status, rates) + &refused.unwrap_or_default()
    }

    /// When the watchdog wants to hear from us next.
    pub(super) fn next_ping(&self) -> Option<Instant> {
        self.watchdog.map(|every| self.pinged + every)
    }

    /// How often [`Service::tick`] must come at least while something goes on.
    pub(super) fn longest_tick(&self) -> Option<Duration> {
        self.watchdog.map(|every| (every / 2).max(Duration::from_millis(1)))
    }
}

/// The status in a line: what it does, how far it is, how fast, what it found, and what it waits for.
pub(super) fn in_words(status: &Status, rates: Rates) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let mut waits: Vec<String> = waits_for(status).into_iter().map(|what| format!("; {what}")).collect();
    if let Some(patrol) = &status.patrol {
        waits.splice(0..0, patrol.lag_in_words().map(|lag| format!("; {lag}")));
        return format!(
            "{}: pass {}, {:.1} %; {} MiB verified ({:.0} MiB/s); {} findings{}",
            status.phase,
            status.pass,
            status.progress * 100.0,
            mib(status.bytes.verified),
            rates.verified_mib_s,
            status.findings,
            waits.concat()
        );
    }
    format!(
        "{}: pass {}, {:.1} %; {} MiB written ({:.0} MiB/s), {} MiB verified ({:.0} MiB/s); {} findings{}",
        status.phase,
        status.pass,
        status.progress * 100.0,
        mib(status.bytes.written),
        rates.written_mib_s,
        mib(status.bytes.verified),
        rates.verified_mib_s,
        status.findings,
        waits.concat()
    )
}

fn waits_for(status: &Status) -> Vec<String> {
    let mut waits = Vec::new();
    let in_flight = status.writes_in_flight + status.reads_in_flight;
    if status.phase.starts_with("paused") {
        waits.push("waits for scrubd resume".to_owned());
    } else if status.phase.starts_with("draining") && in_flight > 0 {
        waits.push(format!("waits for {in_flight} I/O{} in flight", if in_flight == 1 { "" } else { "s" }));
    } else if status.phase.starts_with("stopping") {
        waits.push("waits for the ledger to be saved".to_owned());
    }
    waits.extend(status.stuck_in_words());
    let unsaved = status.stuck_save_s;
    waits.extend(unsaved.map(|seconds| format!("the state directory does not answer since {seconds:.0} s")));
    waits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::StuckIo;

    #[test]
    fn what_does_not_return_is_in_the_status_line() {
        let rates = Rates { written_mib_s: 99.7, verified_mib_s: 0.2 };
        let quiet = Status { phase: "writing".to_owned(), ..Status::default() };
        let line = "writing: pass 0, 0.0 %; 0 MiB written (100 MiB/s), 0 MiB verified (0 MiB/s); 0 findings";
        assert_eq!(in_words(&quiet, rates), line);
        let oldest = StuckIo { operation: "write".to_owned(), offset: Some(4096), age_s: 93.2 };
        let stuck = Status { stuck: 2, oldest_stuck: Some(oldest), stuck_save_s: Some(61.0), ..quiet };
        let told =
            "; 2 I/Os stuck, the oldest a write at byte 4096 for 93 s; the state directory does not answer since 61 s";
        assert_eq!(in_words(&stuck, rates), format!("{line}{told}"));
    }

    #[test]
    fn a_patrol_writes_nothing_and_says_whether_it_is_on_time() {
        let patrol = crate::engine::PatrolStatus {
            next: 5,
            began_wall_ns: 1,
            ended_wall_ns: None,
            rate: None,
            pass_time_s: Some(86_400.0),
            lag_s: Some(7_300.0),
        };
        let status = Status { phase: "patrolling".to_owned(), pass: 3, patrol: Some(patrol), ..Status::default() };
        let line = "patrolling: pass 3, 0.0 %; 0 MiB verified (0 MiB/s); 0 findings; 2 h behind schedule";
        assert_eq!(in_words(&status, Rates::default()), line);
    }

    #[test]
    fn what_is_waited_for_is_in_the_status_line() {
        let of = |phase: &str, writes_in_flight| {
            let status = Status { phase: phase.to_owned(), writes_in_flight, ..Status::default() };
            waits_for(&status).concat()
        };
        assert_eq!(of("paused", 0), "waits for scrubd resume");
        assert_eq!(of("draining to stop", 3), "waits for 3 I/Os in flight");
        assert_eq!(of("stopping", 0), "waits for the ledger to be saved");
        assert_eq!(of("writing", 3), "");
    }
}
