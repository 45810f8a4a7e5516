"""Arguments, what is needed, the order of things, and the report."""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import time
from pathlib import Path

from . import blocks, conditions, growth, memory, moments, places, trigger
from .book import Book, goals_table, samples_table
from .process import GIB, MIB, Failed, end_all, run, show_size, size

ROOT = Path(__file__).resolve().parents[3]

# In the order of the goals.
GROUPS = ("blocks", "burn-in", "atoms", "after-cut", "checkpoints", "memory", "trigger", "start", "idle")


def arguments(about):
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scrubd", type=Path, default=ROOT / "target/release/scrubd", help="the binary")
    parser.add_argument("--only", default="tmpfs,disk,loop", help="places, of tmpfs,disk,loop (all)")
    parser.add_argument("--rows", default=",".join(GROUPS), help=f"groups of rows, of {','.join(GROUPS)} (all)")
    parser.add_argument("--size", type=size, help="bytes of data, such as 2GiB (2GiB; quick: 512MiB)")
    parser.add_argument("--rounds", type=int, help="rounds (5; quick: 3)")
    parser.add_argument("--depth", type=int, default=32, help="queue depth (32)")
    parser.add_argument("--quick", action="store_true", help="about three minutes: fewer bytes, rounds and variants")
    parser.add_argument("--growth", action="store_true", help="instead: how the cost of a block grows, and what larger hosts need")
    parser.add_argument("--tmpfs-dir", default="/dev/shm", help="a directory in memory (/dev/shm)")
    parser.add_argument("--disk-dir", default="/var/tmp", help="a directory on the local disk (/var/tmp)")
    parser.add_argument("--json", metavar="FILE", help="everything that was measured, as JSON")
    parser.add_argument("--markdown", metavar="FILE", help="the tables, as they are printed")
    options = parser.parse_args()
    options.size = options.size or (512 * MIB if options.quick else 2 * GIB)
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.only, options.rows = options.only.split(","), options.rows.split(",")
    options.dirs = (options.tmpfs_dir, options.disk_dir)
    options.say = lambda words: print(f"  {words}", file=sys.stderr, flush=True)
    for chosen, known in ((options.only, places.NAMES), (options.rows, GROUPS)):
        for name in set(chosen) - set(known):
            parser.error(f"{name}: not one of {', '.join(known)}")
    return options


def needs(options):
    """Says everything that is missing at once."""
    missing = []
    if not shutil.which("fio"):
        missing.append("fio is not installed")
    elif "io_uring" not in run(["fio", "--enghelp"]).out:
        missing.append("this fio has no io_uring engine")
    if not os.access(options.scrubd, os.X_OK):
        missing.append(f"{options.scrubd} is not there: cargo build --release, or --scrubd")
    if missing:
        raise Failed("; ".join(missing))


def machine(options):
    cpus = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        "machine": {
            "cpu": cpus[0] if cpus else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(),
            "fio": run(["fio", "--version"]).out.strip(), "scrubd": run([options.scrubd, "--version"]).out.strip(),
            "load_before": os.getloadavg()[0],
        },
        "settings": {"size": options.size, "rounds": options.rounds, "depth": options.depth, "quick": options.quick},
    }


def line(about):
    told, settings = about["machine"], about["settings"]
    return (f"{told['cores']} × {told['cpu']}, Linux {told['kernel']}, {told['fio']}, {told['scrubd']}; "
            f"{show_size(settings['size'])}, queue depth {settings['depth']}, {settings['rounds']} rounds, medians; "
            f"load {told['load_before']:.1f} before")


def attempt(book, what, options, work):
    """One group that fails must not take the others with it; it is told, and the exit status says so."""
    try:
        work()
    except Failed as failure:
        book.skip(what, str(failure))
        options.say(f"{what}: {failure}")


def measure(book, options):
    for name in options.only:
        if name == "tmpfs":
            groups = [("blocks", blocks.measure), ("burn-in", conditions.burn_in), ("atoms", conditions.atoms),
                      ("after-cut", conditions.after_cut), ("checkpoints", conditions.checkpoints),
                      ("trigger", trigger.measure), ("start", moments.start), ("idle", moments.idle)]
        elif name == "disk":
            groups = [("blocks", blocks.measure), ("after-cut", conditions.after_cut), ("trigger", trigger.measure)]
        else:
            groups = [("blocks", blocks.measure)]
        groups = [(group, work) for group, work in groups if group in options.rows]

        def in_place():
            with places.place(name, options.dirs, options.size) as at:
                for group, work in groups:
                    attempt(book, f"{name}: {group}", options, lambda: work(book, options, at, options.size))

        if groups:
            attempt(book, name, options, in_place)
    if "memory" in options.rows:
        attempt(book, "memory", options, lambda: memory.peak(book, options))


def grow(options, told):
    try:
        grown = growth.measure(options)
    except (Failed, KeyboardInterrupt) as end:
        print(f"versus-fio: {end or 'interrupted'}", file=sys.stderr)
        return 1
    finally:
        end_all()
    report = "\n\n".join([line(told), growth.table(grown), growth.hosts_table(grown)]) + "\n"
    print(report)
    write(options, report, {"schema": 1, **told, "growth": grown})
    return 0


def write(options, report, measured):
    if options.markdown:
        Path(options.markdown).write_text(report)
    if options.json:
        Path(options.json).write_text(json.dumps(measured, indent=1) + "\n")


def main(about):
    options = arguments(about)
    try:
        needs(options)
    except Failed as failure:
        print(f"versus-fio: {failure}", file=sys.stderr)
        return 2
    # Told to stop is told to clean up: the same way out as Ctrl-C's.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    told, book, started = machine(options), Book(), time.monotonic()
    if options.growth:
        return grow(options, told)
    try:
        measure(book, options)
    except KeyboardInterrupt:
        book.skip("the rest", "interrupted")
    finally:
        end_all()
        told["seconds"] = round(time.monotonic() - started, 1)
        report = [line(told), goals_table(book.rows), samples_table(book.samples)]
        report += [f"- {note}" for note in book.notes]
        report += [f"- not measured: {skipped['what']}: {skipped['why']}" for skipped in book.skipped]
        report = "\n\n".join(report) + "\n"
        print(report)
        write(options, report, book.json(told))
    met = [row["met"] for row in book.rows if row["met"] is not None]
    print(f"{sum(met)} of {len(met)} goals met, {len(book.skipped)} not measured, in {told['seconds']:.0f} s")
    return 1 if book.skipped else 0
