"""A trigger file appears → the state is durable → the command is started: how long, and how many flushes in between."""

import ctypes
import os
import re
import select
import shutil
import signal
import struct
import time
from contextlib import contextmanager
from pathlib import Path

from .conditions import target, until_writing
from .fio import command as fio_command
from .process import Child, Failed, median, percentile

IN_OPEN = 0x20
EVENT = struct.calcsize("iIII")

# Never the bottleneck: what is measured here is how quickly others react, on a machine that is kept busy.
MEASURER = 10


@contextmanager
def ahead_of_others():
    """Real-time priority for this thread, where that is allowed, so that it is not this script that comes late."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        # Not inherited: what is started here runs as everything else does.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(MEASURER))
        yield True
    except PermissionError:
        yield False
    finally:
        try:
            os.sched_setscheduler(0, *before)
        except PermissionError:
            pass


class Opened:
    """Tells when a file is opened: of a command, that is the moment at which the kernel executes it."""

    def __init__(self, path):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_CLOEXEC)
        if self.fd < 0 or libc.inotify_add_watch(self.fd, os.fsencode(path), IN_OPEN) < 0:
            raise Failed(f"no inotify watch on {path}: {os.strerror(ctypes.get_errno())}")

    def wait(self, limit_s=10):
        ready, _, _ = select.select([self.fd], [], [], limit_s)
        now = time.monotonic()
        if not ready:
            raise Failed(f"the command was not started within {limit_s} s")
        os.read(self.fd, 16 * EVENT)
        return now

    def close(self):
        os.close(self.fd)


def pull(trigger_file, program):
    """Makes the trigger file appear; milliseconds until the command is executed."""
    opened = Opened(program)
    try:
        with ahead_of_others():
            began = time.monotonic()
            os.close(os.open(trigger_file, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
            return (opened.wait() - began) * 1000
    finally:
        opened.close()


def measure(book, options, at, length):
    """File → state durable → command started, while random 4 KiB writes keep all queues full. State in memory, and on disk."""
    samples = (20 if at.name == "tmpfs" else 8) if options.quick else 100
    homes = {"tmpfs": options.tmpfs_dir} if at.name == "tmpfs" else {"disk": options.disk_dir}
    for where, directory in homes.items():
        home = Path(directory) / f"versus-{os.getpid()}-trigger"
        try:
            home.mkdir()
            # A copy of its own: nobody else opens it.
            program = Path(shutil.copy2(shutil.which("true"), home / "command"))
            times = {"scrubd": [], "fio": []}
            for turn in range(samples):
                options.say(f"trigger, state on {where}: {turn + 1} of {samples}")
                times["scrubd"].append(of_scrubd(options, at, length, home, program))
                if turn % 4 == 0:
                    times["fio"].append(of_fio(options, at, length, home, program))
            told_of_trigger(book, options, at, where, times)
            flushes(book, options, at, length, home, program, where)
        finally:
            shutil.rmtree(home, ignore_errors=True)


def told_of_trigger(book, options, at, where, times):
    ours, theirs = times["scrubd"], median(times["fio"])
    for sample in ours:
        book.add(at.name, 4 << 10, f"scrubd trigger, state on {where}", {"trigger_ms": sample})
    goals = {"tmpfs": (("<=", 2), ("<=", 5))}.get(where, (None, None))
    what = "trigger file → command started"
    detail = f"{len(ours)} samples; fio's median {theirs:.1f} ms"
    book.row(f"{what}, median, state on {where}", at.name, 4 << 10, median(ours), goals[0], "ms", detail)
    book.row(f"{what}, 99 %, state on {where}", at.name, 4 << 10, percentile(ours, 99), goals[1], "ms", f"longest {max(ours):.1f} ms")


def armed(options, at, length, home, program, wrap=()):
    """A scrubd that writes with all queues full and waits for its trigger file."""
    ours = target(options, at, length, 4 << 10)
    ours.state_dir = home / "state"
    ours.config = ours.state_dir / "scrubd.toml"
    ours.label()
    keys = {"mode": "powercut", "trigger.file": str(home / "pull"), "trigger.command": [str(program)], "trigger.io": "continue",
            "trigger.then": "exit"}
    child = Child([*wrap, *ours.start_argv(**keys)])
    until_writing(ours, child)
    time.sleep(0.2)
    return child


def of_scrubd(options, at, length, home, program):
    child = armed(options, at, length, home, program)
    try:
        return pull(home / "pull", program)
    finally:
        child.signal(signal.SIGTERM)
        child.wait(30)


def of_fio(options, at, length, home, program):
    """fio looks for the file every so often; what it saves it does not flush."""
    more = ["--rw=randwrite", "--verify=crc32c", "--do_verify=0", "--time_based", "--runtime=20",
            f"--trigger-file={home / 'pull'}", f"--trigger={program}", f"--aux-path={home}"]
    child = Child(fio_command(at.path, 4 << 10, length, options.depth, *more))
    try:
        time.sleep(0.7)
        return pull(home / "pull", program)
    finally:
        child.kill()
        (home / "pull").unlink(missing_ok=True)


CALL = re.compile(r"(\d+) +[\d.]+ (<\.\.\. )?(fsync|fdatasync|execve|unlink|unlinkat)(?:\(| resumed>)(.*)")


def flushed_between(trace, trigger_file, program):
    """Names of what was flushed after the trigger file was removed and before the command was executed."""
    calls, removing = None, None
    for line in trace.splitlines():
        found = CALL.match(line)
        if not found:
            continue
        pid, resumed, call, words = found.groups()
        if call.startswith("unlink"):
            if f'"{trigger_file}"' in words:
                removing = pid
            # It is looked for by being removed: most of these calls find nothing.
            if removing == pid and words.endswith("= 0"):
                calls = []
        elif call == "execve" and words.startswith(f'"{program}"'):
            return calls
        elif calls is not None and not resumed and call in ("fsync", "fdatasync"):
            calls.append(Path(re.search(r"<(.*?)>", words).group(1)).name)
    return None


def flushes(book, options, at, length, home, program, where):
    """Which flushes of the state lie between the trigger file and the command, by strace. The slowed run is not timed."""
    if not shutil.which("strace"):
        return book.skip(f"trigger on {where}: flushes before the command", "strace is not installed")
    trace = home / "trace"
    wrap = ["strace", "-f", "-y", "-ttt", "--seccomp-bpf", "-e", "trace=fsync,fdatasync,execve,unlink,unlinkat", "-o", trace]
    child = armed(options, at, length, home, program, wrap)
    try:
        pull(home / "pull", program)
    finally:
        child.wait(30)
    calls = flushed_between(trace.read_text(), home / "pull", program)
    if calls is None:
        raise Failed("the trace shows no trigger file, or no command")
    book.row(f"flushes before the command, state on {where}", at.name, 4 << 10, len(calls), ("<=", 2) if where == "disk" else None,
             "", ", ".join(calls))
