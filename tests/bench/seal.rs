//! How fast a core seals, inspects and surveys: `cargo bench --bench seal`. Medians of several rounds, taken in turn.
//!
//! Printed beside it is what the same core does with a plain copy and with the checksum alone, so that the figures can
//! be read as ratios: absolute ones drift with the machine.

use std::hint::black_box;
use std::time::{Duration, Instant};

use scrubd::ledger::{Ledger, Recovered};
use scrubd::tag::Inspector;
use scrubd::vocabulary::{Claim, Digest, Epoch, Geometry, Issue, Order, Promise, RunId, Seq};

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(60);

fn rate(bytes: usize, mut work: impl FnMut()) -> f64 {
    let (start, mut done) = (Instant::now(), 0u64);
    while start.elapsed() < ROUND {
        for _ in 0..4 {
            work();
        }
        done += 4 * bytes as u64;
    }
    done as f64 / start.elapsed().as_secs_f64() / f64::from(1u32 << 30)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn main() {
    println!("GiB/s of one core, medians of {ROUNDS} rounds in turn");
    println!(
        "{:>10} {:>6} {:>8} | {:>7} {:>7} {:>7} {:>9} {:>8}",
        "block", "atom", "digest", "copy", "crc32c", "seal", "inspect", "survey"
    );
    for digest in [Digest::Crc32c, Digest::Blake3] {
        for (block_size, atom) in [(4096, 512), (4096, 4096), (65536, 512), (65536, 4096), (1 << 20, 4096)] {
            let length = (1 << 20) + 16 * u64::from(block_size);
            let geometry = Geometry { offset: 0, length, block_size, atom, order: Order::Random, digest };
            let run = RunId([1; 16]);
            let inspector = Inspector::new(geometry, run);
            let ledger = ledger(&inspector, geometry);
            let seq = Seq(0);
            let block = inspector.schedule().block_of(seq);
            let claim = claim(seq, ledger.epoch());
            let legal = ledger.legal(block);
            let size = block_size as usize;
            let (mut bytes, mut copy) = (vec![0; size], vec![0; size]);
            inspector.sealer().seal(block, &claim, &mut bytes);
            let good = bytes.clone();
            let mut samples = [const { Vec::new() }; 5];
            for _ in 0..ROUNDS {
                samples[0].push(rate(size, || copy.copy_from_slice(black_box(&good))));
                samples[1].push(rate(size, || {
                    good.chunks(atom as usize).for_each(|atom| _ = black_box(crc32c::crc32c(&atom[4..])));
                }));
                samples[2].push(rate(size, || inspector.sealer().seal(block, black_box(&claim), &mut bytes)));
                samples[3].push(rate(size, || _ = black_box(inspector.inspect(black_box(&good), &legal))));
                samples[4].push(rate(size, || _ = black_box(inspector.survey(black_box(&good), block))));
            }
            let [copy, sum, seal, inspect, survey] = samples.map(median);
            println!(
                "{block_size:>10} {atom:>6} {:>8} | {copy:>7.1} {sum:>7.1} {seal:>7.1} {inspect:>9.1} {survey:>8.1}",
                format!("{digest:?}"),
            );
        }
    }
}

fn claim(seq: Seq, epoch: Epoch) -> Claim {
    let issue = Issue { seq, epoch };
    Claim { issue, durable: Seq(0), promise: Promise::Flush, checkpoint: 1, wall_ns: 1 }
}

/// A ledger that has issued its first write.
fn ledger(inspector: &Inspector, geometry: Geometry) -> Ledger {
    let first = scrubd::ledger::Checkpoint::first(Promise::Flush, 0);
    let schedule = scrubd::schedule::Schedule::new(&geometry, inspector.sealer().run());
    let recovered = Recovered::from_saved(schedule, first);
    let mut ledger = recovered.restart(&scrubd::ledger::Attestation::default(), false);
    ledger.begin_epoch(Epoch { number: 1, nonce: 1 }, Promise::Flush);
    ledger.saved(2, Seq(8));
    ledger.issue(Seq(0));
    ledger.complete(Seq(0));
    ledger
}
