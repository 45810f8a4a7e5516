//! Where a patrol stands, as it is saved: so that the next one goes on there, after a kill and in another boot.
//!
//! The file `patrol` in the state directory of the target while a pass is unfinished, and `patrol.ended` between two
//! passes, so that whoever looks at boot whether there is something to go on with need not read it. Each is replaced as a
//! whole; where a cut leaves both, the further one counts. Integers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic, ASCII `SCRUBPOS` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | flags: bit 0, the ledger turned out stale; the others 0 |
//! | 12 | 4 | boot in which it was saved: the first four bytes of the BLAKE3-256 of its boot id; 0 where that is unknown |
//! | 16 | 16 | run id |
//! | 32 | 8 | number of the checkpoint that the pass judges by; 0 without one |
//! | 40 | 8 | nonce of that checkpoint's newest epoch; 0 without one |
//! | 48 | 8 | pass, from 0 |
//! | 56 | 8 | next block: all below are judged in this pass |
//! | 64 | 8 | wall clock when the pass began, in nanoseconds since 1970; 0 where it has not |
//! | 72 | 8 | wall clock when the newest whole pass ended; 0 before there was one |
//! | 80 | 40 | of the blocks below the next: intact, rolled back, interrupted, unwritten, with findings |
//! | 120 | 8 | blocks of the region |
//! | 128 | 32 | BLAKE3-256 of the bytes 0..128 |
//!
//! No verdict depends on it. A pass that is in doubt begins again.

use super::Checkpoint;
use crate::report::BlockCounts;
use crate::vocabulary::{Block, RunId};

/// Length of the file, in bytes.
pub const POSITION_BYTES: usize = 160;

const MAGIC: [u8; 8] = *b"SCRUBPOS";
const VERSION: u16 = 1;
const CHECKSUM: usize = 128;

/// The ledger that a pass judges by. A patrol saves none, so that another number, or another epoch, says that somebody
/// has written to the target since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JudgedBy {
    /// Of the checkpoint; 0 without one.
    pub number: u64,
    /// Of its newest epoch; 0 without one.
    pub nonce: u64,
}

impl JudgedBy {
    /// This ledger, or none.
    #[must_use]
    pub fn of(saved: Option<&Checkpoint>) -> Self {
        saved.map_or_else(JudgedBy::default, |saved| JudgedBy {
            number: saved.number,
            nonce: saved.epochs.newest().map_or(0, |record| record.epoch.nonce),
        })
    }
}

/// Where a patrol stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Whose blocks.
    pub run: RunId,
    /// What they are judged by.
    pub judged_by: JudgedBy,
    /// In which boot it was saved, as the file has it.
    pub boot: u32,
    /// That ledger is older than the disk, as tags have shown: all tags are heard before anything is judged.
    pub stale: bool,
    /// From 0.
    pub pass: u64,
    /// All blocks below are judged in this pass.
    pub next: Block,
    /// Wall clock when the pass began; 0 where it has not.
    pub began_wall_ns: u64,
    /// Wall clock when the newest whole pass ended; 0 before there was one.
    pub ended_wall_ns: u64,
    /// What came of the blocks below `next`.
    pub counts: BlockCounts,
}

impl Position {
    /// Before the first pass of a patrol.
    #[must_use]
    pub fn first(run: RunId, judged_by: JudgedBy, blocks: u64) -> Self {
        Position {
            run,
            judged_by,
            boot: 0,
            stale: false,
            pass: 0,
            next: Block(0),
            began_wall_ns: 0,
            ended_wall_ns: 0,
            counts: BlockCounts { total: blocks, ..BlockCounts::default() },
        }
    }

    /// Between two passes: there is nothing to go on with.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.began_wall_ns == 0
    }

    /// The one that is further, of two of one run.
    #[must_use]
    pub fn further(self, other: Position) -> Position {
        if (other.pass, other.next) > (self.pass, self.next) { other } else { self }
    }

    /// The same pass from its first block on.
    #[must_use]
    pub fn again(self) -> Self {
        let counts = BlockCounts { total: self.counts.total, ..BlockCounts::default() };
        Position { next: Block(0), counts, ..self }
    }

    /// The pass after this one, which ended at this time.
    #[must_use]
    pub fn next_pass(self, wall_ns: u64) -> Self {
        Position { pass: self.pass + 1, began_wall_ns: 0, ended_wall_ns: wall_ns, ..self.again() }
    }

    /// As it is saved.
    #[must_use]
    pub fn encode(&self) -> [u8; POSITION_BYTES] {
        let BlockCounts { total, intact, rolled_back, interrupted, unwritten, findings } = self.counts;
        let mut bytes = [0; POSITION_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&u16::from(self.stale).to_le_bytes());
        bytes[12..16].copy_from_slice(&self.boot.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.run.0);
        let JudgedBy { number, nonce } = self.judged_by;
        let times = [self.began_wall_ns, self.ended_wall_ns];
        let words = [number, nonce, self.pass, self.next.0].into_iter().chain(times);
        let words = words.chain([intact, rolled_back, interrupted, unwritten, findings, total]);
        for (at, word) in (32..CHECKSUM).step_by(8).zip(words) {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        let checksum = blake3::hash(&bytes[..CHECKSUM]);
        bytes[CHECKSUM..].copy_from_slice(checksum.as_bytes());
        bytes
    }

    /// Reads what [`Position::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let bytes: &[u8; POSITION_BYTES] =
            bytes.try_into().map_err(|_| format!("it has {} bytes instead of {POSITION_BYTES}", bytes.len()))?;
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let half = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"));
        if bytes[..8] != MAGIC {
            return Err("it does not begin as one".to_owned());
        }
        if blake3::hash(&bytes[..CHECKSUM]).as_bytes() != &bytes[CHECKSUM..] {
            return Err("its checksum does not hold".to_owned());
        }
        if half(8) != VERSION || half(10) > 1 {
            return Err(format!("it is of version {}, by another scrubd", half(8)));
        }
        let position = Position {
            run: RunId(bytes[16..32].try_into().expect("sixteen bytes")),
            judged_by: JudgedBy { number: word(32), nonce: word(40) },
            boot: u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")),
            stale: half(10) == 1,
            pass: word(48),
            next: Block(word(56)),
            began_wall_ns: word(64),
            ended_wall_ns: word(72),
            counts: BlockCounts {
                intact: word(80),
                rolled_back: word(88),
                interrupted: word(96),
                unwritten: word(104),
                findings: word(112),
                total: word(120),
            },
        };
        position.contradiction().map_or(Ok(position), Err)
    }

    fn contradiction(&self) -> Option<String> {
        let BlockCounts { total, intact, rolled_back, interrupted, unwritten, findings } = self.counts;
        let judged = [intact, rolled_back, interrupted, unwritten, findings].map(u128::from).iter().sum::<u128>();
        let sound = judged == u128::from(self.next.0) && self.next.0 <= total && self.pass < u64::MAX;
        (!sound).then(|| format!("of {total} blocks {judged} are judged, and {} is next", self.next))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position() -> impl Strategy<Value = Position> {
        let words = proptest::array::uniform5(any::<u64>());
        (any::<[u8; 16]>(), words, proptest::array::uniform6(0..1_u64 << 40), any::<bool>()).prop_map(
            |(run, [number, nonce, pass, began_wall_ns, ended_wall_ns], [intact, old, torn, un, bad, left], stale)| {
                let next = intact + old + torn + un + bad;
                Position {
                    run: RunId(run),
                    judged_by: JudgedBy { number, nonce },
                    boot: nonce as u32,
                    stale,
                    pass: pass >> 1,
                    next: Block(next),
                    began_wall_ns,
                    ended_wall_ns,
                    counts: BlockCounts {
                        total: next + left,
                        intact,
                        rolled_back: old,
                        interrupted: torn,
                        unwritten: un,
                        findings: bad,
                    },
                }
            },
        )
    }

    proptest! {
        #[test]
        fn it_comes_back_as_it_was_saved(position in position()) {
            prop_assert_eq!(Position::decode(&position.encode()), Ok(position));
        }

        #[test]
        fn a_changed_bit_or_a_missing_end_is_damage(position in position(), bit in 0..POSITION_BYTES * 8, end in 0..POSITION_BYTES) {
            let mut bytes = position.encode();
            prop_assert!(Position::decode(&bytes[..end]).is_err());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Position::decode(&bytes).is_err());
        }

        #[test]
        fn whatever_stands_there_it_is_a_position_or_damage(bytes: Vec<u8>) {
            prop_assert!(Position::decode(&bytes).is_err());
        }
    }

    #[test]
    fn what_is_whole_and_makes_no_sense_is_damage() {
        let first = Position::first(RunId([1; 16]), JudgedBy::default(), 10);
        for wrong in [
            Position { next: Block(3), ..first },
            Position { next: Block(11), counts: BlockCounts { intact: 11, ..first.counts }, ..first },
            Position { counts: BlockCounts { intact: u64::MAX, findings: 1, ..first.counts }, ..first },
        ] {
            assert!(Position::decode(&wrong.encode()).unwrap_err().contains("judged"), "{wrong:?}");
        }
    }

    #[test]
    fn the_bytes_are_where_the_table_says() {
        let position = Position {
            judged_by: JudgedBy { number: 7, nonce: 0x0102_0304_0506_0708 },
            boot: 0x0102_0304,
            stale: true,
            pass: 2,
            next: Block(6),
            began_wall_ns: 11,
            ended_wall_ns: 12,
            counts: BlockCounts { total: 9, intact: 1, rolled_back: 2, interrupted: 0, unwritten: 3, findings: 0 },
            ..Position::first(RunId([0xab; 16]), JudgedBy::default(), 9)
        };
        let bytes = position.encode();
        assert_eq!((&bytes[..8], &bytes[8..16]), (&b"SCRUBPOS"[..], &[1, 0, 1, 0, 4, 3, 2, 1][..]));
        assert_eq!((bytes[16], bytes[31], bytes[32], bytes[40], bytes[47]), (0xab, 0xab, 7, 8, 1));
        let words: Vec<u8> = (48..128).step_by(8).map(|at| bytes[at]).collect();
        assert_eq!(words, [2, 6, 11, 12, 1, 2, 0, 3, 0, 9]);
    }
}
