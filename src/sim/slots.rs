//! The simulated state directory: two slots, a save at a time, each into the slot that is not the newest durable one.

use super::random::Random;
use crate::ledger::Checkpoint;

/// What became of a save that was not acknowledged: it failed, or power failed while it was in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveFate {
    /// The slot holds what it held.
    Absent,
    /// The slot holds neither: its envelope does not hold.
    Torn,
    /// It is there, whole.
    Landed,
}

#[derive(Clone, Debug)]
struct Saved {
    number: u64,
    payload: Vec<u8>,
}

/// Two slots, and the save in flight.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    slots: [Option<Saved>; 2],
    newest: usize,
    in_flight: Option<Saved>,
}

impl Slots {
    /// A state directory in which `init` has saved the first checkpoint.
    #[must_use]
    pub fn initialised(first: &Checkpoint) -> Self {
        let saved = Saved { number: first.number, payload: first.encode() };
        Slots { slots: [Some(saved), None], newest: 0, in_flight: None }
    }

    /// A save begins.
    ///
    /// # Panics
    /// When one is in flight.
    pub fn submit(&mut self, checkpoint: &Checkpoint) {
        assert!(self.in_flight.is_none(), "one save in flight at a time");
        self.in_flight = Some(Saved { number: checkpoint.number, payload: checkpoint.encode() });
    }

    /// The save in flight is durable.
    ///
    /// # Panics
    /// When none is in flight.
    pub fn succeed(&mut self) {
        let saved = self.in_flight.take().expect("a save is in flight");
        let target = 1 - self.newest;
        self.slots[target] = Some(saved);
        self.newest = target;
    }

    /// The save in flight, if there is one, is not acknowledged; the slot that was the newest durable one stays it.
    pub fn fail(&mut self, fate: SaveFate) {
        let Some(saved) = self.in_flight.take() else { return };
        match fate {
            SaveFate::Absent => {}
            SaveFate::Torn => self.slots[1 - self.newest] = None,
            SaveFate::Landed => self.slots[1 - self.newest] = Some(saved),
        }
    }

    /// What a start finds: the sound slot with the highest number. `None` when no slot is sound.
    ///
    /// # Panics
    /// When a sound envelope holds what no writer of this program can have meant.
    pub fn load(&mut self) -> Option<Checkpoint> {
        self.in_flight = None;
        let number = |slot: &Option<Saved>| slot.as_ref().map(|saved| saved.number);
        self.newest = usize::from(number(&self.slots[1]) > number(&self.slots[0]));
        let saved = self.slots[self.newest].as_ref()?;
        Some(Checkpoint::decode(saved.number, &saved.payload).expect("a sound slot decodes"))
    }

    /// The newest slot is lost to rot in the state directory.
    pub fn lose_newest(&mut self) {
        let number = |slot: &Option<Saved>| slot.as_ref().map(|saved| saved.number);
        let newest = usize::from(number(&self.slots[1]) > number(&self.slots[0]));
        self.slots[newest] = None;
    }

    /// The whole directory is lost.
    pub fn lose_all(&mut self) {
        *self = Slots::default();
    }

    /// Draws what becomes of a save that is not acknowledged.
    pub(super) fn draw_fate(random: &mut Random) -> SaveFate {
        random.pick(&[SaveFate::Absent, SaveFate::Torn, SaveFate::Landed])
    }
}
