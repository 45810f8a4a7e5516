//! Lists of CPUs in the form of `cpuset(7)`: `0-3,6`. Errors are predicates: they follow the key and its value.

/// Beyond the largest NR_CPUS that Linux can be built with (8192).
const CPUS: usize = 8192;

/// Reads a list such as `0-3,6` into sorted CPU numbers. Whether they exist is another question.
///
/// # Errors
/// What is wrong with it, and an example of what would be right.
pub fn parse_cpus(text: &str) -> Result<Vec<usize>, String> {
    let form = || "must be a list of CPUs, such as \"0-3,6\"; \"all\" sets no affinity".to_owned();
    let number = |text: &str| {
        let digits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if digits { text.parse::<usize>().map_err(|_| form()) } else { Err(form()) }
    };
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first.trim())?, number(last.trim())?);
        if first > last {
            return Err(format!("must have its lower CPU first: \"{last}-{first}\""));
        }
        // Bounded before it grows: a long list of wide ranges is refused by its first repetition.
        cpus = checked_cpus(cpus.into_iter().chain(first..=last))?;
    }
    Ok(cpus)
}

/// Sorts a list of CPUs and refuses one that names a CPU twice.
///
/// # Errors
/// The CPU that is named twice, or is beyond what any kernel has.
pub(super) fn checked_cpus(cpus: impl Iterator<Item = usize>) -> Result<Vec<usize>, String> {
    let mut cpus: Vec<usize> = cpus.collect();
    cpus.sort_unstable();
    if let Some(twice) = cpus.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("must name CPU {} once, not twice", twice[0]));
    }
    if let Some(beyond) = cpus.last().filter(|&&cpu| cpu >= CPUS) {
        return Err(format!("must not name CPU {beyond}: Linux has at most {CPUS}"));
    }
    Ok(cpus)
}

/// The shortest form of a sorted list: [`parse_cpus`] reads it back.
#[must_use]
pub fn format_cpus(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [only] => only.to_string(),
        run => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_names_single_cpus_and_ranges() {
        assert_eq!(parse_cpus("0-3,6"), Ok(vec![0, 1, 2, 3, 6]));
        assert_eq!(parse_cpus("6, 0 - 1"), Ok(vec![0, 1, 6]));
        for (text, hint) in [
            ("", "such as"),
            ("a", "such as"),
            ("1,", "such as"),
            ("-1", "such as"),
            ("+1", "such as"),
            ("3-1", "\"1-3\""),
            ("0-3,2", "CPU 2 once"),
            ("9999", "at most"),
            ("99999999999999999999", "such as"),
        ] {
            assert!(parse_cpus(text).unwrap_err().contains(hint), "{text}: {:?}", parse_cpus(text));
        }
    }

    proptest! {
        #[test]
        fn a_list_reads_back_as_it_prints(cpus in proptest::collection::btree_set(0..CPUS, 1..64)) {
            let cpus: Vec<usize> = BTreeSet::into_iter(cpus).collect();
            prop_assert_eq!(parse_cpus(&format_cpus(&cpus)), Ok(cpus));
        }

        #[test]
        fn no_text_makes_cpu_lists_panic(text in "\\PC*", near in "[0-9, -]{0,40}") {
            for text in [text, near] {
                let _outcome = parse_cpus(&text);
            }
        }
    }
}
