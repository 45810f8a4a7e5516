//! The world around an engine: it does what the engine wants over virtual time, answers in an order of its own, cuts the
//! power, and starts the next engine from what was saved.

mod fork;
mod pace;
mod perform;
mod span;
mod timing;
mod transfer;

pub use pace::Pace;
pub use timing::{Takes, Timing};

use std::collections::{BTreeMap, BTreeSet};

use super::disk::{Disk, DiskSettings, IoId};
use super::fault::{Fault, NEVER, Script};
use super::observe::{Scene, Sight, Watcher};
use super::random::Random;
use super::slots::{SaveFate, Slots};
use super::truth::{Truth, WriteId};
use crate::engine::{Action, Command, Engine, Event, Fired, Mode, OpId, Outcome, Settings, SpanId, Startup, Status};
use crate::ledger::{Checkpoint, Position};
use crate::report::{Finding, FindingKey, Judgement};
use crate::ring::Progress;
use crate::tag::Inspector;
use crate::vocabulary::{Block, Claim, Geometry, Now, RunId};

/// What is driven: the engine, or a mutant of it that a test suite must notice.
pub trait Core {
    /// Operations, each with a buffer.
    fn operations(&self) -> u32;
    /// Wide reads, each with a buffer.
    fn spans(&self) -> u32;
    /// Decides.
    fn step(&mut self, now: Now, events: &[Event], actions: &mut Vec<Action>);
    /// When to call again without an event, in nanoseconds of monotonic time.
    fn next_wake(&self) -> Option<u64>;
    /// Where it stands.
    fn status(&self) -> Status;
}

impl Core for Engine {
    fn operations(&self) -> u32 {
        Engine::operations(self)
    }
    fn spans(&self) -> u32 {
        Engine::spans(self)
    }
    fn step(&mut self, now: Now, events: &[Event], actions: &mut Vec<Action>) {
        Engine::step(self, now, events, actions);
    }
    fn next_wake(&self) -> Option<u64> {
        Engine::next_wake(self)
    }
    fn status(&self) -> Status {
        Engine::status(self)
    }
}

/// What a world is made of.
#[derive(Clone, Copy, Debug)]
pub struct WorldSettings {
    /// Where the blocks are.
    pub geometry: Geometry,
    /// Whose they are.
    pub run: RunId,
    /// What all chance in this world comes from.
    pub seed: u64,
    /// Completion means durable: a disk that may be held to `ack`.
    pub power_loss_protected: bool,
    /// What a failed flush loses is gone from reads at once.
    pub failed_flush_shows: bool,
    /// How long things take.
    pub pace: Pace,
    /// Keep a hash of everything that passes, at the cost of formatting it.
    pub hashed: bool,
}

/// What stands between the disk and whoever judges: it may change the bytes of a block that was read.
pub type Lens = Box<dyn FnMut(Block, &mut [u8])>;

/// How a stretch of running came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The engine said so.
    Exited(Outcome),
    /// The caller wanted to look.
    Paused,
}

/// Steps of one engine that nobody interrupts: far above what any history here needs, so that a standstill is seen.
const MAX_STEPS: u64 = 200_000;

#[derive(Debug)]
enum Pending {
    WriteEnds(OpId, IoId),
    ReadEnds(OpId, Block, IoId),
    SpanEnds(SpanId),
    FlushEnds,
    SaveEnds,
    PositionSaveEnds,
    Deliver(Event),
}

/// One operation's buffer and what it is used for.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    sealed: Option<(Block, Claim)>,
    holds: Option<Block>,
    write: Option<WriteId>,
    busy: bool,
    /// How far the request in flight came, by the ring's own reckoning.
    progress: Option<Progress>,
}

/// The save in flight.
#[derive(Clone)]
struct Saving {
    checkpoint: Checkpoint,
    /// It is durable, and the engine has not heard of it yet.
    landed: bool,
    fault: Option<Fault>,
}

/// The world.
pub struct World {
    settings: WorldSettings,
    inspector: Inspector,
    /// The disk.
    pub disk: Disk,
    /// The state directory.
    pub slots: Slots,
    truth: Truth,
    watchers: Vec<Box<dyn Watcher>>,
    random: Random,
    now_ns: u64,
    wall_offset: u64,
    pending: BTreeMap<(u64, u64), Pending>,
    tie: u64,
    /// Where it is set, how long each thing takes and in which order, instead of by chance.
    pub timing: Option<Timing>,
    /// Things of each kind that were begun so far.
    begun: [u64; Takes::KINDS],
    engine: Option<Box<dyn Core>>,
    mode: Mode,
    buffers: Vec<Buffer>,
    wide: BTreeMap<SpanId, span::WideBuffer>,
    span_count: u32,
    in_save: Option<Saving>,
    /// Where the last patrol stopped, and the position whose save is in flight. A file that is replaced is the old one or
    /// the new one.
    pub position: Option<Position>,
    position_in_save: Option<Position>,
    saves: u64,
    /// Stamp of the newest save that was acknowledged.
    acknowledged: u64,
    known: BTreeSet<FindingKey>,
    /// Findings reported by all engines so far.
    pub reports: Vec<Finding>,
    /// Checks done so far.
    pub judgements: Vec<Judgement>,
    /// Triggers fired since the last start.
    pub fires: u64,
    /// How the trigger's command ends.
    pub command_ends: Fired,
    /// Through which all reads are seen: with one, a test suite makes inspectors that are blind to something.
    pub lens: Option<Lens>,
    /// The trigger's command, where there is one, cuts the disk's power while the process lives on.
    pub command_cuts_power: bool,
    /// The device was pulled out under the engine that runs.
    removed: bool,
    steps: u64,
    /// Writes handed over by this start.
    pub writes_of_start: u64,
    hash: u64,
    spins: u32,
    exited: Option<Outcome>,
}

impl World {
    /// A world that nobody has written to: the state directory holds what `init` saves, the disk what it held before.
    #[must_use]
    pub fn new(
        settings: WorldSettings,
        initial: Vec<Vec<u8>>,
        script: Script,
        first: &Checkpoint,
        watchers: Vec<Box<dyn Watcher>>,
    ) -> Self {
        let geometry = &settings.geometry;
        let mut random = Random::new(settings.seed);
        let disk = DiskSettings {
            block_size: geometry.block_size as usize,
            atom: geometry.atom as usize,
            power_loss_protected: settings.power_loss_protected,
            failed_flush_shows: settings.failed_flush_shows,
        };
        World {
            inspector: Inspector::new(settings.geometry, settings.run),
            disk: Disk::new(disk, initial, script, random.fork()),
            slots: Slots::initialised(first),
            truth: Truth::default(),
            watchers,
            // A machine has been up for a while before anything runs on it.
            now_ns: 1_000_000_000,
            wall_offset: random.below(1 << 60),
            random,
            pending: BTreeMap::new(),
            tie: 0,
            timing: None,
            begun: [0; Takes::KINDS],
            engine: None,
            mode: Mode::BurnIn,
            buffers: Vec::new(),
            wide: BTreeMap::new(),
            span_count: 0,
            in_save: None,
            position: None,
            position_in_save: None,
            saves: 0,
            acknowledged: 0,
            known: BTreeSet::new(),
            reports: Vec::new(),
            judgements: Vec::new(),
            fires: 0,
            command_ends: Fired::Done,
            lens: None,
            command_cuts_power: false,
            removed: false,
            steps: 0,
            writes_of_start: 0,
            hash: settings.seed,
            spins: 0,
            exited: None,
            settings,
        }
    }

    /// An engine starts from the newest sound slot. `current` says whether that is the newest there ever was.
    ///
    /// # Errors
    /// What a watcher found wrong.
    pub fn start(
        &mut self,
        settings: &Settings,
        current: bool,
        make: &dyn Fn(Startup, Settings) -> Box<dyn Core>,
    ) -> Result<(), String> {
        let saved = self.slots.load();
        self.start_from(saved, settings, current, make)
    }

    /// An engine starts from this checkpoint.
    ///
    /// # Errors
    /// What a watcher found wrong.
    ///
    /// # Panics
    /// When one is running.
    pub fn start_from(
        &mut self,
        saved: Option<Checkpoint>,
        settings: &Settings,
        current: bool,
        make: &dyn Fn(Startup, Settings) -> Box<dyn Core>,
    ) -> Result<(), String> {
        assert!(self.engine.is_none(), "one engine at a time");
        self.truth.started();
        self.removed = false;
        // Clocks jump between starts, and decide nothing.
        self.wall_offset = self.random.below(1 << 60);
        self.show(&Sight::Started { settings, loaded: saved.as_ref(), current })?;
        let startup = Startup {
            geometry: self.settings.geometry,
            run: self.settings.run,
            saved,
            known: self.known.iter().copied().collect(),
            position: self.position,
            nonce_seed: self.random.word(),
        };
        self.mode = settings.mode;
        self.fires = 0;
        self.steps = 0;
        self.writes_of_start = 0;
        self.exited = None;
        let engine = make(startup, settings.clone());
        self.buffers = (0..engine.operations()).map(|_| Buffer::default()).collect();
        (self.wide, self.span_count) = (BTreeMap::new(), engine.spans());
        for buffer in &mut self.buffers {
            buffer.bytes = vec![0; self.settings.geometry.block_size as usize];
        }
        self.engine = Some(engine);
        self.step_engine(Vec::new())
    }

    /// Lets time pass until the engine exits, or `pause` says so after a step.
    ///
    /// # Errors
    /// What a watcher found wrong, or a standstill.
    pub fn run(&mut self, pause: &mut dyn FnMut(&World) -> bool) -> Result<Ending, String> {
        loop {
            if let Some(outcome) = self.exited.clone() {
                return Ok(Ending::Exited(outcome));
            }
            if pause(self) {
                return Ok(Ending::Paused);
            }
            let events = self.pass_time()?;
            self.step_engine(events)?;
        }
    }

    /// Lets time pass until the engine exits.
    ///
    /// # Errors
    /// What a watcher found wrong, or a standstill.
    pub fn run_to_exit(&mut self) -> Result<Outcome, String> {
        match self.run(&mut |_| false)? {
            Ending::Exited(outcome) => Ok(outcome),
            Ending::Paused => unreachable!("nobody pauses"),
        }
    }

    /// Somebody wants something of the engine, now.
    ///
    /// # Errors
    /// What a watcher found wrong.
    pub fn command(&mut self, command: Command) -> Result<(), String> {
        let event = Event::Command(command);
        self.show(&Sight::Told(&event))?;
        self.step_engine(vec![event])
    }

    /// Power is lost: the engine is gone, and each volatile atom becomes what the chooser says. The save in flight, if
    /// there is one, ends as `save` says, or as chance will.
    ///
    /// # Errors
    /// What a watcher found wrong.
    pub fn cut(
        &mut self,
        choose: &mut dyn FnMut(Block, u32, usize) -> usize,
        save: Option<SaveFate>,
    ) -> Result<(), String> {
        self.disk.cut(choose);
        self.end_process(save);
        self.slots.lose_power(&mut self.random);
        self.show(&Sight::Cut { power: true, mode: self.mode })
    }

    /// Power is lost, and chance decides what survives.
    ///
    /// # Errors
    /// What a watcher found wrong.
    pub fn cut_at_random(&mut self) -> Result<(), String> {
        let mut random = self.random.fork();
        // Some cuts take nearly all, some nearly nothing, some tear every block.
        let leaning = random.below(4);
        self.cut(
            &mut |_, _, choices| match leaning {
                0 if random.chance(900) => 0,
                1 if random.chance(900) => choices - 1,
                _ => random.below(choices as u64) as usize,
            },
            None,
        )
    }

    /// The process is killed, and the disk keeps its power and its cache.
    ///
    /// # Errors
    /// What a watcher found wrong.
    pub fn kill(&mut self) -> Result<(), String> {
        self.disk.orphan_writes();
        self.end_process(None);
        self.show(&Sight::Cut { power: false, mode: self.mode })
    }

    /// The device loses power under the living engine, which is told before anything else.
    ///
    /// # Errors
    /// What a watcher found wrong.
    pub fn blip(&mut self, choose: &mut dyn FnMut(Block, u32, usize) -> usize) -> Result<(), String> {
        self.lose_power(5, choose)?;
        self.command(Command::DeviceReset("power was lost".into()))
    }

    /// The device is pulled out under the living engine: whatever it asks for fails, and its directory in sysfs is gone.
    /// It is plugged in again before the next start.
    ///
    /// # Errors
    /// What a watcher found wrong.
    pub fn pull_out(&mut self) -> Result<(), String> {
        self.removed = true;
        self.fail_with_the_device()
    }

    pub(super) fn fail_with_the_device(&mut self) -> Result<(), String> {
        let mut random = self.random.fork();
        self.lose_power(5, &mut |_, _, choices| random.below(choices as u64) as usize)
    }

    /// The device loses power under the living engine, which hears of it by errors alone, if at all: whatever is in
    /// flight ends with this one, at once.
    fn lose_power(&mut self, errno: i32, choose: &mut dyn FnMut(Block, u32, usize) -> usize) -> Result<(), String> {
        self.disk.cut(choose);
        self.truth.device_lost_power();
        self.show(&Sight::Blip)?;
        let removed = self.removed;
        let failed = || crate::engine::Fault { removed, ..perform::fault(errno, "the device was reset") };
        for (key, pending) in std::mem::take(&mut self.pending) {
            let event = match pending {
                Pending::WriteEnds(op, ..) => Event::Wrote(op, Err(failed())),
                Pending::ReadEnds(op, ..) => Event::Read(op, Err(failed())),
                Pending::SpanEnds(id) => Event::ReadSpan(id, Err(failed())),
                Pending::FlushEnds => Event::Flushed(Err(failed())),
                other => {
                    self.pending.insert(key, other);
                    continue;
                }
            };
            self.later(0, Pending::Deliver(event));
        }
        self.disk.forget_reads();
        Ok(())
    }

    fn end_process(&mut self, save: Option<SaveFate>) {
        if let Some(saving) = self.in_save.take() {
            // A save whose completion had no time to be delivered is durable all the same.
            let drawn = Slots::draw_fate(&mut self.random);
            if !saving.landed {
                self.slots.fail(save.unwrap_or(drawn));
            }
        }
        if let Some(position) = self.position_in_save.take()
            && self.random.chance(500)
        {
            self.position = Some(position);
        }
        self.pending.clear();
        self.disk.forget_reads();
        self.engine = None;
    }

    /// Whether an engine is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.engine.is_some()
    }

    /// Whether anything is under way that will happen of itself, ever.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.pending.first_key_value().is_some_and(|((at, _), _)| *at < NEVER / 2)
    }

    /// Whether something is under way, and nothing of it will ever end of itself.
    #[must_use]
    pub fn is_hung(&self) -> bool {
        !self.pending.is_empty() && !self.is_busy()
    }

    /// Whether the state directory holds the newest checkpoint that was ever acknowledged, or a newer one.
    #[must_use]
    pub fn state_is_current(&self) -> bool {
        self.slots.newest_stamp().map_or(self.acknowledged == 0 && self.saves == 0, |stamp| stamp >= self.acknowledged)
    }

    /// The wall clock jumps to anywhere, forward or back. It decides nothing.
    pub fn jump_wall_clock(&mut self) {
        self.wall_offset = self.random.below(1 << 60);
    }

    /// The machine sleeps for so long: nobody steps the engine, and what was in flight has ended long ago.
    pub fn suspend(&mut self, ns: u64) {
        self.now_ns += ns;
        self.spins = 0;
    }

    /// Where the engine stands; `None` when none is running.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.engine.as_ref().map(|engine| engine.status())
    }

    /// What really happened.
    #[must_use]
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// What judges and seals here.
    #[must_use]
    pub fn inspector(&self) -> &Inspector {
        &self.inspector
    }

    /// Steps of the present engine, or of the last.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Hash of everything that passed, where it is kept.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Virtual time, in nanoseconds.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn show(&mut self, sight: &Sight<'_>) -> Result<(), String> {
        let scene =
            Scene { now_ns: self.now_ns, truth: &self.truth, disk: &self.disk, schedule: self.inspector.schedule() };
        self.watchers.iter_mut().try_for_each(|watcher| watcher.watch(sight, scene))
    }

    fn now(&self) -> Now {
        Now { mono_ns: self.now_ns, wall_ns: self.wall_offset.wrapping_add(self.now_ns) >> 1 }
    }

    fn later(&mut self, delay_ns: u64, what: Pending) {
        self.tie += 1;
        if let Some(timing) = self.timing {
            let takes = timing::takes(&what);
            let begun = &mut self.begun[takes as usize];
            self.pending.insert((self.now_ns + timing(takes, *begun), self.tie), what);
            *begun += 1;
            return;
        }
        // The tie breaker is chance, so that what ends at one instant ends in any order.
        let tie = self.random.word() << 24 | (self.tie & 0xff_ffff);
        self.pending.insert((self.now_ns + delay_ns, tie), what);
    }
}
