//! Durations as people write them, and ranges of them. Errors are predicates: they follow the key and its value.

use std::time::Duration;

use super::settings::After;

/// Nothing here waits longer than a hundred years of 365 days, and sums of two cannot overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Reads a duration with its units, such as `90s`, `1h 30min` or `14days`.
///
/// # Errors
/// What is wrong with it, and an example of what would be right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    // humantime reads `5M` as five months, a text of a size would have meant MiB, and a hasty reader minutes.
    if text.contains(|c: char| c.is_ascii_uppercase()) {
        return Err("must be a duration in ns, us, ms, s, min, h, days or weeks, such as \"60s\"".to_owned());
    }
    if text.trim().parse::<f64>().is_ok() {
        return Err(format!("must carry its unit: \"{0}ms\", \"{0}s\" or \"{0}min\"", text.trim()));
    }
    if !within_humantime(text) {
        return Err("must be a duration of fewer digits, such as \"60s\"".to_owned());
    }
    let duration =
        humantime::parse_duration(text).map_err(|why| format!("must be a duration, such as \"60s\": {why}"))?;
    if duration > LONGEST {
        return Err("must not be longer than 100 years".to_owned());
    }
    Ok(duration)
}

/// Reads a duration, or a range `30s..5min` of them: a random time within it.
///
/// # Errors
/// What is wrong with it, and an example of what would be right.
pub fn parse_after(text: &str) -> Result<After, String> {
    let Some((earliest, latest)) = text.split_once("..") else {
        return parse_duration(text).map(|at| After { earliest: at, latest: at });
    };
    let part = |part: &str| parse_duration(part).map_err(|why| format!("is no range: \"{part}\" {why}"));
    let after = After { earliest: part(earliest)?, latest: part(latest)? };
    if after.earliest > after.latest {
        return Err(format!("must have its shorter end first: \"{latest}..{earliest}\""));
    }
    Ok(after)
}

/// The form that [`parse_duration`] reads back exactly.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// The form that [`parse_after`] reads back exactly.
#[must_use]
pub fn format_after(after: After) -> String {
    let After { earliest, latest } = after;
    if earliest == latest {
        return format_duration(earliest);
    }
    format!("{}..{}", format_duration(earliest), format_duration(latest))
}

/// humantime 2.4 panics where its sum of seconds is all but 2^64 and a full second of nanoseconds is carried into it
/// (`18446744073709551615s 1000ms`). Numbers of up to 9 digits in at most 96 characters stay a factor of ten below.
fn within_humantime(text: &str) -> bool {
    let mut run = 0;
    text.len() <= 96
        && text.chars().filter(|c| !c.is_whitespace()).all(|c| {
            run = if c.is_ascii_digit() { run + 1 } else { 0 };
            run <= 9
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_carry_units() {
        assert_eq!(parse_duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_duration("1h 30min"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for (text, hint) in
            [("60", "\"60s\""), ("5M", "min"), ("", "such as"), ("s", "such as"), ("200years", "100 years")]
        {
            assert!(parse_duration(text).unwrap_err().contains(hint), "{text}: {:?}", parse_duration(text));
        }
    }

    #[test]
    fn a_range_runs_from_the_shorter_to_the_longer() {
        let seconds = Duration::from_secs;
        assert_eq!(parse_after("30s..5min"), Ok(After { earliest: seconds(30), latest: seconds(300) }));
        assert_eq!(parse_after("5s"), Ok(After { earliest: seconds(5), latest: seconds(5) }));
        assert!(parse_after("5min..30s").unwrap_err().contains("\"30s..5min\""));
        assert!(parse_after("..5min").is_err() && parse_after("5s..").is_err() && parse_after("1s..2s..3s").is_err());
    }

    // humantime 2.4.0, `add_current`: `Duration::new(u64::MAX, 1_000_000_000)` panics in the carry.
    #[test]
    fn a_duration_that_makes_humantime_panic_is_refused() {
        assert!(parse_duration("18446744073709551615s 1000ms").is_err());
        assert!(parse_duration("1 8446744073709551615s 1000ms").is_err());
        assert!(parse_duration(&"999999999years ".repeat(600)).is_err());
    }

    proptest! {
        #[test]
        fn a_duration_reads_back_as_it_prints(a in 0..LONGEST.as_secs(), b in 0..LONGEST.as_secs(), ns in 0..1_000_000_000u32) {
            let (earliest, latest) = (Duration::new(a.min(b), ns), Duration::new(a.max(b), ns));
            prop_assert_eq!(parse_duration(&format_duration(earliest)), Ok(earliest));
            let after = After { earliest, latest };
            prop_assert_eq!(parse_after(&format_after(after)), Ok(after));
        }

        #[test]
        fn no_text_makes_durations_panic(text in "\\PC*", near in "([0-9]{1,20}[.]?[0-9]{0,3} ?(ns|us|ms|s|min|h|days|w|years)?(\\.\\.)?){0,4}") {
            for text in [text, near] {
                let _outcomes = (parse_duration(&text), parse_after(&text));
            }
        }
    }
}
