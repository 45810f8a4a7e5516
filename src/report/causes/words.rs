//! A cause in one line. Pure.

use super::super::text::{bytes, count, counted, proof, wall};
use super::{Cause, Extent, Shared};
use crate::tag::Class;
use crate::vocabulary::{Geometry, Seq};

pub(super) fn cause(geometry: &Geometry, shared: Shared, extent: Extent) -> Cause {
    let Extent { findings, first, last } = extent;
    let words = words(geometry, &shared, extent);
    Cause { shared, findings, first_block: first, last_block: last, words }
}

fn words(geometry: &Geometry, shared: &Shared, extent: Extent) -> String {
    let Extent { findings, first, last } = extent;
    let blocks = format!("blocks {first} to {last}");
    let writes = |first: Seq, last: Seq| format!("writes {first} to {last}, {blocks}");
    match shared {
        Shared::Flush { flush, first_seq, last_seq } => {
            let (lost, at, which) = (counted(findings, "write"), wall(flush.wall_ns), writes(*first_seq, *last_seq));
            format!("{lost} that flush {} of {at} guaranteed are lost or torn ({which})", flush.number)
        }
        Shared::Guarantee { proved_by, first_seq, last_seq } => {
            let (lost, which, proof) = (counted(findings, "write"), writes(*first_seq, *last_seq), proof(*proved_by));
            format!("{lost} whose guarantee {proof} shows, by no flush that is remembered, are lost or torn ({which})")
        }
        Shared::Completed { first_seq, last_seq } => {
            let (lost, which) = (counted(findings, "write"), writes(*first_seq, *last_seq));
            format!("{lost} that had completed while scrubd was running are lost or torn ({which})")
        }
        Shared::Wrap { at_bytes } => format!(
            "addresses wrap at {} ({at_bytes} bytes, to within one block of {}): {} show what was written that far, or a \
             multiple of it, away ({blocks})",
            bytes(*at_bytes),
            bytes(geometry.block_size.into()),
            counted(findings, "block"),
        ),
        Shared::Displaced { distance_bytes } => {
            let way = if *distance_bytes < 0 { "before them" } else { "behind them" };
            let distance = distance_bytes.unsigned_abs();
            format!(
                "{} hold what belongs {} {way} ({distance} bytes; {blocks})",
                counted(findings, "block"),
                bytes(distance)
            )
        }
        Shared::Range { class, errno, whole } => {
            let span = u128::from(last.0 - first.0 + 1) * u128::from(geometry.block_size);
            let span = bytes(u64::try_from(span).unwrap_or(u64::MAX));
            let from = geometry.offset_of(first);
            let what = fault(*class, *errno);
            match whole {
                true => format!("{blocks}, {span} from byte {from} on, {what}"),
                false => format!("{} of the {blocks}, within {span} from byte {from} on, {what}", count(findings)),
            }
        }
        Shared::Path { class } => format!(
            "{} were {class} at first and good when read again: the path, not the medium ({blocks})",
            counted(findings, "block")
        ),
        Shared::Unstable => format!("{} differ from read to read ({blocks})", counted(findings, "block")),
    }
}

fn fault(class: Class, errno: Option<i32>) -> String {
    match (class, errno) {
        (Class::Zeroed, _) => "hold constant bytes".to_owned(),
        (Class::Unreadable, Some(errno)) => {
            format!("cannot be read: {}", std::io::Error::from_raw_os_error(errno))
        }
        (Class::Unreadable, None) => "cannot be read: the end comes before, or no answer".to_owned(),
        (Class::Foreign, _) => "hold what another run or target wrote".to_owned(),
        (class, _) => format!("are {class}"),
    }
}
