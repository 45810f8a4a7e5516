//! The CRC-32C of atoms.
//!
//! A CRC is a chain: each instruction waits three cycles for the one before. The crate keeps three chains going within
//! 768 bytes, which the smallest atom does not have; there eight atoms side by side are the chains, four bytes of each
//! at a time. Larger atoms are as quick alone.

use super::format::TAG_SIZE;
use crate::vocabulary::{ATOM_SIZES, BLOCK_SIZES, Geometry};

/// What is filled, sealed or judged at a time: the smallest block, the largest atom, and small beside a core's cache.
pub(super) const STRETCH: usize = 4096;
/// The atom that is too small to keep the crate's three chains going.
const SMALL: usize = 512;
/// How much of a block is worked on at a time: a whole number of atoms, and a whole part of the block. Only blocks of tests are
/// smaller than a stretch.
pub(super) fn stretch_of(geometry: &Geometry) -> usize {
    STRETCH.min(geometry.block_size as usize)
}

const LANES: usize = STRETCH / SMALL;
const _: () = assert!(STRETCH == *BLOCK_SIZES.start() as usize && STRETCH == *ATOM_SIZES.end() as usize);
const _: () = assert!(SMALL == *ATOM_SIZES.start() as usize);

/// Sets the checksum of a finished atom.
///
/// # Panics
/// When the atom is shorter than a tag.
pub fn seal_atom(atom: &mut [u8]) {
    let sum = crc32c::crc32c(&atom[4..]);
    atom[..4].copy_from_slice(&sum.to_le_bytes());
}

/// Whether an atom's checksum holds.
#[must_use]
pub fn checksum_holds(atom: &[u8]) -> bool {
    atom.len() >= TAG_SIZE && atom[..4] == crc32c::crc32c(&atom[4..]).to_le_bytes()
}

/// Sets the checksums of all atoms of a stretch.
pub(super) fn seal_atoms(vectors: pulp::Arch, stretch: &mut [u8], atom_size: usize) {
    match small_sums(vectors, stretch, atom_size) {
        Some(sums) => {
            for (atom, sum) in stretch.chunks_exact_mut(SMALL).zip(sums) {
                atom[..4].copy_from_slice(&sum.to_le_bytes());
            }
        }
        None => stretch.chunks_exact_mut(atom_size).for_each(seal_atom),
    }
}

/// Whether the checksums of all atoms of a stretch hold.
pub(super) fn checksums_hold(vectors: pulp::Arch, stretch: &[u8], atom_size: usize) -> bool {
    match small_sums(vectors, stretch, atom_size) {
        Some(sums) => stretch.chunks_exact(SMALL).zip(sums).all(|(atom, sum)| atom[..4] == sum.to_le_bytes()),
        None => stretch.chunks_exact(atom_size).all(checksum_holds),
    }
}

/// The sums of eight of the smallest atoms, where the CPU has the instruction.
#[cfg(target_arch = "x86_64")]
fn small_sums(vectors: pulp::Arch, stretch: &[u8], atom_size: usize) -> Option<[u32; LANES]> {
    match vectors {
        pulp::Arch::V3(simd) if (stretch.len(), atom_size) == (STRETCH, SMALL) => {
            Some(simd.vectorize(SideBySide { simd, stretch }))
        }
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn small_sums(_: pulp::Arch, _: &[u8], _: usize) -> Option<[u32; LANES]> {
    None
}

/// The loop, as a type: inlined into code for the CPU that has the instruction.
#[cfg(target_arch = "x86_64")]
struct SideBySide<'a> {
    simd: pulp::x86::V3,
    stretch: &'a [u8],
}

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for SideBySide<'_> {
    type Output = [u32; LANES];

    #[inline(always)]
    fn call(self) -> [u32; LANES] {
        let (words, _) = self.stretch.as_chunks::<4>();
        let atoms: [&[[u8; 4]; SMALL / 4]; LANES] =
            std::array::from_fn(|lane| words[lane * (SMALL / 4)..].first_chunk().expect("eight atoms in a stretch"));
        let mut sums = [u32::MAX; LANES];
        // The first word is where the checksum stands.
        for at in 1..SMALL / 4 {
            for (sum, atom) in sums.iter_mut().zip(atoms) {
                *sum = self.simd.sse4_2._mm_crc32_u32(*sum, u32::from_le_bytes(atom[at]));
            }
        }
        sums.map(|sum| !sum)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn atoms_side_by_side_have_the_sums_that_the_crate_gives_them(
            seed: u64,
            atom_size in prop::sample::select(vec![512, 1024, 2048, 4096]),
            damage in prop::option::of(0..STRETCH * 8),
        ) {
            let mut stretch: Vec<u8> = (0..STRETCH as u64).map(|at| crate::vocabulary::mix(seed ^ at) as u8).collect();
            let mut alone = stretch.clone();
            alone.chunks_exact_mut(atom_size).for_each(seal_atom);
            for vectors in [pulp::Arch::new(), pulp::Arch::Scalar] {
                seal_atoms(vectors, &mut stretch, atom_size);
                prop_assert_eq!(&stretch, &alone);
                prop_assert!(checksums_hold(vectors, &stretch, atom_size));
                if let Some(bit) = damage {
                    stretch[bit / 8] ^= 1 << (bit % 8);
                    prop_assert!(!checksums_hold(vectors, &stretch, atom_size));
                    stretch[bit / 8] ^= 1 << (bit % 8);
                }
            }
        }
    }
}
