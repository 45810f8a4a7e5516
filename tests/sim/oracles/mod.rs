//! Each oracle in a file of its own; each judges by the world's truth and never by the ledger or the verifier.

mod accounting;
mod bounds;
mod check_changes_nothing;
mod claims;
mod concurrency;
mod corners;
mod counts;
mod coverage;
mod evidence;
mod knowledge;
mod ledger_promises;
mod no_false_alarm;
mod no_miss;
mod progress;
mod read_back;
mod reservation;
mod said_when_seen;
mod stuck;
mod trace;
mod window_first;

pub use coverage::{Coverage, Covered};
pub use progress::progress;

use scrubd::sim::Watcher;

/// All oracles that hold whatever the disk does, and those that hold for this kind of disk.
pub fn all(honest: bool) -> Vec<Box<dyn Watcher>> {
    let alarm: Box<dyn Watcher> = if honest {
        Box::<no_false_alarm::NoAlarm>::default()
    } else {
        Box::<no_false_alarm::OnlyTrueFindings>::default()
    };
    let mut watchers: Vec<Box<dyn Watcher>> = vec![];
    if std::env::var("SCRUBD_SIM_TRACE").is_ok() {
        watchers.push(Box::new(trace::Trace));
    }
    watchers.extend::<[Box<dyn Watcher>; 15]>([
        alarm,
        Box::<no_miss::NoMiss>::default(),
        Box::<reservation::Reservation>::default(),
        Box::<ledger_promises::LedgerPromises>::default(),
        Box::<concurrency::Concurrency>::default(),
        Box::<counts::Counts>::default(),
        Box::<window_first::WindowFirst>::default(),
        Box::<claims::Claims>::default(),
        Box::<evidence::Evidence>::default(),
        Box::<accounting::Accounting>::default(),
        Box::<bounds::Bounds>::default(),
        Box::<stuck::Stuck>::default(),
        Box::<read_back::ReadBack>::default(),
        Box::<said_when_seen::SaidWhenSeen>::default(),
        Box::<check_changes_nothing::CheckChangesNothing>::default(),
    ]);
    watchers
}
