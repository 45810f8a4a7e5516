//! The label: what `scrubd init` writes, and what makes a target ours. Bytes to label and back; pure.
//!
//! A region begins with [`LABEL_AREA`](crate::vocabulary::LABEL_AREA), 1 MiB, which holds the same record twice: at
//! region offset + 0 and at region offset + 524288. A record is 4096 bytes; the rest of the MiB is not written and not
//! read. Integers are unsigned and little-endian. "Bytes from" counts from the start of the record.
//!
//! | from | bytes | field                                                                                            |
//! |-----:|------:|--------------------------------------------------------------------------------------------------|
//! |    0 |     8 | magic, ASCII `SCRUBLBL`                                                                          |
//! |    8 |     2 | format version: 1                                                                                |
//! |   10 |     1 | order of a pass: 0 sequential, 1 random                                                          |
//! |   11 |     1 | digest of a block: 0 CRC-32C alone, 1 BLAKE3 too                                                 |
//! |   12 |     1 | kind of target: 1 regular file, 2 whole disk (stacked devices too), 3 partition, 4 loop device   |
//! |   13 |     3 | zero                                                                                             |
//! |   16 |    16 | run id, in the order in which it is printed                                                      |
//! |   32 |     8 | generation: 1 at first, one more at each rewrite; of two valid copies the greater one holds      |
//! |   40 |     8 | created: nanoseconds since 1970-01-01T00:00:00Z                                                  |
//! |   48 |     8 | region offset on the target, in bytes; must be where the record was found                        |
//! |   56 |     8 | region length, label area included, in bytes                                                     |
//! |   64 |     4 | block size, in bytes                                                                             |
//! |   68 |     4 | atom, in bytes                                                                                   |
//! |   72 |     8 | size of the whole target when it was labelled, in bytes                                          |
//! |   80 |     8 | start of the partition on its disk, in bytes; zero unless the kind is 3                          |
//! |   88 |    40 | zero                                                                                             |
//! |  128 |   256 | serial: u16 length L (at most 254; 0 is "none"), L bytes of UTF-8, zeros                         |
//! |  384 |   256 | WWN, in the same form; `naa.…`, `eui.…`, `t10.…` and so on, lower case                           |
//! |  640 |   256 | model, in the same form; for people, never compared where there is a serial or a WWN             |
//! |  896 |  3168 | zero                                                                                             |
//! | 4064 |    32 | BLAKE3-256 (no key) of bytes 0..4064                                                             |
//!
//! A partition carries the serial, WWN and model of its disk. Bytes that are "zero" are written as zero and not
//! interpreted by a reader; the hash covers them.
//!
//! Every later format keeps three things, so that an older reader can tell "newer" from "damaged": the magic at 0, the
//! version at 8, and the hash over the first 4064 bytes at 4064. The hash is judged before the version.

use thiserror::Error;

use super::identity::{Identity, Kind, TEXT_LIMIT};
use crate::vocabulary::{Digest, Geometry, Order, RunId};

/// Bytes of one record: a multiple of every logical block size that an atom may have.
pub const RECORD: usize = 4096;

/// Where the two copies stand, from the start of the region. 512 KiB apart, so that no physical block, RAID chunk of
/// the usual sizes or single misdirected write takes both.
pub const COPY_OFFSETS: [u64; 2] = [0, 512 << 10];

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u16 = 1;

const MAGIC: &[u8; 8] = b"SCRUBLBL";
const HASH_AT: usize = RECORD - 32;
const SERIAL_AT: usize = 128;
const WWN_AT: usize = 384;
const MODEL_AT: usize = 640;

/// What a target says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The run that this target belongs to.
    pub run_id: RunId,
    /// Where its blocks are.
    pub geometry: Geometry,
    /// Which device, and how large it was when it was labelled.
    pub identity: Identity,
    /// Orders rewrites of the label.
    pub generation: u64,
    /// When `init` ran, in nanoseconds since the Unix epoch.
    pub created_unix_ns: u64,
}

/// Why a record, or both, cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelFault {
    /// Something else is there, or nothing.
    #[error("no scrubd label ({0})")]
    Absent(&'static str),
    /// It was a label of this run once, or claims to have been.
    #[error("a damaged scrubd label ({what}; it names run {run_claimed})")]
    Damaged {
        /// What is wrong with it.
        what: String,
        /// The run id in it, not to be trusted on its own.
        run_claimed: RunId,
    },
    /// Whole, but of a format that this version does not know.
    #[error("a label written by a newer scrubd, format {format}: use that version; this one reads up to {FORMAT}")]
    Newer {
        /// Its format version.
        format: u16,
    },
    /// It could not be read, so nothing is known about it.
    #[error("an unreadable label ({what})")]
    Unreadable {
        /// The error of each copy.
        what: String,
    },
}

impl Label {
    /// The record as it stands on the target.
    ///
    /// # Panics
    /// When a text of the identity is longer than [`TEXT_LIMIT`] bytes, which [`Identity`]'s makers prevent.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD] {
        let Geometry { offset, length, block_size, atom, order, digest } = self.geometry;
        let mut record = [0; RECORD];
        put(&mut record, 0, MAGIC);
        put(&mut record, 8, &FORMAT.to_le_bytes());
        put(&mut record, 10, &[order as u8, digest as u8, self.identity.kind as u8]);
        put(&mut record, 16, &self.run_id.0);
        put(&mut record, 32, &self.generation.to_le_bytes());
        put(&mut record, 40, &self.created_unix_ns.to_le_bytes());
        put(&mut record, 48, &offset.to_le_bytes());
        put(&mut record, 56, &length.to_le_bytes());
        put(&mut record, 64, &block_size.to_le_bytes());
        put(&mut record, 68, &atom.to_le_bytes());
        put(&mut record, 72, &self.identity.size.to_le_bytes());
        put(&mut record, 80, &self.identity.partition_start.unwrap_or(0).to_le_bytes());
        put_text(&mut record, SERIAL_AT, self.identity.serial.as_deref());
        put_text(&mut record, WWN_AT, self.identity.wwn.as_deref());
        put_text(&mut record, MODEL_AT, self.identity.model.as_deref());
        let hash = blake3::hash(&record[..HASH_AT]);
        put(&mut record, HASH_AT, hash.as_bytes());
        record
    }

    /// The label that a record holds.
    ///
    /// # Errors
    /// Why it holds none that can be used. Never [`LabelFault::Unreadable`]: the bytes are here.
    pub fn decode(record: &[u8; RECORD]) -> Result<Label, LabelFault> {
        if &get::<8>(record, 0) != MAGIC {
            let zeroed = record.iter().all(|&byte| byte == 0);
            return Err(LabelFault::Absent(if zeroed { "only zeros are there" } else { "other bytes are there" }));
        }
        let format = u16::from_le_bytes(get(record, 8));
        let run_id = RunId(get(record, 16));
        let damaged = |what: String| LabelFault::Damaged { what, run_claimed: run_id };
        // The hash before the version: a rotten bit in the version is damage, and only a whole record is newer.
        if blake3::hash(&record[..HASH_AT]) != blake3::Hash::from_bytes(get(record, HASH_AT)) {
            return Err(damaged("its BLAKE3 does not match".into()));
        }
        if format > FORMAT {
            return Err(LabelFault::Newer { format });
        }
        if format != FORMAT {
            return Err(damaged(format!("its hash is right, but there never was a format {format}")));
        }
        let wrong = |field: &str, byte: u8| damaged(format!("its hash is right, but {field} {byte} means nothing"));
        let order = Order::from_byte(record[10]).ok_or_else(|| wrong("order", record[10]))?;
        let digest = Digest::from_byte(record[11]).ok_or_else(|| wrong("digest", record[11]))?;
        let kind = Kind::from_byte(record[12]).ok_or_else(|| wrong("kind", record[12]))?;
        let u64_at = |at| u64::from_le_bytes(get(record, at));
        let u32_at = |at| u32::from_le_bytes(get(record, at));
        let geometry = Geometry {
            offset: u64_at(48),
            length: u64_at(56),
            block_size: u32_at(64),
            atom: u32_at(68),
            order,
            digest,
        };
        geometry.validate().map_err(damaged)?;
        let text_at = |at| get_text(record, at).map_err(damaged);
        let identity = Identity {
            kind,
            serial: text_at(SERIAL_AT)?,
            wwn: text_at(WWN_AT)?,
            model: text_at(MODEL_AT)?,
            size: u64_at(72),
            partition_start: (kind == Kind::Partition).then(|| u64_at(80)),
        };
        Ok(Label { run_id, geometry, identity, generation: u64_at(32), created_unix_ns: u64_at(40) })
    }
}

fn put(record: &mut [u8; RECORD], at: usize, bytes: &[u8]) {
    record[at..at + bytes.len()].copy_from_slice(bytes);
}

fn get<const N: usize>(record: &[u8; RECORD], at: usize) -> [u8; N] {
    std::array::from_fn(|index| record[at + index])
}

fn put_text(record: &mut [u8; RECORD], at: usize, text: Option<&str>) {
    let text = text.unwrap_or_default();
    assert!(text.len() <= TEXT_LIMIT, "{} bytes of text in a field of {TEXT_LIMIT}", text.len());
    let length = u16::try_from(text.len()).expect("at most TEXT_LIMIT");
    put(record, at, &length.to_le_bytes());
    put(record, at + 2, text.as_bytes());
}

fn get_text(record: &[u8; RECORD], at: usize) -> Result<Option<String>, String> {
    let length = usize::from(u16::from_le_bytes(get(record, at)));
    if length > TEXT_LIMIT {
        return Err(format!("its hash is right, but a text of {length} bytes does not fit"));
    }
    let bytes = &record[at + 2..at + 2 + length];
    let text = std::str::from_utf8(bytes).map_err(|_| "its hash is right, but a text is not UTF-8".to_owned())?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn sample() -> Label {
        Label {
            run_id: RunId(*b"sixteen bytes id"),
            geometry: Geometry {
                offset: 1 << 20,
                length: 64 << 20,
                block_size: 65536,
                atom: 512,
                order: Order::Random,
                digest: Digest::Crc32c,
            },
            identity: Identity {
                kind: Kind::Partition,
                serial: Some("S3Z8NB0K".into()),
                wwn: Some("naa.5000c500a1b2c3d4".into()),
                model: None,
                size: 128 << 20,
                partition_start: Some(1 << 20),
            },
            generation: 7,
            created_unix_ns: 1_700_000_000_000_000_000,
        }
    }

    /// The record with its hash made right again after a change, as a newer or a broken writer would leave it.
    fn rehashed(mut record: [u8; RECORD]) -> [u8; RECORD] {
        let hash = blake3::hash(&record[..HASH_AT]);
        put(&mut record, HASH_AT, hash.as_bytes());
        record
    }

    #[test]
    fn the_bytes_are_those_of_the_table() {
        let record = sample().encode();
        assert_eq!(&record[..16], b"SCRUBLBL\x01\x00\x01\x00\x03\x00\x00\x00");
        assert_eq!(&record[16..32], b"sixteen bytes id");
        assert_eq!(&record[32..40], &[7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&record[48..72], b"\0\0\x10\0\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\x01\0\0\x02\0\0");
        assert_eq!(&record[72..88], b"\0\0\0\x08\0\0\0\0\0\0\x10\0\0\0\0\0");
        assert_eq!(&record[128..139], b"\x08\0S3Z8NB0K\0");
        assert_eq!(&record[384..388], b"\x14\0na");
        assert_eq!(&record[640..642], b"\0\0");
        assert_eq!(&record[4064..], blake3::hash(&record[..4064]).as_bytes());
    }

    #[test]
    fn a_label_reads_back_as_it_was_written() {
        assert_eq!(Label::decode(&sample().encode()), Ok(sample()));
    }

    #[test]
    fn a_newer_format_is_called_newer_and_never_damage() {
        let mut record = sample().encode();
        record[8] = 2;
        record[2000] = 99;
        assert_eq!(Label::decode(&rehashed(record)), Err(LabelFault::Newer { format: 2 }));
        assert!(LabelFault::Newer { format: 2 }.to_string().contains("written by a newer scrubd, format 2"));
    }

    #[test]
    fn a_rotten_bit_in_the_version_is_damage_and_not_a_newer_scrubd() {
        let mut record = sample().encode();
        record[8] = 3;
        assert!(matches!(Label::decode(&record), Err(LabelFault::Damaged { .. })));
    }

    #[test]
    fn nonsense_under_a_right_hash_is_damage() {
        for (at, byte) in [(10, 9), (11, 9), (12, 0), (64, 1), (68, 3), (128, 255), (130, 0xFF), (8, 0)] {
            let mut record = sample().encode();
            record[at] = byte;
            let fault = Label::decode(&rehashed(record)).unwrap_err();
            assert!(matches!(fault, LabelFault::Damaged { .. }), "byte {at}: {fault}");
        }
    }

    #[test]
    fn zeros_and_other_bytes_are_no_label() {
        assert!(matches!(Label::decode(&[0; RECORD]), Err(LabelFault::Absent("only zeros are there"))));
        assert!(matches!(Label::decode(&[0x5A; RECORD]), Err(LabelFault::Absent("other bytes are there"))));
    }

    proptest! {
        #[test]
        fn no_flipped_bit_is_accepted(bit in 0..RECORD * 8) {
            let mut record = sample().encode();
            record[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Label::decode(&record).is_err());
        }

        #[test]
        fn no_tear_between_two_labels_is_accepted(cut in 1..RECORD / 512, swapped: bool) {
            let (old, mut new) = (sample(), sample());
            new.generation += 1;
            new.run_id = RunId([9; 16]);
            let (mut head, tail) = if swapped { (old.encode(), new.encode()) } else { (new.encode(), old.encode()) };
            head[cut * 512..].copy_from_slice(&tail[cut * 512..]);
            prop_assert!(Label::decode(&head).is_err());
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), RECORD), head: bool) {
            let mut record: [u8; RECORD] = bytes.try_into().unwrap();
            if head {
                put(&mut record, 0, b"SCRUBLBL\x01\0");
                record = rehashed(record);
            }
            let _judged = Label::decode(&record);
        }
    }
}
