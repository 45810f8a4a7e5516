//! A decoder for everything that scrubd writes, made from `scrubd-format(5)` and from nothing else.
//!
//! It shares no code with the crate: its own CRC-32C, its own generator, its own readers. Only BLAKE3 is a library's. What
//! cannot be decoded here cannot be decoded by a reader of the page, and either the page or the program is wrong.

pub(crate) mod atom;
pub(crate) mod label;
pub(crate) mod log;
pub(crate) mod order;
pub(crate) mod slot;

/// What was read, or what is wrong with it.
pub(crate) type Read<T> = Result<T, &'static str>;

/// CRC-32C, bit by bit.
pub(crate) fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut sum = 0xFFFF_FFFF_u32;
    for byte in parts.iter().copied().flatten() {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = sum & 1 == 1;
            sum >>= 1;
            if carry {
                sum ^= 0x82F6_3B78;
            }
        }
    }
    !sum
}

/// An unsigned little-endian integer of `width` bytes.
pub(crate) fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    (0..width).map(|i| u64::from(bytes[at + i]) << (8 * i)).sum()
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    number(bytes, at, 8)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    number(bytes, at, 4) as u32
}

pub(crate) fn run_at(bytes: &[u8], at: usize) -> [u8; 16] {
    let mut run = [0; 16];
    run.copy_from_slice(&bytes[at..at + 16]);
    run
}

/// BLAKE3 over parts, as if they stood behind each other.
pub(crate) fn blake3(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    parts.iter().for_each(|part| {
        hasher.update(part);
    });
    *hasher.finalize().as_bytes()
}

#[test]
fn the_check_value_of_the_page_comes_out() {
    assert_eq!(crc32c(&[b"123456789"]), 0xE306_9283);
    assert_eq!(crc32c(&[b"1234", b"", b"56789"]), 0xE306_9283);
}
