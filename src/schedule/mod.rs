//! Which block is written when: seq ↔ block, both ways, without a map. Pure.
