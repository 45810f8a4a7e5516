"""Where it is measured: a tmpfs, a file of the local disk, a loop device. Each is written once before anything is timed."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from .process import MIB, Failed, run

NAMES = ("tmpfs", "disk", "loop")


class Place:
    """Bytes to write to, and a directory for scrubd's state, which is in memory: the state belongs on another device."""

    def __init__(self, name, path, state_dir):
        self.name, self.path, self.state_dir = name, path, state_dir


def fill(path, length):
    """Writes it all, so that no first touch of memory and no allocation of disk blocks is timed. Incompressible."""
    chunk = os.urandom(4 * MIB)
    with open(path, "r+b" if path.exists() else "w+b") as file:
        left = length
        while left:
            left -= file.write(chunk[:left])
        file.flush()
        os.fsync(file.fileno())


def need_room(directory, length):
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if free < length + 64 * MIB:
        raise Failed(f"{directory}: {free // MIB} MiB free, {length // MIB + 64} MiB needed")


@contextmanager
def place(name, dirs, length, tag=""):
    """A place with room for `length` bytes of data behind the label's MiB; cleaned up afterwards."""
    length += MIB
    memory, disk = dirs
    own = f"versus-{os.getpid()}{tag}"
    home = Path(disk if name == "disk" else memory) / own
    state = Path(memory) / own / "state"
    device = None
    try:
        need_room(home, length)
        path = home / "data"
        fill(path, length)
        if name == "loop":
            if os.geteuid() != 0:
                raise Failed("a loop device needs root")
            device = run(["losetup", "--find", "--show", path]).out.strip()
            path = Path(device)
        yield Place(name, path, state)
    finally:
        if device:
            run(["losetup", "--detach", device])
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(state.parent, ignore_errors=True)


@contextmanager
def sparse(dirs, length):
    """A file of that length in memory of which nothing is there yet."""
    home = Path(dirs[0]) / f"versus-{os.getpid()}-sparse"
    try:
        home.mkdir(parents=True, exist_ok=True)
        path = home / "data"
        with open(path, "wb") as file:
            file.truncate(length + MIB)
        yield Place("tmpfs", path, home / "state")
    finally:
        shutil.rmtree(home, ignore_errors=True)
