//! What a patrol shows of itself.

use serde::{Deserialize, Serialize};

/// The patrol's part of the status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatrolStatus {
    /// All blocks below are judged in this pass.
    pub next: u64,
    /// Wall clock when the pass began, in nanoseconds since 1970.
    pub began_wall_ns: u64,
    /// Wall clock when the newest whole pass ended; `None` before there was one.
    pub ended_wall_ns: Option<u64>,
    /// Bytes a second at the most.
    pub rate: Option<u64>,
    /// Seconds over which a pass is spread.
    pub pass_time_s: Option<f64>,
    /// Seconds that it is behind its schedule; below 0, ahead.
    pub lag_s: Option<f64>,
}

impl PatrolStatus {
    /// Whether it is where its schedule has it, in words: `3 h behind schedule`. To the minute, as who shows it should not
    /// have to say something new all the time.
    #[must_use]
    pub fn lag_in_words(&self) -> Option<String> {
        let minutes = (self.lag_s? / 60.0).trunc();
        let (side, minutes) = if minutes < 0.0 { ("ahead of", -minutes) } else { ("behind", minutes) };
        Some(match minutes {
            minutes if minutes < 1.0 => "on schedule".to_owned(),
            minutes if minutes < 120.0 => format!("{minutes:.0} min {side} schedule"),
            minutes if minutes < 48.0 * 60.0 => format!("{:.0} h {side} schedule", minutes / 60.0),
            minutes => format!("{:.1} days {side} schedule", minutes / (24.0 * 60.0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_told_in_words_that_last_a_minute() {
        let of = |lag_s| {
            let none = (None, None, None);
            PatrolStatus { next: 0, began_wall_ns: 0, ended_wall_ns: none.0, rate: none.1, pass_time_s: none.2, lag_s }
                .lag_in_words()
        };
        assert_eq!(of(None), None);
        for (lag_s, words) in [
            (0.0, "on schedule"),
            (-59.0, "on schedule"),
            (61.0, "1 min behind schedule"),
            (-3600.0, "60 min ahead of schedule"),
            (10_000.0, "3 h behind schedule"),
            (5.0 * 86_400.0, "5.0 days behind schedule"),
        ] {
            assert_eq!(of(Some(lag_s)).as_deref(), Some(words), "{lag_s}");
        }
    }
}
