//! What every atom says about itself: format, payload, seal, inspect. Pure.
//!
//! Promises: whatever a sound tag says can be rebuilt to the byte; a block is called intact only when each atom's
//! checksum holds and its tag is legal there; rotten bytes are a verdict, never a panic. Does not promise
//! authenticity: tags are evidence, and whoever knows the run id can forge them.

mod atom;
mod checksum;
mod diagnose;
mod digest;
mod format;
mod inspect;
mod payload;
mod seal;
mod span;
#[cfg(test)]
mod tests;
mod verdict;

pub use checksum::{checksum_holds, seal_atom};
pub use format::{DIGEST, MAGIC, TAG_SIZE, Tag, UNTOLD_BY_ISSUE, VERSION, field_at};
pub use inspect::{Inspector, contents_hash};
pub use seal::Sealer;
pub use span::{Heard, Inspections, Span};
pub use verdict::{Broken, Claims, Class, Inspection, Verdict};
