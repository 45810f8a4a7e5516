"""The main rows: the same bytes written and verified by both, at each block size, in turn."""

from . import fio
from .process import MIB, show_size
from .scrub import Target

SIZES = (4 << 10, 128 << 10, 1 << 20)

# scrubd as it comes, without workers, with one and with two in each pool, and with a keyed digest over each block.
OURS = {
    "scrubd": ({}, {}),
    "scrubd inline": ({}, {"seal.threads": 0, "verify.threads": 0}),
    "scrubd pools 1": ({}, {"seal.threads": 1, "verify.threads": 1}),
    "scrubd pools 2": ({}, {"seal.threads": 2, "verify.threads": 2}),
    "scrubd blake3": ({"digest": "blake3"}, {}),
    "scrubd atom 512": ({"atom": 512}, {}),
    "scrubd atom 4096": ({"atom": 4096}, {}),
}

# These take ten times as long as the others for the same bytes. Their rate does not depend on how many bytes there are.
SLOW = {"async1": 8, "async2": 8, "sha256": 4}

# The digest's bound is the same at every size; its rows stand where a peer's digest is measured.
DIGESTS = "blake3 verify : fio sha256"


def contestants(place, block_size, quick):
    """Who takes part. A quick run leaves out what no goal asks for."""
    theirs, ours = ["null", "crc32c"], ["scrubd"]
    if place == "tmpfs":
        ours += ["scrubd inline", "scrubd pools 1"] + ([] if quick else ["scrubd pools 2"])
        if block_size == 4 << 10 or not quick:
            theirs += ["async1", "async2"]
        if block_size != 128 << 10 or not quick:
            theirs += ["sha256"]
            ours += ["scrubd blake3"]
    else:
        # Here a flush is not free, and the last one waits for all that the disk has only in its cache.
        theirs += ["null" + fio.FLUSHED]
    return [("fio", name) for name in theirs] + [("scrubd", name) for name in ours]


def part(place, block_size):
    """What a quick run writes outside of memory: a disk takes its time for small blocks, and a rate needs a second or two."""
    if place == "tmpfs":
        return 1
    return 8 if place == "disk" and block_size == 4 << 10 else 2


def one(at, options, block_size, length, side, name):
    """One contestant, once."""
    if side == "fio":
        part = max(length // SLOW.get(name, 1), min(length, 64 * MIB))
        return fio.write_and_verify(at.path, block_size, part, options.depth, name)
    geometry, keys = OURS[name]
    target = Target(options.scrubd, at.path, at.state_dir, length, options.depth, block_size=block_size, **geometry)
    target.label()
    return target.write_and_verify(**keys)


def net(book, at, options, block_size, side, name, sample):
    """Takes the CPU of starting and stopping off, measured on one block. fio takes 160 ms to start, scrubd's two processes a third of
    that: at 512 MiB the difference would be told as a fifth of a CPU second a GiB."""
    key = f"{side} {name} {block_size}"
    if key not in book.starts:
        book.starts[key] = min(one(at, options, block_size, block_size, side, name)["cpu_s"] for _ in range(2))
    gib = sample["cpu_s"] / sample["cpu"]
    return {**sample, "cpu": max(sample["cpu_s"] - book.starts[key], 0) / gib, "cpu_with_start": sample["cpu"]}


def measure(book, options, at, length):
    """All contestants of a block size in turn, round by round, every second round backwards."""
    whole = length
    for block_size in SIZES:
        length = whole // (part(at.name, block_size) if options.quick else 1)
        field = contestants(at.name, block_size, options.quick)
        for turn in range(options.rounds):
            for side, name in field if turn % 2 == 0 else field[::-1]:
                who = name if side == "scrubd" else f"fio {name}"
                options.say(f"{at.name} {show_size(block_size)} round {turn + 1}: {who}")
                sample = one(at, options, block_size, length, side, name)
                book.add(at.name, block_size, who, net(book, at, options, block_size, side, name, sample))
        rows(book, at.name, block_size)


def rows(book, place, block_size):
    small, tmpfs, disk = block_size == 4 << 10, place == "tmpfs", place == "disk"

    def goal(sign, bound, where=tmpfs):
        return (sign, bound) if where else None

    def compare(what, ours, theirs, key, bound=None):
        book.compare(what, place, block_size, ours, theirs, key, bound)

    compare("write : fio crc32c", "scrubd", "fio crc32c", "write", goal(">=", 1.9 if small else 2.0))
    compare("write : fio null", "scrubd", "fio null", "write", goal(">=", 1.0 if small else 1.1))
    # On a disk the goal is against the writes that are as durable as scrubd's. The two rows above say what durability costs.
    compare("write : fio null that flushes as often", "scrubd", "fio null" + fio.FLUSHED, "write", goal(">=", 1.0, disk))
    compare("verify : fio null", "scrubd", "fio null", "verify", goal(">=", 1.0, disk) or goal(">=", 1.0 if small else 1.1))
    compare("verify : fio crc32c", "scrubd", "fio crc32c", "verify", goal(">=", 1.0, disk))
    for workers in (1, 2):
        compare(f"verify : fio verify_async={workers}", "scrubd", f"fio async{workers}", "verify",
                goal(">=", 25, tmpfs and small))
    compare("CPU written and verified : fio crc32c", "scrubd", "fio crc32c", "cpu", goal("<=", 0.5, tmpfs or disk))
    # What the kernel alone takes of it, which no verifier can save: fio that checks nothing.
    book.compare("CPU, fio null : fio crc32c", place, block_size, "fio null", "fio crc32c", "cpu")
    for workers in (1, 2):
        for key in ("write", "verify"):
            compare(f"{key}, pools of {workers} : inline", f"scrubd pools {workers}", "scrubd inline", key,
                    goal(">=", 1.0, tmpfs and small))
    compare(DIGESTS, "scrubd blake3", "fio sha256", "verify", goal(">=", 15))
