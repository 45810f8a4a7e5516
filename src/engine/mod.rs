//! All decisions: `step(now, events, actions)`. Pure.
