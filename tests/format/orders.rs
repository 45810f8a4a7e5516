//! Pass orders of the crate, computed both ways by the page.

use proptest::prelude::*;
use scrubd::schedule::Schedule;
use scrubd::vocabulary::{Block, Digest, Order, RunId, Seq};

use super::decoder::atom::block_of;
use super::decoder::order::Random;
use super::labels::decoded;
use super::{RUN, geometry};

fn schedule(blocks: u64, order: Order, run: RunId) -> Schedule {
    Schedule::new(&geometry(blocks, 4096, 512, order, Digest::Crc32c), run)
}

#[test]
fn small_regions_are_gone_through_in_the_order_of_the_page() {
    for blocks in (1..40).chain([63, 64, 65, 1000]) {
        let (schedule, random) = (schedule(blocks, Order::Random, RUN), Random::new(blocks, RUN.0));
        for pass in [0, 1, 2, 1 << 30] {
            for position in 0..blocks {
                let block = random.block(pass, position);
                assert_eq!(schedule.block_of(Seq(pass * blocks + position)), Block(block));
                assert_eq!(random.position(pass, block), position);
                assert_eq!(schedule.write_in_pass(pass, Block(block)), Some(Seq(pass * blocks + position)));
            }
        }
    }
}

#[test]
fn in_sequence_position_i_is_block_i() {
    let geometry = geometry(7, 4096, 512, Order::Sequential, Digest::Crc32c);
    for seq in 0..50 {
        assert_eq!(Schedule::new(&geometry, RUN).block_of(Seq(seq)), Block(seq % 7));
        assert_eq!(block_of(&decoded(&geometry), seq), seq % 7);
    }
}

proptest! {
    #[test]
    fn regions_of_any_size_are_too(run: [u8; 16], blocks in 1_u64..1 << 50, bits in 0_u32..50, seq: u64) {
        let blocks = (blocks >> bits).max(1);
        let schedule = schedule(blocks, Order::Random, RunId(run));
        let block = Random::new(blocks, run).block(seq / blocks, seq % blocks);
        prop_assert_eq!(schedule.block_of(Seq(seq)), Block(block));
        prop_assert_eq!(Random::new(blocks, run).position(seq / blocks, block), seq % blocks);
        prop_assert_eq!(schedule.write_in_pass(seq / blocks, Block(block)), Some(Seq(seq)));
    }
}
