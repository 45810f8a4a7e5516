"""Burn-in in its steady state, small atoms, a check after a cut, saves ten times a second."""

import signal
import time

from . import fio
from .blocks import one
from .process import GIB, MIB, Failed, show_size
from .scrub import Target, told

# A block of a steady burn-in is read before it is overwritten, written, and read back: two reads for each write.
READS_PERCENT = 67


def target(options, at, length, block_size, **geometry):
    return Target(options.scrubd, at.path, at.state_dir, length, options.depth, block_size=block_size, **geometry)


def burn_in(book, options, at, length):
    """The second pass of a burn-in with both kinds of reads, against fio reading and writing the same bytes unchecked."""
    for block_size in (4 << 10, 64 << 10) if options.quick else (4 << 10, 64 << 10, 1 << 20):
        for turn in range(options.rounds):
            options.say(f"burn-in {show_size(block_size)} round {turn + 1}")
            ours = target(options, at, length, block_size)
            ours.label()
            ours.write_pass()
            lag = min(64 * MIB, length // 4)
            answer, ended = ours.run("--passes", "1", **{"mode": "burn-in", "verify.retention": True,
                                                         "verify.readback_lag": lag})
            moved = answer["bytes"]["written"] + answer["bytes"]["verified"]
            if answer["verdict"] != "intact" or moved < 2.9 * length:
                raise Failed(f"burn-in moved {moved} bytes of {3 * length}: {answer['verdict']}")
            book.add(at.name, block_size, "scrubd burn-in", {
                "sum": moved / MIB / answer["elapsed_s"], "cpu": ended.cpu_s / (moved / GIB), "peak_mib": ended.peak_mib,
            })
            book.add(at.name, block_size, "fio raw mix", raw(options, at, block_size, length))
        book.compare("read-back and retention : raw reads and writes", at.name, block_size, "scrubd burn-in", "fio raw mix",
                     "sum", (">=", 0.85))


def raw(options, at, block_size, length):
    return fio.mixed(at.path, block_size, length, options.depth, READS_PERCENT, 3 * length)


def atoms(book, options, at, length):
    """Eight tags and eight checksums in 4 KiB, or one."""
    names = ("scrubd atom 512", "scrubd atom 4096")
    for block_size in (4 << 10, 64 << 10):
        for turn in range(options.rounds):
            options.say(f"atoms {show_size(block_size)} round {turn + 1}")
            for name in names if turn % 2 == 0 else names[::-1]:
                book.add(at.name, block_size, name, one(at, options, block_size, length, "scrubd", name))
        for key in ("write", "verify"):
            book.compare(f"{key}, atoms of 512 : of 4096", at.name, block_size, *names, key, (">=", 0.9))


def after_cut(book, options, at, length):
    """A writing scrubd is killed in its second pass; then everything is judged. Against fio that reads 1 MiB at a time."""
    for block_size in (4 << 10, 64 << 10, 1 << 20) if at.name == "tmpfs" or not options.quick else (64 << 10,):
        for turn in range(options.rounds):
            options.say(f"check after a cut, {show_size(block_size)} round {turn + 1}")
            ours = target(options, at, length, block_size)
            cut(ours)
            book.add(at.name, block_size, "scrubd check after cut", ours.check())
            book.add(at.name, block_size, "fio raw read 1 MiB", fio.read_sequentially(at.path, length, options.depth))
        book.compare("check after a cut : raw sequential read", at.name, block_size, "scrubd check after cut",
                     "fio raw read 1 MiB", "verify", (">=", 0.95))


def cut(ours, **keys):
    """A whole pass, and a kill -9 while the next one is being written."""
    ours.label()
    ours.write_pass()
    child = ours.start(**{"mode": "powercut", **keys})
    until_writing(ours, child)
    time.sleep(0.1)
    if child.look():
        raise Failed(f"ended before its cut: {child.ended.err[-300:]}")
    child.kill()


def until_writing(ours, child, limit_s=10):
    """Waits until the daemon says that it writes."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until and not child.look():
        try:
            if told(ours.ask("status"))["engine"]["phase"].startswith("writing"):
                return
        except Failed:
            # Not there yet: it has no socket.
            time.sleep(0.02)
    raise Failed(f"does not come to write: {child.ended.err[-300:] if child.ended else 'no end of checking'}")


def checkpoints(book, options, at, length):
    """Ten saves a second more than scrubd makes by itself, by a trigger that only saves and goes on.

    There is no key for how often it saves: at least every 500 ms while the durable frontier moves, and whenever half of
    the reservation is used up. A trigger without a command is a save with a line in the event log, so this asks for more.
    """
    block_size, seconds = 4 << 10, 2 if options.quick else 5
    ours = target(options, at, length, block_size)
    keys = {"mode": "powercut", "trigger.io": "continue", "trigger.then": "resume"}
    for turn in range(options.rounds if options.quick else 2 * options.rounds):
        for often in (False, True) if turn % 2 == 0 else (True, False):
            options.say(f"saves {'at 10 Hz' if often else 'as they come'}, round {turn + 1}")
            ours.label()
            child = ours.start("--duration", f"{seconds}s", **keys)
            until_writing(ours, child)
            saves = None
            while not child.look():
                time.sleep(0.1)
                if often:
                    child.signal(signal.SIGUSR2)
            ended = child.wait()
            answer = told(ended)
            written = answer["bytes"]["written"]
            saves = ended.err.count("the trigger's command: done")
            if often and saves < 5 * seconds:
                raise Failed(f"only {saves} saves in {seconds} s")
            book.add(at.name, block_size, "scrubd 10 saves/s" if often else "scrubd saves", {
                "write": written / MIB / answer["elapsed_s"], "cpu": ended.cpu_s / (written / GIB),
                "peak_mib": ended.peak_mib, "asked_saves": saves,
            })
    pair = ("scrubd 10 saves/s", "scrubd saves")
    book.compare("write with 10 more saves a second : without", at.name, block_size, *pair, "write", (">=", 0.99))
    book.compare("CPU with 10 more saves a second : without", at.name, block_size, *pair, "cpu")
