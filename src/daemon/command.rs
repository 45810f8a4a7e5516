//! The trigger's command: an argv, its own process group, a timeout, and its words in the log.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::engine::Fired;

/// How long a command that was killed is waited for: only the kernel can hold it longer.
const REAPING: Duration = Duration::from_secs(5);

/// How long its last words are waited for. Whatever it left running may keep the pipes open for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Output that goes to the log, in bytes a stream.
const OUTPUT_MAX: usize = 64 << 10;

/// Longest line of it, in bytes.
const LINE_MAX: usize = 1024;

/// What systemd told us about itself: a command that spoke for us would keep alive, or end, what it is not.
const NOT_FOR_COMMANDS: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

pub(super) struct Order {
    /// Never empty.
    pub(super) argv: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) env: Vec<(&'static str, OsString)>,
}

/// Runs it to its end, or to its timeout.
pub(super) async fn carry_out(order: Order) -> Fired {
    let Order { argv, timeout: limit, env } = order;
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).envs(env).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in NOT_FOR_COMMANDS {
        command.env_remove(name);
    }
    // Its own group: what it starts in turn can be ended with it, and Ctrl-C on ours does not reach it.
    command.process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Fired::Missing(format!("{}: {error}", argv[0])),
    };
    let out = child.stdout.take().map(|pipe| tokio::spawn(relay("stdout", pipe)));
    let err = child.stderr.take().map(|pipe| tokio::spawn(relay("stderr", pipe)));
    let fired = match timeout(limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => Fired::Done,
        Ok(Ok(status)) => Fired::Failed(format!("{}: {}", argv[0], in_words(status))),
        Ok(Err(error)) => Fired::Failed(format!("{}: it cannot be waited for: {error}", argv[0])),
        Err(_) => Fired::TimedOut(format!("{}: {}", argv[0], end(&mut child, limit).await)),
    };
    for relay in [out, err].into_iter().flatten() {
        let abort = relay.abort_handle();
        if timeout(LAST_WORDS, relay).await.is_err() {
            abort.abort();
        }
    }
    fired
}

/// Ends the whole group. The child was not reaped yet, so that its number is still its own, and the group's.
async fn end(child: &mut Child, limit: Duration) -> String {
    let killed = match child.id().and_then(|pid| i32::try_from(pid).ok()) {
        Some(pid) => killpg(Pid::from_raw(pid), Signal::SIGKILL).map_err(io::Error::from),
        None => Ok(()),
    };
    let told = format!("still running after {}", humantime::format_duration(limit));
    match (killed, timeout(REAPING, child.wait()).await) {
        (Err(error), _) => format!("{told}, and it cannot be killed: {error}"),
        (_, Ok(Ok(_))) => format!("{told}, killed"),
        (_, Ok(Err(error))) => format!("{told}, killed; it cannot be waited for: {error}"),
        (_, Err(_)) => format!("{told}, killed, and still there: stuck in the kernel"),
    }
}

fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("ended by {signal}"),
            Err(_) => format!("ended by signal {signal}"),
        },
        (None, None) => status.to_string(),
    }
}

/// Puts the lines of a pipe into the log, and reads on in silence once there were enough, so that the command does not
/// block on a full pipe.
async fn relay(stream: &'static str, mut pipe: impl AsyncRead + Unpin) {
    let (mut chunk, mut line, mut left) = ([0; 4096], Vec::new(), OUTPUT_MAX);
    loop {
        match pipe.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => {
                for &byte in &chunk[..read.min(left)] {
                    if byte != b'\n' {
                        line.push(byte);
                    }
                    if byte == b'\n' || line.len() == LINE_MAX {
                        tell(stream, &mut line);
                    }
                }
                if left > 0 && read >= left {
                    tell(stream, &mut line);
                    tracing::info!(stream, "command: what it says beyond {OUTPUT_MAX} bytes is not shown");
                }
                left = left.saturating_sub(read);
            }
        }
    }
    tell(stream, &mut line);
}

fn tell(stream: &'static str, line: &mut Vec<u8>) {
    if !line.is_empty() {
        let clean: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
        tracing::info!(stream, "command: {clean}");
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn run(argv: &[&str], limit: Duration, env: Vec<(&'static str, OsString)>) -> Fired {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let argv = argv.iter().map(ToString::to_string).collect();
        runtime.block_on(carry_out(Order { argv, timeout: limit, env }))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_command_that_ends_well_is_done_and_a_missing_or_failing_one_says_so() {
        assert_eq!(run(&["true"], LONG, vec![]), Fired::Done);
        let missing = run(&["/nonexistent/power-off"], LONG, vec![]);
        assert!(
            matches!(&missing, Fired::Missing(why) if why.starts_with("/nonexistent/power-off: No such file")),
            "{missing:?}"
        );
        assert_eq!(run(&["sh", "-c", "exit 7"], LONG, vec![]), Fired::Failed("sh: exit status 7".to_owned()));
        assert_eq!(run(&["sh", "-c", "kill -9 $$"], LONG, vec![]), Fired::Failed("sh: ended by SIGKILL".to_owned()));
    }

    #[test]
    fn a_hanging_command_is_ended_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("grandchild");
        let script = format!("sleep 300 & echo $! > {}; wait", mark.display());
        let began = Instant::now();
        let fired = run(&["sh", "-c", &script], Duration::from_millis(500), vec![]);
        assert_eq!(fired, Fired::TimedOut("sh: still running after 500ms, killed".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(30));
        let pid: i32 = std::fs::read_to_string(mark).unwrap().trim().parse().unwrap();
        let gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
            Err(_) => true,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(Instant::now() < deadline, "the grandchild {pid} still runs");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_command_that_leaves_something_running_with_its_pipes_does_not_hold_us() {
        let began = Instant::now();
        assert_eq!(run(&["sh", "-c", "sleep 20 & echo started"], LONG, vec![]), Fired::Done);
        assert!(began.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn its_environment_says_what_happened_and_nothing_of_systemd() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("env");
        let env = vec![("SCRUBD_TARGET", "bay3".into()), ("SCRUBD_REASON", "signal SIGUSR2".into())];
        let script = format!("env > {}", out.display());
        assert_eq!(run(&["sh", "-c", &script], LONG, env), Fired::Done);
        let env = std::fs::read_to_string(out).unwrap();
        assert!(env.contains("SCRUBD_TARGET=bay3\n") && env.contains("SCRUBD_REASON=signal SIGUSR2\n"), "{env}");
        assert!(!env.contains("NOTIFY_SOCKET=") && !env.contains("WATCHDOG_"), "{env}");
    }

    #[test]
    fn a_command_that_talks_without_end_is_neither_blocked_nor_quoted_in_full() {
        assert_eq!(run(&["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"], LONG, vec![]), Fired::Done);
    }
}
