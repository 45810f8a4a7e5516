//! A format-preserving permutation of `0..n`, keyed by run and pass, that can be inverted.
//!
//! An alternating Feistel network over the smallest power of two that holds n, and cycle walking (Black and Rogaway,
//! "Ciphers with Arbitrary Finite Domains", CT-RSA 2002): what falls outside `0..n` is permuted again until it falls
//! inside. The domain is below 2n, so fewer than two steps are expected.
//!
//! A step is a chain: each round waits for the one before, some 15 cycles, and nothing shortens that. So everything that
//! does not depend on the index is kept off the chain: half of each subkey is made once a run, the other half beside it.

use crate::vocabulary::{RunKey, mix};

/// Six rounds: no pattern is visible to a disk, and it is no cipher.
const ROUNDS: usize = 6;

#[derive(Clone, Copy, Debug)]
pub(super) struct Permutation {
    n: u64,
    low_bits: u32,
    high_mask: u64,
    low_mask: u64,
    /// What the run contributes to each round's subkey.
    round_keys: [u64; ROUNDS],
}

impl Permutation {
    pub(super) fn new(n: u64, key: RunKey) -> Self {
        let bits = u64::BITS - (n - 1).leading_zeros();
        let (high_bits, low_bits) = (bits / 2, bits - bits / 2);
        let round_keys = std::array::from_fn(|round| mix(key.0[round % 4] ^ (round as u64) << 56));
        Permutation { n, low_bits, high_mask: (1 << high_bits) - 1, low_mask: (1 << low_bits) - 1, round_keys }
    }

    pub(super) fn apply(&self, pass: u64, index: u64) -> u64 {
        let subkeys = self.subkeys(pass);
        self.walk(index, |high, low| {
            subkeys.as_chunks::<2>().0.iter().fold((high, low), |(high, low), [even, odd]| {
                let high = high ^ mix(low ^ even) & self.high_mask;
                (high, low ^ mix(high ^ odd) & self.low_mask)
            })
        })
    }

    /// Each round is its own inverse, since it changes one half by a function of the other: the same rounds, backwards.
    pub(super) fn invert(&self, pass: u64, image: u64) -> u64 {
        let subkeys = self.subkeys(pass);
        self.walk(image, |high, low| {
            subkeys.as_chunks::<2>().0.iter().rev().fold((high, low), |(high, low), [even, odd]| {
                let low = low ^ mix(high ^ odd) & self.low_mask;
                (high ^ mix(low ^ even) & self.high_mask, low)
            })
        })
    }

    fn subkeys(&self, pass: u64) -> [u64; ROUNDS] {
        self.round_keys.map(|key| mix(key.wrapping_add(pass)))
    }

    #[inline(always)]
    fn walk(&self, start: u64, step: impl Fn(u64, u64) -> (u64, u64)) -> u64 {
        assert!(start < self.n, "{start} of {}", self.n);
        let mut at = start;
        loop {
            let (high, low) = step(at >> self.low_bits, at & self.low_mask);
            at = high << self.low_bits | low;
            if at < self.n {
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Round by round as scrubd-format(5) has it, each round on the whole index and with its subkey made anew.
    fn by_the_page(n: u64, key: RunKey, pass: u64, index: u64, rounds: impl Iterator<Item = u64> + Clone) -> u64 {
        let bits = u64::BITS - (n - 1).leading_zeros();
        let (high_bits, low_bits) = (bits / 2, bits - bits / 2);
        let step = |index| {
            rounds.clone().fold(index, |index: u64, round| {
                let (high, low) = (index >> low_bits, index & ((1 << low_bits) - 1));
                let subkey = mix(mix(key.0[(round % 4) as usize] ^ round << 56).wrapping_add(pass));
                match round % 2 {
                    0 => (high ^ mix(low ^ subkey) & ((1 << high_bits) - 1)) << low_bits | low,
                    _ => high << low_bits | low ^ mix(high ^ subkey) & ((1 << low_bits) - 1),
                }
            })
        };
        std::iter::successors(Some(step(index)), |&at| Some(step(at))).find(|&at| at < n).unwrap()
    }

    proptest! {
        #[test]
        fn rounds_on_halves_with_prepared_keys_are_the_rounds_of_the_format(
            key: [u64; 4],
            pass: u64,
            (n, index) in (0u32..62).prop_flat_map(|bits| 1u64 << bits..2u64 << bits).prop_flat_map(|n| (Just(n), 0..n)),
        ) {
            let key = RunKey(key);
            let permutation = Permutation::new(n, key);
            prop_assert_eq!(permutation.apply(pass, index), by_the_page(n, key, pass, index, 0..6));
            prop_assert_eq!(permutation.invert(pass, index), by_the_page(n, key, pass, index, (0..6).rev()));
            prop_assert_eq!(permutation.invert(pass, permutation.apply(pass, index)), index);
        }
    }
}
