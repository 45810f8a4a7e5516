"""Running a program and reading what it cost: CPU seconds of all its threads, and its own peak memory."""

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30

# Seconds between two looks at a running child. Fifty looks a second cost a core a quarter of a percent.
LOOK = 0.02


class Failed(Exception):
    """A program ended otherwise than it had to: there is nothing to compare."""


@dataclass
class Ended:
    """What a child left behind."""

    status: int
    out: str
    err: str
    wall_s: float
    user_s: float
    system_s: float
    peak_kib: int

    @property
    def cpu_s(self):
        return self.user_s + self.system_s

    @property
    def peak_mib(self):
        return self.peak_kib / 1024


def peak_kib(pid):
    """VmHWM. Not ru_maxrss: the kernel hands that on through exec, so that every child of a Python interpreter has peaked
    at the size of the interpreter at least."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def threads_of(pid):
    """(nanoseconds on a CPU, share of them in user mode) of each thread, by its name. The share is in ticks, and coarse."""
    seen = {}
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            busy_ns = int((task / "schedstat").read_text().split()[0])
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            user, system = int(fields[11]), int(fields[12])
            seen[(task / "comm").read_text().strip()] = (busy_ns, user / max(user + system, 1))
    except (OSError, ValueError, IndexError):
        # It ends while it is looked at.
        pass
    return seen


# Started and not seen to end.
LIVING = set()


def end_all():
    """Nothing that was started here outlives the bench, however that ends."""
    for child in list(LIVING):
        child.kill()


class Child:
    """A program that was started. `wait` ends it in the books, and gives what `wait4` says of it and its threads."""

    def __init__(self, argv, threads=False):
        self.argv = [str(word) for word in argv]
        self.out, self.err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err)
        self.pid = self.process.pid
        self.peak = 0
        # What each thread was seen to have cost, at the last look before it ended.
        self.threads = {} if threads else None
        self.ended = None
        LIVING.add(self)

    def look(self):
        """Whether it has ended."""
        if self.ended:
            return True
        # Before the wait: afterwards there is nothing left to be asked.
        self.peak = max(self.peak, peak_kib(self.pid))
        if self.threads is not None:
            self.threads.update(threads_of(self.pid))
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if pid == 0:
            return False
        LIVING.discard(self)
        wall = time.monotonic() - self.started
        self.process.returncode = status = os.waitstatus_to_exitcode(status)
        words = []
        for stream in (self.out, self.err):
            stream.seek(0)
            words.append(stream.read())
            stream.close()
        self.ended = Ended(status, words[0], words[1], wall, usage.ru_utime, usage.ru_stime, self.peak)
        return True

    def wait(self, limit_s=900, statuses=(0,)):
        until = self.started + limit_s
        while not self.look():
            if time.monotonic() > until:
                self.kill()
                raise Failed(f"still running after {limit_s} s: {' '.join(self.argv)}")
            time.sleep(LOOK)
        if self.ended.status not in statuses:
            tail = "\n".join((self.ended.out + self.ended.err).splitlines()[-8:])
            raise Failed(f"exit status {self.ended.status}: {' '.join(self.argv)}\n{tail}")
        return self.ended

    def signal(self, number):
        if not self.look():
            os.kill(self.pid, number)

    def kill(self):
        """Ends it without asking: the cut."""
        self.signal(9)
        while not self.look():
            time.sleep(0.001)


def run(argv, limit_s=900, statuses=(0,)):
    return Child(argv).wait(limit_s, statuses)


def median(numbers):
    ordered = sorted(number for number in numbers if number is not None)
    if not ordered:
        return None
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def percentile(numbers, percent):
    """The smallest sample that `percent` of all samples do not exceed."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * percent // 100) - 1))] if ordered else None


def size(text):
    """Bytes of 512MiB, 4KiB or 4096."""
    for unit, factor in (("KiB", 1 << 10), ("MiB", MIB), ("GiB", GIB), ("TiB", 1 << 40)):
        if text.endswith(unit):
            return int(text[: -len(unit)]) * factor
    return int(text)


def show_size(number):
    for unit, factor in (("TiB", 1 << 40), ("GiB", GIB), ("MiB", MIB), ("KiB", 1 << 10)):
        if number >= factor and number % factor == 0:
            return f"{number // factor} {unit}"
    return f"{number} B"
