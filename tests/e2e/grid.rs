//! No false alarm, over the whole grid of geometries and promises.

use super::room::{MIB, Room};

const KIB: u64 = 1 << 10;

/// Several passes in two processes, then a check; region of so many blocks.
fn no_false_alarm(blocks: u64, block_size: u64, sets: &[String]) {
    let block = format!("block_size={}KiB", block_size / KIB);
    let lag = format!("verify.readback_lag={}", block_size.max(blocks * block_size / 4));
    let mut all: Vec<&str> = sets.iter().map(String::as_str).collect();
    all.extend([block.as_str(), lag.as_str()]);
    let room = Room::new(MIB + blocks * block_size, &all);
    for passes in ["3", "2"] {
        let ended = room.run(&["--passes", passes, "--json"]).with_code(0).json();
        assert_eq!((&ended["verdict"], ended["findings"].as_array().unwrap().len()), (&"intact".into(), 0), "{all:?}");
    }
    let verdict = room.assert_intact();
    assert_eq!(verdict["blocks"]["total"], blocks);
    assert_eq!(verdict["blocks"]["intact"], blocks, "a clean stop leaves nothing behind: {all:?} {verdict:#}");
    assert!(verdict["frontiers"]["durable"].as_u64() >= Some(5 * blocks), "{all:?} {verdict:#}");
}

fn sets(words: &[(&str, &str)]) -> Vec<String> {
    words.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

fn all_of(block_size: u64, blocks: u64) {
    for atom in ["512", "4096"] {
        for digest in ["crc32c", "blake3"] {
            for promise in ["flush", "fua"] {
                for order in ["sequential", "random"] {
                    let keys = [("atom", atom), ("digest", digest), ("promise", promise), ("order", order)];
                    no_false_alarm(blocks, block_size, &sets(&keys));
                }
            }
        }
    }
}

#[test]
fn no_false_alarm_with_blocks_of_4_kib() {
    all_of(4 * KIB, 250);
}

#[test]
fn no_false_alarm_with_blocks_of_64_kib() {
    all_of(64 * KIB, 33);
}

#[test]
fn no_false_alarm_with_blocks_of_1_mib() {
    all_of(MIB, 7);
}

#[test]
fn no_false_alarm_in_regions_of_a_few_blocks_with_a_deep_queue() {
    for blocks in [1, 2, 3, 5] {
        for promise in ["flush", "fua"] {
            for order in ["sequential", "random"] {
                let keys = [("queue_depth", "32"), ("promise", promise), ("order", order)];
                no_false_alarm(blocks, 4 * KIB, &sets(&keys));
                no_false_alarm(blocks, 64 * KIB, &sets(&keys));
            }
        }
    }
}

#[test]
fn no_false_alarm_with_retention_workers_inline_and_powercut_mode() {
    for keys in [
        [("verify.retention", "true"), ("seal.threads", "2"), ("verify.threads", "2")],
        [("verify.retention", "true"), ("seal.threads", "0"), ("verify.threads", "0")],
        [("mode", "powercut"), ("seal.threads", "1"), ("verify.threads", "0")],
        [("flush_every", "10ms"), ("verify.on_start", "always"), ("queue_depth", "1")],
        [("flush_every", "64KiB"), ("verify.on_start", "window"), ("queue_depth", "256")],
    ] {
        no_false_alarm(33, 64 * KIB, &sets(&keys));
    }
}
