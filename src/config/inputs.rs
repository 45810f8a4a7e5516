//! Stage 2: all sources together. Later sources override single keys, and each value keeps its origin.

use std::collections::BTreeMap;

use super::error::Origin;
use super::fragments::{Entry, Fragment};
use super::value::Said;

/// What was said, all sources together, not yet judged.
#[derive(Clone, Debug, Default)]
pub(super) struct Inputs {
    pub(super) state_dir: Option<Said>,
    pub(super) targets: BTreeMap<String, Input>,
}

/// What was said of one target, `[defaults]` and `--set` included.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// Where the target was first named, to blame for what is missing.
    pub(super) origin: Origin,
    pub(super) said: BTreeMap<&'static str, Said>,
}

/// Merges sources in their order. A target's own key goes before `[defaults]`, whichever file either stands in; `--set`
/// goes before both. Where a target is selected, `--set` means that one and no other.
pub(super) fn merge(fragments: Vec<Fragment>, sets: &[Entry], selected: Option<&str>) -> Inputs {
    let mut inputs = Inputs::default();
    let mut defaults = BTreeMap::new();
    let mut own: BTreeMap<String, Input> = BTreeMap::new();
    for fragment in fragments {
        inputs.state_dir = fragment.state_dir.or(inputs.state_dir);
        defaults.extend(by_key(fragment.defaults));
        for target in fragment.targets {
            let empty = || Input { origin: target.origin, said: BTreeMap::new() };
            own.entry(target.name).or_insert_with(empty).said.extend(by_key(target.entries));
        }
    }
    for (name, input) in own {
        let mut said = defaults.clone();
        said.extend(input.said);
        if selected.is_none_or(|selected| selected == name) {
            said.extend(by_key(sets.to_vec()));
        }
        inputs.targets.insert(name, Input { said, ..input });
    }
    inputs
}

fn by_key(entries: Vec<Entry>) -> impl Iterator<Item = (&'static str, Said)> {
    entries.into_iter().map(|Entry { key, said }| (key.name, said))
}
