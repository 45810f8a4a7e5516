//! Progress once faults stop: the run gets through its passes, and how it ends fits the disk.

use scrubd::engine::{Outcome, Settings};
use scrubd::sim::World;
use scrubd::vocabulary::Promise;

/// # Errors
/// When it ended otherwise than it should.
pub fn progress(outcome: &Outcome, honest: bool, world: &World, settings: &Settings) -> Result<(), String> {
    if honest && *outcome != Outcome::Kept {
        return Err(format!("oracle progress: no faults any more, and it ended {outcome:?}"));
    }
    // A liar's damage may still be there; what the run may not do is give up for another reason.
    if !matches!(outcome, Outcome::Kept | Outcome::Broken) {
        return Err(format!("oracle progress: no faults any more, and it ended {outcome:?}"));
    }
    if *outcome != Outcome::Kept {
        return Ok(());
    }
    let truth = world.truth();
    let wanted = settings.passes.unwrap_or(0) * world.disk.blocks();
    let written = truth.writes().iter().filter(|write| write.start == truth.starts).count() as u64;
    if written < wanted {
        return Err(format!("oracle progress: {written} of {wanted} blocks were written"));
    }
    let of_this = truth.writes().iter().filter(|write| write.start == truth.starts && write.completed);
    let open = of_this.filter(|write| settings.promise == Promise::Flush && !write.promised).count();
    if open > 0 {
        return Err(format!("oracle progress: a clean stop, and {open} completed writes were never flushed"));
    }
    Ok(())
}
