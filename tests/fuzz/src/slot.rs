//! A ledger slot: the envelope, and the checkpoint within. What is decoded encodes to what
//! decodes the same; an envelope that was changed anywhere is not believed.

use scrubd::ledger::Checkpoint;
use scrubd::ledger::slots::{Expected, IdentityHash, SlotBytes, newest_valid, seal};

use super::RUN;

pub fn holds(bytes: &[u8]) {
    let owner = Expected { run_id: RUN, identity: IdentityHash::of("fuzzed") };
    envelope(bytes, &owner);
    checkpoint(bytes);
    enveloped(bytes, &owner);
}

fn envelope(bytes: &[u8], owner: &Expected) {
    let slots = [SlotBytes::Read(bytes.to_vec()), SlotBytes::Missing];
    let choice = newest_valid(&slots, owner);
    assert_eq!(choice, newest_valid(&slots, owner), "judging twice");
    choice.remarks().iter().for_each(super::told);
    if let Some(saved) = choice.newest() {
        let again = seal(saved.number, owner, &saved.payload).expect("it was in a slot");
        assert!(bytes.starts_with(again.as_bytes()), "there is one way to write a slot");
    }
}

fn checkpoint(bytes: &[u8]) {
    match Checkpoint::decode(7, bytes) {
        Ok(decoded) => {
            assert_eq!(decoded.number, 7);
            let again = decoded.encode();
            assert_eq!(Checkpoint::decode(7, &again).as_ref(), Ok(&decoded));
            assert!(again.len() <= bytes.len() && again[..24] == bytes[..24], "{decoded:?}");
            assert!(decoded.durable() <= decoded.reserved, "{decoded:?}");
        }
        Err(inconsistent) => super::told(&inconsistent),
    }
}

/// The bytes as a payload come back; with any bit flipped, the one that the first two bytes name, nothing does.
fn enveloped(bytes: &[u8], owner: &Expected) {
    let Ok(sealed) = seal(9, owner, bytes) else { return };
    let read = |slot: &[u8]| {
        let choice = newest_valid(&[SlotBytes::Missing, SlotBytes::Read(slot.to_vec())], owner);
        choice.newest().map(|saved| (saved.number, saved.payload.clone()))
    };
    assert_eq!(read(sealed.as_bytes()), Some((9, bytes.to_vec())));
    let mut flipped = sealed.as_bytes().to_vec();
    let at = bytes.iter().take(2).fold(0, |at, byte| at << 8 | usize::from(*byte)) % (flipped.len() * 8);
    flipped[at / 8] ^= 1 << (at % 8);
    assert_eq!(read(&flipped), None, "bit {at} was flipped");
}
