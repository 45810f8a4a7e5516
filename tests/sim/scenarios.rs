//! What the simulated disk, the kernel and the state directory can do, one at a time, as short stories.

use scrubd::engine::{Mode, OnFinding, Outcome, Settings};
use scrubd::ledger::{ProvedBy, State};
use scrubd::report::{Overall, Persistence};
use scrubd::sim::{At, Fault, NEVER, Script};
use scrubd::tag::Class;
use scrubd::vocabulary::{Block, Promise, Seq};

use crate::histories::{SIZE, Story, at, classes};
use crate::history::{Before, real};

fn every(k: u64, fault: Fault) -> Script {
    let mut script = Script::default();
    script.plan(At::Every(k), fault);
    script
}

/// A story in which every write is read back and a finding does not end the run.
fn burn_in(blocks: u64, seed: u64, script: Script, honest: bool) -> Story {
    let mut story = Story::new(blocks, seed, script, honest, Before::Zeros);
    story.settings.mode = Mode::BurnIn;
    story.settings.readback_lag = SIZE;
    story.settings.queue_depth = 4;
    story
}

fn passes(story: &mut Story, passes: u64) -> Outcome {
    let settings = Settings { passes: Some(passes), ..story.settings.clone() };
    let current = story.world.state_is_current();
    story.world.start(&settings, current, &real).unwrap();
    story.world.run_to_exit().unwrap()
}

fn named_while_running(fault: Fault) -> Vec<(Class, Persistence)> {
    let mut story = burn_in(5, 11, at(6, fault), false);
    // Each write is on the media before the next of its block: what is put back is of this run.
    story.settings.promise = Promise::Fua;
    assert_eq!(passes(&mut story, 3), Outcome::Broken, "{fault:?}");
    story.world.reports.iter().map(|finding| (finding.class, finding.persistence)).collect()
}

/// The state directory acknowledges every save and loses them all with the power. The disk is ahead of what comes back,
/// and is not blamed.
#[test]
fn a_state_directory_that_lies_about_its_fsync_is_called_stale() {
    for seed in 0..20 {
        let mut story = Story::new(3, seed, every(1, Fault::LyingSave), true, Before::Garbage);
        story.start();
        story.until_issued(12);
        story.cut(|_, _| true);
        let current = story.world.state_is_current();
        let judgement = story.check_with_state(current);
        assert_eq!(judgement.blocks.findings, 0, "{judgement:#?}");
        // Each slot was taken back, torn, or kept by chance: where one was lost the tags tell.
        assert_eq!(judgement.state == State::Current, current, "{judgement:#?}");
        story.world.disk.script.clear();
        story.ends_well(current);
    }
}

/// An older state was put back after a clean stop, and the few blocks that are looked at then do not show it. Two blocks
/// that do are under inspection when the first of them shows that the ledger is stale: the second had been judged by it, was
/// read again under the milder rule, and was called a transient phantom.
#[test]
fn a_block_judged_before_the_ledger_was_distrusted_is_no_phantom() {
    for seed in 0..20 {
        let mut story = burn_in(40, seed, Script::default(), true);
        story.settings.retention = true;
        story.settings.queue_depth = 8;
        story.settings.flush_every = scrubd::engine::FlushEvery::Bytes(200 * SIZE);
        assert_eq!(passes(&mut story, 1), Outcome::Kept);
        let old = story.world.slots.clone();
        story.start();
        story.until_issued(40 + 34);
        // What the next start looks at is gone, what lies behind it is there.
        story.cut(|block, _| block >= Block(18));
        story.world.slots.put_back(&old);
        assert!(!story.world.state_is_current());
        story.start_from_state(false);
        let before = story.world.truth().writes().len();
        story.until("it writes on", |world| world.truth().writes().len() > before + 30);
        story.cut(|_, _| true);
        story.ends_well(story.world.state_is_current());
    }
}

/// Power failed when the label was there and the first checkpoint was not.
#[test]
fn a_cut_in_the_first_save_of_init_leaves_a_target_that_can_be_run() {
    let mut story = Story::new(4, 5, Script::default(), true, Before::OtherRun);
    story.world.slots.lose_all();
    let judgement = story.check();
    assert_eq!((judgement.state, judgement.blocks.unwritten), (State::Missing, 4));
    story.ends_well(true);
}

/// The state directory is full from some moment on: the run ends and says so, and goes on once there is room.
#[test]
fn a_full_state_directory_ends_the_run_and_accuses_nobody() {
    let mut script = Script::default();
    script.plan(At::From(2), Fault::FailedSave);
    let mut story = Story::new(3, 9, script, true, Before::Zeros);
    story.start();
    let outcome = story.world.run_to_exit().unwrap();
    assert!(matches!(outcome, Outcome::StateNotSaved(_)), "{outcome:?}");
    story.world.disk.script.clear();
    assert_eq!(story.check().blocks.findings, 0);
    story.ends_well(true);
}

/// Every read and every write moves a part first, or is interrupted: the ring's own code goes on, and not a byte is
/// missing.
#[test]
fn short_and_interrupted_transfers_are_continued_and_lose_nothing() {
    for fault in [
        Fault::ShortRead(1),
        Fault::ShortRead(1000),
        Fault::ShortWrite(0),
        Fault::ShortWrite(512),
        Fault::ShortWrite(4095),
        Fault::InterruptedRead(8),
        Fault::InterruptedWrite(8),
    ] {
        let mut story = burn_in(5, 3, every(1, fault), true);
        assert_eq!(passes(&mut story, 2), Outcome::Kept, "{fault:?}");
        assert_eq!(story.check().blocks.intact, 5, "{fault:?}");
        assert!(story.world.disk.script.struck().contains(&fault));
    }
}

/// Nine times EINTR is no answer. What was not read is unreadable, and never verified.
#[test]
fn a_read_that_is_interrupted_for_ever_is_unreadable() {
    let named = named_while_running(Fault::InterruptedRead(1000));
    assert_eq!(named, [(Class::Unreadable, Persistence::Transient)]);
    let named = named_while_running(Fault::EndOfFile);
    assert_eq!(named, [(Class::Unreadable, Persistence::Transient)]);
}

/// Wrong on the way and right in the next read: the path. Wrong at rest: the same each time. Wrong differently each
/// time: unstable.
#[test]
fn rot_at_rest_a_bad_path_and_an_unstable_block_are_told_apart() {
    let named = named_while_running(Fault::GarbledRead);
    assert_eq!(named, [(Class::Corrupt, Persistence::Transient)]);
    let named = named_while_running(Fault::BitRot);
    assert_eq!(named, [(Class::Corrupt, Persistence::Persistent)]);
    let named = named_while_running(Fault::UnstableBlock);
    assert_eq!(named, [(Class::Unstable, Persistence::Unstable)]);
}

/// What turns up where a write was acknowledged, by its name.
#[test]
fn what_nobody_wrote_is_named_while_running() {
    for (fault, class) in [
        (Fault::Phantom, Class::Phantom),
        (Fault::Foreign, Class::Foreign),
        (Fault::OtherGeometry, Class::Foreign),
        (Fault::OldContent, Class::LostWrite),
        (Fault::TornContent(0b0110), Class::Torn),
        (Fault::Zeroed, Class::Zeroed),
        (Fault::Shorn, Class::Shorn),
        (Fault::BitFlip, Class::Corrupt),
    ] {
        let named = named_while_running(fault);
        assert_eq!(named, [(class, Persistence::Persistent)], "{fault:?}");
    }
}

/// A drive that is held to `ack` and has no protection: the first cut that takes something back convicts it.
#[test]
fn a_drive_that_claims_protection_and_has_none_loses_writes() {
    let mut story = Story::new(4, 2, Script::default(), false, Before::Garbage);
    story.start();
    story.until_issued(9);
    story.stop();
    story.settings.promise = Promise::Ack;
    story.start();
    story.until_issued(30);
    story.cut(|_, _| false);
    let judgement = story.check();
    assert_eq!(judgement.verdict, Overall::Violated);
    let lost = |class| matches!(class, Class::LostWrite | Class::Unserializable);
    assert!(classes(&judgement).iter().all(|(_, class)| lost(*class)), "{judgement:#?}");
}

/// A write, a read and a flush that never return are each reported once, after their deadline and not before.
#[test]
fn io_that_never_returns_is_a_finding_and_a_stop_does_not_wait_for_it() {
    for fault in [Fault::LateWrite(NEVER), Fault::LateRead(NEVER), Fault::LateFlush(NEVER)] {
        let mut story = burn_in(5, 4, at(2, fault), false);
        story.settings.deadline_ns = 2_000_000_000;
        story.settings.on_finding = OnFinding::Continue;
        story.start();
        story.until("it is told", |world| world.reports.iter().any(|finding| finding.detail.starts_with("stuck:")));
        story.stop();
        assert_eq!(story.world.reports.len(), 1, "{fault:?}");
        assert_eq!(story.check().blocks.findings, 0, "{fault:?}: what did not return is not lost");
    }
}

/// A queue of one, and the read that fills it never returns. A second block with a mismatch waited for its turn to be read
/// again: it was taken for something that moves, and the check never ended.
#[test]
fn a_check_ends_although_a_second_mismatch_waits_behind_a_read_that_never_returns() {
    let mut stuck = 0;
    for nth in 0..8 {
        let mut story = Story::new(3, 1, Script::default(), false, Before::Zeros);
        assert_eq!(passes(&mut story, 2), Outcome::Kept);
        story.world.disk.damage(Block(0), Fault::BitFlip);
        story.world.disk.damage(Block(1), Fault::BitFlip);
        story.world.disk.script.plan(At::OfBlock(Block(0), nth), Fault::LateRead(NEVER));
        let settings = Settings { mode: Mode::Check, queue_depth: 1, ..story.settings.clone() };
        story.world.start(&settings, true, &real).unwrap();
        assert_eq!(story.world.run_to_exit().unwrap(), Outcome::Broken);
        stuck += story.world.reports.len();
    }
    assert!(stuck > 2, "in {stuck} checks a read never returned");
}

/// Both copies of a mirror hold what is promised; of the rest each holds what it happened to get, and each read shows
/// one of them. Neither is wrong.
#[test]
fn copies_of_a_mirror_that_differ_lawfully_are_not_unstable() {
    let mut differing = 0;
    for seed in 0..40 {
        let mut story = Story::new(3, seed, Script::default(), true, Before::Garbage);
        story.world.disk.mirrored = true;
        story.settings.queue_depth = 4;
        story.settings.flush_every = scrubd::engine::FlushEvery::Bytes(20 * SIZE);
        story.start();
        story.until_issued(10 + seed % 7);
        let mut odd = false;
        story.cut(|_, _| {
            odd = !odd;
            odd
        });
        differing += usize::from(story.world.disk.copies_that_differ() > 0);
        for _ in 0..3 {
            assert_eq!(story.check().blocks.findings, 0);
        }
        story.ends_well(true);
    }
    assert!(differing > 30, "{differing}");
}

/// The device goes away in the middle of a write and comes back without its cache, and says so by ENODEV alone.
#[test]
fn a_device_that_went_away_and_came_back_broke_no_promise() {
    for nth in 0..30 {
        let mut story = burn_in(3, nth, at(nth, Fault::DeviceGone), true);
        story.start();
        story.until_issued(nth + 12);
        story.cut(|_, atom| atom % 2 == 0);
        assert_eq!(story.check().blocks.findings, 0);
        story.ends_well(true);
    }
}

/// The clock on the wall jumps and the machine sleeps with I/O in flight: nothing is called stuck, and no verdict
/// changes.
#[test]
fn clocks_that_jump_decide_nothing() {
    for seed in 0..20 {
        let mut story = burn_in(5, seed, Script::default(), true);
        story.start();
        for turn in 0..8 {
            story.until_issued(2 + 3 * turn);
            story.world.jump_wall_clock();
            story.world.suspend(3_600_000_000_000);
        }
        story.cut(|_, _| seed % 2 == 0);
        assert_eq!(story.check().blocks.findings, 0);
        story.ends_well(true);
    }
}

/// With all tags there, the check by these alone comes to what the ledger came to.
#[test]
fn without_state_a_lost_write_is_named_where_two_witnesses_attest_to_it() {
    let mut script = Script::default();
    // Passes of four blocks: the third pass loses its write of block 1, which a later flush was to have made durable.
    script.plan(At::OfBlock(Block(1), 2), Fault::LostWrite);
    let mut story = Story::new(4, 8, script, false, Before::Zeros);
    story.start();
    story.until("blocks that attest to the third pass", |world| {
        world.truth().writes().iter().filter(|write| write.claim.durable >= Seq(12) && write.completed).count() >= 2
    });
    story.cut(|block, _| block != Block(1));
    let by_ledger = story.check();
    story.settings.ignore_state = true;
    let by_tags = story.check();
    assert_eq!((by_tags.state, by_tags.proved_by), (State::Missing, ProvedBy::Disk));
    let blocks = |judgement: &scrubd::report::Judgement| classes(judgement).iter().map(|(b, _)| *b).collect::<Vec<_>>();
    assert_eq!(blocks(&by_ledger), [1]);
    assert_eq!(blocks(&by_tags), [1]);
}
