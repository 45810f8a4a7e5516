//! From a target's configuration to the engine's settings. Pure.

use std::time::Duration;

use crate::config::{self, TargetSettings};
use crate::engine::{FlushEvery, Mode, OnFinding, OnStart, Settings, Then, TriggerIo};
use crate::schedule::Pace;

/// What the configuration of a target means to the engine: no limit of passes, the saved ledger used.
#[must_use]
pub fn engine_settings(target: &TargetSettings) -> Settings {
    let TargetSettings { verify, trigger, .. } = target;
    Settings {
        mode: match target.mode {
            config::Mode::BurnIn => Mode::BurnIn,
            config::Mode::PowerCut => Mode::Powercut,
            config::Mode::Patrol => Mode::Patrol,
        },
        promise: target.promise,
        queue_depth: target.queue_depth,
        more_operations: 0,
        span_bytes: Settings::default().span_bytes,
        flush_every: match target.flush_every {
            config::FlushEvery::Bytes(bytes) => FlushEvery::Bytes(bytes),
            config::FlushEvery::Time(interval) => FlushEvery::Nanoseconds(nanoseconds(interval)),
        },
        retention: verify.retention,
        readback_lag: verify.readback_lag,
        rereads: verify.rereads,
        deadline_ns: nanoseconds(verify.deadline),
        on_start: match verify.on_start {
            config::OnStart::AfterCut => OnStart::AfterCut,
            config::OnStart::Window => OnStart::Window,
            config::OnStart::Always => OnStart::Always,
        },
        on_finding: match target.on_finding {
            config::OnFinding::Stop => OnFinding::Stop,
            config::OnFinding::Continue => OnFinding::Continue,
            config::OnFinding::Trigger => OnFinding::Trigger,
        },
        rate: target.rate,
        // `rate` is a cap on all that is read and written.
        patrol: Pace {
            rate: target.patrol.rate.into_iter().chain(target.rate).min(),
            pass_ns: target.patrol.pass_time.map(nanoseconds),
        },
        passes: None,
        ignore_state: false,
        trigger_writes: trigger.writes,
        trigger_command: trigger.command.is_some(),
        trigger_io: match trigger.io {
            config::TriggerIo::Continue => TriggerIo::Continue,
            config::TriggerIo::Hold => TriggerIo::Hold,
            config::TriggerIo::Drain => TriggerIo::Drain,
            config::TriggerIo::Flush => TriggerIo::Flush,
        },
        trigger_then: match trigger.then {
            config::TriggerThen::Exit => Then::Exit,
            config::TriggerThen::Resume => Then::Resume,
        },
    }
}

/// Nanoseconds of a duration; beyond 584 years, those.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
