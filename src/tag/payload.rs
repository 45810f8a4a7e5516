//! The payload: what fills an atom behind its tag.
//!
//! Word i of an atom (from 0) is scrambled from the counter seed + (i + 1) · γ, modulo 2^64. With lo(x) the low 32 bits:
//!
//! ```text
//! x = counter;  x += lo(x) · a;  x ^= x >> 28;  x += lo(x) · b;  word = x ^ x >> 33
//! ```
//!
//! 32 × 32 → 64-bit products, additions, shifts and exclusive ors on 64-bit lanes: one instruction each from SSE2 on,
//! where a full 64-bit product is not before AVX-512. a and b are even, so every step is a bijection and two seeds
//! differ in every word. The constants are those of least bias among some hundred thousand tried at random: no bit, and
//! no exclusive or of a bit with one nearby or some words on, strays more than 4 % from even. It resists compression and
//! deduplication, not cryptanalysis.

use super::format::TAG_SIZE;
use crate::vocabulary::{Block, Issue, RunKey, mix};

const GAMMA: u64 = 0x9dfd_8885_df6e_2b55;
const A: u64 = 0x8114_e992;
const B: u64 = 0xef79_069e;

/// What the payloads of one issue of one block are made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockSeed {
    base: u64,
    last: u64,
}

impl BlockSeed {
    /// The seed of an issue. Two issues of one write have different seeds, since each step is a bijection.
    #[must_use]
    pub(super) fn of(key: RunKey, block: Block, issue: Issue) -> Self {
        let [first, second, third, last] = key.0;
        let base = mix(first ^ block.0);
        let base = mix(base.wrapping_add(second) ^ issue.seq.0);
        let base = mix(base.wrapping_add(third) ^ issue.epoch.number);
        let base = mix(base ^ issue.epoch.nonce);
        BlockSeed { base, last }
    }

    fn atom(self, atom: u32) -> u64 {
        mix(self.base.wrapping_add(self.last) ^ u64::from(atom))
    }

    /// Fills the payloads of neighbouring atoms, behind their tags, with the widest vectors that the CPU has.
    ///
    /// # Panics
    /// When an atom is shorter than a tag.
    pub(super) fn fill(self, vectors: pulp::Arch, first: u32, atoms: std::slice::ChunksExactMut<'_, u8>) {
        vectors.dispatch(Fill { seed: self, first, atoms });
    }

    /// Whether an atom's payload is what this seed makes, from `start` to its end.
    ///
    /// # Panics
    /// When `start` is not at a word of the payload.
    pub(super) fn made(self, vectors: pulp::Arch, atom: u32, bytes: &[u8], start: usize) -> bool {
        assert!(start >= TAG_SIZE && start.is_multiple_of(8), "a word of the payload");
        let skipped = ((start - TAG_SIZE) / 8) as u64;
        let counter = self.atom(atom).wrapping_add(skipped.wrapping_mul(GAMMA));
        let (words, rest) = bytes[start..].as_chunks();
        assert!(rest.is_empty(), "atoms are whole words");
        vectors.dispatch(Compare { counter, words })
    }
}

/// The loop, as a type: inlined into a copy for each kind of CPU, or it would be compiled for the oldest.
struct Fill<'a> {
    seed: BlockSeed,
    first: u32,
    atoms: std::slice::ChunksExactMut<'a, u8>,
}

impl pulp::NullaryFnOnce for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (index, atom) in (self.first..).zip(self.atoms) {
            let (words, _) = atom[TAG_SIZE..].as_chunks_mut();
            let mut counter = self.seed.atom(index);
            for word in words {
                counter = counter.wrapping_add(GAMMA);
                *word = scramble(counter).to_le_bytes();
            }
        }
    }
}

/// All words are looked at whatever is found: nearly always they agree, and a loop without an exit goes in vectors.
struct Compare<'a> {
    counter: u64,
    words: &'a [[u8; 8]],
}

impl pulp::NullaryFnOnce for Compare<'_> {
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        let mut counter = self.counter;
        let mut different = 0;
        for word in self.words {
            counter = counter.wrapping_add(GAMMA);
            different |= scramble(counter) ^ u64::from_le_bytes(*word);
        }
        different == 0
    }
}

#[inline(always)]
fn scramble(counter: u64) -> u64 {
    let word = counter.wrapping_add((counter & 0xffff_ffff).wrapping_mul(A));
    let word = word ^ word >> 28;
    let word = word.wrapping_add((word & 0xffff_ffff).wrapping_mul(B));
    word ^ word >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{Epoch, RunId, Seq};

    fn payload(seq: u64, epoch: u64, atom: u32) -> Vec<u8> {
        let issue = Issue { seq: Seq(seq), epoch: Epoch { number: epoch, nonce: 1 } };
        let mut bytes = vec![0; 4096];
        BlockSeed::of(RunKey::of(RunId([3; 16])), Block(9), issue).fill(
            pulp::Arch::new(),
            atom,
            bytes.chunks_exact_mut(4096),
        );
        bytes.split_off(TAG_SIZE)
    }

    #[test]
    fn two_issues_of_one_write_differ_in_every_word() {
        let (a, b) = (payload(5, 1, 0), payload(5, 2, 0));
        assert!(a.chunks(8).zip(b.chunks(8)).all(|(a, b)| a != b));
        let mut bytes = vec![0; 4096];
        let issue = Issue { seq: Seq(5), epoch: Epoch { number: 1, nonce: 2 } };
        BlockSeed::of(RunKey::of(RunId([3; 16])), Block(9), issue).fill(
            pulp::Arch::new(),
            0,
            bytes.chunks_exact_mut(4096),
        );
        assert!(a.chunks(8).zip(bytes[TAG_SIZE..].chunks(8)).all(|(a, b)| a != b), "the nonce alone is enough");
    }

    #[test]
    fn no_eight_bytes_repeat_within_a_thousand_atoms() {
        let mut words = std::collections::HashSet::new();
        let atoms = (0..1000).map(|i| payload(i / 10, 1, u32::try_from(i % 10).unwrap()));
        let total: usize = atoms.map(|atom| atom.chunks(8).filter(|word| !words.insert(word.to_vec())).count()).sum();
        assert_eq!(total, 0);
    }

    #[test]
    fn every_bit_is_set_half_of_the_time_whatever_its_neighbours_do() {
        let words: Vec<u64> = (0..200)
            .flat_map(|seq| payload(seq, 1, 0).chunks(8).map(|w| super::super::format::word(w, 0)).collect::<Vec<_>>())
            .collect();
        let near_half = |ones: usize, what: &str| {
            assert!(ones.abs_diff(words.len() / 2) < words.len() / 25, "{what}: {ones} of {}", words.len());
        };
        for bit in 0..64 {
            near_half(words.iter().filter(|word| *word >> bit & 1 == 1).count(), &format!("bit {bit}"));
            let flips = words.windows(2).filter(|pair| (pair[0] ^ pair[1]) >> bit & 1 == 1).count();
            near_half(flips, &format!("bit {bit} from word to word"));
            let with_next = words.iter().filter(|word| (*word ^ word.rotate_right(1)) >> bit & 1 == 1).count();
            near_half(with_next, &format!("bit {bit} with its neighbour"));
        }
    }
}
