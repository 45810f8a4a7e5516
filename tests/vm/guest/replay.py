#!/usr/bin/python3
"""In the guest: replays a log of dm-log-writes write by write onto another disk, and has scrubd judge the disk after each.

    replay.py LOG DISK STATE_SECTORS TARGET_SECTORS

The log's format is the kernel's, Documentation/admin-guide/device-mapper/log-writes.rst and drivers/md/dm-log-writes.c: a
superblock, then entries of a sector each, with their data behind them. State and target are parts of the one disk that was
logged, so each prefix has both as they were at one moment, which is what a cut of the whole machine leaves. The state's
file system is copied before it is mounted: its own recovery writes, and the next prefix must not have that.

Says on one line of JSON how many prefixes there were, and what was said of each that was not intact."""
import collections, json, os, struct, subprocess, sys

MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
SECTOR = 512
log_path, disk_path, state_sectors, target_sectors = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
IMAGE, MOUNT, NAME = "/run/prefix.img", "/run/prefix", "lw-target"


def entries(log):
    magic, version, count, size = struct.unpack_from("<QQQI", log.read(4096))
    if (magic, version) != (MAGIC, VERSION):
        sys.exit(f"{log_path} is no log: {magic:x}, {version}")
    place = size
    for _ in range(count):
        log.seek(place)
        head = log.read(size)
        sector, sectors, flags, length = struct.unpack_from("<4Q", head)
        place += size
        data = b""
        if flags & MARK:
            data = head[32 : 32 + length]
        elif sectors and not flags & DISCARD:
            data = log.read(sectors * SECTOR)
            place += -(-sectors * SECTOR // size) * size
        yield sector, sectors, flags, data


def judge(disk):
    os.fsync(disk)
    with open(IMAGE, "wb") as image:
        image.write(os.pread(disk, state_sectors * SECTOR, 0))
    subprocess.run(["mount", "-o", "loop,noatime", IMAGE, MOUNT], check=True)
    try:
        command = ["scrubd", "check", "lw", "--json", "--state-dir", MOUNT]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    finally:
        subprocess.run(["umount", MOUNT], check=True)
    try:
        said = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"status": ended.returncode, "said": ended.stderr[-500:]}
    classes = collections.Counter(finding["class"] for finding in said["findings"])
    blocks = {name: said["blocks"][name] for name in ("rolled_back", "interrupted")}
    return {"status": ended.returncode, "verdict": said["verdict"], "state": said["state"], "classes": classes, **blocks}


os.makedirs(MOUNT, exist_ok=True)
disk = os.open(disk_path, os.O_RDWR)
table = f"0 {target_sectors} linear {disk_path} {state_sectors}"
begun, prefixes, bad = False, 0, []
verdicts, states, lawful = collections.Counter(), collections.Counter(), collections.Counter()
# The last write of the target with a flush behind it, and what had been there before.
candidate = promised = None
with open(log_path, "rb") as log:
    for number, (sector, sectors, flags, data) in enumerate(entries(log)):
        if flags & MARK:
            if data.startswith(b"begin"):
                begun = True
                subprocess.run(["dmsetup", "create", NAME, "--table", table], check=True)
            continue
        if flags & FLUSH and candidate:
            promised = candidate
        if flags & DISCARD:
            # Not on a target; the file system's are hints, and what is discarded may be anything.
            continue
        if not data:
            continue
        if state_sectors <= sector < state_sectors + target_sectors:
            candidate = (sector, os.pread(disk, len(data), sector * SECTOR)) if begun else None
        os.pwrite(disk, data, sector * SECTOR)
        if begun:
            said = judge(disk)
            prefixes += 1
            verdicts[said.get("verdict", "none")] += 1
            states[said.get("state", "none")] += 1
            lawful["rolled_back"] += said.get("rolled_back", 0)
            lawful["interrupted"] += said.get("interrupted", 0)
            if said["status"] != 0 or said.get("classes"):
                bad.append({"entry": number, "sector": sector, "sectors": sectors, "flags": flags, **said})
# A disk that lost one write which a flush had covered: silence above would be worth nothing if this were silent, too.
os.pwrite(disk, promised[1], promised[0] * SECTOR)
lost = judge(disk)
subprocess.run(["dmsetup", "remove", "--retry", NAME], check=True)
print(json.dumps({"prefixes": prefixes, "verdicts": verdicts, "states": states, **lawful, "bad": bad[:20], "bad_count": len(bad),
                  "one_lost": lost}))
