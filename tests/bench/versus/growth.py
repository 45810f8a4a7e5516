"""How the cost of a block grows: with queue depth, block size, region, workers and targets. And what larger hosts need.

Costs are in microseconds a block, on a tmpfs: of wall time, of CPU in user mode (scrubd's own work), of CPU in the kernel
(system calls, and the copy that stands here for the DMA of a device), and of the ring's thread alone, which is one a target.
"""

from . import fio, places
from .book import markdown, number
from .process import MIB, Child, Failed, median, show_size
from .scrub import Target, settings, told

DEPTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BLOCK_SIZES = (4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20)
REGIONS = (1 << 30, 64 << 30, 1 << 40, 16 << 40)
SIDE_BY_SIDE = (1, 2, 4)
SMALL, LARGE = 4 << 10, 1 << 20

# Writes into a region that is too large to be written whole: 256 MiB in memory, spread over all of it.
WRITES = 65_536

FIELDS = ("wall", "user", "system", "ring", "ring_user")


def cost(child, blocks, fixed):
    """Microseconds a block. The CPU of starting and stopping, measured on one block, is taken off: it does not grow with their
    number, though it does with the size of the buffers."""
    ended = child.wait()
    answer = told(ended)
    if answer["verdict"] != "intact":
        raise Failed(f"{' '.join(child.argv)}: {answer['verdict']}")
    ring_ns, ring_user = child.threads.get("ring/0", (0, 0))
    seconds = {
        "wall": answer["elapsed_s"],
        "user": max(ended.user_s - fixed["user"], 0),
        "system": max(ended.system_s - fixed["system"], 0),
        "ring": ring_ns / 1e9,
        "ring_user": ring_ns * ring_user / 1e9,
    }
    return {name: value / blocks * 1e6 for name, value in seconds.items()}


class Fixed:
    """CPU seconds of a run that writes one block, and of a check of it, for each size of the buffers and their number."""

    def __init__(self, options, at):
        self.options, self.at, self.known = options, at, {}

    def __call__(self, block_size, depth):
        if (block_size, depth) not in self.known:
            samples = {"write": [], "verify": []}
            for _ in range(min(self.options.rounds, 3)):
                ours = Target(self.options.scrubd, self.at.path, self.at.state_dir, block_size, depth, block_size=block_size)
                ours.label()
                for what, child in phases(ours, {}):
                    samples[what].append(child.wait())
            self.known[block_size, depth] = {
                what: {"user": median([ended.user_s for ended in ends]), "system": median([ended.system_s for ended in ends])}
                for what, ends in samples.items()
            }
        return self.known[block_size, depth]


def phases(ours, keys):
    """Write everything once, then judge everything: two programs, one after the other."""
    yield "write", Child(ours.argv("run", "--passes", "1", *settings({"mode": "powercut", **keys})), threads=True)
    yield "verify", Child(ours.argv("check", *settings(keys)), threads=True)


def point(options, at, length, block_size, free, depth=None, **keys):
    """Median costs of writing and verifying."""
    samples = {"write": [], "verify": []}
    depth = depth or options.depth
    taken_off = free(block_size, depth)
    for _ in range(options.rounds):
        ours = Target(options.scrubd, at.path, at.state_dir, length, depth, block_size=block_size)
        ours.label()
        for what, child in phases(ours, keys):
            samples[what].append(cost(child, length // block_size, taken_off[what]))
    return {what: {field: median([sample[field] for sample in ends]) for field in FIELDS} for what, ends in samples.items()}


def region(options, size, free):
    """The same number of writes in a region of that size, of which nothing is there yet; and fio's, for the kernel's part."""
    ours, theirs = [], []
    for _ in range(options.rounds):
        with places.sparse(options.dirs, size) as at:
            target = Target(options.scrubd, at.path, at.state_dir, size, options.depth, block_size=SMALL)
            target.label()
            keys = {"mode": "powercut", "trigger.writes": WRITES, "trigger.then": "exit"}
            ours.append(cost(Child(target.argv("run", *settings(keys)), threads=True), WRITES, free["write"]))
        with places.sparse(options.dirs, size) as at:
            sample = fio.write(at.path, SMALL, size, options.depth, WRITES * SMALL)
            blocks = sample["bytes"] // SMALL
            theirs.append({"wall": SMALL / MIB / sample["write"] * 1e6, "user": sample["user_s"] / blocks * 1e6,
                           "system": sample["system_s"] / blocks * 1e6, "ring": None, "ring_user": None})
    return [{field: median([sample[field] for sample in samples]) for field in FIELDS} for samples in (ours, theirs)]


def side_by_side(options, number_of_targets, length, free):
    """So many daemons at once, one target each; the bytes are shared out. Wall time is of all blocks together."""
    each = length // number_of_targets // MIB * MIB
    homes = [places.place("tmpfs", options.dirs, each, tag=f"-{turn}") for turn in range(number_of_targets)]
    samples = []
    try:
        spots = [home.__enter__() for home in homes]
        for _ in range(options.rounds):
            targets = [Target(options.scrubd, at.path, at.state_dir, each, options.depth, block_size=SMALL) for at in spots]
            for target in targets:
                target.label()
            children = [next(phases(target, {}))[1] for target in targets]
            costs = [cost(child, each // SMALL, free["write"]) for child in children]
            sample = {field: median([one[field] for one in costs]) for field in FIELDS}
            sample["wall"] /= number_of_targets
            samples.append(sample)
    finally:
        for home in homes:
            home.__exit__(None, None, None)
    return {field: median([sample[field] for sample in samples]) for field in FIELDS}


def measure(options):
    """All curves: a list of points."""
    points = []

    def add(curve, value, what, costs):
        points.append({"curve": curve, "at": value, "what": what, **costs})

    length = options.size
    thin = slice(None, None, 2) if options.quick else slice(None)
    with places.place("tmpfs", options.dirs, length) as at:
        free = Fixed(options, at)
        for depth in DEPTHS[thin]:
            options.say(f"queue depth {depth}")
            for what, costs in point(options, at, length, SMALL, free, depth).items():
                add("queue depth, 4 KiB", str(depth), what, costs)
        for block_size in BLOCK_SIZES:
            options.say(f"block size {show_size(block_size)}")
            for what, costs in point(options, at, length, block_size, free).items():
                add("block size", show_size(block_size), what, costs)
        for block_size in (SMALL, LARGE):
            for workers in (0, 1, 2):
                options.say(f"{workers} workers a pool, {show_size(block_size)}")
                keys = {"seal.threads": workers, "verify.threads": workers}
                for what, costs in point(options, at, length, block_size, free, **keys).items():
                    add(f"workers a pool, {show_size(block_size)}", str(workers), what, costs)
        taken_off = free(SMALL, options.depth)
    for size in REGIONS[::3] if options.quick else REGIONS:
        options.say(f"region of {show_size(size)}")
        ours, theirs = region(options, size, taken_off)
        add("region, 4 KiB, first touch", show_size(size), "write", ours)
        add("region, 4 KiB, first touch", show_size(size), "fio null write", theirs)
    for targets in SIDE_BY_SIDE:
        options.say(f"{targets} targets side by side")
        add("targets, 4 KiB", str(targets), "write", side_by_side(options, targets, length, taken_off))
    return {"points": points, "hosts": hosts(points)}


def table(grown):
    head = ["against", "at", "what", "wall µs", "user µs", "kernel µs", "ring's thread µs", "of it user"]
    rows = [[point["curve"], point["at"], point["what"], *(number(point[field]) for field in FIELDS)]
            for point in grown["points"]]
    return markdown(head, rows)


# What a larger host has: devices, bytes a second of each, block size.
HOSTS = [
    ("60 hard disks of 250 MB/s", 60, 250e6, LARGE),
    ("60 hard disks of 250 MB/s", 60, 250e6, 64 << 10),
    ("60 SATA SSDs of 550 MB/s", 60, 550e6, 64 << 10),
    ("60 SATA SSDs of 550 MB/s", 60, 550e6, SMALL),
    ("1 NVMe drive of 14 GB/s", 1, 14e9, LARGE),
    ("1 NVMe drive of 14 GB/s", 1, 14e9, 64 << 10),
    ("1 NVMe drive of 14 GB/s", 1, 14e9, SMALL),
]


ARITHMETIC = """Arithmetic, not measurement:

- blocks/s of a device = its bytes/s ÷ block size
- CPU a block = user µs at this block size + kernel µs at 4 KiB. On a tmpfs the kernel copies each block, which a device does \
by DMA; at 4 KiB the copy is the smaller part, and what is left is the price of a request
- cores = devices × blocks/s × CPU a block
- one ring's thread = blocks/s × (its user µs at this block size + its kernel µs at 4 KiB). A target has one: enough below 100 %"""


def hosts(points):
    """See ARITHMETIC."""
    costs = {(point["at"], point["what"]): point for point in points if point["curve"] == "block size"}
    rows = []
    for name, devices, rate, block_size in HOSTS:
        for what in ("write", "verify"):
            here, small = costs[show_size(block_size), what], costs[show_size(SMALL), what]
            blocks = rate / block_size
            cpu = here["user"] + small["system"]
            ring = here["ring_user"] + small["ring"] - small["ring_user"]
            rows.append({"host": name, "block_size": block_size, "what": what, "blocks_per_s": blocks, "cpu_us": cpu,
                         "cores": devices * blocks * cpu / 1e6, "ring_us": ring, "ring_share": blocks * ring / 1e6})
    return rows


def hosts_table(grown):
    head = ["host", "block", "what", "blocks/s a device", "CPU µs a block", "cores", "ring µs a block", "one ring's thread", "enough"]
    rows = [[row["host"], show_size(row["block_size"]), row["what"], f"{row['blocks_per_s']:,.0f}", number(row["cpu_us"]),
             number(row["cores"]), number(row["ring_us"]), f"{row['ring_share']:.0%} of a core",
             "yes" if row["ring_share"] < 1 else "**no**"] for row in grown["hosts"]]
    return markdown(head, rows) + "\n\n" + ARITHMETIC
