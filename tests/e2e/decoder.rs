//! A second decoder of tag and slot, written from the tables at the head of `src/tag/format.rs`, `src/ledger/slots.rs` and
//! `src/ledger/checkpoint.rs`. It shares no code with the program, so that a test does not expect what the program computes.

/// Where the data of a region at offset 0 begins.
pub(crate) const DATA: u64 = 1 << 20;

/// What one atom says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) sound: bool,
    pub(crate) atom: u32,
    pub(crate) run: String,
    pub(crate) block: u64,
    pub(crate) seq: u64,
    pub(crate) epoch: u64,
    pub(crate) durable: u64,
    pub(crate) checkpoint: u64,
    pub(crate) block_size: u32,
    pub(crate) atom_size: u32,
}

/// The tag of an atom; `None` where there is none.
pub(crate) fn tag(atom: &[u8]) -> Option<Tag> {
    if &atom[4..8] != b"scrb" || u16_at(atom, 8) != 1 {
        return None;
    }
    Some(Tag {
        sound: u32_at(atom, 0) == crc32c(&atom[4..]),
        atom: u32_at(atom, 12),
        run: hex(&atom[16..32]),
        block: u64_at(atom, 32),
        seq: u64_at(atom, 40),
        epoch: u64_at(atom, 48),
        durable: u64_at(atom, 64),
        checkpoint: u64_at(atom, 72),
        block_size: u32_at(atom, 88),
        atom_size: u32_at(atom, 92),
    })
}

/// A saved ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) number: u64,
    pub(crate) run: String,
    pub(crate) clean: bool,
    pub(crate) durable: u64,
    pub(crate) reserved: u64,
}

/// The ledger in a slot; `None` where there is none that is whole.
pub(crate) fn slot(bytes: &[u8]) -> Option<Slot> {
    if bytes.len() < 4096 || &bytes[0..8] != b"SCRUBLGR" || u16_at(bytes, 8) != 1 {
        return None;
    }
    let payload_length = u32_at(bytes, 12) as usize;
    let whole = bytes.get(..(128 + payload_length).div_ceil(4096) * 4096)?;
    let mut covered = whole[..96].to_vec();
    covered.extend(&whole[128..]);
    if blake3::hash(&covered).as_bytes() != &whole[96..128] {
        return None;
    }
    let payload = &whole[128..];
    Some(Slot {
        number: u64_at(bytes, 16),
        run: hex(&bytes[24..40]),
        clean: payload[1] == 1,
        durable: u64_at(payload, 16),
        reserved: u64_at(payload, 24),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// CRC-32C (Castagnoli), bit by bit: reflected polynomial 82F63B78, all ones before and after.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[test]
fn the_checksum_is_that_of_rfc_3720() {
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
