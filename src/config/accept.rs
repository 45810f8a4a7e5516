//! From a value as it was said to a value of its type. Errors are predicates: they follow the key and its value.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::choices::{Choices, choose, one_of};
use super::cpus::{checked_cpus, parse_cpus};
use super::durations::{parse_after, parse_duration};
use super::settings::{After, FlushEvery};
use super::sizes::{parse_rate, parse_size};
use super::value::{Value, quoted};

pub(super) fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!("must be a string: {}", quoted(&other.to_string()))),
    }
}

pub(super) fn word<T: Copy>(value: &Value, choices: Choices<T>) -> Result<T, String> {
    match value {
        Value::String(word) => choose(word, choices),
        _ => Err(one_of(choices)),
    }
}

pub(super) fn size(value: &Value) -> Result<u64, String> {
    match value {
        Value::String(text) => parse_size(text),
        Value::Integer(bytes) => parse_size(&bytes.to_string()),
        other => parse_size(&other.to_string()),
    }
}

pub(super) fn size_u32(value: &Value) -> Result<u32, String> {
    u32::try_from(size(value)?).map_err(|_| "must be below 4GiB".to_owned())
}

pub(super) fn rate(value: &Value) -> Result<u64, String> {
    parse_rate(text(value).unwrap_or_default())
}

/// A size that is meant per second, whether that is said or not: the key says so.
pub(super) fn patrol_rate(value: &Value) -> Result<u64, String> {
    match value {
        Value::String(text) if text.ends_with("/s") => parse_rate(text),
        _ => match size(value)? {
            0 => Err("must be above 0; \"off\" sets no cap".to_owned()),
            rate => Ok(rate),
        },
    }
}

/// A duration above zero.
pub(super) fn some_time(value: &Value) -> Result<Duration, String> {
    let time = match value {
        Value::String(text) => parse_duration(text)?,
        other => parse_duration(&other.to_string())?,
    };
    if time.is_zero() { Err("must be above 0".to_owned()) } else { Ok(time) }
}

pub(super) fn yes_or_no(value: &Value) -> Result<bool, String> {
    match value {
        Value::Boolean(said) => Ok(*said),
        _ => Err("must be true or false, without quotes".to_owned()),
    }
}

pub(super) fn after(value: &Value) -> Result<After, String> {
    match value {
        Value::String(text) => parse_after(text),
        other => parse_after(&other.to_string()),
    }
}

/// A size, or a duration above zero. That the size is at least a block is judged with the block size.
pub(super) fn flush_every(value: &Value) -> Result<FlushEvery, String> {
    let size = match size(value) {
        Ok(size) => return Ok(FlushEvery::Bytes(size)),
        Err(why) => why,
    };
    match value {
        Value::String(text) if parse_duration(text).is_ok() => some_time(value).map(FlushEvery::Time),
        _ if size.contains("write \"") => Err(size),
        _ => Err("must be a size such as \"128MiB\", or a duration such as \"5s\"".to_owned()),
    }
}

pub(super) fn count(value: &Value, range: RangeInclusive<u32>) -> Result<u32, String> {
    let number = match value {
        Value::Integer(number) => u32::try_from(*number).ok(),
        _ => None,
    };
    let wrong = || format!("must be an integer from {} to {}", range.start(), range.end());
    number.filter(|number| range.contains(number)).ok_or_else(wrong)
}

pub(super) fn writes(value: &Value) -> Result<u64, String> {
    let number = match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    number.filter(|&number| number > 0).ok_or_else(|| "must be an integer of at least 1".to_owned())
}

pub(super) fn cpus(value: &Value) -> Result<Vec<usize>, String> {
    let form = || "must be CPU numbers, such as \"0-3,6\" or [0, 1, 2, 3, 6]; \"all\" sets no affinity".to_owned();
    let number = |value: &Value| match value {
        Value::Integer(number) => usize::try_from(*number).map_err(|_| form()),
        _ => Err(form()),
    };
    match value {
        Value::String(text) => parse_cpus(text),
        Value::Array(items) if !items.is_empty() => {
            checked_cpus(items.iter().map(number).collect::<Result<Vec<_>, _>>()?.into_iter())
        }
        one => checked_cpus(std::iter::once(number(one)?)),
    }
}

/// An absolute path. Of a relative one, only a person at a shell can mean something: the daemon's directory is `/`.
pub(super) fn path(value: &Value, relative_to: Option<&Path>) -> Result<PathBuf, String> {
    let path = Path::new(text(value)?);
    if value.is_string("") || text(value)?.contains('\0') {
        return Err("must be a path".to_owned());
    }
    match relative_to {
        _ if path.is_absolute() => Ok(path.to_owned()),
        Some(directory) => Ok(directory.join(path)),
        None => Err("must be an absolute path".to_owned()),
    }
}

/// An argv whose first word is an absolute path, or a name that `find_program` knows.
pub(super) fn command(value: &Value, find_program: &dyn Fn(&str) -> bool) -> Result<Vec<String>, String> {
    let items = match value {
        Value::Array(items) => items,
        Value::String(line) => {
            let words: Vec<String> = line.split_whitespace().map(quoted).collect();
            return Err(format!("must be an array, not a shell string: [{}]", words.join(", ")));
        }
        _ => return Err("must be an array of strings, such as [\"/usr/local/bin/cut-power\", \"bay3\"]".to_owned()),
    };
    let argv = items.iter().map(|item| text(item).map(str::to_owned)).collect::<Result<Vec<_>, _>>();
    let argv = argv.map_err(|_| "must hold strings only".to_owned())?;
    if argv.iter().any(|argument| argument.contains('\0')) {
        return Err("must not hold a NUL byte".to_owned());
    }
    match argv.first().map(String::as_str) {
        None | Some("") => Err("must name a program".to_owned()),
        Some(program) if Path::new(program).is_absolute() => Ok(argv),
        Some(program) if program.contains('/') => Err("must begin with an absolute path, or a name in PATH".to_owned()),
        Some(program) if find_program(program) => Ok(argv),
        Some(program) => {
            Err(format!("must begin with an absolute path, or a name in PATH: \"{program}\" is not found"))
        }
    }
}
