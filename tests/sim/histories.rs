//! The histories that broke earlier drafts of the promise model, each by its name in the design.
//!
//! Not here, as there is no remote witness yet: `witness_returns_after_lower_restart`.

use scrubd::engine::{Command, FlushEvery, Mode, OnFinding, OnStart, Outcome, Settings};
use scrubd::ledger::{Checkpoint, ProvedBy, State};
use scrubd::report::Judgement;
use scrubd::sim::{
    At, Disk, DiskSettings, Ending, Fault, Origin, Pace, Random, SaveFate, Script, World, WorldSettings,
};
use scrubd::tag::Class;
use scrubd::vocabulary::{Block, Claim, Digest, Issue, Order, Promise, Seq};

use crate::history::{Before, RUN, geometry, initial, real};
use crate::oracles;

pub const SIZE: u64 = 4096;
const ATOMS: u32 = 4;

/// A world of few blocks in address order, and settings under which nothing but the story happens: a queue of one, no
/// reading, a flush after so many writes.
pub struct Story {
    pub world: World,
    pub settings: Settings,
}

impl Story {
    pub fn new(blocks: u64, seed: u64, script: Script, honest: bool, before: Before) -> Self {
        Story::of_atoms(ATOMS, blocks, seed, script, honest, before)
    }

    /// With another number of atoms in a block.
    fn of_atoms(atoms: u32, blocks: u64, seed: u64, script: Script, honest: bool, before: Before) -> Self {
        let geometry = geometry(blocks, SIZE as u32, SIZE as u32 / atoms, Order::Sequential, Digest::Crc32c);
        let world = WorldSettings {
            geometry,
            run: RUN,
            seed,
            power_loss_protected: false,
            failed_flush_shows: false,
            pace: Pace { slow_per_mille: 0, ..Pace::USUAL },
            hashed: false,
        };
        let settings = Settings {
            mode: Mode::Powercut,
            queue_depth: 1,
            flush_every: FlushEvery::Bytes(blocks * SIZE),
            on_finding: OnFinding::Continue,
            ..Settings::default()
        };
        let disk = initial(&geometry, &[before], &mut Random::new(seed));
        let first = Checkpoint::first(Promise::Flush, 0);
        let watchers = oracles::all(honest);
        Story { world: World::new(world, disk, script, &first, watchers), settings }
    }

    pub fn start(&mut self) {
        self.start_from_state(true);
    }

    pub fn start_from_state(&mut self, current: bool) {
        self.world.start(&self.settings, current, &real).unwrap();
    }

    pub fn until(&mut self, what: &str, mut seen: impl FnMut(&World) -> bool) {
        let from = self.world.steps();
        let ending = self.world.run(&mut |world| seen(world) || world.steps() > from + 20_000).unwrap();
        assert_eq!(ending, Ending::Paused, "before {what}");
        assert!(seen(&self.world), "{what} never happened: {:?}", self.world.status());
    }

    pub fn until_issued(&mut self, seq: u64) {
        self.until(&format!("write {seq}"), |world| newest_issued(world) >= Some(Seq(seq)));
    }

    /// A cut that keeps, of each atom, the newest version where `keep` says so, else what the media hold.
    pub fn cut(&mut self, mut keep: impl FnMut(Block, u32) -> bool) {
        self.world
            .cut(&mut |block, atom, choices| if keep(block, atom) { choices - 1 } else { 0 }, Some(SaveFate::Absent))
            .unwrap();
    }

    pub fn stop(&mut self) {
        self.world.command(Command::Stop).unwrap();
        self.world.run_to_exit().unwrap();
    }

    pub fn check(&mut self) -> Judgement {
        self.check_with_state(true)
    }

    pub fn check_with_state(&mut self, current: bool) -> Judgement {
        let settings = Settings { mode: Mode::Check, queue_depth: 16, ..self.settings.clone() };
        self.world.start(&settings, current, &real).unwrap();
        self.world.run_to_exit().unwrap();
        self.world.judgements.last().expect("a check judges").clone()
    }

    /// The engine goes on for two passes, stops of itself, and a last check finds nothing.
    pub fn ends_well(&mut self, current: bool) {
        let settings = Settings { passes: Some(2), ..self.settings.clone() };
        self.world.start(&settings, current, &real).unwrap();
        assert_eq!(self.world.run_to_exit().unwrap(), Outcome::Kept);
        assert_eq!(self.check().blocks.findings, 0);
    }
}

pub fn newest_issued(world: &World) -> Option<Seq> {
    world.truth().writes().last().map(|write| write.claim.issue.seq)
}

pub fn classes(judgement: &Judgement) -> Vec<(u64, Class)> {
    judgement.findings.iter().map(|finding| (finding.block.0, finding.class)).collect()
}

pub fn at(nth: u64, fault: Fault) -> Script {
    let mut script = Script::default();
    script.plan(At::Nth(nth), fault);
    script
}

/// The flush that lied covered nothing but blocks of the saved window, and the checkpoint that would say so was never
/// saved. A block sealed after that flush survived, and its tags say what was promised: the disk convicts itself.
#[test]
fn flush_lies_only_on_rewritten_window() {
    let mut convicted_by_itself = 0;
    for seed in 0..20 {
        // All flushes lie but the first.
        let mut script = Script::default();
        (1..100).for_each(|nth| script.plan(At::Nth(nth), Fault::LyingFlush));
        let mut story = Story::new(4, seed, script, false, Before::Zeros);
        story.start();
        story.until("a write that attests to the lying flush", |world| {
            world.truth().writes().last().is_some_and(|write| write.claim.durable >= Seq(8) && !write.completed)
        });
        let witness = story.world.truth().writes().last().unwrap().block;
        story.cut(|block, _| block == witness);
        let judgement = story.check();
        assert!(judgement.blocks.findings >= 2, "{judgement:#?}");
        for finding in &judgement.findings {
            assert!(matches!(finding.class, Class::LostWrite | Class::Unserializable), "{finding:#?}");
        }
        convicted_by_itself += u32::from(judgement.proved_by == ProvedBy::Disk);
    }
    assert!(convicted_by_itself > 0, "in no history did the disk's own tags have to prove it");
}

/// A block that was flushed inside the window is written again, and power fails during that: any mixture of the two is
/// legal, and every one of them was an alarm to a draft that took the flushed write for the only legal one.
#[test]
fn rewrite_over_flushed_window_then_cut() {
    for mask in 0..1_u32 << ATOMS {
        let mut story = Story::new(2, u64::from(mask), Script::default(), true, Before::Garbage);
        story.start();
        story.until("a rewrite over what was flushed", |world| {
            let newest = world.truth().writes().last();
            newest.is_some_and(|newest| {
                let mut earlier = world.truth().of_block(newest.block).rev().skip(1);
                !newest.completed && newest.claim.issue.seq.0 >= 2 && earlier.next().is_some_and(|prior| prior.promised)
            })
        });
        story.cut(|_, atom| mask >> atom & 1 == 1);
        let judgement = story.check();
        assert_eq!(judgement.blocks.findings, 0);
        story.ends_well(true);
    }
}

/// The only block that attests to the last flush cannot be read after the cut, so the run restarts lower. When the block
/// can be read again after the next cut, what it claims is of an epoch that is over, and raises nothing.
#[test]
fn claim_unreadable_then_readable_after_restart() {
    for seed in 0..20 {
        let mut story = Story::new(4, seed, Script::default(), false, Before::Zeros);
        story.start();
        story.until("a write that attests to a second flush", |world| {
            world.truth().writes().last().is_some_and(|write| write.claim.durable >= Seq(8) && write.completed)
        });
        let witness = story.world.truth().writes().last().unwrap().block;
        story.cut(|block, _| block == witness);
        story.world.disk.damage(witness, Fault::UnreadableBlock);
        story.settings.rereads = 0;
        story.start();
        let epochs = story.world.truth().writes().last().unwrap().claim.issue.epoch;
        story.until("a write of the next epoch", |world| {
            world.truth().writes().last().is_some_and(|write| write.claim.issue.epoch != epochs)
        });
        story.cut(|_, _| false);
        story.world.disk.heal(witness);
        let judgement = story.check();
        assert_eq!(judgement.blocks.findings, 0, "{judgement:#?}");
        assert!(story.world.reports.iter().all(|finding| finding.class == Class::Unreadable));
    }
}

/// The state directory of last week is mounted over that of today. The disk is ahead of it, and is not blamed.
#[test]
fn old_state_mounted_late() {
    for seed in 0..20 {
        let mut story = Story::new(3, seed, Script::default(), true, Before::OtherRun);
        story.start();
        story.until_issued(4);
        story.cut(|_, _| seed % 2 == 0);
        let old = story.world.slots.clone();
        story.start();
        story.until_issued(20);
        match seed % 3 {
            0 => story.stop(),
            _ => story.cut(|_, atom| atom % 2 == 0),
        }
        story.world.slots = old;
        let judgement = story.check_with_state(false);
        assert_eq!((judgement.state, judgement.blocks.findings), (State::Stale, 0), "{judgement:#?}");
        story.ends_well(false);
    }
}

/// The slot in which an epoch was saved is lost, and with it that there was such an epoch; its tags are on the disk. The
/// next epoch takes a higher number.
#[test]
fn newest_slot_lost_epoch_not_reused() {
    for seed in 0..20 {
        let mut story = Story::new(3, seed, Script::default(), true, Before::Zeros);
        story.start();
        story.until_issued(5);
        story.cut(|_, _| true);
        story.start();
        // Cut while the checkpoint that began epoch 2 is still the newest one.
        story.until("a write of epoch 2", |world| {
            world.truth().writes().last().is_some_and(|write| write.claim.issue.epoch.number == 2)
        });
        story.cut(|_, _| true);
        story.world.slots.lose_newest();
        story.start_from_state(false);
        let so_far = story.world.truth().writes().len();
        story.until("a write of another epoch", |world| world.truth().writes().len() > so_far);
        assert_eq!(story.world.truth().writes().last().unwrap().claim.issue.epoch.number, 3);
        story.cut(|_, _| true);
        story.ends_well(true);
    }
}

/// Power fails twice while the checkpoint that begins an epoch is being saved, with the slot torn, then landed: nothing
/// was issued in either epoch, and neither is ever taken for another.
#[test]
fn cut_before_epoch_durable_twice() {
    for fates in [
        [SaveFate::Torn, SaveFate::Torn],
        [SaveFate::Torn, SaveFate::Landed],
        [SaveFate::Landed, SaveFate::Torn],
        [SaveFate::Landed, SaveFate::Landed],
        [SaveFate::Absent, SaveFate::Landed],
    ] {
        let mut story = Story::new(3, 7, Script::default(), true, Before::Garbage);
        story.start();
        story.until_issued(7);
        story.cut(|block, _| block == Block(1));
        for fate in fates {
            story.start();
            story.until("an epoch is being opened", |world| {
                world.status().is_some_and(|status| status.phase == "beginning an epoch")
            });
            story.world.cut(&mut |_, _, _| 0, Some(fate)).unwrap();
            assert_eq!(story.check().blocks.findings, 0);
        }
        story.start();
        story.until_issued(9);
        story.cut(|_, atom| atom == 0);
        assert_eq!(story.check().blocks.findings, 0);
        story.ends_well(true);
    }
}

/// A flush fails while a newer write of a block that it covered is under way. A later flush that succeeds proves nothing
/// for either: the epoch ends, and both numbers are issued again.
#[test]
fn failed_flush_with_newer_write_of_same_block() {
    for seed in 0..40 {
        let mut story = Story::new(1 + seed % 2, seed, at(seed % 3, Fault::FailedFlush), true, Before::Zeros);
        story.settings.queue_depth = 4;
        story.settings.flush_every = FlushEvery::Bytes(SIZE);
        story.start();
        story.until("the flush fails", |world| world.status().is_some_and(|status| status.failed_flushes > 0));
        story.until("another flush succeeds", |world| {
            world.truth().writes().iter().any(|write| write.promised && write.claim.issue.epoch.number == 2)
        });
        story.cut(|_, atom| (seed >> atom) & 1 == 1);
        assert_eq!(story.check().blocks.findings, 0);
        story.ends_well(true);
    }
}

/// A write fails and is tried again. No higher write of its block goes before the retry, or the retry would put the
/// older contents on top.
#[test]
fn write_error_then_higher_write_then_retry() {
    for nth in 0..8 {
        let mut story = Story::new(2, nth, at(nth, Fault::FailedWrite), true, Before::Zeros);
        story.settings.queue_depth = 4;
        story.start();
        story.until("the write fails", |world| world.status().is_some_and(|status| status.failed_writes > 0));
        story.until_issued(nth + 6);
        for block in [Block(0), Block(1)] {
            let seqs: Vec<Seq> = story.world.truth().of_block(block).map(|write| write.claim.issue.seq).collect();
            assert!(seqs.is_sorted(), "block {block} was written in the order {seqs:?}");
        }
        story.cut(|_, atom| atom > 1);
        assert_eq!(story.check().blocks.findings, 0);
        story.ends_well(true);
    }
}

/// After a cut that kept writes far above D, a stop comes before they are issued again. R must stay where it was: what
/// survived would else be called a phantom.
#[test]
fn clean_stop_right_after_recovery() {
    for steps in 0..60 {
        let mut story = Story::new(3, steps, Script::default(), true, Before::Zeros);
        story.settings.on_start = [OnStart::AfterCut, OnStart::Window, OnStart::Always][steps as usize % 3];
        story.settings.queue_depth = 4;
        story.settings.flush_every = FlushEvery::Bytes(20 * SIZE);
        story.start();
        story.until_issued(10);
        story.cut(|_, _| true);
        story.start();
        story.until("some steps", |world| world.steps() > steps);
        story.stop();
        assert_eq!(story.check().blocks.findings, 0);
        story.ends_well(true);
    }
}

/// The disk loses power and comes back while the daemon lives. What was not durable is gone, and that breaks no promise,
/// whatever was being read or judged at that moment.
#[test]
fn disk_power_blip_under_living_daemon() {
    for seed in 0..200 {
        let mut story = Story::new(1 + seed % 5, seed, Script::default(), true, Before::Garbage);
        story.settings.mode = if seed % 2 == 0 { Mode::BurnIn } else { Mode::Powercut };
        story.settings.retention = seed % 4 < 2;
        story.settings.readback_lag = SIZE;
        story.settings.queue_depth = 1 + seed as u32 % 8;
        story.start();
        story.until_issued(2 + seed % 13);
        let until = story.world.steps() + seed % 7;
        story.until("the moment", |world| world.steps() >= until);
        let mut random = Random::new(seed);
        story.world.blip(&mut |_, _, choices| random.below(choices as u64) as usize).unwrap();
        let epoch = story.world.status().unwrap().epoch;
        story.until("the run goes on", |world| {
            world.truth().writes().last().is_some_and(|write| write.claim.issue.epoch.number > epoch)
        });
        story.cut(|_, atom| atom % 2 == 1);
        assert_eq!(story.check().blocks.findings, 0);
        story.ends_well(true);
    }
}

/// Something wrote at or above R, in an epoch that is known and naming a checkpoint that is known: that is no newer state
/// than ours, but a write that nobody promised.
#[test]
fn reservation_skipped_is_phantom_not_stale() {
    let mut story = Story::new(4, 3, Script::default(), false, Before::Zeros);
    story.start();
    story.until_issued(9);
    story.cut(|_, _| true);
    let saved = story.world.slots.load().unwrap();
    let beyond = Seq(saved.reserved.0 + 1);
    let issue = Issue { seq: beyond, epoch: saved.epochs.newest().unwrap().epoch };
    let claim = Claim { issue, durable: Seq(0), promise: Promise::Flush, checkpoint: saved.number, wall_ns: 1 };
    let block = story.world.inspector().schedule().block_of(beyond);
    let mut bytes = vec![0; SIZE as usize];
    story.world.inspector().sealer().seal(block, &claim, &mut bytes);
    story.world.disk.plant(block, Origin::Damaged(scrubd::sim::Damage::Planted, None), bytes);
    let judgement = story.check();
    assert_eq!(judgement.state, State::Current);
    assert_eq!(classes(&judgement), [(block.0, Class::Phantom)]);
}

/// Power fails in the first pass over a disk full of another run's tags: every mixture of these with ours is legal where
/// nothing is guaranteed. A write of ours in a block where it does not belong is not.
#[test]
fn torn_first_pass_over_old_runs_tags_with_misdirected_write() {
    let mut told = 0;
    for seed in 0..40 {
        let mut script = Script::default();
        script.plan(At::OfBlock(Block(3), 0), Fault::MisdirectedWrite(Block(7)));
        let mut story = Story::new(8, seed, script, false, Before::OtherRun);
        story.settings.queue_depth = 2;
        story.start();
        story.until("the misdirected write", |world| world.truth().of_block(Block(3)).next().is_some());
        if story.world.truth().of_block(Block(7)).next().is_some() {
            // Its own write may survive there as well, as the order of the first writes is not fixed.
            continue;
        }
        told += 1;
        let mut random = Random::new(seed);
        story.cut(|block, atom| if block == Block(7) { atom == 0 } else { random.chance(500) });
        let judgement = story.check();
        assert_eq!(classes(&judgement), [(7, Class::Misdirected)], "{judgement:#?}");
        assert_eq!(judgement.findings[0].home, Some(Block(3)));
    }
    assert!(told > 10);
}

/// The process was killed with a write in flight, and the kernel lands it long after the next process has written and
/// flushed that block: guaranteed data is gone, and that is a finding.
#[test]
fn kill9_zombie_lands_after_rewrite() {
    for seed in 0..10 {
        let mut story = Story::new(3, seed, Script::default(), false, Before::Zeros);
        story.start();
        story.until_issued(4);
        let zombie = *story.world.truth().writes().last().unwrap();
        story.world.kill().unwrap();
        story.start();
        story.until("the block was written anew and flushed", |world| {
            world.truth().of_block(zombie.block).any(|write| write.start == 2 && write.promised)
        });
        story.stop();
        let mut bytes = vec![0; SIZE as usize];
        story.world.inspector().sealer().seal(zombie.block, &zombie.claim, &mut bytes);
        story.world.disk.plant(zombie.block, Origin::Write(zombie.id), bytes);
        assert_eq!(classes(&story.check()), [(zombie.block.0, Class::LostWrite)]);
    }
}

/// Completions may be told in any order, and a failed save may have landed all the same: the numbers of the slots still
/// tell which is newer.
#[test]
fn a_failed_save_that_landed_is_survived() {
    for nth in 0..6 {
        let mut story = Story::new(1, nth, at(nth, Fault::FailedSave), true, Before::Zeros);
        story.start();
        story.until_issued(150);
        story.cut(|_, atom| atom < 2);
        assert_eq!(story.check().blocks.findings, 0);
        story.ends_well(true);
    }
}

/// A stack of a device with sectors of 1024 bytes over one with sectors of 512 tears at 512, whatever the upper one says.
/// With the atom that the target room takes, the smallest in the stack, that is a legal tear; with the upper one's the same
/// honest stack would be accused.
#[test]
fn mixed_sector_stack_tears_inside_atom() {
    for (atoms, accused) in [(8, false), (4, true)] {
        let mut story = Story::of_atoms(atoms, 3, 5, Script::default(), true, Before::Zeros);
        let stack =
            DiskSettings { block_size: 4096, atom: 512, power_loss_protected: false, failed_flush_shows: false };
        let sectors = geometry(3, 4096, 512, Order::Sequential, Digest::Crc32c);
        let before = initial(&sectors, &[Before::Zeros], &mut Random::new(5));
        story.world.disk = Disk::new(stack, before, Script::default(), Random::new(5));
        story.start();
        story.until_issued(7);
        // Of the third pair of sectors the lower one is of the newer write, the upper one of the older.
        story.cut(|_, sector| sector != 5);
        let check = Settings { mode: Mode::Check, ..story.settings.clone() };
        story.world.start(&check, true, &real).unwrap();
        match story.world.run_to_exit() {
            Err(why) => assert!(accused && why.starts_with("oracle no_false_alarm"), "{why}"),
            Ok(outcome) => assert_eq!((outcome, accused), (Outcome::Kept, false)),
        }
        if !accused {
            assert!(story.check().blocks.interrupted > 0);
            story.ends_well(true);
        }
    }
}
