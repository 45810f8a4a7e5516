//! THE LABEL.

use super::{Read, blake3, number, run_at, u32_at, u64_at};

pub(crate) const COPIES: [u64; 2] = [0, 524_288];
pub(crate) const SIZE: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) order: u8,
    pub(crate) digest: u8,
    pub(crate) kind: u8,
    pub(crate) run: [u8; 16],
    pub(crate) generation: u64,
    pub(crate) created: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) block_size: u32,
    pub(crate) atom: u32,
    pub(crate) target_size: u64,
    pub(crate) partition_start: u64,
    pub(crate) serial: String,
    pub(crate) wwn: String,
    pub(crate) model: String,
}

impl Label {
    pub(crate) fn blocks(&self) -> u64 {
        (self.length - 1_048_576) / u64::from(self.block_size)
    }

    pub(crate) fn offset_of_block(&self, block: u64) -> u64 {
        self.offset + 1_048_576 + block * u64::from(self.block_size)
    }

    /// What a slot's identity is the BLAKE3 of.
    pub(crate) fn identity(&self) -> String {
        if self.kind == 1 {
            return "file".to_owned();
        }
        format!("device\n{}\n{}\n{}\n{}", self.serial, self.wwn, self.target_size, self.partition_start)
    }
}

pub(crate) fn read(copy: &[u8]) -> Read<Label> {
    if copy.len() != SIZE || &copy[..8] != b"SCRUBLBL" {
        return Err("no label");
    }
    if blake3(&[&copy[..4064]]) != copy[4064..] {
        return Err("hash");
    }
    match number(copy, 8, 2) {
        0 => return Err("version 0"),
        1 => {}
        _ => return Err("newer"),
    }
    let label = Label {
        order: copy[10],
        digest: copy[11],
        kind: copy[12],
        run: run_at(copy, 16),
        generation: u64_at(copy, 32),
        created: u64_at(copy, 40),
        offset: u64_at(copy, 48),
        length: u64_at(copy, 56),
        block_size: u32_at(copy, 64),
        atom: u32_at(copy, 68),
        target_size: u64_at(copy, 72),
        partition_start: u64_at(copy, 80),
        serial: text(copy, 128)?,
        wwn: text(copy, 384)?,
        model: text(copy, 640)?,
    };
    if label.order > 1 || label.digest > 1 || !(1..=4).contains(&label.kind) {
        return Err("a byte outside its range");
    }
    if !is_region(&label) {
        return Err("no region");
    }
    Ok(label)
}

fn is_region(label: &Label) -> bool {
    let (block_size, atom) = (u64::from(label.block_size), u64::from(label.atom));
    let power = |n: u64| n.count_ones() == 1;
    let sizes = power(block_size)
        && (4096..=4_194_304).contains(&block_size)
        && power(atom)
        && (512..=4096).contains(&atom)
        && atom <= block_size;
    sizes
        && label.offset.checked_add(label.length).is_some_and(|end| end < 1 << 63)
        && label.offset.is_multiple_of(atom)
        && label.length.is_multiple_of(atom)
        && label.length >= 1_048_576 + block_size
}

fn text(copy: &[u8], at: usize) -> Read<String> {
    let length = number(copy, at, 2) as usize;
    if length > 254 {
        return Err("a text that is too long");
    }
    String::from_utf8(copy[at + 2..][..length].to_vec()).map_err(|_| "a text that is not UTF-8")
}

/// The label of a region, of which both copies were read.
pub(crate) fn choose(copies: [&[u8]; 2]) -> Read<Label> {
    match copies.map(read) {
        [Err("newer"), _] | [_, Err("newer")] => Err("newer"),
        [Ok(a), Ok(b)] if a.generation == b.generation && a != b => Err("contradiction"),
        [Ok(a), Ok(b)] => Ok(if a.generation >= b.generation { a } else { b }),
        [Ok(one), Err(_)] | [Err(_), Ok(one)] => Ok(one),
        [Err(why), Err(_)] => Err(why),
    }
}
