//! A whole job: from what the caller has opened, through the life of both planes, to how it ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::board::Snapshot;
use super::control::{Control, Reach};
use super::error::DaemonError;
use super::journal::Journal;
use super::reporter::Reporter;
use super::saver::Books;
use super::signals::SignalThread;
use super::socket::ControlSocket;
use super::start::{DataPlane, start};
use super::trigger_file::TriggerFile;
use super::uevents::Uevents;
use super::{Ended, Job, State, damaged};
use crate::engine::Outcome;
use crate::pool::Placement;
use crate::report::{notable, quarantine};

/// Does the whole job, with a state directory or without leaving a trace.
pub(super) fn conduct(mut job: Job, state: Option<State>) -> Result<Ended, DaemonError> {
    let resources = |what| move |source| DaemonError::Resources { what, source };
    let mut journal = None;
    // Ours to the very end: the socket goes before the claim, or it might be the next process's that is removed.
    let books = state.map(|State { dir, store, choice, owner }| Books { dir: Arc::new(dir), store, choice, owner });
    let claim = books.as_ref().map(|books| Arc::clone(&books.dir));
    if let Some(claim) = &claim {
        let layout = claim.layout();
        if let Some(latch) = quarantine::read(layout.dir()) {
            return Err(DaemonError::Quarantined(latch.reason));
        }
        let (opened, remarks) = Journal::open(layout)?;
        job.remarks.extend(remarks);
        journal = Some(opened);
    }
    job.remarks.iter().chain(&job.target.warnings).for_each(|remark| tracing::warn!("{remark}"));
    let damage = damaged::in_words(&job.target);
    if let (Some(why), Some(journal)) = (&damage, &mut journal) {
        tracing::error!(target: notable::DAMAGED, "{why}");
        let cut_off = damaged::report(journal, &job, why);
        // Nothing is written to what has lost its label or its end.
        return Ok(broken_at_once(&job, why, cut_off, journal.take_trouble()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(resources("the control plane"))?;
    let (signals, heard) = SignalThread::start(job.settings.trigger.signal).map_err(resources("the signal thread"))?;
    let _within = runtime.enter();
    // What can be refused is refused before the data plane starts.
    let trigger_file = match &job.settings.trigger.file {
        Some(path) if claim.is_some() => Some(TriggerFile::watch(path)?),
        _ => None,
    };
    let socket = claim.as_ref().map(|claim| ControlSocket::listen(&claim.layout().control_socket())).transpose()?;
    let uevents = listen(&mut job);
    let file = job.target.file.try_clone().map_err(resources("the data plane"))?;
    let serves = claim.is_some();
    let DataPlane { inbox, told, watch, ring, workers, thread } = start(&mut job, file, books, journal)?;
    tracing::info!(target: notable::STARTED, "{ring}");
    for Placement { thread, cpus_allowed, .. } in &workers {
        tracing::debug!(thread, ?cpus_allowed, "worker");
    }
    let reporter = Reporter::new(&job, &ring, workers);
    let held = (job.target.file.try_clone().map_err(resources("the data plane"))?, job.target.whole_disk.take());
    let socket_stays = socket.as_ref().map(|socket| Arc::clone(&socket.stays));
    let asked = socket.map(|socket| {
        let (sender, receiver) = mpsc::channel(1);
        (tokio::spawn(socket.serve(sender)), receiver)
    });
    let (server, asked) = asked.unzip();
    let mut control = Control::new(job, serves, Reach { inbox, watch, reporter, signals, trigger_file, uevents });
    let ended_well = runtime.block_on(control.run(told, heard, asked));
    if let Some(stays) = socket_stays {
        stays.store(control.state_hangs(), Ordering::Release);
    }
    if let Some(server) = server {
        server.abort();
    }
    let finish = match ended_well {
        Ok(()) => thread.finished()?,
        Err(given_up) => return Err(given_up),
    };
    // The lock of the target ends with its descriptors, and a partition's disk is held as long.
    drop(held);
    Ok(control.ended(finish, damage))
}

/// Before anything is read: a reset between the first read and the last is one that counts.
fn listen(job: &mut Job) -> Option<Uevents> {
    let lineage = std::mem::take(&mut job.target.lineage);
    if lineage.is_empty() {
        return None;
    }
    let heard = Uevents::listen(lineage);
    heard
        .inspect_err(|error| {
            let words = format!("no uevents ({error}): a reset of the device that no error tells of goes unnoticed");
            tracing::warn!("{words}");
            job.remarks.push(words);
        })
        .ok()
}

fn broken_at_once(job: &Job, why: &str, cut_off: u64, trouble: Vec<String>) -> Ended {
    let description = crate::ring::Description {
        engine: "none",
        why: "nothing was read or written".to_owned(),
        depth: 0,
        registered_buffers: false,
        registered_file: false,
        flags: Vec::new(),
        direct: job.target.direct,
    };
    let reporter = Reporter::new(job, &description, Vec::new());
    let mut status = reporter.report(&Snapshot::default());
    status.warnings.push(why.to_owned());
    status.engine.findings = cut_off;
    status.warnings.extend(trouble);
    Ended { outcome: Outcome::Broken, judgement: None, warnings: status.warnings.clone(), status }
}
