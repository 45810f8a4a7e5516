//! The envelope of a saved checkpoint, and the choice of the newest valid one of two.
//!
//! A slot is the beginning of the file `ledger.0` or `ledger.1`. Integers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic, ASCII `SCRUBLGR` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | flags, 0 in version 1 |
//! | 12 | 4 | L, length of the payload in bytes, at most 1,048,576 |
//! | 16 | 8 | checkpoint number |
//! | 24 | 16 | run id |
//! | 40 | 32 | BLAKE3-256 of the device identity string (UTF-8, without a terminator) |
//! | 72 | 24 | reserved: written as zero, not interpreted |
//! | 96 | 32 | BLAKE3-256 of the bytes 0..96 followed by the bytes 128..T |
//! | 128 | L | payload: the ledger's own encoding |
//! | 128+L | T-128-L | padding, zero; T is 128+L rounded up to a multiple of 4096 |
//!
//! Bytes of the file from T on are no part of the slot: the file keeps the size that was reserved for it, and what
//! stands there is the rest of a longer checkpoint. A slot of nothing but zeros was never saved to.
//!
//! Every later version keeps the bytes 0..128, T and the coverage of the checksum, so that "written by a newer scrubd"
//! is said only of a slot that is whole. The checksum tells tears and rot, not forgery.

use std::{fmt, io};

use super::{MAX_EPOCHS, MAX_FLUSHES, MAX_WINDOW};
use crate::vocabulary::RunId;

/// Longest payload, in bytes: five times the longest that the ledger encodes today, 181,840.
pub const PAYLOAD_MAX: usize = 1 << 20;
const _: () = assert!(80 + 24 * MAX_FLUSHES + 40 * MAX_EPOCHS + MAX_WINDOW as usize / 4 <= PAYLOAD_MAX);

/// Longest slot, in bytes: header and longest payload, in whole pages. Two of them are 2 MiB and 8 KiB a target.
pub const SLOT_MAX: usize = (1 << 20) + 4096;

const MAGIC: [u8; 8] = *b"SCRUBLGR";
const VERSION: u16 = 1;
const HEADER: usize = 128;
const CHECKSUM: std::ops::Range<usize> = 96..128;
const PAGE: usize = 4096;
const _: () = assert!(length_of_slot(PAYLOAD_MAX) == SLOT_MAX);

/// One of the two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotIndex {
    /// `ledger.0`
    Zero,
    /// `ledger.1`
    One,
}

impl SlotIndex {
    /// Both, in the order of the arrays that this module speaks in.
    pub const BOTH: [SlotIndex; 2] = [SlotIndex::Zero, SlotIndex::One];

    /// The slot that this one is not.
    #[must_use]
    pub fn other(self) -> SlotIndex {
        match self {
            SlotIndex::Zero => SlotIndex::One,
            SlotIndex::One => SlotIndex::Zero,
        }
    }

    /// Name of the slot's file within the state directory.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            SlotIndex::Zero => "ledger.0",
            SlotIndex::One => "ledger.1",
        }
    }
}

impl fmt::Display for SlotIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file_name())
    }
}

/// What a slot's file held, nothing of it believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotBytes {
    /// There is no such file.
    Missing,
    /// The file's first bytes, at most [`SLOT_MAX`].
    Read(Vec<u8>),
    /// Opening or reading the file failed with this errno.
    Unreadable(i32),
}

/// BLAKE3 of the device identity string: what binds a checkpoint to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityHash(pub [u8; 32]);

impl IdentityHash {
    /// The hash of an identity string, as the target's label states it.
    #[must_use]
    pub fn of(identity: &str) -> IdentityHash {
        IdentityHash(*blake3::hash(identity.as_bytes()).as_bytes())
    }
}

/// Whose checkpoints they must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The run that the target's label names.
    pub run_id: RunId,
    /// The device that was opened.
    pub identity: IdentityHash,
}

/// A payload in its envelope, T bytes long: the only thing that a store saves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// The slot's bytes, 0..T.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The ledger's payload does not fit into a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a checkpoint of {0} bytes is longer than the {PAYLOAD_MAX} bytes that a slot holds")]
pub struct PayloadTooLong(pub usize);

/// Puts a payload into its envelope.
///
/// # Errors
/// When the payload is longer than [`PAYLOAD_MAX`].
pub fn seal(number: u64, owner: &Expected, payload: &[u8]) -> Result<Sealed, PayloadTooLong> {
    if payload.len() > PAYLOAD_MAX {
        return Err(PayloadTooLong(payload.len()));
    }
    let mut slot = vec![0; length_of_slot(payload.len())];
    slot[0..8].copy_from_slice(&MAGIC);
    slot[8..10].copy_from_slice(&VERSION.to_le_bytes());
    slot[12..16].copy_from_slice(&u32::try_from(payload.len()).expect("at most 1 MiB").to_le_bytes());
    slot[16..24].copy_from_slice(&number.to_le_bytes());
    slot[24..40].copy_from_slice(&owner.run_id.0);
    slot[40..72].copy_from_slice(&owner.identity.0);
    slot[HEADER..HEADER + payload.len()].copy_from_slice(payload);
    let checksum = checksum(&slot);
    slot[CHECKSUM].copy_from_slice(&checksum);
    Ok(Sealed(slot))
}

/// A checkpoint whose envelope is whole and ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Rises with every save of the run.
    pub number: u64,
    /// Opaque here: the ledger's own encoding.
    pub payload: Vec<u8>,
}

/// Why a slot cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It does not begin as a slot does.
    Magic,
    /// It states a payload, in bytes, that no slot holds.
    Length(u32),
    /// The file ends, in bytes, before the slot does.
    EndsEarly {
        /// Bytes that are there.
        has: usize,
        /// Bytes that the slot needs.
        needs: usize,
    },
    /// The checksum does not match: a save that was cut short, or rot.
    Checksum,
}

/// What a slot turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// No file, or one without a byte. Both slots are made, with their space, before anything is saved: beside a slot
    /// that was saved to this one was taken away.
    Missing,
    /// Never saved to: nothing but the reserved zeros.
    Empty,
    /// Whole, and of this run and device.
    Valid(Saved),
    /// Torn or damaged. It says nothing about the disk under test.
    Damaged(Damage),
    /// Could not be read, with this errno.
    Unreadable(i32),
    /// Whole, but of another run.
    OtherRun(RunId),
    /// Whole and of this run, but saved for another device.
    OtherTarget,
    /// Whole, but of a format that this version does not read.
    NewerFormat {
        /// The slot's format version.
        version: u16,
        /// The slot's flags.
        flags: u16,
    },
}

/// Both slots judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What each slot is.
    pub slots: [Slot; 2],
    newest: Option<SlotIndex>,
}

/// Judges both slots and picks the newest valid one.
#[must_use]
pub fn newest_valid(slots: &[SlotBytes; 2], expected: &Expected) -> Choice {
    let slots = [inspect(&slots[0], expected), inspect(&slots[1], expected)];
    let newest = match (&slots[0], &slots[1]) {
        (Slot::Valid(zero), Slot::Valid(one)) if one.number > zero.number => Some(SlotIndex::One),
        (Slot::Valid(_), _) => Some(SlotIndex::Zero),
        (_, Slot::Valid(_)) => Some(SlotIndex::One),
        _ => None,
    };
    Choice { slots, newest }
}

impl Choice {
    /// What one of the slots is.
    #[must_use]
    pub fn slot(&self, index: SlotIndex) -> &Slot {
        &self.slots[index as usize]
    }

    /// The newest valid checkpoint.
    #[must_use]
    pub fn newest(&self) -> Option<&Saved> {
        match self.slot(self.newest?) {
            Slot::Valid(checkpoint) => Some(checkpoint),
            _ => None,
        }
    }

    /// The slot of the newest valid checkpoint: no save may touch it.
    #[must_use]
    pub fn newest_slot(&self) -> Option<SlotIndex> {
        self.newest
    }

    /// Where the next save goes: never the newest valid slot. With none, what is there is spared as long as it can be.
    #[must_use]
    pub fn turn(&self) -> Turn {
        let next = match self.newest {
            Some(newest) => newest.other(),
            None if !self.slots[0].is_blank() && self.slots[1].is_blank() => SlotIndex::One,
            None => SlotIndex::Zero,
        };
        Turn { next }
    }

    /// A whole slot that is not ours to overwrite. Before anything is saved: of another run, and nothing here is ours: the
    /// state is moved aside; else a reason to stop.
    #[must_use]
    pub fn not_ours(&self) -> Option<SlotIndex> {
        SlotIndex::BOTH
            .into_iter()
            .find(|&index| matches!(self.slot(index), Slot::OtherRun(_) | Slot::OtherTarget | Slot::NewerFormat { .. }))
    }

    /// What the user should hear about the slots, a line each; none when all is well.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let remarkable = |index: &SlotIndex| match self.slot(*index) {
            Slot::Valid(_) | Slot::Empty => false,
            Slot::Missing => !self.slot(index.other()).is_blank(),
            _ => true,
        };
        let say = |index: SlotIndex| format!("{index}: {}", self.slot(index));
        let mut remarks: Vec<_> = SlotIndex::BOTH.into_iter().filter(remarkable).map(say).collect();
        if let [Slot::Valid(zero), Slot::Valid(one)] = &self.slots
            && zero.number == one.number
        {
            remarks.push(format!("both slots hold checkpoint {}: the state was copied or put together", one.number));
        }
        remarks
    }
}

impl Slot {
    /// Nothing was saved here, or nothing of it is left.
    fn is_blank(&self) -> bool {
        matches!(self, Slot::Missing | Slot::Empty)
    }
}

/// Whose turn it is. A save that failed leaves it where it was: the slot it tried is unknown, the other one is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    next: SlotIndex,
}

impl Turn {
    /// The slot that the next save goes to.
    #[must_use]
    pub fn next(self) -> SlotIndex {
        self.next
    }

    /// The save into [`Turn::next`] has become durable.
    #[must_use]
    pub fn saved(self) -> Turn {
        Turn { next: self.next.other() }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Missing => write!(f, "missing: a checkpoint was taken away, and it may have been the newest"),
            Slot::Empty => write!(f, "empty: nothing was saved here yet"),
            Slot::Valid(checkpoint) => write!(f, "checkpoint {}", checkpoint.number),
            Slot::Damaged(damage) => write!(f, "a torn or damaged checkpoint: {damage}"),
            Slot::Unreadable(errno) => write!(f, "cannot be read: {}", io::Error::from_raw_os_error(*errno)),
            Slot::OtherRun(run) => write!(f, "state of another run, {run}"),
            Slot::OtherTarget => write!(f, "state of this run that was saved for another device"),
            Slot::NewerFormat { version, flags } => {
                write!(
                    f,
                    "made by a newer scrubd: format version {version} with flags {flags:#06x}, and this one reads \
                     version {VERSION}"
                )
            }
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Magic => write!(f, "it does not begin as a checkpoint does"),
            Damage::Length(length) => write!(f, "it states a length of {length} bytes"),
            Damage::EndsEarly { has, needs } => write!(f, "it ends after {has} of {needs} bytes"),
            Damage::Checksum => write!(f, "its checksum does not match"),
        }
    }
}

fn inspect(bytes: &SlotBytes, expected: &Expected) -> Slot {
    match bytes {
        SlotBytes::Missing => Slot::Missing,
        SlotBytes::Read(bytes) if bytes.is_empty() => Slot::Missing,
        SlotBytes::Unreadable(errno) => Slot::Unreadable(*errno),
        SlotBytes::Read(bytes) if bytes.iter().all(|&byte| byte == 0) => Slot::Empty,
        SlotBytes::Read(bytes) => match whole(bytes) {
            Ok(slot) => whose(slot, expected),
            Err(damage) => Slot::Damaged(damage),
        },
    }
}

/// The slot's bytes, 0..T, once the checksum vouches for them.
fn whole(bytes: &[u8]) -> Result<&[u8], Damage> {
    if bytes.len() < HEADER {
        return Err(Damage::EndsEarly { has: bytes.len(), needs: HEADER });
    }
    if bytes[0..8] != MAGIC {
        return Err(Damage::Magic);
    }
    let payload = u32::from_le_bytes(field(bytes, 12));
    if payload as usize > PAYLOAD_MAX {
        return Err(Damage::Length(payload));
    }
    let needs = length_of_slot(payload as usize);
    let slot = bytes.get(..needs).ok_or(Damage::EndsEarly { has: bytes.len(), needs })?;
    if checksum(slot) == slot[CHECKSUM] { Ok(slot) } else { Err(Damage::Checksum) }
}

fn whose(slot: &[u8], expected: &Expected) -> Slot {
    let (version, flags) = (u16::from_le_bytes(field(slot, 8)), u16::from_le_bytes(field(slot, 10)));
    if (version, flags) != (VERSION, 0) {
        return Slot::NewerFormat { version, flags };
    }
    let run = RunId(field(slot, 24));
    if run != expected.run_id {
        return Slot::OtherRun(run);
    }
    if slot[40..72] != expected.identity.0 {
        return Slot::OtherTarget;
    }
    let end = HEADER + u32::from_le_bytes(field(slot, 12)) as usize;
    Slot::Valid(Saved { number: u64::from_le_bytes(field(slot, 16)), payload: slot[HEADER..end].to_vec() })
}

fn checksum(slot: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&slot[..CHECKSUM.start]).update(&slot[CHECKSUM.end..]);
    *hasher.finalize().as_bytes()
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes")
}

const fn length_of_slot(payload: usize) -> usize {
    (HEADER + payload).next_multiple_of(PAGE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner() -> Expected {
        Expected { run_id: RunId([7; 16]), identity: IdentityHash::of("ATA DISK 1234") }
    }

    fn sealed(number: u64, payload: &[u8]) -> SlotBytes {
        SlotBytes::Read(seal(number, &owner(), payload).unwrap().0)
    }

    fn judged(bytes: Vec<u8>) -> Slot {
        inspect(&SlotBytes::Read(bytes), &owner())
    }

    #[test]
    fn the_bytes_are_those_of_the_table() {
        let Sealed(slot) = seal(0x0102_0304, &owner(), b"payload").unwrap();
        assert_eq!(slot.len(), 4096);
        assert_eq!(&slot[..16], b"SCRUBLGR\x01\x00\x00\x00\x07\x00\x00\x00");
        assert_eq!(slot[16..24], [4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(slot[24..40], [7; 16]);
        assert_eq!(slot[40..72], *blake3::hash(b"ATA DISK 1234").as_bytes());
        assert_eq!(slot[72..96], [0; 24]);
        let covered = [&slot[..96], &slot[128..]].concat();
        assert_eq!(slot[96..128], *blake3::hash(&covered).as_bytes());
        assert_eq!(&slot[128..135], b"payload");
    }

    #[test]
    fn the_longest_payload_fits_and_a_longer_one_is_refused() {
        assert_eq!(seal(1, &owner(), &vec![1; PAYLOAD_MAX]).unwrap().0.len(), SLOT_MAX);
        assert_eq!(seal(1, &owner(), &vec![1; PAYLOAD_MAX + 1]), Err(PayloadTooLong(PAYLOAD_MAX + 1)));
    }

    #[test]
    fn the_newest_valid_slot_wins_and_the_next_save_goes_to_the_other() {
        let choose = |zero: SlotBytes, one: SlotBytes| {
            let choice = newest_valid(&[zero, one], &owner());
            (choice.newest().map(|checkpoint| checkpoint.number), choice.turn().next())
        };
        use SlotIndex::{One, Zero};
        assert_eq!(choose(sealed(5, b"a"), sealed(6, b"b")), (Some(6), Zero));
        assert_eq!(choose(sealed(6, b"a"), sealed(5, b"b")), (Some(6), One));
        assert_eq!(choose(SlotBytes::Missing, sealed(5, b"b")), (Some(5), Zero));
        assert_eq!(choose(sealed(5, b"b"), SlotBytes::Unreadable(5)), (Some(5), One));
        assert_eq!(choose(SlotBytes::Missing, SlotBytes::Read(vec![0; 512])), (None, Zero));
        assert_eq!(choose(SlotBytes::Read(vec![1; 512]), SlotBytes::Missing), (None, One));
    }

    #[test]
    fn a_failed_save_goes_to_the_same_slot_again() {
        let turn = newest_valid(&[sealed(5, b"a"), sealed(6, b"b")], &owner()).turn();
        assert_eq!(turn.next(), SlotIndex::Zero);
        assert_eq!(turn.saved().next(), SlotIndex::One);
        assert_eq!(turn.saved().saved(), turn);
    }

    #[test]
    fn another_run_another_device_and_a_newer_format_are_named_and_never_called_damage() {
        let other_run = Expected { run_id: RunId([8; 16]), ..owner() };
        let other_target = Expected { identity: IdentityHash::of("another"), ..owner() };
        let mut newer = seal(1, &owner(), b"x").unwrap().0;
        newer[8] = 2;
        let checksum = checksum(&newer);
        newer[CHECKSUM].copy_from_slice(&checksum);
        assert_eq!(judged(seal(1, &other_run, b"x").unwrap().0), Slot::OtherRun(RunId([8; 16])));
        assert_eq!(judged(seal(1, &other_target, b"x").unwrap().0), Slot::OtherTarget);
        assert_eq!(judged(newer.clone()), Slot::NewerFormat { version: 2, flags: 0 });
        let choice = newest_valid(&[sealed(1, b"x"), SlotBytes::Read(newer)], &owner());
        assert_eq!(choice.not_ours(), Some(SlotIndex::One));
        assert_eq!(
            choice.remarks(),
            ["ledger.1: made by a newer scrubd: format version 2 with flags 0x0000, and this one reads version 1"]
        );
    }

    #[test]
    fn a_slot_cut_at_any_length_is_not_valid() {
        let Sealed(slot) = seal(9, &owner(), &[0xAB; 5000]).unwrap();
        assert!((0..slot.len()).all(|length| !matches!(judged(slot[..length].to_vec()), Slot::Valid(_))));
        assert_eq!(judged(Vec::new()), Slot::Missing);
    }

    #[test]
    fn every_single_flipped_bit_of_a_small_slot_is_noticed() {
        let Sealed(slot) = seal(9, &owner(), b"small").unwrap();
        for bit in 0..slot.len() * 8 {
            let mut flipped = slot.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(judged(flipped), Slot::Damaged(_)), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn what_was_sealed_comes_back(number: u64, payload: Vec<u8>, behind: Vec<u8>) {
            let mut bytes = seal(number, &owner(), &payload).unwrap().0;
            bytes.extend(behind);
            prop_assert_eq!(judged(bytes), Slot::Valid(Saved { number, payload }));
        }

        #[test]
        fn a_flipped_bit_anywhere_is_not_valid(payload in proptest::collection::vec(any::<u8>(), 0..20_000), at: u64) {
            let mut slot = seal(3, &owner(), &payload).unwrap().0;
            let bit = (at % (slot.len() as u64 * 8)) as usize;
            slot[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(matches!(judged(slot), Slot::Damaged(_)));
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_are_never_valid(bytes: Vec<u8>, magic: bool) {
            let mut bytes = bytes;
            if magic { bytes.splice(..bytes.len().min(8), MAGIC); }
            prop_assert!(!matches!(judged(bytes), Slot::Valid(_)));
        }
    }
}
