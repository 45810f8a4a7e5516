//! The legal set by brute force: every tiny history of issue, completion, flush, save and cut, and after each of them
//! every disk that an honest device may leave, atom by atom. None may be called broken; and every disk in which an atom
//! of a saved guarantee is older than that must be.
//!
//! What an honest disk may leave is computed here, from sets of versions, without the ledger; ledger and inspector are
//! what is tested.

use std::collections::{HashMap, HashSet};

use scrubd::ledger::{Attestation, Checkpoint, Ledger, Recovered};
use scrubd::schedule::Schedule;
use scrubd::tag::{Claims, Inspector, Verdict};
use scrubd::vocabulary::{Block, Claim, Digest, Epoch, Geometry, Issue, LABEL_AREA, Now, Order, Promise, RunId, Seq};

const ATOM: usize = 2048;
const ATOMS: usize = 2;
const NOW: Now = Now { mono_ns: 1, wall_ns: 1 };

/// A version of a block: 0 is what was there before, the others are issues, by their place in the list.
type Id = u8;
/// What each atom of the disk holds, block after block.
type Disk = Vec<[Id; ATOMS]>;

#[derive(Clone, Copy)]
enum Step {
    Issue,
    Complete(Id),
    SubmitFlush,
    FlushSucceeds,
    Save,
}

#[derive(Clone)]
struct World {
    ledger: Ledger,
    saved: Checkpoint,
    /// Of each block, the newest version that a saved checkpoint guarantees.
    saved_guarantee: Vec<Id>,
    promised: Vec<Id>,
    next: Seq,
    claims: Vec<Claim>,
    media: Disk,
    in_flight: Vec<Id>,
    completed: Vec<Id>,
    covered: Option<Vec<Id>>,
}

struct Explorer {
    inspector: Inspector,
    blocks: usize,
    seen: HashSet<Vec<u8>>,
    surveys: HashMap<Vec<u8>, Claims>,
    verdicts: HashMap<Vec<u8>, bool>,
    honest: u64,
    broken: u64,
    proved_by_the_disk: u64,
}

impl Explorer {
    fn new(blocks: usize, order: Order) -> Self {
        let (block_size, length) = ((ATOM * ATOMS) as u32, LABEL_AREA + (blocks * ATOM * ATOMS) as u64);
        let geometry = Geometry { offset: 0, length, block_size, atom: ATOM as u32, order, digest: Digest::Crc32c };
        Explorer {
            inspector: Inspector::new(geometry, RunId([3; 16])),
            blocks,
            seen: HashSet::new(),
            surveys: HashMap::new(),
            verdicts: HashMap::new(),
            honest: 0,
            broken: 0,
            proved_by_the_disk: 0,
        }
    }

    fn schedule(&self) -> &Schedule {
        self.inspector.schedule()
    }

    fn block_of(&self, world: &World, id: Id) -> usize {
        self.schedule().block_of(world.claims[usize::from(id) - 1].issue.seq).0 as usize
    }

    /// A world in which nothing was written yet and the first epoch is open.
    fn first(&self) -> World {
        let saved = Checkpoint::first(Promise::Flush, 0);
        let ledger = Ledger::restart(*self.schedule(), Promise::Flush, &saved, Seq(0), Seq(0));
        let none = vec![0; self.blocks];
        let mut world = World {
            ledger,
            saved,
            saved_guarantee: none.clone(),
            promised: none,
            next: Seq(0),
            claims: Vec::new(),
            media: vec![[0; ATOMS]; self.blocks],
            in_flight: Vec::new(),
            completed: Vec::new(),
            covered: None,
        };
        world.open_epoch(1);
        world
    }

    /// Goes through all worlds that `steps` lead to, judging all disks of each; after that goes on with one more epoch
    /// per entry of `later`, from every disk that a cut can leave.
    fn explore(&mut self, world: World, steps: u32, later: &[u32]) {
        let mut frontier = vec![world];
        let mut reached = Vec::new();
        for _ in 0..=steps {
            let mut next = Vec::new();
            for world in frontier {
                if !self.seen.insert(key(&world)) {
                    continue;
                }
                for step in self.possible(&world) {
                    let mut then = world.clone();
                    self.take(&mut then, step);
                    next.push(then);
                }
                reached.push(world);
            }
            frontier = next;
        }
        for world in reached {
            for disk in self.disks(&world) {
                let recovered = self.judge(&world, &disk);
                if let Some((steps, later)) = later.split_first() {
                    let after = self.restarted(&world, disk, &recovered);
                    self.explore(after, *steps, later);
                }
            }
        }
    }

    fn possible(&self, world: &World) -> Vec<Step> {
        let mut steps: Vec<Step> = world.in_flight.iter().map(|id| Step::Complete(*id)).collect();
        let block = self.schedule().block_of(world.next).0 as usize;
        let busy = world.in_flight.iter().any(|id| self.block_of(world, *id) == block);
        if !busy && world.ledger.may_issue(world.next) {
            steps.push(Step::Issue);
        }
        match &world.covered {
            Some(_) => steps.push(Step::FlushSucceeds),
            None if world.ledger.unflushed() > 0 => steps.push(Step::SubmitFlush),
            None => {}
        }
        let unsaved = world.ledger.checkpoint(0, world.reservation(), false, NOW);
        let fresh = unsaved.window != world.saved.window || unsaved.reserved != world.saved.reserved;
        if fresh {
            steps.push(Step::Save);
        }
        steps
    }

    fn take(&self, world: &mut World, step: Step) {
        match step {
            Step::Issue => {
                world.ledger.issue(world.next);
                world.claims.push(Claim {
                    issue: Issue { seq: world.next, epoch: world.ledger.epoch() },
                    durable: world.ledger.durable(),
                    promise: Promise::Flush,
                    checkpoint: world.ledger.checkpoint_number(),
                    wall_ns: 1,
                });
                world.in_flight.push(world.claims.len() as Id);
                world.next = world.next.next();
            }
            Step::Complete(id) => {
                world.in_flight.retain(|other| *other != id);
                world.completed.push(id);
                world.ledger.complete(world.claims[usize::from(id) - 1].issue.seq);
            }
            Step::SubmitFlush => {
                world.covered = Some(world.completed.clone());
                world.ledger.flush_submitted();
            }
            Step::FlushSucceeds => {
                for id in world.covered.take().expect("a flush is in flight") {
                    // In the order of completion: of two versions of a block the later one is what the flush keeps.
                    let block = self.block_of(world, id);
                    world.media[block] = [id; ATOMS];
                    world.promised[block] = id;
                    world.completed.retain(|other| *other != id);
                }
                world.ledger.flush_succeeded(NOW);
            }
            Step::Save => world.save(),
        }
    }

    /// Every disk that a cut may leave: each atom on its own is what the media hold or any version that is volatile.
    fn disks(&self, world: &World) -> Vec<Disk> {
        let mut disks = vec![Vec::new()];
        for block in 0..self.blocks {
            let volatile = world.completed.iter().chain(&world.in_flight);
            let volatile: Vec<Id> = volatile.copied().filter(|id| self.block_of(world, *id) == block).collect();
            let choices = |atom: usize| volatile.iter().copied().chain([world.media[block][atom]]);
            let mixtures: Vec<[Id; ATOMS]> =
                choices(0).flat_map(|first| choices(1).map(move |second| [first, second])).collect();
            disks = disks
                .iter()
                .flat_map(|disk| mixtures.iter().map(|mixture| [&disk[..], &[*mixture]].concat()))
                .collect();
        }
        disks
    }

    /// No honest disk is broken, and with an atom that is older than a saved guarantee it is.
    fn judge(&mut self, world: &World, disk: &Disk) -> Recovered {
        let recovered = self.recover(world, disk);
        for block in 0..self.blocks {
            self.honest += 1;
            assert!(
                !self.is_broken(world, &recovered, block, disk[block]),
                "a false alarm on block {block} of {disk:?}: {:?}\nclaims {:#?}\nsaved {:#?}",
                recovered.legal(Block(block as u64)),
                world.claims,
                world.saved
            );
            let guarantee = world.saved_guarantee[block];
            for (atom, older) in (0..ATOMS).flat_map(|atom| (0..guarantee).map(move |older| (atom, older))) {
                if older != 0 && self.block_of(world, older) != block {
                    continue;
                }
                let mut worse = disk.clone();
                worse[block][atom] = older;
                let recovered = self.recover(world, &worse);
                self.broken += 1;
                assert!(
                    self.is_broken(world, &recovered, block, worse[block]),
                    "missed: block {block} of {worse:?} must hold {guarantee} or later: {:?}\nclaims {:#?}\nsaved {:#?}",
                    recovered.legal(Block(block as u64)),
                    world.claims,
                    world.saved
                );
            }
        }
        recovered
    }

    fn attestation(&mut self, world: &World, disk: &Disk) -> Attestation {
        let mut attestation = Attestation::default();
        for (block, atoms) in disk.iter().enumerate() {
            let key = contents_key(world, block, *atoms);
            if !self.surveys.contains_key(&key) {
                let bytes = self.bytes(world, block, *atoms);
                let claims = self.inspector.survey(&bytes, Block(block as u64));
                self.surveys.insert(key.clone(), claims);
            }
            self.surveys[&key].iter().for_each(|(claim, atoms)| attestation.add(claim, *atoms, Promise::Flush));
        }
        attestation
    }

    fn recover(&mut self, world: &World, disk: &Disk) -> Recovered {
        let mut recovered = Recovered::from_saved(*self.schedule(), world.saved.clone());
        recovered.attest(&self.attestation(world, disk));
        self.proved_by_the_disk += u64::from(recovered.durable() > world.saved.durable());
        recovered
    }

    fn is_broken(&mut self, world: &World, recovered: &Recovered, block: usize, atoms: [Id; ATOMS]) -> bool {
        let legal = recovered.legal(Block(block as u64));
        let mut key = contents_key(world, block, atoms);
        key.extend(format!("{:?}{:?}{:?}", legal.rule, legal.reserved, legal.epochs).bytes());
        if let Some(broken) = self.verdicts.get(&key) {
            return *broken;
        }
        let bytes = self.bytes(world, block, atoms);
        let broken = matches!(self.inspector.inspect(&bytes, &legal).verdict, Verdict::Broken(_));
        self.verdicts.insert(key, broken);
        broken
    }

    fn bytes(&self, world: &World, block: usize, atoms: [Id; ATOMS]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (atom, id) in (0..).zip(atoms) {
            match id {
                0 => bytes.extend([0; ATOM]),
                id => {
                    let claim = &world.claims[usize::from(id) - 1];
                    bytes.extend(self.inspector.sealer().rebuild_atom(Block(block as u64), atom, claim));
                }
            }
        }
        bytes
    }

    /// The next start: P = D, in a new epoch whose checkpoint is durable before anything is issued.
    fn restarted(&mut self, world: &World, disk: Disk, recovered: &Recovered) -> World {
        let attestation = self.attestation(world, &disk);
        let mut after = World {
            ledger: recovered.restart(&attestation, true),
            next: recovered.durable(),
            media: disk,
            in_flight: Vec::new(),
            completed: Vec::new(),
            covered: None,
            ..world.clone()
        };
        // What the disk attested to is saved with the new epoch, and guaranteed from then on. Numbers at or above P are
        // issued again: nothing is held to what became of them before.
        for block in 0..self.blocks {
            let below = |id: &Id| world.claims[usize::from(*id) - 1].issue.seq < recovered.durable();
            let promised = world.promised[block];
            let newest = (1..=promised).rev().find(|id| self.block_of(world, *id) == block && below(id));
            after.promised[block] = newest.unwrap_or(0);
        }
        after.open_epoch(recovered.next_epoch(&attestation));
        after
    }
}

impl World {
    fn reservation(&self) -> Seq {
        Seq(self.next.0 + 3).min(self.ledger.reservable()).max(self.ledger.reserved())
    }

    fn save(&mut self) {
        let (number, reserved) = (self.ledger.checkpoint_number() + 1, self.reservation());
        let saved = self.ledger.checkpoint(number, reserved, false, NOW);
        self.saved = Checkpoint::decode(number, &saved.encode()).expect("what was saved can be read");
        assert_eq!(self.saved, saved);
        self.ledger.saved(number, reserved);
        self.saved_guarantee.clone_from(&self.promised);
    }

    fn open_epoch(&mut self, number: u64) {
        self.ledger.begin_epoch(Epoch { number, nonce: number * 7 }, Promise::Flush);
        self.save();
    }
}

/// What tells two worlds apart.
fn key(world: &World) -> Vec<u8> {
    let mut key = world.ledger.checkpoint(0, world.ledger.reserved(), false, NOW).encode();
    key.extend(world.saved.encode());
    key.extend(
        format!(
            "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}",
            world.saved_guarantee,
            world.promised,
            world.next,
            world.claims,
            world.media,
            world.in_flight,
            world.completed,
            world.covered
        )
        .bytes(),
    );
    key
}

fn contents_key(world: &World, block: usize, atoms: [Id; ATOMS]) -> Vec<u8> {
    let mut key = vec![block as u8];
    for id in atoms {
        let claim = usize::from(id).checked_sub(1).map(|at| &world.claims[at]);
        let words = claim.map_or([0; 5], |claim| {
            [
                1 + claim.issue.seq.0,
                claim.issue.epoch.number,
                claim.issue.epoch.nonce,
                claim.durable.0,
                claim.checkpoint,
            ]
        });
        words.iter().for_each(|word| key.extend(word.to_le_bytes()));
    }
    key
}

fn exhaust(blocks: usize, order: Order, steps: u32, later: &[u32]) {
    let mut explorer = Explorer::new(blocks, order);
    let first = explorer.first();
    explorer.explore(first, steps, later);
    println!(
        "{blocks} blocks, {steps} and {later:?} steps: {} worlds, {} blocks of honest disks, {} of broken ones, {} times the disk proved more",
        explorer.seen.len(),
        explorer.honest,
        explorer.broken,
        explorer.proved_by_the_disk
    );
    assert!(explorer.honest > 1000 && explorer.broken > 1000 && explorer.proved_by_the_disk > 0);
}

#[test]
fn one_block_through_two_cuts() {
    exhaust(1, Order::Sequential, 9, &[6]);
}

#[test]
fn one_block_through_three_cuts() {
    exhaust(1, Order::Sequential, 6, &[5, 5]);
}

#[test]
fn two_blocks_and_one_cut() {
    exhaust(2, Order::Sequential, 11, &[]);
}

#[test]
fn two_blocks_through_two_cuts() {
    exhaust(2, Order::Random, 7, &[4]);
}

#[test]
fn three_blocks_and_one_cut() {
    exhaust(3, Order::Sequential, 10, &[]);
}
