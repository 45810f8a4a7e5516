//! BLOCKS AND ATOMS.

use super::label::Label;
use super::order::{Random, mix, run_key};
use super::{Read, crc32c, number, run_at, u32_at, u64_at};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) promise: u8,
    pub(crate) digest: u8,
    pub(crate) index: u32,
    pub(crate) run: [u8; 16],
    pub(crate) block: u64,
    pub(crate) seq: u64,
    pub(crate) epoch: u64,
    pub(crate) nonce: u64,
    pub(crate) durable: u64,
    pub(crate) checkpoint: u64,
    pub(crate) wall_ns: u64,
    pub(crate) block_size: u32,
    pub(crate) atom_size: u32,
}

/// Reads the 96 bytes of a tag; the checksum is another matter.
pub(crate) fn tag(bytes: &[u8]) -> Read<Tag> {
    if &bytes[4..8] != b"scrb" {
        return Err("magic");
    }
    if number(bytes, 8, 2) != 1 {
        return Err("version");
    }
    Ok(Tag {
        promise: bytes[10],
        digest: bytes[11],
        index: u32_at(bytes, 12),
        run: run_at(bytes, 16),
        block: u64_at(bytes, 32),
        seq: u64_at(bytes, 40),
        epoch: u64_at(bytes, 48),
        nonce: u64_at(bytes, 56),
        durable: u64_at(bytes, 64),
        checkpoint: u64_at(bytes, 72),
        wall_ns: u64_at(bytes, 80),
        block_size: u32_at(bytes, 88),
        atom_size: u32_at(bytes, 92),
    })
}

/// An atom of the label's run, found anywhere: sound, and making sense.
pub(crate) fn sound(label: &Label, atom: &[u8]) -> Read<Tag> {
    if number(atom, 0, 4) != u64::from(crc32c(&[&atom[4..]])) {
        return Err("checksum");
    }
    let tag = tag(atom)?;
    if tag.run != label.run {
        return Err("another run");
    }
    let values = (1..=3).contains(&tag.promise) && tag.digest <= 1;
    let geometry = (tag.block_size, tag.atom_size, tag.digest) == (label.block_size, label.atom, label.digest);
    let place = tag.index < label.block_size / label.atom && tag.block < label.blocks();
    if !values || !geometry || !place || tag.durable > tag.seq || block_of(label, tag.seq) != tag.block {
        return Err("no sense");
    }
    Ok(tag)
}

/// The block that write `seq` goes to.
pub(crate) fn block_of(label: &Label, seq: u64) -> u64 {
    let n = label.blocks();
    let (pass, position) = (seq / n, seq % n);
    if label.order == 0 { position } else { Random::new(n, label.run).block(pass, position) }
}

/// All that there is to say about a block as it was read: each atom's tag, and whether it is what its tag demands.
pub(crate) fn block(label: &Label, block: u64, bytes: &[u8]) -> Vec<Read<Tag>> {
    (0..)
        .zip(bytes.chunks(label.atom as usize))
        .map(|(index, atom)| {
            let tag = sound(label, atom)?;
            if (tag.block, tag.index) != (block, index) {
                return Err("misdirected");
            }
            let rebuilt = payload(&tag);
            // The digest stands over the first four words.
            let from = if tag.digest == 1 && index == 0 { 32 } else { 0 };
            if atom[96 + from..] != rebuilt[from..] { Err("payload") } else { Ok(tag) }
        })
        .collect()
}

/// The payload that a tag demands, 96 bytes less than an atom.
pub(crate) fn payload(tag: &Tag) -> Vec<u8> {
    let s = seed(tag);
    let mut bytes = Vec::new();
    let mut i = 0;
    while bytes.len() < tag.atom_size as usize - 96 {
        bytes.extend(word(s, i).to_le_bytes());
        i += 1;
    }
    bytes
}

pub(crate) fn seed(tag: &Tag) -> u64 {
    let k = run_key(tag.run).1;
    let s = mix(k[0] ^ tag.block);
    let s = mix(s.wrapping_add(k[1]) ^ tag.seq);
    let s = mix(s.wrapping_add(k[2]) ^ tag.epoch);
    let s = mix(s ^ tag.nonce);
    mix(s.wrapping_add(k[3]) ^ u64::from(tag.index))
}

pub(crate) fn word(s: u64, i: u64) -> u64 {
    let x = s.wrapping_add((i + 1).wrapping_mul(0x9DFD_8885_DF6E_2B55));
    let x = x.wrapping_add((x & 0xFFFF_FFFF).wrapping_mul(0x8114_E992));
    let x = x ^ (x >> 28);
    let x = x.wrapping_add((x & 0xFFFF_FFFF).wrapping_mul(0xEF79_069E));
    x ^ (x >> 33)
}

/// The digest that belongs into the first atom of a block.
pub(crate) fn digest(run: [u8; 16], block: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(&run_key(run).0);
    hasher.update(&block[4..96]).update(&block[128..]);
    *hasher.finalize().as_bytes()
}

/// A whole atom made from its tag alone, where it carries no digest.
pub(crate) fn rebuild(first_96: &[u8]) -> Read<Vec<u8>> {
    let tag = tag(first_96)?;
    let mut atom = first_96[..96].to_vec();
    atom.extend(payload(&tag));
    Ok(atom)
}
