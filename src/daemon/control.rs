//! The control plane: everything that is not the disk, on the caller's thread.

use std::ffi::OsString;
use std::future::pending;
use std::path::Path;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::alarm::{alarm, at};
use super::command::{Order, carry_out};
use super::driver::{Finish, Told};
use super::error::DaemonError;
use super::inbox::{Inbox, Unheard};
use super::protocol::{Request, Response};
use super::reporter::Reporter;
use super::service::Service;
use super::signals::{Meaning, SignalThread, meaning};
use super::socket::Asked;
use super::status::StatusReport;
use super::trigger_file::TriggerFile;
use super::uevents::Uevents;
use super::watch::Watch;
use super::{Ended, Job, Observer, Reload, engine_settings};
use crate::config::{TargetSettings, reloadable_change};
use crate::engine::{Command, Event, Fired, Mode, Outcome, Reason, Settings, Status};
use crate::report::notable;
use crate::vocabulary::RunId;

/// How often status and observers are looked after while there is something to see.
const TICK: Duration = Duration::from_millis(250);

/// How long a status may wait for the data plane to say what it is at now; then what it said last is shown.
const ANSWER: Duration = Duration::from_millis(250);

/// How long one must wait to try again where the data plane takes nothing.
const BUSY: Duration = Duration::from_millis(50);

/// A data plane that says nothing for so long is shown as silent.
const SILENCE: Duration = Duration::from_secs(2);

/// Once asked to stop, so long a silence is the end; asked twice, [`SILENCE`] is. An fsync of a busy disk takes seconds.
const LONG_SILENCE: Duration = Duration::from_secs(30);

/// A data plane that has not taken new settings over for so long is reported as such. Below the patience of whoever asks.
const TAKING_OVER: Duration = Duration::from_secs(5);

/// New settings that the data plane was told of, and has not said that it took.
struct Reloading {
    since: Instant,
    /// `None` for a signal.
    respond: Option<oneshot::Sender<Response>>,
}

/// What the control plane reaches for.
pub(super) struct Reach {
    pub(super) inbox: Inbox,
    pub(super) watch: Watch,
    pub(super) reporter: Reporter,
    pub(super) signals: SignalThread,
    pub(super) trigger_file: Option<TriggerFile>,
    /// None where nothing is known to watch for, or nothing can be heard.
    pub(super) uevents: Option<Uevents>,
}

pub(super) struct Control {
    name: String,
    run_id: RunId,
    /// `mode` as it was asked for: a check has the target's settings too.
    mode: Mode,
    settings: TargetSettings,
    /// Not a check: there is state, and triggers count.
    serves: bool,
    inbox: Inbox,
    watch: Watch,
    reporter: Reporter,
    service: Service,
    signals: SignalThread,
    trigger_file: Option<TriggerFile>,
    /// Why a trigger file that was acted on may be there again after a cut: no command runs any more, or each cut would
    /// bring the next.
    may_come_back: Option<String>,
    uevents: Option<Uevents>,
    /// When the trigger `after` fires.
    time: Option<Instant>,
    /// When the run is to stop.
    end: Option<Instant>,
    started: Instant,
    reload: Option<Reload>,
    reloading: Option<Reloading>,
    observer: Option<Observer>,
    stops: u32,
    /// When status, watchdog and observers are looked after next; `None` while nothing goes on and nobody wants to hear
    /// of it.
    next_tick: Option<Instant>,
    /// Who waits for a status that is asked of the data plane, by which call, and until when.
    curious: Vec<(u64, oneshot::Sender<Response>)>,
    answer_by: Option<Instant>,
    /// The state directory did not answer when it was last looked at.
    hung: bool,
}

impl Control {
    /// `serves`: there is state, and triggers count.
    pub(super) fn new(job: Job, serves: bool, reach: Reach) -> Control {
        let Reach { inbox, watch, reporter, signals, trigger_file, uevents } = reach;
        let started = Instant::now();
        Control {
            name: job.name,
            run_id: job.target.run_id,
            time: alarm(job.settings.trigger.after, started).filter(|_| serves && job.engine.mode != Mode::Patrol),
            end: job.duration.map(|duration| started + duration),
            started,
            mode: job.engine.mode,
            settings: job.settings,
            serves,
            inbox,
            watch,
            reporter,
            service: Service::new(serves),
            signals,
            trigger_file,
            may_come_back: None,
            uevents,
            reload: job.reload,
            reloading: None,
            observer: job.observer,
            stops: 0,
            next_tick: Some(started),
            curious: Vec::new(),
            answer_by: None,
            hung: false,
        }
    }

    /// Until the data plane has ended.
    pub(super) async fn run(
        &mut self,
        mut told: mpsc::Receiver<Told>,
        mut signals: mpsc::Receiver<i32>,
        mut asked: Option<mpsc::Receiver<Asked>>,
    ) -> Result<(), DaemonError> {
        loop {
            tokio::select! {
                told = told.recv() => match told {
                    Some(Told::Started) => self.service.ready(),
                    Some(Told::Fire(reason, state)) => self.fire(&reason, state.as_deref()),
                    Some(Told::Reloaded) => self.taken_over(),
                    None => break,
                },
                Some(signal) = signals.recv() => self.signal(signal)?,
                Some((request, respond)) = next(&mut asked) => self.answer(request, respond),
                () = appeared(&mut self.trigger_file) => self.file_appeared(),
                why = reset(&mut self.uevents) => self.pass_on(Event::Command(Command::DeviceReset(why))),
                () = at(self.time) => {
                    self.time = None;
                    self.trigger(Reason::Time);
                }
                () = at(self.end) => {
                    self.end = None;
                    self.stop("the duration is over");
                }
                () = self.watch.heard() => self.heard(),
                () = at(self.answer_by) => self.answer_curious(true),
                () = at(self.next_tick) => self.tick()?,
            }
        }
        self.service.stopping();
        Ok(())
    }

    /// The data plane has answered, or begun to do something.
    fn heard(&mut self) {
        self.answer_curious(false);
        self.look_after_it();
    }

    /// Ticks from now on, if it did not.
    fn look_after_it(&mut self) {
        let soon = Instant::now() + self.service.longest_tick().map_or(TICK, |longest| longest.min(TICK));
        self.next_tick = Some(self.next_tick.map_or(soon, |next| next.min(soon)));
    }

    fn tick(&mut self) -> Result<(), DaemonError> {
        let snapshot = self.watch.newest();
        self.reporter.sample(&snapshot);
        self.service.tick(&snapshot.status, self.reporter.rates());
        if self.reloading.as_ref().is_some_and(|reloading| reloading.since.elapsed() > TAKING_OVER) {
            let hung = "the data plane does not answer; it takes the new settings over as soon as it does";
            self.reload_ends(Err(hung.to_owned()));
        }
        let report = self.report();
        if let Some(observer) = &mut self.observer {
            observer(&report);
        }
        let silence = self.watch.silence();
        let hangs = hangs_in_words(&snapshot.status, silence);
        if hangs.is_some() != std::mem::replace(&mut self.hung, hangs.is_some()) {
            let words = hangs.as_deref().unwrap_or("the state directory answers again");
            tracing::warn!(target: notable::STATE_HANGS, "{words}");
        }
        if self.stops > 0 {
            // Silence has its own end, below: what hangs is not waited for beyond it.
            self.service.draining();
        }
        let patience = if self.stops > 1 { SILENCE } else { LONG_SILENCE };
        if self.stops > 0 && silence > patience {
            return Err(DaemonError::Silent { seconds: silence.as_secs(), broken: snapshot.status.findings > 0 });
        }
        let told = !self.hung
            && self.service.is_settled(&snapshot.status, self.reporter.rates())
            && self.reporter.is_settled();
        self.next_tick = None;
        match self.stops == 0 && self.reloading.is_none() && told && self.watch.lie_down() {
            // Nothing but the watchdog, until the data plane does something.
            true => self.next_tick = self.service.next_ping().map(Instant::from_std),
            false => {
                // For the next tick: a call that is open stands in the way of lying down.
                self.watch.keep_younger_than(TICK);
                self.look_after_it();
            }
        }
        Ok(())
    }

    /// Whether the state directory does not answer.
    pub(super) fn state_hangs(&mut self) -> bool {
        hangs_in_words(&self.watch.newest().status, self.watch.silence()).is_some()
    }

    /// What the data plane put up last, and whether it still does.
    fn report(&mut self) -> StatusReport {
        let snapshot = self.watch.newest();
        let mut report = self.reporter.report(&snapshot);
        report.warnings.extend(hangs_in_words(&snapshot.status, self.watch.silence()));
        report
    }

    /// Answers those whose call the data plane has answered; all of them when it takes too long.
    fn answer_curious(&mut self, all: bool) {
        let waiting = std::mem::take(&mut self.curious);
        let (ready, waiting) = waiting.into_iter().partition(|(call, _)| all || self.watch.is_answered(*call));
        self.curious = waiting;
        self.answer_by = self.answer_by.filter(|_| !self.curious.is_empty());
        let ready: Vec<(u64, oneshot::Sender<Response>)> = ready;
        if !ready.is_empty() {
            self.reporter.sample(&self.watch.newest());
        }
        for (_, respond) in ready {
            let status = Box::new(self.report());
            deliver(respond, Response::Status { status });
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
            Some(Meaning::Reload) => self.begin_reload(None),
            Some(Meaning::Status) => match serde_json::to_string(&self.report()) {
                Ok(status) => tracing::info!("status {status}"),
                Err(error) => tracing::error!(%error, "no status"),
            },
            Some(Meaning::Trigger(name)) => self.trigger(Reason::Signal(name)),
            None => {}
        }
        Ok(())
    }

    fn stop(&mut self, why: &str) {
        tracing::info!(target: notable::STOPPING, "{why}");
        self.stops = self.stops.max(1);
        self.look_after_it();
        self.service.stopping();
        self.pass_on(Event::Command(Command::Stop));
    }

    /// The file is unlinked. Its directory is flushed here while the ledger is saved and the event log flushed elsewhere;
    /// the command is started here too, so it comes after this.
    fn file_appeared(&mut self) {
        self.trigger(Reason::File);
        let durable = self.trigger_file.as_ref().map_or(Ok(()), TriggerFile::make_durable);
        if let Err(why) = durable {
            tracing::error!("{why}");
            self.may_come_back = Some(why);
        }
    }

    fn trigger(&mut self, reason: Reason) {
        if !self.serves {
            tracing::warn!("a check has no trigger");
            return;
        }
        tracing::info!(target: notable::TRIGGERED, %reason, "triggered");
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
            Request::Status => {
                self.curious.push((self.watch.call(), respond));
                self.answer_by.get_or_insert(Instant::now() + ANSWER);
                return self.answer_curious(false);
            }
            Request::Trigger => ask(Command::Trigger(Reason::Control), "triggered"),
            Request::Pause => ask(Command::Pause, "paused"),
            Request::Resume => ask(Command::Resume, "resumed"),
            Request::Stop => {
                self.stop("asked to stop through the control socket");
                Response::Accepted { message: "stopping".to_owned() }
            }
            Request::Reload => return self.begin_reload(Some(respond)),
        };
        deliver(respond, response);
    }

    /// The answer comes once the data plane has taken the new settings over, or they were refused: `systemctl reload` waits
    /// for it.
    fn begin_reload(&mut self, respond: Option<oneshot::Sender<Response>>) {
        if self.reloading.is_some() || self.stops > 0 {
            let why = if self.stops > 0 { "it is stopping" } else { "a reload is under way" };
            tracing::warn!("no reload: {why}");
            if let Some(respond) = respond {
                deliver(respond, Response::Refused { message: format!("no reload: {why}") });
            }
            return;
        }
        self.service.reloading();
        let begun = self.reload();
        self.reloading = Some(Reloading { since: Instant::now(), respond });
        self.look_after_it();
        if let Err(why) = begun {
            self.reload_ends(Err(why));
        }
    }

    fn taken_over(&mut self) {
        match self.reloading {
            Some(_) => self.reload_ends(Ok(())),
            // It was given up before.
            None => {
                tracing::info!(target: notable::RELOADED, "the settings that were read again are in force now");
                self.service.reloaded(None);
            }
        }
    }

    fn reload_ends(&mut self, how: Result<(), String>) {
        let Some(Reloading { respond, .. }) = self.reloading.take() else { return };
        self.look_after_it();
        let response = match &how {
            Ok(()) => {
                tracing::info!(target: notable::RELOADED, "the settings were read again");
                Response::Accepted { message: "reloaded".to_owned() }
            }
            Err(why) => {
                let message = format!("the settings stay as they were: {why}");
                tracing::error!(target: notable::RELOAD_REFUSED, "{message}");
                Response::Refused { message }
            }
        };
        self.service.reloaded(how.err());
        if let Some(respond) = respond {
            deliver(respond, response);
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
            self.time = alarm(wanted.after, self.started).filter(|_| self.mode != Mode::Patrol);
        }
        if let Some(file) = file {
            self.trigger_file = file;
        }
        self.settings = new;
        Ok(())
    }

    /// The ledger is durable and the trigger on record: runs the command, unless a trigger file may come back.
    fn fire(&self, reason: &Reason, state_file: Option<&Path>) {
        let trigger = &self.settings.trigger;
        if let Some(why) = &self.may_come_back {
            tracing::error!("the trigger's command does not run");
            return self.pass_on(Event::Fired(Fired::Failed(format!("it did not run: {why}"))));
        }
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
                failed => tracing::error!(target: notable::COMMAND_FAILED, "the trigger's command: {failed:?}"),
            }
            while inbox.tell(Event::Fired(fired.clone())) == Err(Unheard::Busy) {
                sleep(BUSY).await;
            }
        });
    }

    pub(super) fn ended(mut self, finish: Finish, damage: Option<String>) -> Ended {
        let Finish { outcome, judgement, snapshot, .. } = finish;
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
        tracing::info!(target: notable::ENDED, "ended with exit status {}", outcome.exit_code());
        Ended { outcome, judgement, warnings: status.warnings.clone(), status }
    }
}

fn deliver(respond: oneshot::Sender<Response>, response: Response) {
    if respond.send(response).is_err() {
        tracing::debug!("whoever asked has gone");
    }
}

/// What there is to say of a state directory that does not answer. It is not the target, and nothing of this is held
/// against that.
fn hangs_in_words(status: &Status, silence: Duration) -> Option<String> {
    if silence >= SILENCE {
        let seconds = silence.as_secs();
        return Some(format!(
            "the data plane has been silent for {seconds} s, and what is shown is as old: most likely the state directory hangs"
        ));
    }
    let seconds = status.stuck_save_s?;
    Some(format!("the save of the ledger has not returned for {seconds:.0} s: the state directory does not answer"))
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

async fn reset(uevents: &mut Option<Uevents>) -> String {
    match uevents {
        Some(uevents) => uevents.reset().await,
        None => pending().await,
    }
}
