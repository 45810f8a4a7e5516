//! Times to wait for, chance included.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::config::After;

/// When a trigger that was set at `from` fires: at one time, or at any in a range, each as likely.
pub(super) fn alarm(after: Option<After>, from: Instant) -> Option<Instant> {
    let After { earliest, latest } = after?;
    let span = u64::try_from(latest.saturating_sub(earliest).as_millis()).unwrap_or(u64::MAX);
    let mut chance = [0; 8];
    getrandom::fill(&mut chance).expect("the kernel has randomness");
    // 64 bits over a range of milliseconds: the bias is below one in ten million for a year.
    let waits = earliest + Duration::from_millis(u64::from_le_bytes(chance) % span.saturating_add(1).max(1));
    from.checked_add(waits)
}

pub(super) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_a_range_is_within_it_and_one_time_is_that_time() {
        let from = Instant::now();
        let [two, five] = [2, 5].map(Duration::from_secs);
        let times: Vec<Duration> = (0..100)
            .map(|_| alarm(Some(After { earliest: two, latest: five }), from).unwrap().duration_since(from))
            .collect();
        assert!(times.iter().all(|time| (two..=five).contains(time)), "{times:?}");
        assert!(times.iter().any(|time| *time != times[0]), "no chance in it: {times:?}");
        assert_eq!(alarm(Some(After { earliest: two, latest: two }), from), Some(from + two));
        assert_eq!(alarm(None, from), None);
    }
}
