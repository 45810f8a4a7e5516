"""Peak memory against the size of the region: the same few GiB written to 1 GiB and to 16 TiB."""

import re

from . import places
from .process import GIB, MIB, show_size
from .scrub import Target

REGIONS = (1 << 30, 16 << 40)

# Writes after which the run ends: enough to come into a steady state, few enough for a file in memory.
WRITES = 65_536


def buffers(log, block_size):
    """scrubd says how many requests it takes at once; each owns a buffer of a block."""
    found = re.search(r"up to (\d+) requests", log)
    return int(found.group(1)) * block_size if found else 0


def peak(book, options):
    # At 4 KiB the buffers are nothing, and the rest is seen.
    block_size = 4 << 10
    peaks = {}
    for region in REGIONS:
        for _ in range(options.rounds):
            options.say(f"memory, a region of {show_size(region)}")
            with places.sparse(options.dirs, region) as at:
                ours = Target(options.scrubd, at.path, at.state_dir, region, options.depth, block_size=block_size)
                ours.label()
                keys = {"trigger.writes": WRITES, "trigger.then": "exit", "verify.readback_lag": 16 * MIB}
                answer, ended = ours.run(**keys)
                rest = ended.peak_mib - buffers(ended.err, block_size) / MIB
                book.add("tmpfs", block_size, f"scrubd region {show_size(region)}", {"peak_mib": ended.peak_mib, "rest": rest})
        peaks[region] = book.median("tmpfs", block_size, f"scrubd region {show_size(region)}", "rest")
        book.row(f"peak memory less buffers, region of {show_size(region)}", "tmpfs", block_size, peaks[region], ("<=", 24), "MiB",
                 f"{WRITES} writes")
    small, large = (peaks[region] for region in REGIONS)
    book.row("peak memory, 16 TiB : 1 GiB", "tmpfs", block_size, large / small, ("<=", 1.05), "×", f"{small:.1f} : {large:.1f} MiB")
