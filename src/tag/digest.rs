//! The keyed BLAKE3 of a block: all of it but the first atom's checksum and the digest itself, bytes 4 to 95 and 128 to
//! the end.
//!
//! That is 36 bytes short of whole chunks of 1 KiB. `blake3::Hasher` hashes chunks side by side in vectors only where
//! many whole ones lie in one piece, so it takes the four chunks of a 4 KiB block one after another. Here the tree is
//! built from the crate's own vector functions: the first chunk is put together, the others lie in place. The last lacks
//! 36 bytes of its last 64, so the last chunks go side by side as far as that, and then each to its end.
//!
//! Four chunks are fewer than the vectors of most CPUs hold. Where many of the smallest blocks are to be hashed, it is
//! the same chunk of several blocks that goes side by side: chunks of one number have one counter.
//!
//! `blake3::platform` is not part of that crate's stable face, which is why Cargo.toml names its version to the digit;
//! the tests hold every block size to what `Hasher` says.

use std::sync::OnceLock;

use blake3::IncrementCounter;
use blake3::platform::Platform;

use super::format::DIGEST;

/// Bytes of a chunk, which is a leaf of the tree.
const CHUNK: usize = 1024;
/// What of the last chunks is hashed side by side: all of it but its last 64 bytes.
const BODY: usize = CHUNK - 64;
/// Bytes by which the hashed bytes fall short of the block: the checksum and the digest.
const SHORT: usize = 4 + 32;
/// Chunks whose values are merged before the next ones are looked at: 64 KiB, and 64 times that is the largest block.
const SUBTREE: usize = 64;
const _: () = assert!(SUBTREE * SUBTREE * CHUNK == *crate::vocabulary::BLOCK_SIZES.end() as usize);
/// Chunks of the smallest block.
const FEWEST: usize = *crate::vocabulary::BLOCK_SIZES.start() as usize / CHUNK;
const _: () = assert!(FEWEST == 4, "two levels of parents, as `of_smallest` has them");
/// The smallest blocks that are hashed at once.
pub(super) const TOGETHER: usize = 8;
/// The larger of the two blocks that are tried at the start: two subtrees.
const TRIED: usize = 2 * SUBTREE * CHUNK;
/// Chunks that no CPU hashes more of at once.
const WIDEST: usize = 16;

// Section 2.1 of the BLAKE3 paper.
const CHUNK_START: u8 = 1 << 0;
const CHUNK_END: u8 = 1 << 1;
const PARENT: u8 = 1 << 2;
const ROOT: u8 = 1 << 3;
const KEYED_HASH: u8 = 1 << 4;

/// The chaining values of up to [`SUBTREE`] nodes, one behind the other.
type Values = [u8; SUBTREE * 32];

/// What hashes blocks under one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHasher {
    key: [u32; 8],
    platform: Platform,
    /// The tree that is built here is the one that the crate's own hasher builds, on this CPU; else that one does it.
    agrees: bool,
}

impl BlockHasher {
    /// Finds out which vector instructions the CPU has.
    pub(super) fn new(key: [u64; 4]) -> Self {
        let half = |i: usize| (key[i / 2] >> (i % 2 * 32)) as u32;
        static AGREES: OnceLock<bool> = OnceLock::new();
        let hasher = BlockHasher { key: std::array::from_fn(half), platform: Platform::detect(), agrees: true };
        BlockHasher { agrees: *AGREES.get_or_init(|| hasher.agrees_with_the_crate()), ..hasher }
    }

    /// Asked once a process: a digest that is wrong on a CPU that no test has seen would accuse every disk beside it.
    fn agrees_with_the_crate(&self) -> bool {
        let block: Vec<u8> = (0..TRIED as u64 / 8).flat_map(|at| crate::vocabulary::mix(at).to_le_bytes()).collect();
        let alone =
            [CHUNK * FEWEST, TRIED].iter().all(|&size| self.built(&block[..size]) == self.hashed(&block[..size]));
        let several: Vec<&[u8]> = block.chunks_exact(CHUNK * FEWEST).take(TOGETHER).collect();
        let agree = |blocks: &[&[u8]]| {
            blocks.iter().zip(self.of_smallest(blocks)).all(|(block, digest)| digest == self.hashed(block))
        };
        alone && (1..=TOGETHER).all(|count| agree(&several[..count]))
    }

    /// The digests of up to [`TOGETHER`] blocks of one size; what is beyond their number is of no block.
    ///
    /// # Panics
    /// When there are more, or one is no block.
    pub(super) fn digests(&self, blocks: &[&[u8]]) -> [[u8; 32]; TOGETHER] {
        let smallest = blocks.iter().all(|block| block.len() == FEWEST * CHUNK);
        if smallest && self.agrees {
            return self.of_smallest(blocks);
        }
        let mut digests = [[0; 32]; TOGETHER];
        for (digest, block) in digests[..blocks.len()].iter_mut().zip(blocks) {
            *digest = self.digest(block);
        }
        digests
    }

    /// The digest of a block.
    ///
    /// # Panics
    /// When `bytes` is no block: a power of two of bytes from 4 KiB to 4 MiB.
    pub(super) fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        if self.agrees { self.built(bytes) } else { self.hashed(bytes) }
    }

    /// By the crate's own hasher.
    fn hashed(&self, bytes: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        for (bytes, half) in key.chunks_exact_mut(4).zip(self.key) {
            bytes.copy_from_slice(&half.to_le_bytes());
        }
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(&bytes[4..DIGEST.start]).update(&bytes[DIGEST.end..]);
        *hasher.finalize().as_bytes()
    }

    fn built(&self, bytes: &[u8]) -> [u8; 32] {
        let chunks = bytes.len() / CHUNK;
        assert!(bytes.len().is_power_of_two() && (4..=SUBTREE * SUBTREE).contains(&chunks), "one block");
        let first = first_chunk(bytes);

        let subtree = chunks.min(SUBTREE);
        let mut tops: Values = [0; SUBTREE * 32];
        for (nth, top) in tops.chunks_exact_mut(32).enumerate().take(chunks / subtree) {
            let mut values = self.leaves(bytes, &first, nth * subtree, subtree);
            top.copy_from_slice(&self.merge(&mut values, subtree, chunks == subtree));
        }
        if chunks == subtree {
            tops[..32].try_into().expect("32 bytes")
        } else {
            self.merge(&mut tops, chunks / subtree, true)
        }
    }

    /// Of the smallest blocks, side by side.
    fn of_smallest(&self, blocks: &[&[u8]]) -> [[u8; 32]; TOGETHER] {
        let count = blocks.len();
        assert!(count <= TOGETHER, "{count} blocks at once");
        let mut firsts = [[0; CHUNK]; TOGETHER];
        for (first, block) in firsts.iter_mut().zip(blocks) {
            *first = first_chunk(block);
        }
        let mut values = [0; TOGETHER * 32];
        // The values of a block's four chunks, one behind the other: two pairs.
        let mut leaves = [[0; FEWEST * 32]; TOGETHER];
        let mut keep = |values: &[u8], nth: usize| {
            for (leaves, value) in leaves.iter_mut().zip(values.chunks_exact(32)) {
                leaves[nth * 32..][..32].copy_from_slice(value);
            }
        };
        let (start, end, last) = (CHUNK_START, CHUNK_END, FEWEST - 1);
        for nth in 0..last {
            let chunks: [&[u8; CHUNK]; TOGETHER] = std::array::from_fn(|i| match blocks.get(i) {
                Some(block) if nth > 0 => part(block, nth),
                _ => &firsts[i],
            });
            self.side_by_side(&chunks[..count], nth, [KEYED_HASH, start, end], &mut values);
            keep(&values, nth);
        }
        let bodies: [&[u8; BODY]; TOGETHER] = std::array::from_fn(|i| match blocks.get(i) {
            Some(block) => part(block, last),
            None => firsts[i].first_chunk().expect("a body"),
        });
        self.side_by_side(&bodies[..count], last, [KEYED_HASH, start, 0], &mut values);
        for (value, block) in values.as_chunks_mut::<32>().0.iter_mut().zip(blocks) {
            self.end_leaf(value, rest(block, last), last);
        }
        keep(&values, last);

        let pairs = leaves.as_flattened().as_chunks::<64>().0;
        let pairs: [&[u8; 64]; TOGETHER * 2] = std::array::from_fn(|i| &pairs[i]);
        let mut parents = [0; TOGETHER * 64];
        self.side_by_side(&pairs[..count * 2], 0, [KEYED_HASH | PARENT, 0, 0], &mut parents);
        let tops = parents.as_chunks::<64>().0;
        let tops: [&[u8; 64]; TOGETHER] = std::array::from_fn(|i| &tops[i]);
        self.side_by_side(&tops[..count], 0, [KEYED_HASH | PARENT | ROOT, 0, 0], &mut values);
        std::array::from_fn(|i| values.as_chunks::<32>().0[i])
    }

    /// Inputs that have one counter. `flags` are those of all of their blocks of 64 bytes, of the first, and of the last.
    fn side_by_side<const N: usize>(&self, inputs: &[&[u8; N]], counter: usize, flags: [u8; 3], values: &mut [u8]) {
        let [flags, start, end] = flags;
        let counter = counter as u64;
        self.platform.hash_many(inputs, &self.key, counter, IncrementCounter::No, flags, start, end, values);
    }

    /// The chaining values of `count` chunks.
    fn leaves(&self, bytes: &[u8], first: &[u8; CHUNK], from: usize, count: usize) -> Values {
        let mut values: Values = [0; SUBTREE * 32];
        let ends_the_block = (from + count) * CHUNK == bytes.len();
        let together = if ends_the_block { self.platform.simd_degree().clamp(4, WIDEST).min(count) } else { 0 };
        let mut whole = [first; SUBTREE];
        for (nth, chunk) in (from..).zip(&mut whole[..count - together]) {
            *chunk = if nth == 0 { first } else { part(bytes, nth) };
        }
        let (flags, start, end) = (KEYED_HASH, CHUNK_START, CHUNK_END);
        let counter = from as u64;
        let count_up = IncrementCounter::Yes;
        self.platform.hash_many(
            &whole[..count - together],
            &self.key,
            counter,
            count_up,
            flags,
            start,
            end,
            &mut values,
        );
        if ends_the_block {
            let (last, values) = (from + count - together, &mut values[(count - together) * 32..]);
            self.last_leaves(bytes, first, last, &mut values[..together * 32]);
        }
        values
    }

    /// The chaining values of the chunks from `from` to the end of the block.
    fn last_leaves(&self, bytes: &[u8], first: &[u8; CHUNK], from: usize, values: &mut [u8]) {
        let count = values.len() / 32;
        let mut bodies: [&[u8; BODY]; WIDEST] = [first.first_chunk().expect("a body"); WIDEST];
        for (nth, body) in (from..).zip(&mut bodies[..count]).skip(usize::from(from == 0)) {
            *body = part(bytes, nth);
        }
        let (flags, start) = (KEYED_HASH, CHUNK_START);
        self.platform.hash_many(
            &bodies[..count],
            &self.key,
            from as u64,
            IncrementCounter::Yes,
            flags,
            start,
            0,
            values,
        );
        for (nth, value) in (from..).zip(values.as_chunks_mut::<32>().0) {
            let rest = if nth == 0 { &first[BODY..] } else { rest(bytes, nth) };
            self.end_leaf(value, rest, nth);
        }
    }

    /// Takes the last bytes of a chunk into its value.
    fn end_leaf(&self, value: &mut [u8; 32], rest: &[u8], nth: usize) {
        let mut block = [0; 64];
        block[..rest.len()].copy_from_slice(rest);
        self.compress(value, &block, rest.len() as u8, nth as u64, KEYED_HASH | CHUNK_END);
    }

    /// Merges `count` values, a power of two from 2 upward, to one.
    fn merge(&self, values: &mut Values, mut count: usize, root: bool) -> [u8; 32] {
        while count > 2 {
            let children = *values;
            let mut pairs: [&[u8; 64]; SUBTREE / 2] = [children.first_chunk().expect("a pair"); SUBTREE / 2];
            for (pair, children) in pairs.iter_mut().zip(children.as_chunks::<64>().0) {
                *pair = children;
            }
            count /= 2;
            let no = IncrementCounter::No;
            self.platform.hash_many(&pairs[..count], &self.key, 0, no, KEYED_HASH | PARENT, 0, 0, &mut values[..]);
        }
        let last: [u8; 64] = *values.first_chunk().expect("a pair");
        let mut value = [0; 32];
        for (bytes, word) in value.as_chunks_mut::<4>().0.iter_mut().zip(self.key) {
            *bytes = word.to_le_bytes();
        }
        self.compress(&mut value, &last, 64, 0, KEYED_HASH | PARENT | if root { ROOT } else { 0 });
        value
    }

    fn compress(&self, value: &mut [u8; 32], block: &[u8; 64], length: u8, counter: u64, flags: u8) {
        let bytes = value.as_chunks_mut::<4>().0;
        let mut words: [u32; 8] = std::array::from_fn(|i| u32::from_le_bytes(bytes[i]));
        self.platform.compress_in_place(&mut words, block, length, counter, flags);
        for (bytes, word) in bytes.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
    }
}

/// The first chunk lies in two pieces.
fn first_chunk(bytes: &[u8]) -> [u8; CHUNK] {
    let mut first = [0; CHUNK];
    let (head, tail) = first.split_at_mut(DIGEST.start - 4);
    head.copy_from_slice(&bytes[4..DIGEST.start]);
    tail.copy_from_slice(&bytes[DIGEST.end..CHUNK + SHORT]);
    first
}

/// Another chunk as far as it is asked for, in its place.
fn part<const N: usize>(bytes: &[u8], nth: usize) -> &[u8; N] {
    bytes[nth * CHUNK + SHORT..].first_chunk().expect("within the block")
}

/// What follows the body of another chunk.
fn rest(bytes: &[u8], nth: usize) -> &[u8] {
    &bytes[nth * CHUNK + SHORT + BODY..bytes.len().min((nth + 1) * CHUNK + SHORT)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As scrubd-format(5) says it, by the crate's own hasher.
    fn by_the_page(key: [u64; 4], bytes: &[u8]) -> [u8; 32] {
        let mut bytes_of_key = [0; 32];
        for (bytes, word) in bytes_of_key.chunks_exact_mut(8).zip(key) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut hasher = blake3::Hasher::new_keyed(&bytes_of_key);
        hasher.update(&bytes[4..96]).update(&bytes[128..]);
        *hasher.finalize().as_bytes()
    }

    #[test]
    fn every_block_size_hashes_as_the_crate_does_with_whatever_vectors_the_cpu_may_have() {
        let mut platforms = vec![Platform::detect(), Platform::portable()];
        #[cfg(target_arch = "x86_64")]
        platforms.extend([Platform::sse2(), Platform::sse41(), Platform::avx2()].into_iter().flatten());
        for size in (12..=22).map(|power| 1 << power) {
            let mut word = size as u64;
            let bytes: Vec<u8> = (0..size)
                .map(|_| {
                    word = crate::vocabulary::mix(word + 1);
                    word as u8
                })
                .collect();
            let key = [word, 2, u64::MAX, 1 << 32];
            let expected = by_the_page(key, &bytes);
            assert!(BlockHasher::new(key).agrees && BlockHasher::new(key).hashed(&bytes) == expected);
            for platform in &platforms {
                let hasher = BlockHasher { platform: *platform, ..BlockHasher::new(key) };
                assert_eq!(hasher.built(&bytes), expected, "{size} bytes, {platform:?}");
            }
        }
    }

    #[test]
    fn blocks_side_by_side_hash_as_each_does_alone() {
        let mut platforms = vec![Platform::detect(), Platform::portable()];
        #[cfg(target_arch = "x86_64")]
        platforms.extend([Platform::sse2(), Platform::sse41(), Platform::avx2()].into_iter().flatten());
        for size in [4096, 8192] {
            let bytes: Vec<u8> = (0..size * TOGETHER as u64).map(|at| crate::vocabulary::mix(at) as u8).collect();
            let blocks: Vec<&[u8]> = bytes.chunks_exact(usize::try_from(size).unwrap()).collect();
            let key = [size, 5, u64::MAX, 1 << 33];
            for (count, platform) in (0..=TOGETHER).flat_map(|count| platforms.iter().map(move |on| (count, on))) {
                let hasher = BlockHasher { platform: *platform, ..BlockHasher::new(key) };
                assert!(hasher.agrees);
                let digests = hasher.digests(&blocks[..count]);
                for (block, digest) in blocks[..count].iter().zip(digests) {
                    assert_eq!(digest, by_the_page(key, block), "{count} of {size} bytes, {platform:?}");
                }
            }
        }
    }

    #[test]
    fn all_bytes_but_the_checksum_and_the_digest_count() {
        let hasher = BlockHasher::new([1, 2, 3, 4]);
        let mut bytes = vec![7; 8192];
        let whole = hasher.digest(&bytes);
        for at in 0..bytes.len() {
            bytes[at] ^= 0x10;
            let counts = !(0..4).contains(&at) && !DIGEST.contains(&at);
            assert_eq!(hasher.digest(&bytes) != whole, counts, "byte {at}");
            bytes[at] ^= 0x10;
        }
    }
}
