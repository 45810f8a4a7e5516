//! The only place of the data plane that looks at a clock.

use std::time::{Instant, SystemTime};

use super::settings::nanoseconds;
use crate::vocabulary::Now;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Clock(Instant::now())
    }

    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { mono_ns: nanoseconds(self.0.elapsed()), wall_ns: nanoseconds(wall) }
    }
}
