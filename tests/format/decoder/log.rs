//! THE EVENT LOG.

use serde_json::{Map, Value};

use super::{Read, crc32c};

/// The files, oldest first.
pub(crate) const FILES: [&str; 5] =
    ["events.4.jsonl", "events.3.jsonl", "events.2.jsonl", "events.1.jsonl", "events.jsonl"];

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) n: u64,
    pub(crate) at: String,
    pub(crate) rest: Map<String, Value>,
}

/// One line without its newline.
pub(crate) fn line(line: &[u8]) -> Read<Event> {
    if line.len() < 21 || line.len() + 1 > 262_144 {
        return Err("length");
    }
    let (covered, end) = line.split_at(line.len() - 21);
    if end != format!(",\"crc32c\":\"{:08x}\"}}", crc32c(&[covered])).as_bytes() {
        return Err("checksum");
    }
    let mut rest: Map<String, Value> = serde_json::from_slice(line).map_err(|_| "no JSON object")?;
    let n = rest.remove("n").and_then(|n| n.as_u64()).filter(|n| n >> 63 == 0).ok_or("n")?;
    let Some(Value::String(at)) = rest.remove("at") else { return Err("at") };
    rest.remove("crc32c").ok_or("crc32c")?;
    if !line.starts_with(format!("{{\"n\":{n},\"at\":\"{at}\",\"").as_bytes()) || !is_instant(&at) {
        return Err("form");
    }
    if rest.get("event").is_none_or(|event| !event.is_string()) {
        return Err("event");
    }
    Ok(Event { n, at, rest })
}

/// `2026-03-01T12:00:00.000000000Z`
fn is_instant(at: &str) -> bool {
    let form = b"dddd-dd-ddTdd:dd:dd.dddddddddZ";
    let fits = |(byte, form): (u8, u8)| if form == b'd' { byte.is_ascii_digit() } else { byte == form };
    at.len() == form.len() && at.bytes().zip(*form).all(fits)
}

/// A whole file. A last line without a newline counts if it is whole.
pub(crate) fn file(bytes: &[u8]) -> Vec<Read<Event>> {
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n').map(line).collect()
}
