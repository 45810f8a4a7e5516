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
mod ledger_remembers;
mod no_false_alarm;
mod no_miss;
mod patrol_position;
mod progress;
mod read_again;
mod read_back;
mod reservation;
mod said_when_seen;
mod stuck;
mod told;
mod trace;
mod trigger_order;
mod window_first;

pub use coverage::{Coverage, Covered};
pub use progress::progress;

use scrubd::sim::{Scene, Sight, Watcher};

/// An oracle, and the name that its errors carry.
struct Named(&'static str, Box<dyn Watcher>);

impl Watcher for Named {
    fn watch(&mut self, sight: &Sight<'_>, scene: Scene<'_>) -> Result<(), String> {
        self.1.watch(sight, scene).map_err(|why| format!("oracle {}: {why}", self.0))
    }
}

fn named<W: Watcher + Default + 'static>(name: &'static str) -> Box<dyn Watcher> {
    Box::new(Named(name, Box::<W>::default()))
}

/// All oracles that hold whatever the disk does, and those that hold for this kind of disk.
pub fn all(honest: bool) -> Vec<Box<dyn Watcher>> {
    let mut watchers: Vec<Box<dyn Watcher>> = vec![];
    if std::env::var("SCRUBD_SIM_TRACE").is_ok() {
        watchers.push(Box::new(trace::Trace));
    }
    watchers.push(match honest {
        true => named::<no_false_alarm::NoAlarm>("no_false_alarm"),
        false => named::<no_false_alarm::OnlyTrueFindings>("no_false_alarm"),
    });
    watchers.push(named::<no_miss::NoMiss>("no_miss"));
    watchers.push(named::<evidence::Evidence>("evidence"));
    watchers.push(named::<accounting::Accounting>("accounting"));
    watchers.push(named::<read_back::ReadBack>("read_back"));
    watchers.push(named::<said_when_seen::SaidWhenSeen>("said_when_seen"));
    watchers.extend(of_the_engine());
    watchers
}

/// Those that look at what the engine does, and hold whatever is found on the disk.
pub fn of_the_engine() -> Vec<Box<dyn Watcher>> {
    vec![
        named::<reservation::Reservation>("reservation"),
        named::<ledger_promises::LedgerPromises>("ledger_promises"),
        named::<ledger_remembers::LedgerRemembers>("ledger_remembers"),
        named::<concurrency::Concurrency>("concurrency"),
        named::<counts::Counts>("counts"),
        named::<window_first::WindowFirst>("window_first"),
        named::<claims::Claims>("claims"),
        named::<bounds::Bounds>("bounds"),
        named::<stuck::Stuck>("stuck"),
        named::<read_again::ReadAgain>("read_again"),
        named::<told::Told>("told"),
        named::<trigger_order::TriggerOrder>("trigger_order"),
        named::<check_changes_nothing::CheckChangesNothing>("check_changes_nothing"),
        named::<patrol_position::PatrolPosition>("patrol_position"),
    ]
}
