//! What a seed decides beforehand: the world, the settings, and the script of all that goes wrong.

use scrubd::engine::{FlushEvery, Mode, OnFinding, OnStart, Settings, Then, TriggerIo};
use scrubd::sim::{At, Fault, NEVER, Pace, Planned, Random, Script, WorldSettings};
use scrubd::vocabulary::{Block, Digest, Order, Promise};

use crate::history::{Before, RUN, geometry};

pub struct Plan {
    pub settings: Settings,
    pub world: WorldSettings,
    pub before: Vec<Before>,
    pub script: Script,
    pub cuts: u64,
    pub promise_changes: bool,
    /// Two copies that a cut may leave different.
    pub mirrored: bool,
    /// Power failed in the first save of `init`: the label is there, the state is not.
    pub never_saved: bool,
    /// The state directory is lost, damaged or put back, so many times in a thousand, at each turn.
    pub state_trouble: u64,
}

/// From this seed on histories have an engine with as many operations as the daemon gives it at the most.
pub const MORE_OPERATIONS: u64 = 1 << 40;

impl Plan {
    pub fn of(seed: u64, honest: bool, hashed: bool, random: &mut Random) -> Self {
        let blocks = random.pick(&[1, 2, 3, 5, 8, 13, 40]);
        let (block_size, atom) =
            random.pick(&[(4096, 4096), (4096, 2048), (4096, 1024), (4096, 512), (8192, 4096), (16384, 2048)]);
        let order = random.pick(&[Order::Sequential, Order::Random]);
        let digest = if random.chance(150) { Digest::Blake3 } else { Digest::Crc32c };
        let mut settings = settings(honest, blocks, u64::from(block_size), random);
        if seed >= MORE_OPERATIONS {
            settings.more_operations = 3 * settings.queue_depth;
        }
        let protected = settings.promise == Promise::Ack || random.chance(100);
        let world = WorldSettings {
            geometry: geometry(blocks, block_size, atom, order, digest),
            run: RUN,
            seed,
            // A drive that claims a protection that it does not have is a liar of its own kind.
            power_loss_protected: protected && (honest || random.chance(700)),
            failed_flush_shows: random.chance(500),
            pace: pace(random),
            hashed,
        };
        let before = random.pick(&[
            &[Before::Zeros][..],
            &[Before::Garbage],
            &[Before::OtherRun],
            &[Before::Zeros, Before::Garbage, Before::OtherRun],
        ]);
        let cuts = random.between(1, 5);
        let span = cuts * (blocks + 10);
        let mut script = Script::default();
        if !honest {
            // A script's first entry counts: lies go before honest failures.
            for _ in 0..random.between(1, 3) {
                let Planned { at, fault } = lie(random, blocks, span * 2, settings.deadline_ns);
                script.plan(at, fault);
            }
        }
        honest_troubles(&mut script, random, cuts, span);
        Plan {
            settings,
            world,
            before: before.to_vec(),
            script,
            cuts,
            promise_changes: random.chance(200),
            mirrored: honest && random.chance(150),
            never_saved: random.chance(30),
            state_trouble: random.pick(&[0, 0, 50, 300]),
        }
    }
}

fn settings(honest: bool, blocks: u64, size: u64, random: &mut Random) -> Settings {
    let promise = random.pick(&[Promise::Flush, Promise::Flush, Promise::Flush, Promise::Fua, Promise::Ack]);
    let flush_every = match random.below(3) {
        0 => FlushEvery::Nanoseconds(random.pick(&[100_000, 1_000_000, 5_000_000])),
        _ => FlushEvery::Bytes(size * random.pick(&[1, 2, 3, 5, 8, 16, 50])),
    };
    let on_finding = match (honest, random.below(4)) {
        (true, _) | (_, 0) => OnFinding::Stop,
        (_, 1) => OnFinding::Trigger,
        _ => OnFinding::Continue,
    };
    Settings {
        mode: if random.chance(500) { Mode::BurnIn } else { Mode::Powercut },
        promise,
        queue_depth: random.pick(&[1, 2, 3, 4, 8, 16, 32]),
        more_operations: 0,
        span_bytes: random.pick(&[0, 2, 3, 256]) * size as u32,
        flush_every,
        retention: random.chance(500),
        readback_lag: random.pick(&[0, size, 3 * size, 1 << 30]),
        rereads: random.pick(&[0, 1, 3]),
        on_start: random.pick(&[OnStart::AfterCut, OnStart::AfterCut, OnStart::Window, OnStart::Always]),
        on_finding,
        // Above the slowest save of any pace, a hundred times 100 ms: a save past its deadline ends a run.
        deadline_ns: if honest { 60_000_000_000 } else { random.pick(&[60_000_000_000, 12_000_000_000]) },
        rate: random.chance(100).then_some(1 << 24),
        patrol: scrubd::schedule::Pace::default(),
        passes: None,
        ignore_state: false,
        trigger_writes: random.chance(200).then(|| 1 + random.below(2 * blocks)),
        trigger_command: random.chance(500),
        trigger_io: random.pick(&[TriggerIo::Continue, TriggerIo::Hold, TriggerIo::Drain, TriggerIo::Flush]),
        trigger_then: random.pick(&[Then::Exit, Then::Resume]),
    }
}

fn pace(random: &mut Random) -> Pace {
    let scale = random.pick(&[1, 1, 10, 100]);
    let usual = Pace::USUAL;
    Pace {
        io: (usual.io.0 * scale, usual.io.1 * scale),
        flush: (usual.flush.0 * scale, usual.flush.1 * scale),
        save: if random.chance(300) { (1_000_000, 100_000_000) } else { usual.save },
        slow_per_mille: random.pick(&[0, 5, 50]),
        batch: random.pick(&[1, 4, 16]),
        ..usual
    }
}

/// What a disk, a kernel and a state directory may do without breaking any promise of the disk.
fn honest_troubles(script: &mut Script, random: &mut Random, cuts: u64, span: u64) {
    for _ in 0..random.below(4) {
        script.plan(At::Nth(random.below(span / 2)), Fault::FailedFlush);
    }
    for _ in 0..random.below(4) {
        script.plan(At::Nth(random.below(span * 2)), Fault::FailedWrite);
    }
    for _ in 0..random.below(3) {
        script.plan(At::Nth(random.below(cuts * 4)), Fault::FailedSave);
    }
    match random.below(10) {
        0 => script.plan(At::Every(random.between(1, 4)), Fault::LyingSave),
        1 => script.plan(At::From(random.below(cuts * 4)), Fault::LyingSave),
        2 if random.chance(300) => script.plan(At::From(random.between(1, cuts * 4)), Fault::FailedSave),
        _ => {}
    }
    for _ in 0..random.below(4) {
        let often = At::Every(random.between(1, 20));
        let bytes = random.pick(&[0, 1, 511, 512, 1000, 4096, 5000, 8192, 12_288]);
        let late_ns = random.pick(&[1_000_000, 100_000_000, 900_000_000]);
        let (at, fault) = match random.below(10) {
            8 => (At::Nth(random.below(span * 2)), Fault::DeviceGone),
            0 => (often, Fault::ShortWrite(bytes)),
            // A read that moves nothing has met the end.
            1 => (often, Fault::ShortRead(bytes.max(1))),
            2 => (often, Fault::InterruptedWrite(1 + random.below(10) as u32)),
            3 => (often, Fault::InterruptedRead(1 + random.below(8) as u32)),
            4 => (often, Fault::LateWrite(late_ns)),
            5 => (often, Fault::LateRead(late_ns)),
            6 => (often, Fault::LateFlush(late_ns)),
            7 => (At::Nth(random.below(cuts * 4)), Fault::LateSave(late_ns * 300)),
            _ => continue,
        };
        script.plan(at, fault);
    }
}

fn lie(random: &mut Random, blocks: u64, span: u64, deadline_ns: u64) -> Planned {
    let nth = At::Nth(random.below(span));
    let late_ns = random.pick(&[NEVER, 3 * deadline_ns]);
    let (at, fault) = match random.below(24) {
        0 | 1 => (At::Every(1), Fault::LyingFlush),
        2 => (At::Every(random.between(2, 5)), Fault::LyingFlush),
        3 => (At::Nth(random.below(span / 4)), Fault::LyingFlush),
        4 | 5 => (nth, Fault::LostWrite),
        6 => (nth, Fault::PartialWrite(random.word())),
        7 => (nth, Fault::MisdirectedWrite(Block(random.below(blocks)))),
        8 => (nth, Fault::BitFlip),
        9 => (nth, Fault::Zeroed),
        10 => (nth, Fault::OldContent),
        11 => (nth, Fault::TornContent(random.word())),
        12 => (nth, Fault::Shorn),
        13 => (nth, if random.chance(500) { Fault::ReadError } else { Fault::UnreadableBlock }),
        14 => (nth, Fault::EndOfFile),
        15 => (nth, Fault::GarbledRead),
        16 => (nth, Fault::UnstableBlock),
        17 => (nth, Fault::BitRot),
        18 => (nth, Fault::Phantom),
        19 => (nth, Fault::Foreign),
        20 => (nth, Fault::OtherGeometry),
        21 => (nth, Fault::LateWrite(late_ns)),
        22 => (nth, if random.chance(800) { Fault::LateRead(late_ns) } else { Fault::InterruptedRead(20) }),
        _ => (At::Nth(random.below(span / 4)), Fault::LateFlush(late_ns)),
    };
    Planned { at, fault }
}
