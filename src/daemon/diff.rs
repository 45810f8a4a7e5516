//! The difference between what should be in a block and what is, for people. Pure.

use std::fmt::Write;

/// Runs that are listed; a block of noise has thousands.
const RUNS_MAX: usize = 64;

/// Bytes shown of a run.
const SHOWN: usize = 16;

/// Equal bytes between two runs that do not part them.
const BRIDGE: usize = 8;

/// Each run of differing bytes on a line: where, how long, what was expected, what was found.
pub(super) fn in_words(expected: &[u8], found: &[u8]) -> String {
    let differing = |at: &usize| expected.get(*at) != found.get(*at);
    let length = expected.len().max(found.len());
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    let (mut bytes, mut bits, mut count) = (0u64, 0u64, 0u64);
    for at in (0..length).filter(differing) {
        bytes += 1;
        bits += match (expected.get(at), found.get(at)) {
            (Some(a), Some(b)) => u64::from((a ^ b).count_ones()),
            _ => 8,
        };
        match runs.last_mut() {
            Some(run) if at <= run.end + BRIDGE => run.end = at + 1,
            _ => {
                count += 1;
                if runs.len() < RUNS_MAX {
                    runs.push(at..at + 1);
                }
            }
        }
    }
    let mut text = format!("{bytes} bytes differ in {bits} bits, of {length} bytes\n");
    for run in &runs {
        let show = |bytes: &[u8]| {
            let part = bytes.get(run.start..run.end.min(run.start + SHOWN).min(bytes.len())).unwrap_or_default();
            part.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
        };
        writeln!(text, "at {}, {} bytes: expected {}, found {}", run.start, run.len(), show(expected), show(found))
            .expect("a string takes everything");
    }
    if count > RUNS_MAX as u64 {
        text.push_str("and more, see expected.bin and found.bin\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_told_with_their_places_and_bits() {
        let expected = [0u8; 4096];
        let mut found = expected;
        found[100] = 1;
        found[102] = 3;
        found[4095] = 0xff;
        assert_eq!(
            in_words(&expected, &found),
            "3 bytes differ in 11 bits, of 4096 bytes\nat 100, 3 bytes: expected 00 00 00, found 01 00 03\n\
             at 4095, 1 bytes: expected 00, found ff\n"
        );
        let noise: Vec<u8> = (0..4096u32).map(|at| u8::from(at % 20 == 0)).collect();
        let text = in_words(&expected, &noise);
        assert_eq!(text.lines().count(), 2 + RUNS_MAX);
    }
}
