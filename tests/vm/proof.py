"""Is the rig one? What was flushed must be there after the cut, and what was not must not; and where a disk lies, or has no
cache to lose, these very checks must fail. Without a machine first, through the disk's own protocol; then from the guest."""
import nbd
from machine import Disk, RigError

MIB = 1 << 20
WRITES, SIZE = 64, 4096


def _after_a_cut(directory, options):
    """Writes WRITES pieces and flushes, writes as many elsewhere and does not, and cuts. What the medium has of each:
    (whole, torn) of the flushed, (whole, torn) of the others."""
    disk = Disk(directory, "proof", "PROOF", size=4 * MIB)
    disk.start(*options)
    client = nbd.Client(disk.socket)
    # Every sector tells which piece it is of; no two pieces are neighbours.
    pieces = [bytes([1 + number]) * SIZE for number in range(WRITES)]
    for number, piece in enumerate(pieces):
        client.write(number * 2 * SIZE, piece)
    client.flush()
    for number, piece in enumerate(pieces):
        client.write(2 * MIB + number * 2 * SIZE, piece)
    # Before the cut all of it reads back, from the cache too: that a write is read is no proof of anything.
    if any(client.read(2 * MIB + number * 2 * SIZE, SIZE) != piece for number, piece in enumerate(pieces)):
        raise RigError("the disk does not read back what it has cached")
    disk.kill()
    medium = disk.medium.read_bytes()
    disk.medium.unlink()

    def found(offset):
        there = [medium[offset + number * 2 * SIZE :][:SIZE] for number in range(WRITES)]
        whole = sum(data == piece for data, piece in zip(there, pieces))
        return whole, sum(any(data) for data in there) - whole

    return found(0), found(2 * MIB), disk.counters()


def of_the_disk(directory, seed):
    """Raises where a check does not hold, or holds where it must fail. Returns lines to print."""
    lines = []

    def judge(name, options, expected):
        (kept, broken), (survived, torn), counters = _after_a_cut(directory, [*options, "--seed", seed])
        flushed_kept = kept == WRITES and broken == 0
        lost = survived == 0 and torn == 0
        lines.append(f"  {name:34} flushed {kept:2}/{WRITES} kept, unflushed {survived:2}/{WRITES} survived, {torn:2} torn")
        if (flushed_kept, lost) != expected:
            raise RigError(f"the rig is none: {name}: flushed kept: {flushed_kept}, unflushed lost: {lost}")
        if "--lie" not in options and (counters["survived"], counters["torn"]) != (survived, torn) and "--through" not in options:
            raise RigError(f"the disk miscounts: it says {counters}, and {survived} survived, {torn} are torn")
        return survived, torn

    judge("honest, nothing destaged", [], (True, True))
    survived, torn = judge("honest, destaged as it comes", ["--destage", 3], (True, False))
    if not 0 < survived < WRITES or not torn:
        raise RigError(f"the rig is none: of {WRITES} unflushed writes {survived} survived, {torn} are torn")
    judge("lying: the first check fails", ["--lie"], (False, True))
    judge("without a cache: the second fails", ["--through"], (True, False))
    return lines


def of_the_machine(machine):
    """The same from inside: a guest's flush comes to the disk, and QEMU holds nothing back that would survive its death."""
    agent = machine.agent
    device = "/dev/disk/by-id/virtio-" + machine.target.serial
    agent.sh(f"""udevadm settle
        head -c 1048576 /dev/zero | tr '\\0' F >/run/flushed
        head -c 1048576 /dev/zero | tr '\\0' U >/run/unflushed
        dd if=/run/flushed of={device} bs=64k seek=16 oflag=direct conv=notrunc,fsync
        dd if=/run/unflushed of={device} bs=64k seek=32 oflag=direct conv=notrunc""")
    machine.cut()
    medium = machine.target.medium.read_bytes()
    kept, survived = medium[MIB : 2 * MIB].count(b"F"), medium[2 * MIB : 3 * MIB].count(b"U")
    if (kept, survived) != (MIB, 0):
        raise RigError(f"the rig is none: from the guest {kept} of {MIB} flushed bytes were kept, {survived} unflushed ones survived")
    return ["  from the guest                     flushed 1 MiB kept, unflushed 1 MiB lost"]
