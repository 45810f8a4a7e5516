//! What is said to systemd, where it listens.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::engine::Status;

/// STATUS= changes at most this often.
const STATUS_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Service {
    /// A check says nothing: it is no service.
    speaks: bool,
    /// Pinged twice as often as asked for.
    watchdog: Option<Duration>,
    pinged: Instant,
    said: Option<(Instant, String)>,
}

impl Service {
    pub(super) fn new(speaks: bool) -> Self {
        let watchdog = sd_notify::watchdog_enabled().filter(|_| speaks).map(|usec| usec / 2);
        Service { speaks, watchdog, pinged: Instant::now(), said: None }
    }

    pub(super) fn ready(&self) {
        self.say(&[NotifyState::Ready]);
    }

    pub(super) fn stopping(&self) {
        self.say(&[NotifyState::Stopping]);
    }

    /// To be called a few times a second while something goes on, and at [`Service::next_ping`].
    pub(super) fn tick(&mut self, status: &Status) {
        let now = Instant::now();
        if self.watchdog.is_some_and(|every| now.duration_since(self.pinged) >= every) {
            self.pinged = now;
            self.say(&[NotifyState::Watchdog]);
        }
        let due = self.said.as_ref().is_none_or(|(at, _)| now.duration_since(*at) >= STATUS_EVERY);
        let text = in_words(status);
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
    pub(super) fn is_settled(&self, status: &Status) -> bool {
        self.said.as_ref().is_some_and(|(_, said)| *said == in_words(status))
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

/// The status in a line.
pub(super) fn in_words(status: &Status) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let hangs = status.stuck_in_words().map_or_else(String::new, |stuck| format!("; {stuck}"));
    let unsaved = status
        .stuck_save_s
        .map_or_else(String::new, |seconds| format!("; the state directory does not answer since {seconds:.0} s"));
    format!(
        "{}: pass {}, {:.1} %; {} MiB written, {} MiB verified; {} findings{hangs}{unsaved}",
        status.phase,
        status.pass,
        status.progress * 100.0,
        mib(status.bytes.written),
        mib(status.bytes.verified),
        status.findings
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::StuckIo;

    #[test]
    fn what_does_not_return_is_in_the_status_line() {
        let quiet = Status { phase: "writing".to_owned(), ..Status::default() };
        let line = "writing: pass 0, 0.0 %; 0 MiB written, 0 MiB verified; 0 findings";
        assert_eq!(in_words(&quiet), line);
        let oldest = StuckIo { operation: "write".to_owned(), offset: Some(4096), age_s: 93.2 };
        let stuck = Status { stuck: 2, oldest_stuck: Some(oldest), stuck_save_s: Some(61.0), ..quiet };
        let told =
            "; 2 I/Os stuck, the oldest a write at byte 4096 for 93 s; the state directory does not answer since 61 s";
        assert_eq!(in_words(&stuck), format!("{line}{told}"));
    }
}
