//! A label's record: what is decoded encodes to what decodes the same, and what is refused is refused in words.

use scrubd::target::label::RECORD;
use scrubd::target::{Label, newest};

pub fn holds(bytes: &[u8]) {
    let mut record = [0; RECORD];
    let length = bytes.len().min(RECORD);
    record[..length].copy_from_slice(&bytes[..length]);
    decodes(&record);
    let (body, sum) = record.split_at_mut(RECORD - 32);
    sum.copy_from_slice(blake3::hash(body).as_bytes());
    decodes(&record);
}

fn decodes(record: &[u8; RECORD]) {
    let decoded = Label::decode(record);
    assert_eq!(decoded, Label::decode(record), "decoding twice");
    match &decoded {
        Ok(label) => {
            assert_eq!(label.geometry.validate(), Ok(()), "a label's geometry is sound");
            let again = label.encode();
            assert_eq!(Label::decode(&again).as_ref(), Ok(label));
            // What the page calls zero is not interpreted: between these and in the padding of texts.
            for meant in [0..13, 16..80] {
                assert_eq!(again[meant.clone()], record[meant]);
            }
            let both = newest([decoded.clone(), decoded.clone()]).expect("two copies that agree");
            assert!(both.label == *label && both.repairs.is_empty());
        }
        Err(fault) => super::told(fault),
    }
}
