use super::super::finding::Occasion;
use super::*;
use crate::ledger::Guarantee;
use crate::vocabulary::{Digest, Order};

const N: u64 = 1 << 20;

fn geometry() -> Geometry {
    let length = (1 << 20) + N * 65536;
    Geometry { offset: 0, length, block_size: 65536, atom: 512, order: Order::Random, digest: Digest::Crc32c }
}

fn finding(class: Class, block: u64) -> Finding {
    Finding {
        class,
        block: Block(block),
        offset: geometry().offset_of(Block(block)),
        expected_seq: Some(Seq(block)),
        found_seq: None,
        found: None,
        expected: None,
        reads: Vec::new(),
        persistence: Persistence::Persistent,
        proved_by: None,
        known: false,
        detail: String::new(),
        guarantee: None,
        home: None,
        confirmed: None,
        errno: None,
        occasion: Occasion::Check,
        cuts: 0,
        contents: 0,
        wall_ns: 0,
    }
}

fn lost(block: u64, flush: Option<u64>) -> Finding {
    let flush = flush.map(|number| FlushRecord { number, durable: Seq(N), wall_ns: 1_772_366_400_000_000_000 });
    let guarantee = Guarantee { seq: Seq(block), proved_by: ProvedBy::Checkpoint, flush, attested: false };
    Finding { guarantee: Some(guarantee), ..finding(Class::LostWrite, block) }
}

fn astray(block: u64, home: u64, home_lacks: bool) -> Finding {
    let found_seq = Some(Seq(home));
    Finding { home: Some(Block(home)), confirmed: Some(home_lacks), found_seq, ..finding(Class::Misdirected, block) }
}

fn counts(total: u64, findings: u64) -> BlockCounts {
    BlockCounts { total, intact: total - findings, findings, ..BlockCounts::default() }
}

fn causes(findings: impl IntoIterator<Item = Finding>) -> Causes {
    let mut causes = Causes::new(geometry());
    findings.into_iter().for_each(|finding| causes.add(&finding));
    causes
}

fn told(list: &CauseList) -> Vec<&str> {
    list.listed.iter().map(|cause| cause.words.as_str()).collect()
}

fn sum(list: &CauseList) -> u64 {
    list.listed.iter().map(|cause| cause.findings).sum::<u64>() + list.further_findings + list.alone
}

#[test]
fn forty_thousand_writes_lost_by_one_flush_are_one_cause() {
    let torn = Finding { class: Class::Torn, ..lost(500, Some(9182)) };
    let list =
        causes((1000..41_000).map(|block| lost(block, Some(9182))).chain([torn, lost(7, Some(3))])).conclude(None);
    assert_eq!(
        told(&list),
        ["40,001 writes that flush 9182 of 2026-03-01T12:00:00Z guaranteed are lost or torn (writes 500 to 40999, \
          blocks 500 to 40999)"]
    );
    assert_eq!((list.alone, list.further), (1, 0));
}

#[test]
fn writes_without_a_remembered_flush_are_not_put_down_to_one() {
    let running = (0..3).map(|block| finding(Class::LostWrite, block));
    let list = causes((10..20).map(|block| lost(block, None)).chain(running)).conclude(None);
    assert_eq!(list.listed.len(), 2, "{list:?}");
    assert!(list.listed[0].words.starts_with("10 writes whose guarantee the saved ledger shows, by no flush that"));
    assert!(list.listed[1].words.starts_with("3 writes that had completed while scrubd was running"));
}

#[test]
fn a_finding_that_stands_alone_is_given_no_cause() {
    let alone = [lost(1, Some(1)), finding(Class::Zeroed, 9), astray(30, 40, true), finding(Class::Corrupt, 50)];
    let list = causes(alone).conclude(Some(&counts(N, 4)));
    assert_eq!((list.listed.len(), list.alone), (0, 4), "{list:?}");
}

#[test]
fn neighbours_with_one_fault_are_a_range_whatever_the_order_in_which_they_come() {
    let forward = (100..200).filter(|block| block % 2 == 0).map(|block| finding(Class::Zeroed, block));
    let backward = (100..200).rev().filter(|block| block % 2 == 1).map(|block| finding(Class::Zeroed, block));
    let eio = (200..210).map(|block| Finding { errno: Some(5), ..finding(Class::Unreadable, block) });
    let list = causes(forward.chain(backward).chain(eio).chain([finding(Class::Zeroed, 300)])).conclude(None);
    assert_eq!(
        told(&list),
        [
            "blocks 100 to 199, 6.2 MiB from byte 7602176 on, hold constant bytes",
            "blocks 200 to 209, 640.0 KiB from byte 14155776 on, cannot be read: Input/output error (os error 5)",
        ]
    );
    assert_eq!(list.alone, 1);
}

/// What a device shows that takes addresses modulo `period` and was written from 0 to N in order.
fn wrapped(total: u64, period: u64) -> impl Iterator<Item = Finding> {
    (0..total).filter_map(move |block| {
        let newest = block % period + (total - 1 - block % period) / period * period;
        (newest != block).then(|| astray(block, newest, false))
    })
}

#[test]
fn a_device_whose_addresses_wrap_is_said_to_wrap_there() {
    // 64 GiB claimed: a quarter there, then a fraction that does not divide it.
    for (period, words) in
        [(N / 4, "addresses wrap at 16.0 GiB (17179869184 bytes"), (N * 2 / 5, "addresses wrap at 25.6 GiB")]
    {
        let found: Vec<Finding> = wrapped(N, period).collect();
        let list = causes(found.iter().cloned()).conclude(Some(&counts(N, found.len() as u64)));
        assert_eq!((list.listed.len(), sum(&list)), (1, found.len() as u64), "{list:?}");
        assert_eq!(list.listed[0].shared, Shared::Wrap { at_bytes: period * 65536 });
        assert!(list.listed[0].words.starts_with(words), "{list:?}");
    }
}

#[test]
fn it_is_not_said_to_wrap_where_the_findings_say_something_else() {
    let is_wrap = |list: &CauseList| list.listed.iter().any(|cause| matches!(cause.shared, Shared::Wrap { .. }));
    let judged = |total, found: Vec<Finding>| {
        let list = causes(found.iter().cloned()).conclude(Some(&counts(total, found.len() as u64)));
        assert_eq!(sum(&list), found.len() as u64);
        list
    };
    // A stuck address line: pairs of a quarter, and nothing across the middle.
    let quarter = N / 4;
    let stuck =
        (0..N).filter(|block| (block / quarter).is_multiple_of(2)).map(|block| astray(block, block + quarter, false));
    let list = judged(N, stuck.collect());
    assert!(!is_wrap(&list));
    assert!(list.listed[0].words.contains("hold what belongs 16.0 GiB behind them"), "{list:?}");
    // Writes that went astray by a constant distance: their homes lack them.
    assert!(!is_wrap(&judged(1000, (0..500).map(|block| astray(block, block + 500, true)).collect())));
    // One half copied over the other, which was written later: no alias of an address brings back the older write.
    assert!(!is_wrap(&judged(1000, (500..1000).map(|block| astray(block, block - 500, false)).collect())));
    // Too few of them.
    assert!(!is_wrap(&judged(N, (0..1000).map(|block| astray(block, block + 500, false)).collect())));
    assert!(!is_wrap(&judged(16, wrapped(16, 8).collect())));
    // Not the whole region was judged.
    assert!(!is_wrap(&causes(wrapped(N, quarter)).conclude(None)));
}

#[test]
fn what_was_good_when_read_again_is_put_down_to_the_path() {
    let transient =
        (0..5).map(|block| Finding { persistence: Persistence::Transient, ..finding(Class::Corrupt, block) });
    let list = causes(transient).conclude(None);
    assert_eq!(
        told(&list),
        ["5 blocks were corrupt at first and good when read again: the path, not the medium (blocks 0 to 4)"]
    );
}

#[test]
fn a_million_findings_are_all_counted_in_bounded_memory() {
    // Every third block, in an order that jumps about: no two are neighbours, and of each flush there is one more.
    let million = (0..1_000_000u64).map(|i| {
        let block = i.wrapping_mul(7_654_321) % N / 3 * 3;
        match i % 4 {
            0 => finding(Class::Zeroed, block),
            1 => lost(block, Some(i)),
            2 => astray(block, block.wrapping_mul(31) % N, true),
            _ => Finding { errno: Some(5), ..finding(Class::Unreadable, block) },
        }
    });
    let causes = causes(million);
    let kept = causes.lost.len() + causes.ranges.values().map(|ranges| ranges.iter().count()).sum::<usize>();
    assert!(kept <= 256 + 2 * 1024, "{kept}");
    let list = causes.conclude(Some(&counts(N, 1_000_000)));
    assert_eq!(sum(&list), 1_000_000);
    assert_eq!(causes.by_class().values().sum::<u64>(), 1_000_000);
    assert!(list.listed.len() == CAUSES_LISTED && list.further > 0);
    assert!(list.listed.iter().all(|cause| !matches!(cause.shared, Shared::Wrap { .. })));
    let holes = |cause: &Cause| matches!(cause.shared, Shared::Range { whole: true, .. });
    assert!(!list.listed.iter().any(holes), "no two of them were neighbours");
}
