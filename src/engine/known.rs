//! Findings that were reported before: a bounded memory that forgets the oldest.

use std::collections::{HashSet, VecDeque};

use crate::report::FindingKey;

/// Findings remembered as known: 65,536 of some 100 bytes, 6 MiB. Beyond, the oldest would be reported again.
pub(super) const MAX_KNOWN: usize = 1 << 16;

#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    keys: HashSet<FindingKey>,
    /// The same, oldest first.
    by_age: VecDeque<FindingKey>,
}

impl Known {
    pub(super) fn from_oldest(keys: Vec<FindingKey>) -> Self {
        let mut known = Known::default();
        keys.into_iter().for_each(|key| {
            known.remember(key);
        });
        known
    }

    pub(super) fn contains(&self, key: &FindingKey) -> bool {
        self.keys.contains(key)
    }

    /// Whether it was new.
    pub(super) fn remember(&mut self, key: FindingKey) -> bool {
        if !self.keys.insert(key) {
            return false;
        }
        self.by_age.push_back(key);
        if self.by_age.len() > MAX_KNOWN
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.keys.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(block: u64) -> FindingKey {
        let json = format!(
            r#"{{"block":{block},"found":null,"class":"corrupt","persistence":"persistent","errno":null,"contents":"0000000000000007"}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn the_oldest_is_forgotten_not_the_one_at_the_lowest_address() {
        // Met from the end of the disk to its beginning.
        let last = MAX_KNOWN as u64;
        let mut known = Known::from_oldest((1..=last).rev().map(key).collect());
        assert!(known.remember(key(0)) && !known.remember(key(0)));
        assert!(known.contains(&key(0)) && known.contains(&key(1)));
        assert!(!known.contains(&key(last)), "the first that was met");
    }
}
