"""From the start of the process to its first verifying read after a cut, and what an idle daemon costs."""

import os
import re
import signal
import time
from pathlib import Path

from .conditions import cut, target, until_writing
from .process import Child, Failed, median

TRACING = Path("/sys/kernel/tracing")

# The first request of a ring may be the one that waits for the waker; the reads come as a batch. A file in memory is read
# without a ring: behind the region's first MiB there are only blocks.
LINE = re.compile(r" (\d+\.\d+): (sched_process_exec: filename=(\S+)|sys_io_uring_enter\(fd: \w+, to_submit: (\w+)"
                  r"|sys_pread64\(.*pos: (\w+)\))")
LABEL = 1 << 20


class Tracer:
    """Execs and reads of this process's children, with the kernel's own times: tracepoints, which stop nobody as strace does."""

    EVENTS = ("sched/sched_process_exec", "syscalls/sys_enter_io_uring_enter", "syscalls/sys_enter_pread64")

    def __enter__(self):
        self.home = TRACING / "instances" / f"versus-{os.getpid()}"
        self.home.mkdir()
        self.write("trace_clock", "mono")
        self.write("options/event-fork", "1")
        self.write("set_event_pid", str(os.getpid()))
        for event in self.EVENTS:
            self.write(f"events/{event}/enable", "1")
        return self

    def write(self, name, value):
        (self.home / name).write_text(value)

    def clear(self):
        self.write("trace", "")

    def lines(self):
        return (self.home / "trace").read_text().splitlines()

    def __exit__(self, *_):
        self.home.rmdir()


def start(book, options, at, length):
    """Start of the process → first verifying read after a cut."""
    if os.geteuid() != 0 or not TRACING.is_dir() or not (TRACING / "instances").is_dir():
        return book.skip("start → first verifying read", f"needs root and the kernel's tracepoints in {TRACING}")
    samples = 5 if options.quick else 20
    with Tracer() as tracer:
        for verb in ("run", "check"):
            times = []
            for turn in range(samples):
                options.say(f"{verb} after a cut, first read: {turn + 1} of {samples}")
                ours = target(options, at, length, 4 << 10)
                cut(ours)
                times.append(first_read(tracer, ours, verb))
            for sample in times:
                book.add(at.name, 4 << 10, f"scrubd {verb} after a cut", {"first_read_ms": sample})
            book.row(f"start of {verb} → first verifying read after a cut", at.name, 4 << 10, median(times), ("<=", 30), "ms",
                     f"{samples} samples, longest {max(times):.1f} ms")


def first_read(tracer, ours, verb):
    tracer.clear()
    child = Child(ours.argv(verb))
    until = time.monotonic() + 20
    try:
        while time.monotonic() < until:
            ended = child.look()
            took = between(tracer.lines(), str(ours.binary))
            if took is not None:
                return took
            if ended:
                break
            time.sleep(0.02)
        raise Failed(f"{verb} never read: {child.ended.err[-300:] if child.ended else ''}")
    finally:
        child.kill()


def between(lines, program):
    """Milliseconds from the exec of a program to its first verifying read, if both are in the trace."""
    began, single = None, 0
    for line in lines:
        found = LINE.search(line)
        if not found:
            continue
        at, _, executed, submitted, position = found.groups()
        at = float(at)
        if executed:
            began = at if executed == program else began
        elif began is None:
            continue
        elif position and int(position, 16) >= LABEL:
            return (at - began) * 1000
        elif submitted and int(submitted, 16) > 0:
            single += 1
            if int(submitted, 16) > 1 or single == 2:
                return (at - began) * 1000
    return None


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
    """A paused daemon, after some seconds of quiet: its share of a core, and how often anything in it wakes up."""
    seconds = 5 if options.quick else 20
    ours = target(options, at, length, 64 << 10)
    ours.label()
    child = ours.start(**{"mode": "powercut"})
    try:
        until_writing(ours, child)
        ours.ask("pause")
        # The last rate is on show, and the last line for systemd is said, five seconds later.
        time.sleep(8)
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
