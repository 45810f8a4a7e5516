//! The control plane: everything that is not the disk, on the caller's thread.

use std::ffi::OsString;
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::board::{Board, Snapshot};
use super::command::{Order, carry_out};
use super::driver::{Finish, Told};
use super::error::DaemonError;
use super::inbox::{Inbox, Unheard};
use super::journal::Journal;
use super::protocol::{Request, Response};
use super::reporter::Reporter;
use super::saver::Books;
use super::service::{self, Service};
use super::signals::{Meaning, SignalThread, meaning};
use super::socket::{Asked, ControlSocket};
use super::start::{DataPlane, start};
use super::trigger_file::TriggerFile;
use super::{Ended, Job, Observer, Reload, State, damaged, engine_settings};
use crate::config::{After, TargetSettings, reloadable_change};
use crate::engine::{Command, Event, Fired, Mode, Outcome, Reason, Settings};
use crate::report::quarantine;
use crate::vocabulary::RunId;

/// How often status, watchdog and observers are looked after.
const TICK: Duration = Duration::from_millis(250);

/// How long one must wait to try again where the data plane takes nothing.
const BUSY: Duration = Duration::from_millis(50);

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
        tracing::error!("{why}");
        damaged::report(journal, why, job.engine.on_finding);
        // Nothing is written to what has lost its label or its end.
        return Ok(broken_at_once(&job, why, journal.take_trouble()));
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
    let file = job.target.file.try_clone().map_err(resources("the data plane"))?;
    let serves = claim.is_some();
    let DataPlane { inbox, told, board, ring, workers, thread } = start(&mut job, file, books, journal)?;
    let reporter = Reporter::new(&job, &ring, workers);
    let asked = socket.map(|socket| {
        let (sender, receiver) = mpsc::channel(1);
        (tokio::spawn(socket.serve(sender)), receiver)
    });
    let (server, asked) = asked.unzip();
    let mut control = Control {
        name: job.name.clone(),
        run_id: job.target.run_id,
        time: alarm(job.settings.trigger.after, Instant::now()).filter(|_| serves),
        end: job.duration.map(|duration| Instant::now() + duration),
        started: Instant::now(),
        mode: job.engine.mode,
        settings: job.settings,
        serves,
        inbox,
        board,
        reporter,
        service: Service::new(serves),
        signals,
        trigger_file,
        reload: job.reload,
        observer: job.observer,
        stops: 0,
    };
    let ended_well = runtime.block_on(control.run(told, heard, asked));
    if let Some(server) = server {
        server.abort();
    }
    let finish = match ended_well {
        Ok(()) => joined(thread)?,
        Err(given_up) => return Err(given_up),
    };
    // The lock of the target ends with its descriptors, and a partition's disk is held as long.
    drop((job.target.file, job.target.whole_disk));
    Ok(control.ended(finish, damage))
}

fn joined(thread: std::thread::JoinHandle<Result<Finish, DaemonError>>) -> Result<Finish, DaemonError> {
    thread.join().unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(DaemonError::Internal(words.unwrap_or_else(|| "it panicked".to_owned())))
    })
}

fn broken_at_once(job: &Job, why: &str, trouble: Vec<String>) -> Ended {
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
    status.warnings.extend(trouble);
    Ended { outcome: Outcome::Broken, judgement: None, warnings: status.warnings.clone(), status }
}

struct Control {
    name: String,
    run_id: RunId,
    /// `mode` as it was asked for: a check has the target's settings too.
    mode: Mode,
    settings: TargetSettings,
    /// Not a check: there is state, and triggers count.
    serves: bool,
    inbox: Inbox,
    board: Arc<Board>,
    reporter: Reporter,
    service: Service,
    signals: SignalThread,
    trigger_file: Option<TriggerFile>,
    /// When the trigger `after` fires.
    time: Option<Instant>,
    /// When the run is to stop.
    end: Option<Instant>,
    started: Instant,
    reload: Option<Reload>,
    observer: Option<Observer>,
    stops: u32,
}

impl Control {
    /// Until the data plane has ended.
    async fn run(
        &mut self,
        mut told: mpsc::Receiver<Told>,
        mut signals: mpsc::Receiver<i32>,
        mut asked: Option<mpsc::Receiver<Asked>>,
    ) -> Result<(), DaemonError> {
        let mut tick = interval(self.service.longest_tick().unwrap_or(TICK).min(TICK));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                told = told.recv() => match told {
                    Some(Told::Started) => self.service.ready(),
                    Some(Told::Fire(reason, state)) => self.fire(&reason, state.as_deref()),
                    None => break,
                },
                Some(signal) = signals.recv() => self.signal(signal)?,
                Some((request, respond)) = next(&mut asked) => self.answer(request, respond),
                () = appeared(&mut self.trigger_file) => self.trigger(Reason::File),
                () = at(self.time) => {
                    self.time = None;
                    self.trigger(Reason::Time);
                }
                () = at(self.end) => {
                    self.end = None;
                    self.stop("the duration is over");
                }
                _ = tick.tick() => self.tick(),
            }
        }
        self.service.stopping();
        Ok(())
    }

    fn tick(&mut self) {
        let snapshot = self.board.newest();
        self.reporter.sample(&snapshot);
        self.service.tick(&snapshot.status);
        if let Some(observer) = &mut self.observer {
            observer(&self.reporter.report(&snapshot));
        }
    }

    fn signal(&mut self, signal: i32) -> Result<(), DaemonError> {
        match meaning(signal, self.settings.trigger.signal) {
            Some(Meaning::Stop) => {
                self.stops += 1;
                match self.stops {
                    1 => self.stop("asked to stop: draining"),
                    2 => {
                        tracing::info!("asked to stop again: not draining");
                        self.pass_on(Event::Command(Command::StopNow));
                    }
                    _ => return Err(DaemonError::Internal("asked to stop for the third time, it gives up".to_owned())),
                }
            }
            Some(Meaning::Reload) => {
                if let Err(why) = self.reload() {
                    tracing::error!("the settings stay as they were: {why}");
                }
            }
            Some(Meaning::Status) => match serde_json::to_string(&self.reporter.report(&self.board.newest())) {
                Ok(status) => tracing::info!("status {status}"),
                Err(error) => tracing::error!(%error, "no status"),
            },
            Some(Meaning::Trigger(name)) => self.trigger(Reason::Signal(name)),
            None => {}
        }
        Ok(())
    }

    fn stop(&mut self, why: &str) {
        tracing::info!("{why}");
        self.stops = self.stops.max(1);
        self.service.stopping();
        self.pass_on(Event::Command(Command::Stop));
    }

    fn trigger(&mut self, reason: Reason) {
        if !self.serves {
            tracing::warn!("a check has no trigger");
            return;
        }
        tracing::info!(%reason, "triggered");
        self.pass_on(Event::Command(Command::Trigger(reason)));
    }

    /// Gets it through, now or as soon as the data plane listens again.
    fn pass_on(&self, event: Event) {
        if self.inbox.tell(event.clone()) == Err(Unheard::Busy) {
            let inbox = self.inbox.clone();
            tokio::spawn(async move {
                while inbox.tell(event.clone()) == Err(Unheard::Busy) {
                    sleep(BUSY).await;
                }
            });
        }
    }

    fn answer(&mut self, request: Request, respond: oneshot::Sender<Response>) {
        let ask = |command, message: &str| match self.inbox.ask(command) {
            Ok(()) => Response::Accepted { message: message.to_owned() },
            Err(unheard) => Response::Refused { message: unheard.to_string() },
        };
        let response = match request {
            Request::Status => Response::Status { status: Box::new(self.reporter.report(&self.board.newest())) },
            Request::Trigger => ask(Command::Trigger(Reason::Control), "triggered"),
            Request::Pause => ask(Command::Pause, "paused"),
            Request::Resume => ask(Command::Resume, "resumed"),
            Request::Stop => {
                self.stop("asked to stop through the control socket");
                Response::Accepted { message: "stopping".to_owned() }
            }
            Request::Reload => match self.reload() {
                Ok(()) => Response::Accepted { message: "reloaded".to_owned() },
                Err(why) => Response::Refused { message: format!("the settings stay as they were: {why}") },
            },
        };
        if respond.send(response).is_err() {
            tracing::debug!("whoever asked has gone");
        }
    }

    /// Takes new settings over, all or none.
    fn reload(&mut self) -> Result<(), String> {
        let reload = self.reload.as_ref().filter(|_| self.serves).ok_or("there is no configuration to read again")?;
        let new = reload()?;
        reloadable_change(&self.settings, &new).map_err(|refused| refused.join("; "))?;
        let (old, wanted) = (&self.settings.trigger, &new.trigger);
        if old.signal != wanted.signal {
            self.signals.listen_to(wanted.signal).map_err(|error| format!("trigger.signal: {error}"))?;
        }
        let file = match &wanted.file {
            Some(path) if old.file != wanted.file => {
                Some(Some(TriggerFile::watch(path).map_err(|error| super::journal::chain(&error))?))
            }
            None => Some(None),
            Some(_) => None,
        };
        let settings = Settings { mode: self.mode, ..engine_settings(&new) };
        self.inbox.ask(Command::Reload(Box::new(settings))).map_err(|unheard| unheard.to_string())?;
        if old.after != wanted.after {
            self.time = alarm(wanted.after, self.started);
        }
        if let Some(file) = file {
            self.trigger_file = file;
        }
        self.settings = new;
        tracing::info!("the settings were read again");
        Ok(())
    }

    /// The ledger is durable and the trigger on record: runs the command.
    fn fire(&self, reason: &Reason, state_file: Option<&Path>) {
        let trigger = &self.settings.trigger;
        let Some(argv) = trigger.command.clone().filter(|_| self.serves) else {
            return self.pass_on(Event::Fired(Fired::Done));
        };
        tracing::info!(?argv, %reason, "running the trigger's command");
        let env = environment(&self.name, self.run_id, reason, state_file);
        let order = Order { argv, timeout: trigger.timeout, env };
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let fired = carry_out(order).await;
            match &fired {
                Fired::Done => tracing::info!("the trigger's command is done"),
                failed => tracing::error!("the trigger's command: {failed:?}"),
            }
            while inbox.tell(Event::Fired(fired.clone())) == Err(Unheard::Busy) {
                sleep(BUSY).await;
            }
        });
    }

    fn ended(mut self, finish: Finish, damage: Option<String>) -> Ended {
        let Finish { outcome, judgement, snapshot } = finish;
        let outcome = match (outcome, &damage) {
            (Outcome::Kept | Outcome::Incomplete, Some(_)) => Outcome::Broken,
            (outcome, _) => outcome,
        };
        self.reporter.warnings.extend(damage);
        self.reporter.sample(&snapshot);
        let status = self.reporter.report(&snapshot);
        if let Some(observer) = &mut self.observer {
            observer(&status);
        }
        tracing::info!(exit = outcome.exit_code(), "{}", service::in_words(&snapshot.status));
        Ended { outcome, judgement, warnings: status.warnings.clone(), status }
    }
}

fn environment(name: &str, run_id: RunId, reason: &Reason, state_file: Option<&Path>) -> Vec<(&'static str, OsString)> {
    let mut env: Vec<(&'static str, OsString)> = vec![
        ("SCRUBD_TARGET", name.into()),
        ("SCRUBD_RUN_ID", run_id.to_string().into()),
        ("SCRUBD_REASON", reason.to_string().into()),
    ];
    env.extend(state_file.map(|path| ("SCRUBD_STATE_FILE", path.into())));
    env
}

/// When a trigger that was set at `from` fires: at one time, or at any in a range, each as likely.
fn alarm(after: Option<After>, from: Instant) -> Option<Instant> {
    let After { earliest, latest } = after?;
    let span = u64::try_from(latest.saturating_sub(earliest).as_millis()).unwrap_or(u64::MAX);
    let mut chance = [0; 8];
    getrandom::fill(&mut chance).expect("the kernel has randomness");
    // 64 bits over a range of milliseconds: the bias is below one in ten million for a year.
    let waits = earliest + Duration::from_millis(u64::from_le_bytes(chance) % span.saturating_add(1).max(1));
    from.checked_add(waits)
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

async fn appeared(file: &mut Option<TriggerFile>) {
    match file {
        Some(file) => file.appeared().await,
        None => pending().await,
    }
}

async fn next(asked: &mut Option<mpsc::Receiver<Asked>>) -> Option<Asked> {
    match asked {
        Some(asked) => asked.recv().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_a_range_is_within_it_and_one_time_is_that_time() {
        let from = Instant::now();
        let [two, five] = [2, 5].map(Duration::from_secs);
        let times: Vec<Duration> = (0..100)
            .map(|_| alarm(Some(After { earliest: two, latest: five }), from).unwrap().duration_since(from))
            .collect();
        assert!(times.iter().all(|time| (two..=five).contains(time)), "{times:?}");
        assert!(times.iter().any(|time| *time != times[0]), "no chance in it: {times:?}");
        assert_eq!(alarm(Some(After { earliest: two, latest: two }), from), Some(from + two));
        assert_eq!(alarm(None, from), None);
    }
}
