//! One moment, many outcomes: a world can be copied as a cut would meet it.

use std::collections::BTreeMap;

use super::World;
use crate::sim::observe::Watcher;

impl World {
    /// This world at this moment, without its engine: the same disk with its cache and what is in flight, the same
    /// slots and save in flight, the same truth. Nothing that was pending will happen there: [`World::cut`] comes next.
    /// What was reported and judged so far stays behind.
    #[must_use]
    pub fn fork(&self, watchers: Vec<Box<dyn Watcher>>) -> World {
        World {
            settings: self.settings,
            inspector: self.inspector,
            disk: self.disk.clone(),
            slots: self.slots.clone(),
            truth: self.truth.clone(),
            watchers,
            random: self.random.clone(),
            now_ns: self.now_ns,
            wall_offset: self.wall_offset,
            pending: BTreeMap::new(),
            tie: self.tie,
            timing: self.timing,
            begun: self.begun,
            engine: None,
            mode: self.mode,
            buffers: Vec::new(),
            wide: BTreeMap::new(),
            span_count: 0,
            in_save: self.in_save.clone(),
            position: self.position,
            position_in_save: self.position_in_save,
            saves: self.saves,
            acknowledged: self.acknowledged,
            known: self.known.clone(),
            reports: Vec::new(),
            judgements: Vec::new(),
            fires: self.fires,
            command_ends: self.command_ends.clone(),
            command_cuts_power: self.command_cuts_power,
            removed: self.removed,
            steps: self.steps,
            writes_of_start: self.writes_of_start,
            lens: None,
            hash: self.hash,
            spins: 0,
            exited: None,
        }
    }

    /// The number of the checkpoint that is being saved and whose fate a cut would decide.
    #[must_use]
    pub fn save_in_flight(&self) -> Option<u64> {
        self.in_save.as_ref().filter(|save| !save.landed).map(|save| save.checkpoint.number)
    }
}
