//! Sizes and rates as people write them. Errors are predicates: they follow the key and its value.

/// Units, largest first, in bytes. Only those: what "64K" or "64MB" mean depends on whom one asks.
const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The kernel addresses a device with a signed 64-bit offset.
const LARGEST: u64 = i64::MAX as u64;

/// Reads a size: integer bytes, or a number with B, KiB, MiB, GiB or TiB and no space. Fractions are taken where they
/// are whole bytes, as in `1.5GiB`.
///
/// # Errors
/// What a size looks like, and which one was probably meant.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text).ok_or_else(|| not_a_size(text))?;
    let bytes = scaled(number, unit).map_err(|wrong| match wrong {
        Wrong::Form => not_a_size(text),
        Wrong::Inexact => "must be a whole number of bytes".to_owned(),
        Wrong::Large => format!("must not be above {LARGEST} bytes"),
    })?;
    Ok(bytes)
}

/// The shortest exact form: `format_size` and [`parse_size`] undo each other.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let (name, unit) =
        UNITS.into_iter().find(|(_, unit)| bytes.is_multiple_of(*unit) && bytes >= *unit).unwrap_or(("B", 1));
    format!("{}{name}", bytes / unit)
}

/// Reads a rate in bytes per second, such as `200MiB/s`.
///
/// # Errors
/// What a rate looks like.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    let form = || "must be a size per second, such as \"200MiB/s\"".to_owned();
    let size = text.strip_suffix("/s").ok_or_else(form)?;
    if size.ends_with(|c: char| c.is_ascii_digit()) {
        return Err(form());
    }
    match parse_size(size) {
        Ok(0) => Err("must be above 0; \"off\" sets no cap".to_owned()),
        Ok(rate) => Ok(rate),
        Err(_) => Err(form()),
    }
}

/// The shortest exact form of a rate in bytes per second.
#[must_use]
pub fn format_rate(bytes_per_second: u64) -> String {
    format!("{}/s", format_size(bytes_per_second))
}

enum Wrong {
    Form,
    Inexact,
    Large,
}

fn split_unit(text: &str) -> Option<(&str, u64)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    match suffix {
        "" if number.contains('.') => None,
        "" => Some((number, 1)),
        suffix => UNITS.into_iter().find(|(name, _)| *name == suffix).map(|(_, unit)| (number, unit)),
    }
}

fn scaled(number: &str, unit: u64) -> Result<u64, Wrong> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return Err(Wrong::Form);
    }
    let fraction = fraction.trim_end_matches('0');
    // A byte of the largest unit is 2^-40, which has 40 decimals; anything longer is no whole number of bytes.
    if fraction.len() > 40 {
        return Err(Wrong::Inexact);
    }
    let whole: u64 = whole.parse().map_err(|_| Wrong::Large)?;
    let bytes = whole.checked_mul(unit).ok_or(Wrong::Large)?;
    let bytes = bytes.checked_add(fraction_of(fraction, unit)?).ok_or(Wrong::Large)?;
    if bytes > LARGEST { Err(Wrong::Large) } else { Ok(bytes) }
}

/// `0.fraction * unit`, exactly: long multiplication from the last digit on, since 10^40 fits no integer.
fn fraction_of(fraction: &str, unit: u64) -> Result<u64, Wrong> {
    let mut digits: Vec<u64> = fraction.bytes().map(|b| u64::from(b - b'0')).collect();
    let mut carry = 0;
    for digit in digits.iter_mut().rev() {
        let product = *digit * unit + carry;
        (*digit, carry) = (product % 10, product / 10);
    }
    if digits.iter().all(|&digit| digit == 0) { Ok(carry) } else { Err(Wrong::Inexact) }
}

fn not_a_size(text: &str) -> String {
    let form = "must be integer bytes, or a number with B, KiB, MiB, GiB or TiB";
    match meant(text) {
        Some(meant) => format!("{form}: write \"{meant}\""),
        None => format!("{form}, such as \"64MiB\""),
    }
}

/// What `64K`, `64MB`, `64 MiB` or `64mib` most likely stand for; `None` rather than a guess from nothing.
fn meant(text: &str) -> Option<String> {
    let text = text.trim();
    let (number, suffix) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.')?);
    let suffix = suffix.trim().to_ascii_lowercase();
    let mut letters = suffix.chars();
    let letter = letters.next()?.to_ascii_uppercase();
    let name = if letter == 'B' { "B".to_owned() } else { format!("{letter}iB") };
    let (_, unit) = UNITS.into_iter().find(|(unit, _)| *unit == name)?;
    let spelling = matches!(letters.as_str(), "" | "b" | "i" | "ib");
    (spelling && scaled(number, unit).is_ok()).then(|| format!("{number}{name}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_bytes_or_carry_a_binary_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("4096B", 4096),
            ("64KiB", 65536),
            ("1.5GiB", 3 << 29),
            ("0.5KiB", 512),
            ("2.0MiB", 2 << 20),
            ("3TiB", 3 << 40),
            ("0.0000000000009094947017729282379150390625TiB", 1),
            ("9223372036854775807", i64::MAX as u64),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused_and_the_right_one_is_named() {
        for (text, right) in
            [("64K", "64KiB"), ("64MB", "64MiB"), ("64 MB", "64MiB"), ("64mib", "64MiB"), ("7 b", "7B"), ("2t", "2TiB")]
        {
            let error = parse_size(text).unwrap_err();
            assert!(error.ends_with(&format!("write \"{right}\"")), "{text}: {error}");
        }
        for text in ["", "MiB", "-1", "+1", ".5MiB", "5.MiB", "1..5MiB", "1e6", "1_000", "0x10", "1.5", "64PiB", "٣KiB"]
        {
            assert!(parse_size(text).unwrap_err().contains("such as"), "{text}");
        }
        assert_eq!(parse_size("1.5B"), Err("must be a whole number of bytes".to_owned()));
        assert!(parse_size("0.3KiB").is_err());
        assert!(parse_size("8388608TiB").unwrap_err().contains("must not be above"));
        assert!(parse_size("99999999999999999999").unwrap_err().contains("must not be above"));
    }

    #[test]
    fn a_rate_is_a_size_per_second() {
        assert_eq!(parse_rate("200MiB/s"), Ok(200 << 20));
        for text in ["200MiB", "200MB/s", "200/s", "0MiB/s", "/s", "200MiB/min", "200MiB / s"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_size_reads_back_as_it_prints(bytes in 0..=LARGEST) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
            prop_assert_eq!(parse_size(&bytes.to_string()), Ok(bytes));
            prop_assume!(bytes > 0);
            prop_assert_eq!(parse_rate(&format_rate(bytes)), Ok(bytes));
        }

        #[test]
        fn round_sizes_print_short(count in 1u64..1024, unit in 0usize..5) {
            prop_assert_eq!(format_size(count * UNITS[unit].1), format!("{count}{}", UNITS[unit].0));
        }

        #[test]
        fn no_text_makes_sizes_panic(text in "\\PC*", near in "[0-9.]{0,50} ?[kKMGTPiBb]{0,3}(/s)?") {
            for text in [text, near] {
                let _outcomes = (parse_size(&text), parse_rate(&text));
            }
        }
    }
}
