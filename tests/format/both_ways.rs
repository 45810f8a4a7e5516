//! What the crate writes it reads as the same, whatever it says; with a flipped bit or cut short it reads nothing.
//!
//! Slots, checkpoints, event logs and `target.json` have the same beside their readers.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use scrubd::daemon::protocol::{LINE_MAX, REQUEST_MAX, Request, RequestLine, Response};
use scrubd::daemon::{RingReport, StatusReport, WorkerReport};
use scrubd::engine::{Status, StuckIo};
use scrubd::tag::{Tag, checksum_holds, seal_atom};
use scrubd::target::{Identity, Kind, Label};
use scrubd::vocabulary::{Block, Claim, Digest, Epoch, Geometry, Issue, LABEL_AREA, Order, Promise, RunId, Seq};

const REQUESTS: [Request; 6] =
    [Request::Status, Request::Trigger, Request::Pause, Request::Resume, Request::Stop, Request::Reload];

fn run_id() -> impl Strategy<Value = RunId> {
    any::<[u8; 16]>().prop_map(RunId)
}

fn digest() -> impl Strategy<Value = Digest> {
    select(vec![Digest::Crc32c, Digest::Blake3])
}

fn geometry() -> impl Strategy<Value = Geometry> {
    let order = select(vec![Order::Sequential, Order::Random]);
    let sizes = (9_u32..=12, 12_u32..=22).prop_map(|(atom, block)| (1_u32 << atom, 1_u32 << block));
    (sizes, 0_u64..1 << 40, 1_u64..1 << 30, 0_u64..8, order, digest()).prop_map(
        |((atom, block_size), offset, blocks, rest, order, digest)| {
            let length = LABEL_AREA + blocks * u64::from(block_size) + rest * u64::from(atom);
            let geometry = Geometry { offset: offset * u64::from(atom), length, block_size, atom, order, digest };
            geometry.validate().expect("a geometry");
            geometry
        },
    )
}

/// "None" and "" are the same length on the disk. At four bytes a character, 63 are within the 254 bytes of a field.
fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("\\PC{1,63}")
}

fn label() -> impl Strategy<Value = Label> {
    let kind = select(vec![Kind::File, Kind::Disk, Kind::Partition, Kind::Loop]);
    let identity = (kind, text(), text(), text(), any::<u64>(), any::<u64>()).prop_map(
        |(kind, serial, wwn, model, size, start)| {
            let partition_start = (kind == Kind::Partition).then_some(start);
            Identity { kind, serial, wwn, model, size, partition_start }
        },
    );
    (run_id(), geometry(), identity, any::<u64>(), any::<u64>()).prop_map(
        |(run_id, geometry, identity, generation, created_unix_ns)| Label {
            run_id,
            geometry,
            identity,
            generation,
            created_unix_ns,
        },
    )
}

fn tag() -> impl Strategy<Value = Tag> {
    let promise = select(vec![Promise::Ack, Promise::Fua, Promise::Flush]);
    let claim =
        (any::<[u64; 6]>(), promise).prop_map(|([seq, number, nonce, durable, checkpoint, wall_ns], promise)| {
            let issue = Issue { seq: Seq(seq), epoch: Epoch { number, nonce } };
            Claim { issue, durable: Seq(durable), promise, checkpoint, wall_ns }
        });
    (run_id(), any::<u64>(), any::<[u32; 3]>(), claim, digest()).prop_map(
        |(run, block, [atom, block_size, atom_size], claim, digest)| Tag {
            run,
            block: Block(block),
            atom,
            claim,
            digest,
            block_size,
            atom_size,
        },
    )
}

fn status() -> impl Strategy<Value = StatusReport> {
    // JSON has no exact halves of everything: quarters come back as they are.
    let quarters = || any::<u32>().prop_map(|n| f64::from(n) / 4.0);
    let stuck = (".*", proptest::option::of(any::<u64>()), quarters());
    let stuck = stuck.prop_map(|(operation, offset, age_s)| StuckIo { operation, offset, age_s });
    let cpus = || prop::collection::vec(any::<usize>(), 0..5);
    let worker = (".*", proptest::option::of(cpus()), cpus());
    let worker =
        worker.prop_map(|(thread, cpus_asked, cpus_allowed)| WorkerReport { thread, cpus_asked, cpus_allowed });
    let engine = (".*", any::<[u64; 4]>(), quarters(), proptest::option::of(stuck)).prop_map(
        |(phase, [durable, next, findings, cuts], progress, oldest_stuck)| Status {
            phase,
            progress,
            durable: Seq(durable),
            next: Seq(next),
            findings,
            cuts,
            oldest_stuck,
            ..Status::default()
        },
    );
    let texts = (".*", ".*", proptest::option::of(".*"), prop::collection::vec(".*", 0..4));
    (texts, run_id(), any::<u32>(), quarters(), engine, prop::collection::vec(worker, 0..4)).prop_map(
        |((target, path, verdict, warnings), run_id, pid, uptime_s, engine, workers)| StatusReport {
            schema: 1,
            target,
            path,
            run_id,
            pid,
            version: "0.1.0".to_owned(),
            started: "2026-01-01T00:00:00Z".to_owned(),
            uptime_s,
            engine,
            ring: RingReport::default(),
            workers,
            rates: Default::default(),
            latencies: Default::default(),
            verdict,
            warnings,
        },
    )
}

fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        status().prop_map(|status| Response::Status { status: Box::new(status) }),
        any::<String>().prop_map(|message| Response::Accepted { message }),
        any::<String>().prop_map(|message| Response::Refused { message }),
    ]
}

fn flip(bytes: &mut [u8], at: Index) {
    let bit = at.index(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}

proptest! {
    #[test]
    fn a_label_is_read_as_it_was_written_or_not_at_all(label in label(), at: Index, cut: Index) {
        let record = label.encode();
        prop_assert_eq!(Label::decode(&record), Ok(label));
        let mut flipped = record;
        flip(&mut flipped, at);
        prop_assert!(Label::decode(&flipped).is_err());
        let mut short = record;
        short[cut.index(record.len())..].fill(0);
        prop_assert!(short == record || Label::decode(&short).is_err());
    }

    #[test]
    fn a_tag_is_read_as_it_was_written_and_its_checksum_notices_the_rest(
        tag in tag(), payload in prop::collection::vec(any::<u8>(), 0..600), at: Index, cut: Index,
    ) {
        let mut atom = [&[0; scrubd::tag::TAG_SIZE][..], &payload].concat();
        tag.write(&mut atom);
        seal_atom(&mut atom);
        prop_assert!(checksum_holds(&atom));
        prop_assert_eq!(Tag::read(&atom), Some(tag));
        let length = cut.index(atom.len());
        prop_assert!(length >= scrubd::tag::TAG_SIZE || Tag::read(&atom[..length]).is_none());
        flip(&mut atom, at);
        prop_assert!(!checksum_holds(&atom));
    }

    #[test]
    fn an_answer_is_one_line_that_is_understood_as_it_was_meant_or_not_at_all(answer in response(), cut: Index) {
        let line = serde_json::to_vec(&answer).expect("plain values");
        prop_assert!(line.len() < LINE_MAX && !line.contains(&b'\n'));
        let heard: Response = serde_json::from_slice(&line).expect("its own words");
        prop_assert_eq!(&heard, &answer);
        prop_assert!(serde_json::from_slice::<Response>(&line[..cut.index(line.len())]).is_err());
    }
}

/// A request does something: all that it could become is tried.
#[test]
fn a_request_with_a_flipped_bit_or_cut_short_is_never_another_request() {
    let mut refused = 0;
    for request in REQUESTS.map(|request| RequestLine { request }) {
        let line = serde_json::to_vec(&request).expect("a plain name");
        assert!(line.len() <= REQUEST_MAX);
        assert_eq!(serde_json::from_slice::<RequestLine>(&line).expect("its own words"), request);
        assert!((0..line.len()).all(|length| serde_json::from_slice::<RequestLine>(&line[..length]).is_err()));
        for bit in 0..line.len() * 8 {
            let mut flipped = line.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match serde_json::from_slice::<RequestLine>(&flipped) {
                Ok(heard) => assert_eq!(heard, request, "bit {bit}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 0);
}
