//! Inspectors that ignore one field of the tag, each in turn. Of a block that was written, one field is changed and the
//! checksum made to fit, so that nothing but that field tells; the whole inspector must name it. The mutant sees the
//! block through a lens that puts that one field back, and must miss it.

use scrubd::engine::{FlushEvery, Mode, OnFinding, Outcome, Settings};
use scrubd::ledger::{Checkpoint, State};
use scrubd::report::Judgement;
use scrubd::sim::{Origin, Pace, Random, Script, World, WorldSettings};
use scrubd::tag::{Class, seal_atom};
use scrubd::vocabulary::{Block, Digest, Order, Promise};

use crate::history::{Before, Make, RUN, geometry, initial, real};
use crate::oracles;

const BLOCKS: u64 = 4;
const SIZE: usize = 4096;
const ATOM: usize = 1024;
const HURT: Block = Block(1);

/// How the fault of a field must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// As a finding of this name.
    As(Class),
    /// As a ledger that is older than the disk.
    AsStale,
    /// Not at all: nothing is judged by it.
    Nowhere,
}

/// One field of the tag, what is done to it, and how that must show.
pub struct Field {
    pub name: &'static str,
    pub at: std::ops::Range<usize>,
    pub change: fn(&mut [u8]),
    /// The checksum is made to fit.
    pub resealed: bool,
    pub digest: Digest,
    /// Atoms before this one are left alone.
    pub first: usize,
    pub shows: Shows,
}

fn add(bytes: &mut [u8], by: i64) {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    let changed = u64::from_le_bytes(word).wrapping_add_signed(by).to_le_bytes();
    bytes.copy_from_slice(&changed[..bytes.len()]);
}

fn field(name: &'static str, at: std::ops::Range<usize>, change: fn(&mut [u8]), shows: Shows) -> Field {
    Field { name, at, change, resealed: true, digest: Digest::Crc32c, first: 0, shows }
}

/// Every field of an atom. The offsets are those of the manual page, written down once more.
pub fn all() -> Vec<Field> {
    let corrupt = Shows::As(Class::Corrupt);
    vec![
        Field { resealed: false, ..field("checksum", 0..4, |bytes| bytes[0] ^= 1, corrupt) },
        field("magic", 4..8, |bytes| bytes[3] ^= 1, corrupt),
        field("version", 8..10, |bytes| add(bytes, 1), corrupt),
        field("promise", 10..11, |bytes| bytes[0] = 9, corrupt),
        // A tag of this run in a geometry that is not this target's.
        field("digest kind", 11..12, |bytes| bytes[0] ^= 1, Shows::As(Class::Foreign)),
        field("atom index", 12..16, |bytes| bytes[0] ^= 1, Shows::As(Class::Misdirected)),
        Field {
            first: 1,
            ..field("atom index, behind a right first one", 12..16, |b| b[0] ^= 1, Shows::As(Class::Misdirected))
        },
        field("run id", 16..32, |bytes| bytes[7] ^= 1, Shows::As(Class::Foreign)),
        field("block", 32..40, |bytes| add(bytes, 1), corrupt),
        field("seq, one pass older", 40..48, |bytes| add(bytes, -(BLOCKS as i64)), Shows::As(Class::LostWrite)),
        field("seq, a write of nobody", 40..48, |bytes| add(bytes, (BLOCKS as i64) << 20), Shows::As(Class::Phantom)),
        field("epoch", 48..56, |bytes| add(bytes, -1), Shows::As(Class::LostWrite)),
        field("nonce", 56..64, |bytes| bytes[5] ^= 1, Shows::AsStale),
        field("durable frontier", 64..72, |bytes| add(bytes, 1 << 20), corrupt),
        field("checkpoint", 72..80, |bytes| add(bytes, 1 << 20), Shows::AsStale),
        // Clocks decide nothing: they jump, and a tag that was sealed in the future is no lie of the disk.
        field("wall clock", 80..88, |bytes| add(bytes, 1 << 40), Shows::Nowhere),
        Field { resealed: false, ..field("wall clock, torn off its checksum", 80..88, |b| add(b, 1 << 40), corrupt) },
        field("block size", 88..92, |bytes| add(bytes, 1), Shows::As(Class::Foreign)),
        field("atom size", 92..96, |bytes| add(bytes, 1), Shows::As(Class::Foreign)),
        Field { resealed: false, ..field("payload", 200..208, |bytes| bytes[3] ^= 4, corrupt) },
        // Behind a checksum that fits, only the digest tells.
        Field { digest: Digest::Blake3, ..field("payload, under the digest", 200..208, |b| b[3] ^= 4, corrupt) },
        Field { digest: Digest::Blake3, ..field("digest", 96..128, |bytes| bytes[9] ^= 1, corrupt) },
    ]
}

/// The suite's judgement of an inspector on this field: whole, or through a lens that hides the change.
///
/// # Errors
/// When the block is not called what it must be called.
pub fn judged_right(field: &Field, blind: bool, make: Make<'_>) -> Result<(), String> {
    let mut world = written(field.digest)?;
    let whole: Vec<u8> = world.disk.shown(HURT)[0].bytes.clone();
    let mut hurt = whole.clone();
    for atom in hurt.chunks_mut(ATOM).skip(field.first) {
        (field.change)(&mut atom[field.at.clone()]);
        if field.resealed {
            seal_atom(atom);
        }
    }
    if blind {
        let (at, resealed) = (field.at.clone(), field.resealed);
        world.lens = Some(Box::new(move |block, bytes| {
            if block != HURT {
                return;
            }
            for (seen, whole) in bytes.chunks_mut(ATOM).zip(whole.chunks(ATOM)) {
                seen[at.clone()].copy_from_slice(&whole[at.clone()]);
                if resealed {
                    seal_atom(seen);
                }
            }
        }));
    }
    world.disk.plant(HURT, Origin::Before, hurt);
    let judgement = check(&mut world, make)?;
    let named: Vec<_> = judgement.findings.iter().map(|finding| (finding.block, finding.class)).collect();
    let right = match field.shows {
        Shows::As(class) => judgement.state == State::Current && named == [(HURT, class)],
        Shows::AsStale => judgement.state == State::Stale && named.is_empty(),
        Shows::Nowhere => judgement.state == State::Current && named.is_empty(),
    };
    match right {
        true => Ok(()),
        false => Err(format!(
            "oracle right_name: {} is changed and must show {:?}: {:?} {named:?}",
            field.name, field.shows, judgement.state
        )),
    }
}

fn settings(mode: Mode) -> Settings {
    Settings {
        mode,
        passes: (mode != Mode::Check).then_some(3),
        queue_depth: 4,
        flush_every: FlushEvery::Bytes(SIZE as u64),
        on_finding: OnFinding::Continue,
        ..Settings::default()
    }
}

/// A region that was written three times over and stopped cleanly.
fn written(digest: Digest) -> Result<World, String> {
    let geometry = geometry(BLOCKS, SIZE as u32, ATOM as u32, Order::Sequential, digest);
    let world = WorldSettings {
        geometry,
        run: RUN,
        seed: 1,
        power_loss_protected: false,
        failed_flush_shows: false,
        pace: Pace::USUAL,
        hashed: false,
    };
    let disk = initial(&geometry, &[Before::Zeros], &mut Random::new(1));
    let first = Checkpoint::first(Promise::Flush, 0);
    // What is planted is nothing that the disk did: only the judgement is asked, and no oracle of the disk.
    let mut world = World::new(world, disk, Script::default(), &first, oracles::of_the_engine());
    world.start(&settings(Mode::Powercut), true, &real)?;
    match world.run_to_exit()? {
        Outcome::Kept => Ok(world),
        other => Err(format!("an honest run ended {other:?}")),
    }
}

fn check(world: &mut World, make: Make<'_>) -> Result<Judgement, String> {
    world.start(&settings(Mode::Check), true, make)?;
    world.run_to_exit()?;
    Ok(world.judgements.last().ok_or("a check without a verdict")?.clone())
}

/// A write whose completion takes longer than the deadline must be reported as stuck, while it is.
///
/// # Errors
/// When nobody says so.
pub fn stuck_is_told(make: Make<'_>) -> Result<(), String> {
    let geometry = geometry(BLOCKS, SIZE as u32, ATOM as u32, Order::Sequential, Digest::Crc32c);
    let slow = Pace { io: (10_000_000_000, 20_000_000_000), slow_per_mille: 0, ..Pace::USUAL };
    let world = WorldSettings {
        geometry,
        run: RUN,
        seed: 1,
        power_loss_protected: false,
        failed_flush_shows: false,
        pace: slow,
        hashed: false,
    };
    let disk = initial(&geometry, &[Before::Zeros], &mut Random::new(1));
    let first = Checkpoint::first(Promise::Flush, 0);
    let mut world = World::new(world, disk, Script::default(), &first, oracles::of_the_engine());
    let impatient = Settings { deadline_ns: 1_000_000_000, ..settings(Mode::Powercut) };
    world.start(&impatient, true, make)?;
    world.run(&mut |world| world.truth().writes().iter().any(|write| write.completed))?;
    let told =
        world.reports.iter().any(|report| report.class == Class::Unreadable && report.detail.starts_with("stuck"));
    match told {
        true => Ok(()),
        false => Err("oracle stuck: a write took ten deadlines, and nobody said so".into()),
    }
}
