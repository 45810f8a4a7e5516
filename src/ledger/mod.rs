//! What the disk has promised: frontiers, window, epochs, legal set, slots; and a thin store.
//!
//! Promises: D counts only what completed before a flush was submitted that then succeeded; nothing is issued at or
//! above a reservation that is not durable; whatever the ledger forgets makes a check milder, never stricter. It does
//! not promise that its saved form is the newest there ever was: that is asked of the disk, in [`Recovered`].

mod checkpoint;
mod epochs;
#[allow(clippy::module_inception, reason = "the room is named after the thing in it")]
mod ledger;
mod legal;
mod position;
mod recovered;
#[cfg(test)]
mod tests;
mod window;

pub mod slots;
pub mod state_dir;
pub mod store;

pub use checkpoint::{Checkpoint, Inconsistent};
pub use epochs::{Acquaintance, EpochRecord, Epochs, MAX_EPOCHS};
pub use ledger::{Ledger, MAX_FLUSHES, Totals};
pub use legal::{FlushRecord, Guarantee, Legal, ProvedBy, Rule, Standing};
pub use position::{JudgedBy, POSITION_BYTES, Position};
pub use recovered::{Attestation, Recovered, State};
pub use window::{MAX_WINDOW, Window, WriteState};
