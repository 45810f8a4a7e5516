"""fio's side: one process that writes everything and reads it all back, as fio is used."""

import json

from .process import GIB, MIB, Failed, run

# name: what fio is told about verification
METHODS = {
    "null": ["--verify=null"],
    "crc32c": ["--verify=crc32c"],
    "async1": ["--verify=crc32c", "--verify_async=1"],
    "async2": ["--verify=crc32c", "--verify_async=2"],
    "sha256": ["--verify=sha256"],
}

# How often scrubd flushes unless told otherwise: its `flush_every`.
FLUSH_EVERY = 128 * MIB
FLUSHED = " flushed"

# From the region's second MiB on: the first belongs to scrubd's label, and both sides write the same bytes.
DATA = MIB


def command(path, block_size, length, depth, *more):
    # --thread: fio's job runs in fio's own process, so that CPU time and peak memory are of one process on both sides.
    return [
        "fio", "--name=versus", f"--filename={path}", f"--offset={DATA}", f"--size={length}", f"--bs={block_size}",
        "--ioengine=io_uring", f"--iodepth={depth}", "--direct=1", "--fallocate=none", "--verify_state_save=0", "--thread",
        "--output-format=json", *more,
    ]


def job(*args, statuses=(0,)):
    ended = run(command(*args), statuses=statuses)
    # Warnings may stand before the JSON.
    start = ended.out.find("{")
    if start < 0:
        raise Failed(f"fio said no JSON: {ended.out[-300:]} {ended.err[-300:]}")
    (told,) = json.loads(ended.out[start:])["jobs"]
    if told["error"]:
        raise Failed(f"fio ended with error {told['error']}: {ended.err[-300:]}")
    return told, ended


def rate(side):
    """MiB/s of a phase, by fio's own clock, start-up and set-up left out."""
    return side["io_bytes"] / MIB / max(side["runtime"], 1) * 1000 if side["io_bytes"] else None


def method_of(name, block_size):
    """What fio is told, by the contestant's name: with " flushed" behind it, to make its writes durable as often as scrubd does."""
    told = METHODS[name.removesuffix(FLUSHED)]
    return [*told, f"--fdatasync={FLUSH_EVERY // block_size}", "--end_fsync=1"] if name.endswith(FLUSHED) else told


def write_and_verify(path, block_size, length, depth, method):
    more = method_of(method, block_size)
    told, ended = job(path, block_size, length, depth, "--rw=randwrite", "--do_verify=1", *more)
    for side in ("write", "read"):
        if told[side]["io_bytes"] != length:
            raise Failed(f"fio {method}: {side} moved {told[side]['io_bytes']} bytes instead of {length}")
    return {
        "write": rate(told["write"]),
        "verify": rate(told["read"]),
        "cpu_s": ended.cpu_s,
        "cpu": ended.cpu_s / (length / GIB),
        "peak_mib": ended.peak_mib,
    }


def read_sequentially(path, length, depth):
    """What reading costs at the least: 1 MiB at a time, in order, nothing looked at."""
    told, ended = job(path, MIB, length, depth, "--rw=read")
    return {"verify": rate(told["read"]), "cpu": ended.cpu_s / (length / GIB), "peak_mib": ended.peak_mib}


def mixed(path, block_size, length, depth, reads_percent, count_bytes):
    """Raw random reads and writes at once, nothing checked: the sum of both rates."""
    more = ["--rw=randrw", f"--rwmixread={reads_percent}", "--norandommap", f"--io_size={count_bytes}"]
    told, ended = job(path, block_size, length, depth, *more)
    moved = told["read"]["io_bytes"] + told["write"]["io_bytes"]
    runtime_ms = max(told["read"]["runtime"], told["write"]["runtime"], 1)
    return {"sum": moved / MIB / runtime_ms * 1000, "cpu": ended.cpu_s / (moved / GIB), "peak_mib": ended.peak_mib}


def write(path, block_size, length, depth, count_bytes):
    """Random writes, unchecked, up to `count_bytes`: for regions too large to be written whole."""
    told, ended = job(path, block_size, length, depth, "--rw=randwrite", "--norandommap", f"--io_size={count_bytes}")
    return {"write": rate(told["write"]), "user_s": ended.user_s, "system_s": ended.system_s,
            "bytes": told["write"]["io_bytes"], "peak_mib": ended.peak_mib}
