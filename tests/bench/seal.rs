//! What one core does a block: `cargo bench --bench seal`, or one group of it with `-- inspect`.
//!
//! Throughputs are of the block; what does not depend on its size is told in time alone. Beside sealing and judging stands
//! what the same core does with a plain copy and with the checksum alone, so that figures can be read as ratios: absolute
//! ones drift with the machine. `cargo test --benches` runs each body once.

use std::hint::black_box;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use scrubd::ledger::slots::{Expected, IdentityHash, seal as seal_slot};
use scrubd::ledger::{Attestation, Checkpoint, Ledger, MAX_WINDOW, Recovered};
use scrubd::pool::{self, Pool, Spec};
use scrubd::schedule::Schedule;
use scrubd::tag::{Inspector, Verdict};
use scrubd::vocabulary::{Block, Claim, Digest, Epoch, Geometry, Issue, Now, Order, Promise, RunId, Seq};

const RUN: RunId = RunId([1; 16]);
const BLOCKS: u64 = 1 << 20;
const NOW: Now = Now { mono_ns: 1, wall_ns: 1 };

/// Block size, atom, digest.
const SHAPES: [(u32, u32, Digest); 7] = [
    (4096, 512, Digest::Crc32c),
    (4096, 4096, Digest::Crc32c),
    (65536, 512, Digest::Crc32c),
    (65536, 4096, Digest::Crc32c),
    (1 << 20, 4096, Digest::Crc32c),
    (4096, 4096, Digest::Blake3),
    (1 << 20, 4096, Digest::Blake3),
];

fn geometry(block_size: u32, atom: u32, digest: Digest, blocks: u64) -> Geometry {
    let length = (1 << 20) + blocks * u64::from(block_size);
    Geometry { offset: 0, length, block_size, atom, order: Order::Random, digest }
}

/// A ledger in its first epoch that has issued and completed so many writes, and flushed none of them.
fn ledger(geometry: &Geometry, writes: u64) -> Ledger {
    let schedule = Schedule::new(geometry, RUN);
    let recovered = Recovered::from_saved(schedule, Checkpoint::first(Promise::Flush, 0));
    let mut ledger = recovered.restart(&Attestation::default(), false);
    ledger.begin_epoch(Epoch { number: 1, nonce: 1 }, Promise::Flush);
    ledger.saved(2, Seq(writes));
    for seq in 0..writes {
        ledger.issue(Seq(seq));
        ledger.complete(Seq(seq));
    }
    ledger
}

fn claim(ledger: &Ledger, seq: Seq) -> Claim {
    let issue = Issue { seq, epoch: ledger.epoch() };
    Claim { issue, durable: Seq(0), promise: Promise::Flush, checkpoint: 2, wall_ns: 1 }
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    group
}

fn contents(criterion: &mut Criterion) {
    for (block_size, atom, digest) in SHAPES {
        let shape = format!("{block_size}/{atom}/{digest:?}").to_lowercase();
        let geometry = geometry(block_size, atom, digest, 16);
        let inspector = Inspector::new(geometry, RUN);
        let ledger = ledger(&geometry, 8);
        let seq = Seq(0);
        let block = inspector.schedule().block_of(seq);
        let (claim, legal) = (claim(&ledger, seq), ledger.legal(block));
        let (mut bytes, mut copy) = (vec![0; block_size as usize], vec![0; block_size as usize]);
        inspector.sealer().seal(block, &claim, &mut bytes);
        let good = bytes.clone();
        assert!(
            inspector.inspect(&good, &legal).verdict == Verdict::Intact,
            "what is timed is the judging of a good block"
        );
        let mut group = group(criterion, &shape);
        group.throughput(Throughput::Bytes(block_size.into()));
        group.bench_function("copy", |run| run.iter(|| copy.copy_from_slice(black_box(&good))));
        group.bench_function("crc32c alone", |run| {
            run.iter(|| good.chunks(atom as usize).fold(0, |sum, atom| sum ^ crc32c::crc32c(black_box(&atom[4..]))));
        });
        group.bench_function("seal", |run| run.iter(|| inspector.sealer().seal(block, black_box(&claim), &mut bytes)));
        group.bench_function("inspect", |run| run.iter(|| inspector.inspect(black_box(&good), black_box(&legal))));
        group.bench_function("survey", |run| run.iter(|| inspector.survey(black_box(&good), block)));
        group.finish();
    }
}

/// In 16 GiB of 4 KiB blocks, and in 16 TiB: state is O(1), and so is what is computed instead of remembered.
fn order(criterion: &mut Criterion) {
    let mut group = group(criterion, "order");
    for blocks in [BLOCKS << 2, BLOCKS << 12] {
        let schedule = Schedule::new(&geometry(4096, 4096, Digest::Crc32c, blocks), RUN);
        let mut at = 0;
        let mut next = move || {
            at = (at + 1) % blocks;
            at
        };
        let of = |what: &str| BenchmarkId::new(what, format!("{blocks} blocks"));
        group.bench_function(of("write to block"), |run| run.iter(|| schedule.block_of(Seq(next()))));
        group.bench_function(of("block to write"), |run| run.iter(|| schedule.write_in_pass(1, Block(next()))));
        group.bench_function(of("newest below a frontier"), |run| {
            run.iter(|| schedule.newest_below(Seq(blocks + blocks / 2), Block(next())));
        });
    }
    group.finish();
}

fn legality(criterion: &mut Criterion) {
    let mut group = group(criterion, "ledger");
    let geometry = geometry(4096, 4096, Digest::Crc32c, BLOCKS);
    let schedule = Schedule::new(&geometry, RUN);
    for writes in [64, MAX_WINDOW] {
        let ledger = ledger(&geometry, writes);
        let of = |what: &str| BenchmarkId::new(what, format!("window of {writes}"));
        let blocks: Vec<_> = (0..writes).map(|seq| schedule.block_of(Seq(seq))).collect();
        let mut turn = blocks.iter().cycle();
        group.bench_function(of("legal set"), |run| run.iter(|| ledger.legal(*turn.next().expect("endless"))));
        group.bench_function(of("checkpoint"), |run| run.iter(|| ledger.checkpoint(3, Seq(writes), false, NOW)));
        let checkpoint = ledger.checkpoint(3, Seq(writes), false, NOW);
        group.bench_function(of("encode"), |run| run.iter(|| checkpoint.encode()));
        let owner = Expected { run_id: RUN, identity: IdentityHash::of("bench") };
        let payload = checkpoint.encode();
        group.bench_function(of("seal a slot"), |run| run.iter(|| seal_slot(3, &owner, &payload).expect("it fits")));
    }
    group.finish();
}

/// As large as a job with its buffer, its operation and its claim.
struct Job(#[expect(dead_code, reason = "it is only to be moved")] [u64; 8]);

impl pool::Job for Job {
    fn bytes(&self) -> usize {
        4096
    }
}

/// Through a pool and back, with work that takes no time: a full queue of 64 jobs, and one job alone.
fn hand_over(criterion: &mut Criterion) {
    let mut group = group(criterion, "hand-over");
    for threads in [0, 1, 2] {
        for jobs in [1, 64] {
            let (bell, heard) = sync_channel(1);
            let spec = Spec { name: "verify", threads, cpus: None, capacity: 64 };
            // A full bell is a bell that rings.
            let notify = move || bell.try_send(()).unwrap_or_default();
            let mut pool = Pool::start(spec, |job: Job| job, notify).expect("workers");
            let (mut ready, mut done) = ((0..jobs).map(|job| Job([job; 8])).collect(), Vec::new());
            group.throughput(Throughput::Elements(jobs));
            group.bench_function(BenchmarkId::new(format!("{threads} workers"), format!("{jobs} jobs")), |run| {
                run.iter(|| there_and_back(&mut pool, &mut ready, &mut done, &heard));
            });
        }
    }
    group.finish();
}

fn there_and_back(pool: &mut Pool<Job, Job>, ready: &mut Vec<Job>, done: &mut Vec<Job>, bell: &Receiver<()>) {
    let jobs = ready.len();
    pool.submit(ready);
    loop {
        pool.collect(done).expect("no worker dies of this");
        if done.len() == jobs {
            return std::mem::swap(ready, done);
        }
        bell.recv().expect("each batch of results rings the bell");
    }
}

criterion_group!(benches, contents, order, legality, hand_over);
criterion_main!(benches);
