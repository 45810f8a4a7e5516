//! One finding told to somebody who has never heard of scrubd: `summary.txt`. Pure.

use super::finding::{Finding, Occasion, Persistence, Sight};
use super::text::{counted, proof, wall};
use crate::tag::Class;
use crate::vocabulary::{Geometry, RunId};

/// What the finding itself does not say.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The target's name.
    pub target: &'a str,
    /// Its path.
    pub path: &'a str,
    /// Its run.
    pub run_id: RunId,
    /// Where its blocks are.
    pub geometry: &'a Geometry,
    /// What it is and stands on, a line each.
    pub stands_on: &'a [String],
    /// Which program, kernel and boot, a line each.
    pub seen_by: &'a [String],
    /// How long the reads of the block took, in nanoseconds, the first one first; as many as are known.
    pub latencies_ns: &'a [u64],
}

/// The account, as text of several lines.
#[must_use]
pub fn account(finding: &Finding, setting: &Setting<'_>) -> String {
    let Finding { class, block, offset, .. } = finding;
    let Setting { target, path, geometry, .. } = setting;
    let size = geometry.block_size;
    let mut lines = vec![
        format!("A promise was broken: {class}, block {block} of {target}"),
        format!("{}.", meaning(*class)),
        String::new(),
        "What was promised".to_owned(),
    ];
    lines.extend(promised(finding).into_iter().map(|line| format!("  {line}")));
    lines.extend([String::new(), "What is there instead".to_owned()]);
    lines.push(format!("  {size} bytes from byte {offset} of {path}: {}", or_nothing(&finding.detail)));
    if let Some(home) = finding.home {
        let whether = match finding.confirmed {
            Some(true) => ", and are not there",
            Some(false) => ", and are there too",
            None => "",
        };
        lines.push(format!("  the contents belong to block {home}, {}{whether}", place(geometry, home.0)));
    }
    lines.extend([String::new(), "How it was read".to_owned()]);
    lines.extend(reads(finding, setting.latencies_ns).into_iter().map(|line| format!("  {line}")));
    lines.push(format!(
        "  {}, after {} of this run; {}",
        wall(finding.wall_ns),
        counted(finding.cuts, "cut"),
        occasion(finding.occasion)
    ));
    lines.extend([String::new(), "Where".to_owned()]);
    lines.extend(setting.stands_on.iter().chain(setting.seen_by).map(|line| format!("  {line}")));
    lines.extend([String::new(), "To look for yourself".to_owned()]);
    lines.push(format!("  xxd -s {offset} -l {} {path}", geometry.atom));
    lines.push(format!(
        "  scrubd inspect {target} --block {block}  (an ad-hoc target: --file and --state-dir as for run)"
    ));
    lines.push("  xxd found.bin | less; cmp -l expected.bin found.bin | wc -l".to_owned());
    lines.push(format!(
        "  Each {} bytes begin with a tag: checksum, magic \"scrb\", run {}, block, number of the write; the rest",
        geometry.atom, setting.run_id
    ));
    lines.push("  follows from those. scrubd-format(5) has it to the byte, for a decoder of your own.".to_owned());
    lines.extend([String::new(), "Beside this".to_owned()]);
    lines.push("  finding.json  all of this and more, for programs".to_owned());
    lines.push("  diff.txt      which write each part belongs to, and which bytes differ".to_owned());
    lines.push(
        "  found.bin     the block as it was read; expected.bin as it should be, where that can be rebuilt".to_owned(),
    );
    lines.push("  before.bin, after.bin  the blocks beside it, read later and judged by nobody".to_owned());
    lines.push(String::new());
    lines.join("\n")
}

fn or_nothing(detail: &str) -> &str {
    if detail.is_empty() { "see diff.txt" } else { detail }
}

fn place(geometry: &Geometry, block: u64) -> String {
    match block < geometry.blocks() {
        true => format!("byte {}", geometry.offset_of(crate::vocabulary::Block(block))),
        false => "beyond the region".to_owned(),
    }
}

fn meaning(class: Class) -> &'static str {
    match class {
        Class::Unreadable => "The device returned an error, or nothing, instead of data",
        Class::Foreign => "The block holds what another run or another target wrote",
        Class::Misdirected => "The block holds what belongs to another address",
        Class::Phantom => "The block holds a write that was never issued",
        Class::Shorn => "The smallest unit that a device must write whole holds part of one write and part of another",
        Class::Zeroed => "The block, or part of it, holds one byte over and over instead of its contents",
        Class::Corrupt => "The contents are damaged: their checksums do not hold",
        Class::Torn => "Parts of the block are of an older write, although a newer one was guaranteed",
        Class::Unserializable => "An acknowledged write is gone, although a later one, which came after it, is there",
        Class::LostWrite => "An acknowledged write is gone: the block holds an older one, or none",
        Class::Unstable => "The block reads differently each time",
    }
}

fn promised(finding: &Finding) -> Vec<String> {
    let issue = finding.expected.map(|issue| format!(", epoch {}", issue.epoch.number)).unwrap_or_default();
    match (&finding.guarantee, finding.expected_seq) {
        (Some(guarantee), _) => {
            let by = match guarantee.flush {
                Some(flush) => {
                    let at = wall(flush.wall_ns);
                    format!(
                        "flush {}, which succeeded at {at} and covered every write below {}",
                        flush.number, flush.durable
                    )
                }
                None => "a flush older than those remembered, or its own completion, as its promise says".to_owned(),
            };
            let mut lines = vec![format!("write {}{issue}, or a later one", guarantee.seq), format!("by {by}")];
            lines.push(format!("which {} proves", proof(guarantee.proved_by)));
            if guarantee.attested {
                lines.push("a block that was sealed after the guarantee survived and attests to it".to_owned());
            }
            lines
        }
        (None, Some(seq)) => {
            vec![format!("exactly write {seq}{issue}: it had completed while scrubd was running, and was not replaced")]
        }
        (None, None) => vec!["no write of this block, but never what was found in it".to_owned()],
    }
}

fn reads(finding: &Finding, latencies_ns: &[u64]) -> Vec<String> {
    let took = |at: usize| {
        let nanoseconds = latencies_ns.get(at);
        nanoseconds.map(|ns| format!(", in {}.{:03} ms", ns / 1_000_000, ns / 1000 % 1000)).unwrap_or_default()
    };
    let mut lines: Vec<String> = finding
        .reads
        .iter()
        .enumerate()
        .map(|(at, read)| format!("read {}: {}{}", at + 1, sight(read), took(at)))
        .collect();
    lines.push(match finding.persistence {
        Persistence::Persistent => "the same each time: the medium, or what was written to it".to_owned(),
        Persistence::Transient => "good at last: the path (cable, controller, memory), not the medium".to_owned(),
        Persistence::Unstable => "different from read to read".to_owned(),
    });
    lines
}

fn sight(read: &Sight) -> String {
    match (read.class, read.contents, read.errno) {
        (None, ..) => "good".to_owned(),
        (Some(class), Some(contents), _) => format!("{class}, contents {contents:016x}"),
        (Some(class), None, Some(errno)) => format!("{class}, {}", std::io::Error::from_raw_os_error(errno)),
        (Some(class), None, None) => class.to_string(),
    }
}

fn occasion(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Check => "met in a check",
        Occasion::ReadBack => "met when it was read back behind the writer",
        Occasion::BeforeOverwrite => "met when it was read before being overwritten",
        Occasion::Patrol => "met on patrol, long after it was written",
        Occasion::Scan => "met while running, in what the start had left unread",
    }
}
