//! `scrubd status`: how a running daemon is.

use std::time::Duration;

use super::args::Args;
use super::exit::{Failure, INTERNAL};
use super::{chosen, control, talk};
use crate::config::format_cpus;
use crate::daemon::protocol::{Request, Response};
use crate::daemon::{Latency, RingReport, StatusReport};
use crate::engine::{PatrolStatus, Status};
use crate::report::text::{bytes, count, counted, time};

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let settings = chosen::target(args)?;
    match control::ask(&settings, Request::Status)? {
        Response::Status { status } => {
            let json = || serde_json::to_string(&status).expect("plain values have a JSON form");
            talk::result(&if args.common.json { json() } else { words(&status) });
            Ok(0)
        }
        Response::Accepted { message } | Response::Refused { message } => {
            Err(Failure::new(INTERNAL, format!("the daemon does not say how it is: {message}")))
        }
    }
}

fn words(report: &StatusReport) -> String {
    let StatusReport { target, path, run_id, pid, version, started, engine, rates, latencies, .. } = report;
    let Status { durable, next, reserved, verified, epoch, cuts, checkpoint, .. } = engine;
    let uptime = Duration::try_from_secs_f64(report.uptime_s).unwrap_or_default();
    let lag = count(next.0.saturating_sub(durable.0));
    let (durable, next, reserved, verified) = (count(durable.0), count(next.0), count(reserved.0), count(verified.0));
    let mut lines = vec![
        format!("{target}: {}", activity(engine)),
        format!("  target     {path}, run {run_id}"),
        format!("  process    {pid}, scrubd {version}, since {started} ({})", time(uptime)),
        format!("  frontiers  durable {durable}, issued {next} (lag {lag}), reserved {reserved}, read back {verified}"),
        format!("  ledger     checkpoint {checkpoint}, epoch {epoch}, {} survived", counted(*cuts, "cut")),
        format!("  written    {} ({:.1} MiB/s)", bytes(engine.bytes.written), rates.written_mib_s),
        format!("  verified   {} ({:.1} MiB/s)", bytes(engine.bytes.verified), rates.verified_mib_s),
        format!(
            "  in flight  {}, {}; failed: {}, {}",
            counted(engine.writes_in_flight.into(), "write"),
            counted(engine.reads_in_flight.into(), "read"),
            counted(engine.failed_writes, "write"),
            // "flushs" is no word.
            format_args!("{} flush{}", engine.failed_flushes, if engine.failed_flushes == 1 { "" } else { "es" }),
        ),
    ];
    lines.extend(engine.patrol.as_ref().map(|status| format!("  patrol     {}", patrol(engine, status))));
    lines.extend(engine.stuck_in_words().map(|stuck| format!("  stuck      {stuck}")));
    let named = [("write", &latencies.write), ("read", &latencies.read), ("flush", &latencies.flush)];
    lines.extend(named.into_iter().filter(|(_, latency)| latency.count > 0).map(|(name, latency)| {
        let Latency { count: number, p50_us, p99_us, p999_us, max_us } = latency;
        let number = count(*number);
        format!(
            "  {name:<9}  {number} took {p50_us} µs in the median, 99 % {p99_us}, 99.9 % {p999_us}, at most {max_us}"
        )
    }));
    lines.push(format!("  ring       {}", ring(&report.ring)));
    lines.extend(report.workers.iter().map(|worker| {
        let asked = worker.cpus_asked.as_deref().map_or("any".to_owned(), format_cpus);
        format!("  worker     {} on CPUs {} (asked for {asked})", worker.thread, format_cpus(&worker.cpus_allowed))
    }));
    lines.push(format!("  findings   {} since the start", count(engine.findings)));
    lines.extend(report.verdict.iter().map(|verdict| format!("  verdict    {verdict}")));
    lines.extend(report.warnings.iter().map(|warning| format!("  warning    {warning}")));
    lines.join("\n")
}

fn patrol(engine: &Status, patrol: &PatrolStatus) -> String {
    let PatrolStatus { next, rate, pass_time_s, ended_wall_ns, .. } = patrol;
    let mut parts = vec![format!("pass {}, block {} of {}", engine.pass, count(*next), count(engine.blocks))];
    parts.extend(patrol.lag_in_words());
    let spread = pass_time_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parts.extend(spread.map(|spread| format!("a pass in {}", crate::config::format_duration(spread))));
    parts.extend(rate.map(|rate| format!("at most {}/s", bytes(rate))));
    let ended = ended_wall_ns.map(|ns| std::time::UNIX_EPOCH + Duration::from_nanos(ns));
    parts.extend(ended.map(|at| format!("the newest whole pass ended {}", humantime::format_rfc3339_seconds(at))));
    parts.join("; ")
}

fn ring(ring: &RingReport) -> String {
    let RingReport { engine, why, depth, registered_buffers, registered_file, direct } = ring;
    let mut told = format!("{engine}, depth {depth}");
    let yes =
        [(registered_buffers, "registered buffers"), (registered_file, "registered file"), (direct, "direct I/O")];
    for (_, what) in yes.into_iter().filter(|(yes, _)| **yes) {
        told = format!("{told}, {what}");
    }
    if why.is_empty() { told } else { format!("{told} ({why})") }
}

/// What the engine is at, in a few words.
pub(crate) fn activity(status: &Status) -> String {
    let Status { phase, pass, progress, .. } = status;
    let percent = progress * 100.0;
    let pass = if is_writing(status) || status.patrol.is_some() { format!(", pass {pass}") } else { String::new() };
    format!("{phase}{pass}, {percent:.0} %")
}

/// Whether it has come to writing.
pub(crate) fn is_writing(status: &Status) -> bool {
    status.phase.starts_with("writing")
}
