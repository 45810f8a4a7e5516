"""How long the moments take that decide: trigger to command, start to first read; and what an idle daemon costs."""

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

from .conditions import cut, target, until_writing
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


def trigger(book, options, at, length):
    """File → state durable → command started, while random 4 KiB writes keep all queues full. State in memory, and on disk."""
    samples = 20 if options.quick else 100
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
            f"--trigger-file={home / 'pull'}", f"--trigger={program}"]
    child = Child(fio_command(at.path, 4 << 10, length, options.depth, *more))
    try:
        time.sleep(0.7)
        return pull(home / "pull", program)
    finally:
        child.kill()
        (home / "pull").unlink(missing_ok=True)


SYNC = re.compile(r"(\d+) +([\d.]+) (fsync|fdatasync|execve|unlink|unlinkat)\((.*)")


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
    calls = None
    for line in trace.read_text().splitlines():
        found = SYNC.match(line)
        if not found:
            continue
        _, _, call, words = found.groups()
        if call.startswith("unlink") and str(home / "pull") in words:
            # Looked for at the start too, when it was not there: the last one before the command counts.
            calls = []
        elif call == "execve" and words.startswith(f'"{program}"'):
            break
        elif calls is not None and call in ("fsync", "fdatasync"):
            calls.append(Path(re.search(r"<(.*?)>", words).group(1)).name)
    if calls is None:
        raise Failed("the trace shows no trigger file")
    book.row(f"flushes before the command, state on {where}", at.name, 4 << 10, len(calls), ("<=", 2) if where == "disk" else None,
             "", ", ".join(calls))


ENTERED = re.compile(r"(\d+) +([\d.]+) (execve|io_uring_enter)\((?:\d+, (\d+),)?")


def start(book, options, at, length):
    """Start of the process → first verifying read after a cut. The kernel's own record, by strace of two calls."""
    if not shutil.which("strace"):
        return book.skip("start → first verifying read", "strace is not installed")
    samples = 5 if options.quick else 20
    for verb in ("run", "check"):
        times = []
        for turn in range(samples):
            options.say(f"{verb} after a cut, first read: {turn + 1} of {samples}")
            ours = target(options, at, length, 4 << 10)
            cut(ours)
            times.append(first_read(ours, verb))
        for sample in times:
            book.add(at.name, 4 << 10, f"scrubd {verb} after a cut", {"first_read_ms": sample})
        book.row(f"start of {verb} → first verifying read after a cut", at.name, 4 << 10, median(times), ("<=", 30), "ms",
                 f"{samples} samples, longest {max(times):.1f} ms")


def first_read(ours, verb):
    trace = ours.state_dir / "trace"
    argv = ["strace", "-f", "-ttt", "--seccomp-bpf", "-e", "trace=execve,io_uring_enter", "-o", trace]
    child = Child([*argv, *ours.argv(verb)])
    began, pid = None, None
    until = time.monotonic() + 20
    try:
        while time.monotonic() < until:
            for line in trace.read_text().splitlines() if trace.exists() else []:
                found = ENTERED.match(line)
                if not found:
                    continue
                pid_, at, call, submitted = found.groups()
                if call == "execve" and began is None:
                    began, pid = float(at), int(pid_)
                # The reads come in a batch. One request alone may be the one that waits for the waker.
                elif call == "io_uring_enter" and int(submitted or 0) >= 2:
                    return (float(at) - began) * 1000
            if child.look():
                break
            time.sleep(0.01)
        raise Failed(f"{verb} never read: {child.ended.err[-300:] if child.ended else ''}")
    finally:
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        until = time.monotonic() + 5
        while not child.look() and time.monotonic() < until:
            time.sleep(0.01)


def spent(pid):
    """Nanoseconds on a CPU, and context switches, of all its threads. Ticks are too coarse for a thousandth of a core."""
    busy_ns = switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        busy_ns += int((task / "schedstat").read_text().split()[0])
        for line in (task / "status").read_text().splitlines():
            if "ctxt_switches" in line:
                switches += int(line.split()[1])
    return busy_ns, switches


def idle(book, options, at, length):
    """A paused daemon, after a second of quiet: its share of a core, and how often anything in it wakes up."""
    seconds = 5 if options.quick else 20
    ours = target(options, at, length, 64 << 10)
    ours.label()
    child = ours.start(**{"mode": "powercut"})
    try:
        until_writing(ours, child)
        ours.ask("pause")
        time.sleep(1.5)
        (busy, switches), began = spent(child.pid), time.monotonic()
        time.sleep(seconds)
        (busy_after, switches_after), took = spent(child.pid), time.monotonic() - began
    finally:
        child.signal(signal.SIGTERM)
        child.wait(30)
    share, wakes = (busy_after - busy) / 1e9 / took * 100, (switches_after - switches) / took
    book.add(at.name, 64 << 10, "scrubd paused", {"cpu_percent": share, "switches_per_s": wakes})
    book.row("paused: share of a core", at.name, None, share, ("<", 0.1), "%", f"over {took:.0f} s")
    # A watchdog of systemd's default length wants a word every few seconds at the most.
    book.row("paused: wake-ups", at.name, None, wakes, ("<=", 0.5), "/s", "context switches of all threads")
