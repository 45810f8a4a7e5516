//! Two copies of the label: which one holds, and the thin store that reads and writes them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::label::{COPY_OFFSETS, Label, LabelFault, RECORD};

/// The label that holds, and what was wrong with the copy that does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelReading {
    /// The newest valid copy.
    pub label: Label,
    /// What was survived, in words: a damaged, missing, unreadable or older copy. Empty when both agree. Nothing has
    /// been rewritten: a rotten copy is evidence.
    pub repairs: Vec<String>,
}

/// The newest valid copy of two.
///
/// # Errors
/// When none can be used. A whole copy of a newer format decides even beside a valid older one: a newer scrubd was at
/// work here, and what it meant is not ours to guess.
pub fn newest(copies: [Result<Label, LabelFault>; 2]) -> Result<LabelReading, LabelFault> {
    for copy in &copies {
        if let Err(newer @ LabelFault::Newer { .. }) = copy {
            return Err(newer.clone());
        }
    }
    match copies {
        [Ok(first), Ok(second)] if first == second => Ok(LabelReading { label: first, repairs: Vec::new() }),
        [Ok(first), Ok(second)] if first.generation == second.generation => Err(LabelFault::Damaged {
            what: format!("two valid copies of generation {} that differ", first.generation),
            run_claimed: first.run_id,
        }),
        [Ok(first), Ok(second)] if first.generation > second.generation => Ok(over_older(first, &second, 1)),
        [Ok(first), Ok(second)] => Ok(over_older(second, &first, 0)),
        [Ok(label), Err(fault)] => Ok(LabelReading { label, repairs: vec![survived(1, &fault)] }),
        [Err(fault), Ok(label)] => Ok(LabelReading { label, repairs: vec![survived(0, &fault)] }),
        [Err(first), Err(second)] => Err(neither(first, second)),
    }
}

fn over_older(label: Label, older: &Label, index: usize) -> LabelReading {
    let repair =
        format!("label {} is of an older generation: {} of run {}", place(index), older.generation, older.run_id);
    LabelReading { label, repairs: vec![repair] }
}

fn survived(index: usize, fault: &LabelFault) -> String {
    format!("label {}: {fault}", place(index))
}

fn place(index: usize) -> String {
    format!("copy {} at region offset + {}", index + 1, COPY_OFFSETS[index])
}

/// What a region without a usable label is called: damage says most, and what could not be read was not seen to be
/// absent.
fn neither(first: LabelFault, second: LabelFault) -> LabelFault {
    let rank = |fault: &LabelFault| match fault {
        LabelFault::Newer { .. } => 3,
        LabelFault::Damaged { .. } => 2,
        LabelFault::Unreadable { .. } => 1,
        LabelFault::Absent(_) => 0,
    };
    if rank(&second) > rank(&first) { second } else { first }
}

/// A record in memory that direct I/O accepts.
#[repr(C, align(4096))]
struct Aligned([u8; RECORD]);

/// Reads both copies and chooses.
///
/// # Errors
/// As [`newest`]; an I/O error becomes [`LabelFault::Unreadable`].
pub(crate) fn read(file: &File, region_offset: u64) -> Result<LabelReading, LabelFault> {
    newest(COPY_OFFSETS.map(|at| read_copy(file, region_offset.saturating_add(at))))
}

/// The bytes where the first copy should be.
pub(crate) fn read_raw(file: &File, region_offset: u64) -> io::Result<[u8; RECORD]> {
    let mut record = Box::new(Aligned([0; RECORD]));
    file.read_exact_at(&mut record.0, region_offset)?;
    Ok(record.0)
}

fn read_copy(file: &File, at: u64) -> Result<Label, LabelFault> {
    let mut record = Box::new(Aligned([0; RECORD]));
    match file.read_exact_at(&mut record.0, at) {
        Ok(()) => Label::decode(&record.0),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(LabelFault::Absent("the target ends before it"))
        }
        Err(error) => Err(LabelFault::Unreadable { what: format!("byte {at}: {error}") }),
    }
}

/// Writes both copies and proves that they are there.
///
/// The second copy is not touched before the first is durable: a cut tears one of them at most, and the other still
/// says what was true before (an older label, or none) or what is true now.
pub(crate) fn write(file: &File, region_offset: u64, label: &Label) -> io::Result<()> {
    let record = Box::new(Aligned(label.encode()));
    for at in COPY_OFFSETS {
        file.write_all_at(&record.0, region_offset + at)?;
        file.sync_data()?;
    }
    match read(file, region_offset) {
        Ok(reading) if reading.label == *label && reading.repairs.is_empty() => Ok(()),
        Ok(reading) => Err(io::Error::other(format!("the label reads back changed: {}", reading.repairs.join("; ")))),
        Err(fault) => Err(io::Error::other(format!("the label reads back as {fault}"))),
    }
}

/// Overwrites both copies with zeros and proves that neither is there any more.
pub(crate) fn erase(file: &File, region_offset: u64) -> io::Result<()> {
    let zeros = Box::new(Aligned([0; RECORD]));
    for at in COPY_OFFSETS {
        file.write_all_at(&zeros.0, region_offset + at)?;
        file.sync_data()?;
    }
    match read(file, region_offset) {
        Err(LabelFault::Absent(_)) => Ok(()),
        Ok(reading) => Err(io::Error::other(format!("the label of run {} is still there", reading.label.run_id))),
        Err(fault) => Err(io::Error::other(format!("the label reads back as {fault}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::label::tests::sample;
    use super::*;
    use crate::vocabulary::RunId;

    fn damaged() -> LabelFault {
        LabelFault::Damaged { what: "its BLAKE3 does not match".into(), run_claimed: RunId([0; 16]) }
    }

    #[test]
    fn either_copy_alone_is_enough_and_the_other_is_reported() {
        for (copies, name) in [([Ok(sample()), Err(damaged())], "copy 2"), ([Err(damaged()), Ok(sample())], "copy 1")] {
            let reading = newest(copies).unwrap();
            assert_eq!(reading.label, sample());
            assert!(
                reading.repairs[0].contains(name) && reading.repairs[0].contains("damaged"),
                "{:?}",
                reading.repairs
            );
        }
    }

    #[test]
    fn the_newer_generation_holds_and_the_older_is_reported() {
        let newer = Label { generation: 8, run_id: RunId([8; 16]), ..sample() };
        for copies in [[Ok(sample()), Ok(newer.clone())], [Ok(newer.clone()), Ok(sample())]] {
            let reading = newest(copies).unwrap();
            assert_eq!((reading.label, reading.repairs.len()), (newer.clone(), 1));
        }
    }

    #[test]
    fn two_valid_copies_that_contradict_each_other_are_not_believed() {
        let other = Label { run_id: RunId([8; 16]), ..sample() };
        assert!(matches!(newest([Ok(sample()), Ok(other)]), Err(LabelFault::Damaged { .. })));
    }

    #[test]
    fn a_whole_newer_copy_beside_a_valid_one_is_refused_as_newer() {
        let newer = || Err(LabelFault::Newer { format: 2 });
        assert_eq!(newest([newer(), Ok(sample())]), Err(LabelFault::Newer { format: 2 }));
        assert_eq!(newest([Err(damaged()), newer()]), Err(LabelFault::Newer { format: 2 }));
    }

    #[test]
    fn what_could_not_be_read_is_not_called_absent() {
        let unreadable = || LabelFault::Unreadable { what: "EIO".into() };
        assert_eq!(newest([Err(LabelFault::Absent("")), Err(unreadable())]), Err(unreadable()));
        assert_eq!(newest([Err(unreadable()), Err(damaged())]), Err(damaged()));
        assert_eq!(newest([Err(LabelFault::Absent("a")), Err(LabelFault::Absent("b"))]), Err(LabelFault::Absent("a")));
    }

    #[test]
    fn a_torn_copy_on_a_file_is_survived_and_a_short_file_has_no_label() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 << 20).unwrap();
        write(&file, 1 << 20, &sample()).unwrap();
        file.write_all_at(&[0xEE; 512], (1 << 20) + 512).unwrap();
        let reading = read(&file, 1 << 20).unwrap();
        assert_eq!((reading.label, reading.repairs.len()), (sample(), 1));
        file.set_len((1 << 20) + 512).unwrap();
        assert!(matches!(read(&file, 1 << 20), Err(LabelFault::Absent(_))));
    }
}
