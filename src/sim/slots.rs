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
    /// Counts saves over the life of the world, whatever numbers they carry: tells an old copy from a new one.
    stamp: u64,
    payload: Vec<u8>,
}

/// Two slots, and the save in flight.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// What a read shows.
    slots: [Option<Saved>; 2],
    /// What a power cut leaves; differs where an fsync lied.
    media: [Option<Saved>; 2],
    newest: usize,
    in_flight: Option<Saved>,
}

impl Slots {
    /// A state directory in which `init` has saved the first checkpoint.
    #[must_use]
    pub fn initialised(first: &Checkpoint) -> Self {
        let saved = Saved { number: first.number, stamp: 0, payload: first.encode() };
        let slots = [Some(saved), None];
        Slots { media: slots.clone(), slots, newest: 0, in_flight: None }
    }

    /// A save begins; the stamp is higher than that of any save before.
    ///
    /// # Panics
    /// When one is in flight.
    pub fn submit(&mut self, checkpoint: &Checkpoint, stamp: u64) {
        assert!(self.in_flight.is_none(), "one save in flight at a time");
        self.in_flight = Some(Saved { number: checkpoint.number, stamp, payload: checkpoint.encode() });
    }

    /// The save in flight is acknowledged, and durable where the directory does not lie. Returns its stamp.
    ///
    /// # Panics
    /// When none is in flight.
    pub fn succeed(&mut self, lies: bool) -> u64 {
        let saved = self.in_flight.take().expect("a save is in flight");
        let (target, stamp) = (1 - self.newest, saved.stamp);
        if !lies {
            self.media[target] = Some(saved.clone());
        }
        self.slots[target] = Some(saved);
        self.newest = target;
        stamp
    }

    /// Power is lost: what an fsync only claimed to have made durable is there, gone, or torn.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        for (slot, media) in self.slots.iter_mut().zip(&mut self.media) {
            let stamp = |saved: &Option<Saved>| saved.as_ref().map(|saved| saved.stamp);
            if stamp(slot) != stamp(media) {
                match Self::draw_fate(random) {
                    SaveFate::Absent => slot.clone_from(media),
                    SaveFate::Torn => *slot = None,
                    SaveFate::Landed => {}
                }
                media.clone_from(slot);
            }
        }
    }

    /// The stamp of the newest sound slot; `None` when no slot is sound.
    #[must_use]
    pub fn newest_stamp(&self) -> Option<u64> {
        self.slots.iter().flatten().max_by_key(|saved| saved.number).map(|saved| saved.stamp)
    }

    /// The save in flight, if there is one, is not acknowledged; the slot that was the newest durable one stays it.
    pub fn fail(&mut self, fate: SaveFate) {
        let Some(saved) = self.in_flight.take() else { return };
        let target = 1 - self.newest;
        match fate {
            SaveFate::Absent => return,
            SaveFate::Torn => self.slots[target] = None,
            SaveFate::Landed => self.slots[target] = Some(saved),
        }
        self.media[target].clone_from(&self.slots[target]);
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
        (self.slots[newest], self.media[newest]) = (None, None);
    }

    /// The whole directory is lost; a save in flight goes on into a new one.
    pub fn lose_all(&mut self) {
        (self.slots, self.media) = Default::default();
    }

    /// An older copy is put back. Who saves next still knows which slot it would have taken.
    pub fn put_back(&mut self, copy: &Slots) {
        self.slots.clone_from(&copy.slots);
        self.media.clone_from(&copy.slots);
    }

    /// Draws what becomes of a save that is not acknowledged.
    pub(super) fn draw_fate(random: &mut Random) -> SaveFate {
        random.pick(&[SaveFate::Absent, SaveFate::Torn, SaveFate::Landed])
    }
}
