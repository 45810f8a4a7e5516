//! Labels as the crate writes them, read by the page.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use scrubd::target::{Access, Identity, InitPlan, Kind, Label, Spec};
use scrubd::vocabulary::{Digest, Order, RunId};

use super::decoder::label::{COPIES, SIZE, choose, read};
use super::decoder::{self, label};
use super::{RUN, geometry};

pub(super) fn sample() -> Label {
    let identity = Identity {
        kind: Kind::Partition,
        serial: Some("S3Z8NB0K é".into()),
        wwn: Some("naa.5000c500a1b2c3d4".into()),
        model: None,
        size: 0x0102_0304_0506_0708,
        partition_start: Some(0x1112_1314),
    };
    let geometry = geometry(77, 65_536, 4096, Order::Random, Digest::Blake3);
    Label { run_id: RUN, geometry, identity, generation: 7, created_unix_ns: 1_767_225_600_000_000_001 }
}

/// The label of a geometry, as the decoder has it: from the bytes that the crate makes of it.
pub(super) fn decoded(geometry: &scrubd::vocabulary::Geometry) -> label::Label {
    read(&Label { geometry: *geometry, ..sample() }.encode()).expect("a label")
}

#[test]
fn every_field_of_a_label_is_where_the_page_says() {
    let written = sample();
    let found = read(&written.encode()).unwrap();
    assert_eq!((found.order, found.digest, found.kind), (1, 1, 3));
    assert_eq!((found.run, found.generation, found.created), (RUN.0, 7, 1_767_225_600_000_000_001));
    assert_eq!((found.offset, found.length), (written.geometry.offset, written.geometry.length));
    assert_eq!((found.block_size, found.atom, found.blocks()), (65_536, 4096, 77));
    assert_eq!((found.target_size, found.partition_start), (0x0102_0304_0506_0708, 0x1112_1314));
    let texts = (found.serial.as_str(), found.wwn.as_str(), found.model.as_str());
    assert_eq!(texts, ("S3Z8NB0K é", "naa.5000c500a1b2c3d4", ""));
    for block in [0, 1, 76] {
        let block_of_the_crate = scrubd::vocabulary::Block(block);
        assert_eq!(found.offset_of_block(block), written.geometry.offset_of(block_of_the_crate));
    }
}

#[test]
fn kinds_orders_and_digests_are_the_bytes_of_the_page() {
    for (kind, byte) in [(Kind::File, 1), (Kind::Disk, 2), (Kind::Partition, 3), (Kind::Loop, 4)] {
        for (order, order_byte) in [(Order::Sequential, 0), (Order::Random, 1)] {
            for (digest, digest_byte) in [(Digest::Crc32c, 0), (Digest::Blake3, 1)] {
                let mut label = sample();
                label.identity.kind = kind;
                label.identity.partition_start = label.identity.partition_start.filter(|_| kind == Kind::Partition);
                (label.geometry.order, label.geometry.digest) = (order, digest);
                let found = read(&label.encode()).unwrap();
                assert_eq!((found.kind, found.order, found.digest), (byte, order_byte, digest_byte));
                assert_eq!(found.partition_start, if byte == 3 { 0x1112_1314 } else { 0 });
            }
        }
    }
}

#[test]
fn any_flipped_bit_of_a_label_is_noticed() {
    let whole = sample().encode();
    for bit in 0..SIZE * 8 {
        let mut damaged = whole;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(read(&damaged), Err("hash" | "no label")), "bit {bit}");
    }
}

#[test]
fn the_copy_that_holds_is_the_one_that_the_crate_takes() {
    let newer = Label { generation: 8, run_id: RunId([9; 16]), ..sample() };
    let contradiction = Label { run_id: RunId([9; 16]), ..sample() };
    let mut torn = sample().encode();
    torn[2048..].fill(0xEE);
    let mut future = sample().encode();
    future[8] = 2;
    let hash = decoder::blake3(&[&future[..4064]]);
    future[4064..].copy_from_slice(&hash);
    let copies = [sample().encode(), newer.encode(), contradiction.encode(), torn, future, [0; SIZE]];
    for a in &copies {
        for b in &copies {
            let crate_says = scrubd::target::newest([Label::decode(a), Label::decode(b)]);
            match (choose([a, b]), crate_says) {
                (Ok(ours), Ok(theirs)) => {
                    assert_eq!((ours.run, ours.generation), (theirs.label.run_id.0, theirs.label.generation));
                }
                (ours, theirs) => assert!(ours.is_err() && theirs.is_err(), "{ours:?} {theirs:?}"),
            }
        }
    }
}

#[test]
fn init_puts_both_copies_where_the_page_says_and_either_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("target");
    let plan = InitPlan {
        length: Some(4 << 20),
        block_size: 65_536,
        atom: Some(512),
        order: Order::Sequential,
        digest: Digest::Crc32c,
        run_id: RUN,
        now_unix_ns: 5,
        confirm: None,
    };
    let spec = Spec { path: Some(path.clone()), serial: None, offset: 8192 };
    drop(scrubd::target::init(&spec, &plan, Duration::ZERO).unwrap());
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let copies = || {
        COPIES.map(|at| {
            let mut copy = [0; SIZE];
            file.read_exact_at(&mut copy, 8192 + at).unwrap();
            copy
        })
    };
    let [first, second] = copies();
    assert_eq!(first, second);
    let label = choose([&first, &second]).unwrap();
    assert_eq!((label.run, label.offset, label.length, label.created), (RUN.0, 8192, 4 << 20, 5));
    assert_eq!((label.generation, label.kind, label.identity().as_str()), (1, 1, "file"));
    for at in COPIES {
        file.write_all_at(&[0xEE; 512], 8192 + at + 1024).unwrap();
        let [first, second] = copies();
        assert_eq!(choose([&first, &second]).ok().as_ref(), Some(&label).filter(|_| at == 0));
        let crate_says = scrubd::target::open(&spec, Access::ReadOnly, Duration::ZERO, None);
        assert_eq!(crate_says.is_ok(), at == 0);
    }
}
