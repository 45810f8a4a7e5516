"""From the start of the process to its first verifying read after a cut, and what an idle daemon costs."""

import os
import re
import shutil
import signal
import time
from pathlib import Path

from .conditions import cut, target, until_writing
from .process import Child, Failed, median

ENTERED = re.compile(r"(\d+) +([\d.]+) (execve|io_uring_enter)\((?:\d+, (\d+),)?")

# A file in memory is read on the ring's thread, without a ring: behind the region's first MiB there are only blocks.
INLINE = re.compile(r"\d+ +([\d.]+) .*pread64.*, \d+, (\d+)\)")
LABEL = 1 << 20


def start(book, options, at, length):
    """Start of the process → first verifying read after a cut. The kernel's own record, by strace of three calls."""
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
    argv = ["strace", "-f", "-ttt", "--seccomp-bpf", "-e", "trace=execve,io_uring_enter,pread64", "-s", "0", "-o", trace]
    child = Child([*argv, *ours.argv(verb)])
    began, pid, single = None, None, []
    until = time.monotonic() + 20
    try:
        while time.monotonic() < until:
            for line in trace.read_text().splitlines() if trace.exists() else []:
                read = INLINE.match(line)
                if read and int(read.group(2)) >= LABEL:
                    return (float(read.group(1)) - began) * 1000
                found = ENTERED.match(line)
                if not found:
                    continue
                pid_, at, call, submitted = found.groups()
                if call == "execve" and began is None:
                    began, pid = float(at), int(pid_)
                # The reads come in a batch. The first request of all may be the one that waits for the waker.
                elif call == "io_uring_enter" and int(submitted or 0) >= 2:
                    return (float(at) - began) * 1000
                elif call == "io_uring_enter" and submitted == "1":
                    single.append(float(at))
                    if len(single) == 2:
                        return (single[1] - began) * 1000
            single.clear()
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
