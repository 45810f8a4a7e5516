//! One tiny run, cut after each of its steps; at each cut every disk that it may leave, and every disk of a liar.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use scrubd::ledger::ProvedBy;
use scrubd::sim::{Content, Disk, Origin, SaveFate, Watcher, World, WriteId};
use scrubd::vocabulary::Block;

use super::judge::{Ids, convict, judge, lied};
use super::law::{Law, Ruling};
use super::scribe::{Scribe, Watching};
use super::subsets::Subsets;
use super::tally::Tally;
use super::tiny::{ATOMS, Tiny};
use crate::history::real;
use crate::oracles;

/// How far to go; the arrays by the number of cuts, the present one included.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Subsets of one cut, of honest and of lying disks.
    pub honest: [u64; 3],
    pub lying: [u64; 3],
    /// Of the worlds after a cut, each so-many-th is started again and followed; none where it is 0.
    pub onward: [u64; 3],
    /// Writes of a start after a cut that are followed.
    pub writes: u64,
    /// Beside each cut: the process is killed there, the disk's cache lives on, and the next start is followed.
    pub kills: bool,
}

/// One check in so many has all oracles of the seeded histories looking on.
const WATCHED: u64 = 16;

/// A moment at which power is lost.
struct Cut<'a> {
    world: &'a World,
    scribe: &'a Scribe,
    /// Cuts so far, this one included.
    cuts: usize,
    /// Each fate of the save in flight, and the checkpoint that the next start then loads.
    fates: Vec<(SaveFate, u64)>,
}

struct Explorer {
    tiny: Tiny,
    limits: Limits,
    tally: Tally,
    /// Hashes of the cuts and worlds of the present start that were gone through.
    seen: HashSet<u64>,
    /// Worlds after so many cuts that could be gone on from.
    left: [u64; 3],
}

/// Goes through all of one tiny run.
///
/// # Errors
/// The first world that is judged wrongly.
pub fn explore(tiny: Tiny, limits: Limits) -> Result<Tally, String> {
    let tally = Tally { runs: 1, ..Tally::default() };
    let mut explorer = Explorer { tiny, limits, tally, seen: HashSet::new(), left: [0; 3] };
    let scribe = Rc::default();
    let mut world = tiny.world(watchers(&scribe));
    explorer.live(&mut world, &scribe, 1)?;
    Ok(explorer.tally)
}

fn watchers(scribe: &Rc<RefCell<Scribe>>) -> Vec<Box<dyn Watcher>> {
    let mut watchers = oracles::all(true);
    watchers.push(Box::new(Watching(Rc::clone(scribe))));
    watchers
}

impl Explorer {
    /// One start of the engine: a copy is cut after each step, and it goes on.
    fn live(&mut self, world: &mut World, scribe: &Rc<RefCell<Scribe>>, cuts: usize) -> Result<(), String> {
        world.start(&self.tiny.settings(cuts), true, &real)?;
        loop {
            self.cut_here(world, &scribe.borrow(), cuts)?;
            if !world.is_running() || cuts > 1 && world.writes_of_start > self.limits.writes {
                self.tally.checkpoints_compared += scribe.borrow().saves_compared;
                return Ok(());
            }
            let steps = world.steps();
            world.run(&mut |world| world.steps() > steps)?;
        }
    }

    fn cut_here(&mut self, world: &World, scribe: &Scribe, cuts: usize) -> Result<(), String> {
        self.tally.cut_points += 1;
        let outcomes = outcomes(&world.disk);
        let newest = world.slots.clone().load().map_or(0, |checkpoint| checkpoint.number);
        let promised = world.truth().writes().iter().filter(|write| write.promised).count();
        if !self.is_new(&("cut", &outcomes, newest, world.save_in_flight(), promised)) {
            return Ok(());
        }
        let fates = match world.save_in_flight() {
            None => vec![(SaveFate::Absent, newest)],
            Some(saving) => vec![(SaveFate::Absent, newest), (SaveFate::Torn, newest), (SaveFate::Landed, saving)],
        };
        self.tally.distinct_cuts += 1;
        let volatile = outcomes.iter().map(|choices| choices.len() - 1).sum();
        self.tally.most_volatile_atoms = self.tally.most_volatile_atoms.max(volatile);
        let cut = Cut { world, scribe, cuts, fates };
        self.honest(&cut, &outcomes)?;
        self.lying(&cut, promised)?;
        if self.limits.kills && cuts == 1 && world.is_running() { self.kill_here(&cut) } else { Ok(()) }
    }

    /// The process is killed; some of what was in flight lands in the cache. What the next start is shown there, a cut
    /// may yet take back.
    fn kill_here(&mut self, cut: &Cut<'_>) -> Result<(), String> {
        let mut world = cut.world.fork(Vec::new());
        world.kill()?;
        let loaded = world.slots.clone().load().map_or(0, |checkpoint| checkpoint.number);
        let blocks = (0..self.tiny.blocks).map(Block);
        let shown: Ids = blocks.flat_map(|block| world.disk.shown(block).iter().map(|c| write_of(c.origin))).collect();
        let memory = cut.scribe.memory(loaded);
        let ruling = judge(&self.tiny, world.fork(Vec::new()), &shown, &memory)?;
        let ruling = self.acquit(ruling)?;
        let scribe = Rc::new(RefCell::new(cut.scribe.next_life(loaded, ruling.durable)));
        self.tally.kills += 1;
        self.follow(&mut world.fork(watchers(&scribe)), &scribe, cut.cuts + 1)
    }

    fn honest(&mut self, cut: &Cut<'_>, outcomes: &[Ids]) -> Result<(), String> {
        let cap = self.limits.honest[cut.cuts - 1];
        if cap == 0 {
            return Ok(());
        }
        let subsets = Subsets::new(outcomes.iter().map(Vec::len).collect(), cap);
        self.tally.honest_subsets.add(&subsets);
        for vector in subsets.iter() {
            let ids: Ids = outcomes.iter().zip(&vector).map(|(choices, &chosen)| choices[chosen]).collect();
            for &(fate, loaded) in &cut.fates {
                if !self.is_new(&("honest", &ids, fate == SaveFate::Torn, loaded)) {
                    self.tally.judged_before += 1;
                    continue;
                }
                self.tally.honest += 1;
                *self.tally.by_cuts.entry(cut.cuts).or_default() += 1;
                let world = after(cut, &vector, fate, self.watchers_of_a_check(true))?;
                let ruling = judge(&self.tiny, world, &ids, &cut.scribe.memory(loaded));
                let ruling = ruling.and_then(|ruling| self.acquit(ruling));
                let ruling = ruling.map_err(|why| told(cut, &ids, fate, loaded, &why))?;
                self.go_on(cut, &vector, fate, loaded, &ruling)?;
            }
        }
        Ok(())
    }

    fn acquit(&mut self, ruling: Ruling) -> Result<Ruling, String> {
        if !ruling.accusations.is_empty() {
            return Err(format!("the law accuses an honest disk: {ruling:?}"));
        }
        let counts = &ruling.counts;
        let verdicts = [counts.intact, counts.rolled_back, counts.interrupted, counts.unwritten];
        self.tally.verdicts.iter_mut().zip(verdicts).for_each(|(sum, more)| *sum += more);
        self.tally.proved_by_the_disk += u64::from(ruling.proved_by == ProvedBy::Disk);
        Ok(ruling)
    }

    /// The same cut of a disk that has kept, of some atom, something older than what it had acknowledged as durable.
    fn lying(&mut self, cut: &Cut<'_>, promised: usize) -> Result<(), String> {
        let cap = self.limits.lying[cut.cuts - 1];
        if cap == 0 || promised == 0 {
            return Ok(());
        }
        let truth = cut.world.truth();
        let count = self.tiny.blocks;
        let blocks = || (0..count).map(Block);
        let of_block = |block| [None].into_iter().chain(truth.of_block(block).map(|write| Some(write.id)));
        let versions: Vec<Ids> = blocks().flat_map(|block| vec![of_block(block).collect::<Ids>(); ATOMS]).collect();
        let written = self.contents_of_writes(cut.world);
        let subsets = Subsets::new(versions.iter().map(Vec::len).collect(), cap);
        self.tally.lying_subsets.add(&subsets);
        for vector in subsets.iter() {
            let ids: Ids = versions.iter().zip(&vector).map(|(choices, &chosen)| choices[chosen]).collect();
            if blocks().all(|block| lied(truth, block, &ids).is_none()) {
                continue;
            }
            // Torn or absent, the next start loads the same.
            for &(fate, loaded) in cut.fates.iter().filter(|(fate, _)| *fate != SaveFate::Torn) {
                if !self.is_new(&("lying", &ids, loaded, promised)) {
                    self.tally.judged_before += 1;
                    continue;
                }
                self.tally.lying += 1;
                self.lie(cut, &ids, (fate, loaded), &written).map_err(|why| told(cut, &ids, fate, loaded, &why))?;
            }
        }
        Ok(())
    }

    fn lie(
        &mut self,
        cut: &Cut<'_>,
        ids: &Ids,
        (fate, loaded): (SaveFate, u64),
        written: &BTreeMap<(Block, Option<WriteId>), Arc<Content>>,
    ) -> Result<(), String> {
        let mut world = after(cut, &vec![0; ids.len()], fate, self.watchers_of_a_check(false))?;
        for (place, id) in ids.iter().enumerate() {
            world.disk.hold(block_at(place), place % ATOMS, &written[&(block_at(place), *id)]);
        }
        let memory = cut.scribe.memory(loaded);
        let law = Law { memory: &memory, schedule: cut.world.inspector().schedule(), before: self.tiny.before };
        let ruling = judge(&self.tiny, world, ids, &memory)?;
        convict(&law, cut.world.truth(), ids, &ruling, &mut self.tally)
    }

    /// The next start, from the same disk and state, itself cut at each of its steps.
    fn go_on(
        &mut self,
        cut: &Cut<'_>,
        vector: &[usize],
        fate: SaveFate,
        loaded: u64,
        ruling: &Ruling,
    ) -> Result<(), String> {
        let left = &mut self.left[cut.cuts - 1];
        *left += 1;
        let every = self.limits.onward[cut.cuts - 1];
        if every == 0 || !left.is_multiple_of(every) {
            return Ok(());
        }
        let scribe = Rc::new(RefCell::new(cut.scribe.next_life(loaded, ruling.durable)));
        let mut world = after(cut, vector, fate, watchers(&scribe))?;
        self.follow(&mut world, &scribe, cut.cuts + 1)
            .map_err(|why| format!("{why}\n  in the start after {vector:?}, {fate:?}, from checkpoint {loaded}"))
    }

    fn follow(&mut self, world: &mut World, scribe: &Rc<RefCell<Scribe>>, cuts: usize) -> Result<(), String> {
        self.tally.lives += 1;
        // What was seen in another start says nothing of this one: writes are numbered anew.
        let seen = std::mem::take(&mut self.seen);
        self.live(world, scribe, cuts)?;
        self.seen = seen;
        Ok(())
    }

    fn watchers_of_a_check(&self, honest: bool) -> Vec<Box<dyn Watcher>> {
        if self.tally.judged().is_multiple_of(WATCHED) { oracles::all(honest) } else { Vec::new() }
    }

    /// What each write, and what was there before, would leave on the disk.
    fn contents_of_writes(&self, world: &World) -> BTreeMap<(Block, Option<WriteId>), Arc<Content>> {
        let sealer = world.inspector().sealer();
        let writes = world.truth().writes().iter().map(|write| {
            let mut bytes = vec![0; sealer.geometry().block_size as usize];
            sealer.seal(write.block, &write.claim, &mut bytes);
            let content = Content { origin: Origin::Write(write.id), home: write.block, bytes };
            ((write.block, Some(write.id)), Arc::new(content))
        });
        let fresh = self.tiny.world(Vec::new());
        let before = |block| ((block, None), Arc::clone(&fresh.disk.media(block)[0]));
        writes.chain((0..self.tiny.blocks).map(Block).map(before)).collect()
    }

    fn is_new(&mut self, what: &impl Hash) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        self.seen.insert(hasher.finish())
    }
}

fn block_at(place: usize) -> Block {
    Block((place / ATOMS) as u64)
}

fn write_of(origin: Origin) -> Option<WriteId> {
    match origin {
        Origin::Write(id) => Some(id),
        Origin::Before => None,
        Origin::Damaged(..) => unreachable!("nothing here damages an atom"),
    }
}

/// What each atom may be after a cut, as the simulated disk itself has it: what the media hold, then what is volatile.
fn outcomes(disk: &Disk) -> Vec<Ids> {
    let mut outcomes = vec![Ids::new(); disk.blocks() as usize * ATOMS];
    let mut counts = vec![1];
    for nth in 0.. {
        if counts.iter().all(|count| nth >= *count) {
            break;
        }
        counts.clear();
        let mut probe = disk.clone();
        probe.cut(&mut |_, _, choices| {
            counts.push(choices);
            nth.min(choices - 1)
        });
        for (place, _) in counts.iter().enumerate().filter(|(_, count)| nth < **count) {
            outcomes[place].push(write_of(probe.media(block_at(place))[place % ATOMS].origin));
        }
    }
    outcomes
}

/// The world after the cut in which each atom becomes what the vector says.
fn after(cut: &Cut<'_>, vector: &[usize], fate: SaveFate, watchers: Vec<Box<dyn Watcher>>) -> Result<World, String> {
    let mut world = cut.world.fork(watchers);
    world.cut(&mut |block, atom, _| vector[block.0 as usize * ATOMS + atom as usize], Some(fate))?;
    Ok(world)
}

fn told(cut: &Cut<'_>, ids: &Ids, fate: SaveFate, loaded: u64, why: &str) -> String {
    let memory = cut.scribe.memory(loaded);
    let writes: String = cut.world.truth().writes().iter().map(|write| format!("\n    {write:?}")).collect();
    format!(
        "{why}\n  after {} cuts, the save {fate:?}, from checkpoint {loaded}: {memory:?}\n  atoms {ids:?}{writes}",
        cut.cuts
    )
}
