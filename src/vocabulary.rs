//! The words of the design as types: what a block, a write, an epoch and a promise are.
//!
//! Nothing here decides anything. Every room may use these; none may add to them lightly.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The first MiB of a region holds the label, twice. Data starts behind it.
pub const LABEL_AREA: u64 = 1 << 20;

/// Smallest and largest unit of writing and judgement, in bytes.
pub const BLOCK_SIZES: std::ops::RangeInclusive<u32> = 4 << 10..=4 << 20;

/// Smallest and largest atom, in bytes: the logical block sizes that disks have.
pub const ATOM_SIZES: std::ops::RangeInclusive<u32> = 512..=4096;

/// What read buffers are filled with before a read, so that bytes that were never read are seen for what they are. Not
/// 00 or FF, which disks return of themselves, nor 55, AA or A5, which other testers write, nor 6b, the kernel's own.
pub const POISON: u8 = 0xd3;

/// Index of a block within the region's data, `0..N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Block(pub u64);

/// Number of a write within the run: 0, 1, 2, …; also used as a frontier ("everything below").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The write after this one.
    ///
    /// # Panics
    /// When 2^64 writes are exhausted, which no disk lives to see.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.checked_add(1).expect("fewer than 2^64 writes"))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stretch of issuing: the number orders epochs, the nonce tells two epochs apart that took the same number from
/// different copies of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// Orders the epochs of a run.
    pub number: u64,
    /// Fresh randomness at each start of an epoch. In JSON, 16 hexadecimal digits: readers that hold numbers as doubles
    /// would lose some.
    #[serde(with = "hexadecimal")]
    pub nonce: u64,
}

/// One issue of a write. A write may be issued again in a later epoch; each issue differs in every atom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Issue {
    /// Which write.
    pub seq: Seq,
    /// In which epoch.
    pub epoch: Epoch,
}

/// What the tag of a whole atom says, beside where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The issue that wrote the atom.
    pub issue: Issue,
    /// The durable frontier that was known when the block was sealed; never above the issue's seq.
    pub durable: Seq,
    /// The promise under which that frontier was earned.
    pub promise: Promise,
    /// Number of the newest durable checkpoint when the block was sealed.
    pub checkpoint: u64,
    /// Wall clock at sealing, in nanoseconds since 1970. Told to people; never decides anything.
    pub wall_ns: u64,
}

/// Time, as an argument: the pure rooms have no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic nanoseconds since some start.
    pub mono_ns: u64,
    /// Wall clock, in nanoseconds since 1970.
    pub wall_ns: u64,
}

/// Everything written since one `init`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub [u8; 16]);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

impl std::str::FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("\"{text}\" is not a run id: 32 hexadecimal digits");
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(text, 16).map(|id| RunId(id.to_be_bytes())).map_err(|_| wrong())
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// 256 bits derived from the run id: what payloads and pass orders are keyed by. It is no secret: whoever reads a tag
/// can compute it. Tags are evidence, not authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunKey(pub [u64; 4]);

impl RunKey {
    /// BLAKE3 in its key-derivation mode over the run id, read as four little-endian words.
    #[must_use]
    pub fn of(run: RunId) -> Self {
        let bytes = blake3::derive_key("scrubd format 1 run key", &run.0);
        let word = |i: usize| bytes[i * 8..][..8].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        RunKey([word(0), word(1), word(2), word(3)])
    }
}

/// Spreads every bit of a word over all of it; a bijection, so distinct inputs stay distinct. The finaliser of
/// SplitMix64 (Steele, Lea, Flood 2014) with the constants of Stafford's variant 13.
#[must_use]
pub const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A word as 16 hexadecimal digits, for JSON.
pub mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// For serde's `with`.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(word: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{word:016x}"))
    }

    /// For serde's `with`.
    ///
    /// # Errors
    /// When the text is not a hexadecimal word.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(|_| D::Error::custom(format!("\"{text}\" is no hexadecimal word")))
    }
}

/// What the disk is held to. Stronger promises are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Promise {
    /// The drive claims power-loss protection: a write is guaranteed from its completion on.
    Ack = 1,
    /// Each write carries RWF_DSYNC: guaranteed from its completion on.
    Fua = 2,
    /// A write is guaranteed once a flush, submitted after its completion, has succeeded.
    Flush = 3,
}

/// In which order a pass visits the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// By address.
    Sequential = 0,
    /// By a permutation keyed by run and pass.
    Random = 1,
}

/// What vouches for a block beside the CRC-32C of each of its atoms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    /// The atoms' CRC-32C alone.
    Crc32c = 0,
    /// A keyed BLAKE3 of the whole block too, carried by its first atom.
    Blake3 = 1,
}

impl Promise {
    /// The promise that a byte on disk stands for; `None` for a byte that no version has used.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Promise::Ack, Promise::Fua, Promise::Flush].into_iter().find(|&promise| promise as u8 == byte)
    }
}

impl Order {
    /// The order that a byte on disk stands for; `None` for a byte that no version has used.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Order::Sequential, Order::Random].into_iter().find(|&order| order as u8 == byte)
    }
}

impl Digest {
    /// The digest that a byte on disk stands for; `None` for a byte that no version has used.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Digest::Crc32c, Digest::Blake3].into_iter().find(|&digest| digest as u8 == byte)
    }
}

/// Where the blocks of a region are, and what they are made of. Fixed by the label for the life of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Geometry {
    /// First byte of the region on the target, in bytes.
    pub offset: u64,
    /// Length of the region, label included, in bytes.
    pub length: u64,
    /// Bytes of a block: a power of two in [`BLOCK_SIZES`].
    pub block_size: u32,
    /// Bytes of an atom: a power of two in [`ATOM_SIZES`], not above `block_size`.
    pub atom: u32,
    /// Order of the blocks within a pass.
    pub order: Order,
    /// What vouches for a whole block.
    pub digest: Digest,
}

impl Geometry {
    /// N, the number of blocks in the region.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.length.saturating_sub(LABEL_AREA) / u64::from(self.block_size)
    }

    /// Absolute offset of a block on the target, in bytes.
    ///
    /// # Panics
    /// When the block is not in the region.
    #[must_use]
    pub fn offset_of(&self, block: Block) -> u64 {
        assert!(block.0 < self.blocks(), "block {block} of {}", self.blocks());
        self.offset + LABEL_AREA + block.0 * u64::from(self.block_size)
    }

    /// The block that an absolute offset on the target is in, for an offset in the region's data.
    #[must_use]
    pub fn block_at(&self, offset: u64) -> Block {
        Block(offset.saturating_sub(self.offset + LABEL_AREA) / u64::from(self.block_size))
    }

    /// Atoms in a block.
    #[must_use]
    pub fn atoms(&self) -> u32 {
        self.block_size / self.atom
    }

    /// Refuses what cannot be a region: the reason, in words for the user.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), String> {
        let Geometry { offset, length, block_size, atom, .. } = *self;
        if !block_size.is_power_of_two() || !BLOCK_SIZES.contains(&block_size) {
            return Err(format!("block_size {block_size} must be a power of two from 4 KiB to 4 MiB"));
        }
        if !atom.is_power_of_two() || !ATOM_SIZES.contains(&atom) || atom > block_size {
            return Err(format!("atom {atom} must be a power of two from 512 to 4096, not above block_size"));
        }
        if !offset.is_multiple_of(u64::from(atom)) || !length.is_multiple_of(u64::from(atom)) {
            return Err(format!("offset {offset} and length {length} must be multiples of the atom, {atom}"));
        }
        if offset.checked_add(length).is_none_or(|end| end > i64::MAX as u64) {
            return Err(format!("offset {offset} + length {length} is beyond what the kernel can address"));
        }
        if self.blocks() == 0 {
            let least = LABEL_AREA + u64::from(block_size);
            return Err(format!("length {length} has room for no block: the label takes 1 MiB, so at least {least}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_reads_back_as_it_prints() {
        let id = RunId(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\xff");
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
        assert!("+00102030405060708090a0b0c0d0eff".parse::<RunId>().is_err());
    }

    #[test]
    fn a_region_starts_its_data_behind_the_label() {
        let geometry = Geometry {
            offset: 1 << 30,
            length: (1 << 20) + 3 * 65536 + 4096,
            block_size: 65536,
            atom: 512,
            order: Order::Random,
            digest: Digest::Crc32c,
        };
        assert_eq!(geometry.validate(), Ok(()));
        assert_eq!((geometry.blocks(), geometry.atoms()), (3, 128));
        assert_eq!(geometry.offset_of(Block(2)), (1 << 30) + (1 << 20) + 131_072);
        assert_eq!(geometry.block_at(geometry.offset_of(Block(2))), Block(2));
    }
}
