//! Keys that take one of a few words. Each table is read in both directions, so that what is shown can be said.

use crate::vocabulary::{Digest, Order, Promise};

use super::settings::{Mode, OnFinding, OnStart, TriggerIo, TriggerSignal, TriggerThen};

/// Words and what they stand for.
pub(super) type Choices<T> = &'static [(&'static str, T)];

pub(super) const MODES: Choices<Mode> =
    &[("burn-in", Mode::BurnIn), ("powercut", Mode::PowerCut), ("patrol", Mode::Patrol)];
pub(super) const ORDERS: Choices<Order> = &[("sequential", Order::Sequential), ("random", Order::Random)];
pub(super) const DIGESTS: Choices<Digest> = &[("crc32c", Digest::Crc32c), ("blake3", Digest::Blake3)];
pub(super) const PROMISES: Choices<Promise> =
    &[("flush", Promise::Flush), ("fua", Promise::Fua), ("ack", Promise::Ack)];
pub(super) const ON_FINDING: Choices<OnFinding> =
    &[("stop", OnFinding::Stop), ("continue", OnFinding::Continue), ("trigger", OnFinding::Trigger)];
pub(super) const ON_START: Choices<OnStart> =
    &[("after-cut", OnStart::AfterCut), ("window", OnStart::Window), ("always", OnStart::Always)];
pub(super) const TRIGGER_IO: Choices<TriggerIo> = &[
    ("continue", TriggerIo::Continue),
    ("hold", TriggerIo::Hold),
    ("drain", TriggerIo::Drain),
    ("flush", TriggerIo::Flush),
];
pub(super) const THEN: Choices<TriggerThen> = &[("exit", TriggerThen::Exit), ("resume", TriggerThen::Resume)];

/// What a word stands for.
pub(super) fn choose<T: Copy>(word: &str, choices: Choices<T>) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == word);
    found.map(|&(_, choice)| choice).ok_or_else(|| one_of(choices))
}

/// The predicate for anything that is none of the words.
pub(super) fn one_of<T>(choices: Choices<T>) -> String {
    let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    format!("must be one of {}", names.join(", "))
}

/// The word of a choice.
///
/// # Panics
/// When a table lacks a variant; the round trip of `show` is tested over all of them.
pub(super) fn word<T: Copy + PartialEq>(choice: T, choices: Choices<T>) -> &'static str {
    choices.iter().find(|(_, other)| *other == choice).map(|(name, _)| *name).expect("every choice has a word")
}

/// SIGRTMIN+29 is the last that glibc (SIGRTMIN 34) and musl (35) both have.
const LAST_REALTIME: u8 = 29;

/// Reads `USR2` or `RTMIN+n`, with or without `SIG`.
pub(super) fn parse_signal(name: &str) -> Result<TriggerSignal, String> {
    let short = name.strip_prefix("SIG").unwrap_or(name);
    let free = format!("must be \"USR2\", or \"RTMIN+0\" to \"RTMIN+{LAST_REALTIME}\"");
    match short {
        "USR2" => return Ok(TriggerSignal::Usr2),
        "RTMIN" => return Ok(TriggerSignal::Realtime(0)),
        "TERM" | "INT" => return Err(format!("{free}: SIG{short} stops the daemon")),
        "HUP" => return Err(format!("{free}: SIGHUP reloads the configuration")),
        "USR1" => return Err(format!("{free}: SIGUSR1 logs the status")),
        "KILL" | "STOP" => return Err(format!("{free}: SIG{short} cannot be caught")),
        _ => {}
    }
    let offset = short.strip_prefix("RTMIN+").filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let offset = offset.and_then(|n| n.parse::<u8>().ok()).filter(|n| *n <= LAST_REALTIME);
    offset.map(TriggerSignal::Realtime).ok_or(free)
}

/// The form that [`parse_signal`] reads back.
pub(super) fn format_signal(signal: TriggerSignal) -> String {
    match signal {
        TriggerSignal::Usr2 => "USR2".to_owned(),
        TriggerSignal::Realtime(offset) => format!("RTMIN+{offset}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_with_another_meaning_is_refused_and_the_meaning_is_named() {
        assert_eq!(parse_signal("SIGUSR2"), Ok(TriggerSignal::Usr2));
        assert_eq!(parse_signal("RTMIN+3"), Ok(TriggerSignal::Realtime(3)));
        for (name, why) in
            [("TERM", "stops"), ("SIGHUP", "reloads"), ("USR1", "status"), ("SIGKILL", "caught"), ("RTMIN+30", "must")]
        {
            assert!(parse_signal(name).unwrap_err().contains(why), "{name}");
        }
        for name in ["", "SEGV", "usr2", "12", "RTMIN+", "RTMIN+-1", "RTMIN++1", "RTMAX", "SIGSIGUSR2"] {
            assert!(parse_signal(name).is_err(), "{name}");
        }
        for signal in (0..=LAST_REALTIME).map(TriggerSignal::Realtime).chain([TriggerSignal::Usr2]) {
            assert_eq!(parse_signal(&format_signal(signal)), Ok(signal));
        }
    }
}
