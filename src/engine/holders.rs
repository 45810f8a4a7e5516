//! Which operation holds which block.
//!
//! Asked several times for each write, so it is a table of its own: open addressing with linear probing, where a removal
//! closes its gap (Knuth, The Art of Computer Programming 3, section 6.4, algorithm R). No order, and so nothing that
//! could make two runs of one seed differ.

use super::event::OpId;
use crate::vocabulary::Block;

/// At least half of the places are free, so that a look takes one or two steps.
#[derive(Clone, Debug)]
pub(super) struct Holders {
    /// A power of two of them.
    places: Vec<Option<(Block, OpId)>>,
    count: usize,
}

impl Holders {
    /// Room for so many before it grows.
    pub(super) fn with_room_for(count: usize) -> Self {
        Holders { places: vec![None; (count * 2).next_power_of_two().max(8)], count: 0 }
    }

    pub(super) fn get(&self, block: Block) -> Option<OpId> {
        self.places[self.place_of(block)].map(|(_, op)| op)
    }

    /// False, and nothing changes, where somebody holds the block.
    pub(super) fn insert(&mut self, block: Block, op: OpId) -> bool {
        if (self.count + 1) * 2 > self.places.len() {
            self.grow();
        }
        let place = self.place_of(block);
        let free = self.places[place].is_none();
        if free {
            self.places[place] = Some((block, op));
            self.count += 1;
        }
        free
    }

    pub(super) fn remove(&mut self, block: Block) -> Option<OpId> {
        let mut gap = self.place_of(block);
        let (_, op) = self.places[gap].take()?;
        self.count -= 1;
        let mut at = self.after(gap);
        while let Some((other, _)) = self.places[at] {
            // It may move to the gap unless its search begins behind it.
            let begin = self.begin_of(other);
            let distance = |from: usize, to: usize| to.wrapping_sub(from) & (self.places.len() - 1);
            if distance(begin, at) >= distance(gap, at) {
                self.places[gap] = self.places[at].take();
                gap = at;
            }
            at = self.after(at);
        }
        Some(op)
    }

    /// Where the block is, or where it would go.
    fn place_of(&self, block: Block) -> usize {
        let mut at = self.begin_of(block);
        while self.places[at].is_some_and(|(other, _)| other != block) {
            at = self.after(at);
        }
        at
    }

    fn begin_of(&self, block: Block) -> usize {
        // The upper bits of the product are the well mixed ones.
        let mixed = block.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        mixed as usize & (self.places.len() - 1)
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    fn grow(&mut self) {
        let mut larger = Holders::with_room_for(self.places.len());
        for (block, op) in self.places.iter().copied().flatten() {
            larger.insert(block, op);
        }
        *self = larger;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_answers_as_a_map_does(steps in prop::collection::vec((0u64..40, 0u32..8, any::<bool>()), 0..400)) {
            let (mut holders, mut map) = (Holders::with_room_for(2), BTreeMap::new());
            for (number, op, insert) in steps {
                // Some far apart, some neighbours: short and long chains of places.
                let (block, op) = (Block(if number < 20 { number } else { number << 40 }), OpId(op));
                if insert {
                    let vacant = !map.contains_key(&block);
                    prop_assert_eq!(holders.insert(block, op), vacant);
                    map.entry(block).or_insert(op);
                } else {
                    prop_assert_eq!(holders.remove(block), map.remove(&block));
                }
                for number in 0..40 {
                    let block = Block(if number < 20 { number } else { number << 40 });
                    prop_assert_eq!(holders.get(block), map.get(&block).copied());
                }
            }
        }
    }
}
