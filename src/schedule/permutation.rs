//! A format-preserving permutation of `0..n`, keyed by run and pass, that can be inverted.
//!
//! An alternating Feistel network over the smallest power of two that holds n, and cycle walking (Black and Rogaway,
//! "Ciphers with Arbitrary Finite Domains", CT-RSA 2002): what falls outside `0..n` is permuted again until it falls
//! inside. The domain is below 2n, so fewer than two steps are expected.

use crate::vocabulary::{RunKey, mix};

/// Six rounds: no pattern is visible to a disk, and it is no cipher.
const ROUNDS: u64 = 6;

#[derive(Clone, Copy, Debug)]
pub(super) struct Permutation {
    n: u64,
    high_bits: u32,
    low_bits: u32,
    key: RunKey,
}

impl Permutation {
    pub(super) fn new(n: u64, key: RunKey) -> Self {
        let bits = u64::BITS - (n - 1).leading_zeros();
        Permutation { n, high_bits: bits / 2, low_bits: bits - bits / 2, key }
    }

    pub(super) fn apply(&self, pass: u64, index: u64) -> u64 {
        self.walk(index, |index| (0..ROUNDS).fold(index, |index, round| self.round(pass, round, index)))
    }

    pub(super) fn invert(&self, pass: u64, image: u64) -> u64 {
        // Each round is its own inverse: it changes one half by a function of the other.
        self.walk(image, |image| (0..ROUNDS).rev().fold(image, |image, round| self.round(pass, round, image)))
    }

    fn walk(&self, start: u64, step: impl Fn(u64) -> u64) -> u64 {
        assert!(start < self.n, "{start} of {}", self.n);
        let mut at = step(start);
        while at >= self.n {
            at = step(at);
        }
        at
    }

    fn round(&self, pass: u64, round: u64, index: u64) -> u64 {
        let low_mask = (1 << self.low_bits) - 1;
        let (high, low) = (index >> self.low_bits, index & low_mask);
        let subkey = mix(self.key.0[(round % 4) as usize] ^ round << 56).wrapping_add(pass);
        if round.is_multiple_of(2) {
            let high_mask = (1 << self.high_bits) - 1;
            (high ^ (mix(low ^ mix(subkey)) & high_mask)) << self.low_bits | low
        } else {
            high << self.low_bits | (low ^ (mix(high ^ mix(subkey)) & low_mask))
        }
    }
}
