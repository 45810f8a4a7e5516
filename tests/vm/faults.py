"""Faults that the guest's own kernel can make, each under the installed scrubd: is it found, and called by its name? All in one
boot. Faults of a part of a disk are put where exactly four blocks are, and these four must be named and no other."""
import json, time

from machine import RigError

# A region of 8 MiB; the label has its first MiB, so that byte 2 MiB begins block 64.
KEYS = 'length = "8MiB"\nblock_size = "16KiB"\nflush_every = "256KiB"\nverify.readback_lag = "256KiB"\n'
BAD_SECTOR, BAD_SECTORS, BAD_BLOCKS = 4096, 128, {64, 65, 66, 67}


class Target:
    """A target in the guest, under a name; driven by the command line, as root."""

    def __init__(self, agent, name, path, keys=KEYS, confirm=None):
        self.agent, self.name, self.path = agent, name, path
        # What another case has left there is no part of this one.
        agent.sh(f"""mkdir -p /etc/scrubd/conf.d; rm -rf /var/lib/scrubd/{name} /etc/scrubd/conf.d/*.toml
cat >/etc/scrubd/conf.d/{name}.toml <<'END'
[target.{name}]
path = "{path}"
{keys}END
dd if=/dev/zero of={path} bs=1M count=1 oflag=direct conv=notrunc,fsync status=none
scrubd init {name} --confirm '{confirm or path}'""")

    def run(self, words, timeout=240):
        """(exit status, the line of JSON, all that was said)."""
        status, out = self.agent.run(["scrubd", *words.split(), "--json"], timeout, check=False)
        lines = [line for line in out.splitlines() if line.startswith('{"schema"')]
        return status, json.loads(lines[-1]) if lines else None, out

    def clean(self):
        """Written whole, twice, without a finding: what is found later is of the fault."""
        status, said, out = self.run(f"run {self.name} --passes 2")
        if status != 0 or said["verdict"] != "intact":
            raise RigError(f"{self.name} is not intact before any fault: {status}: {out[-2000:]}")


def found(said):
    """Blocks and classes of what was listed."""
    findings = said["findings"] if said else []
    return {finding["block"] for finding in findings}, sorted({finding["class"] for finding in findings})


def row(case, expected, status, said, good, more=""):
    blocks, classes = found(said)
    what = f"{said['verdict'] if said else 'no verdict'}, {', '.join(classes) or 'no finding'}, {status}"
    if blocks:
        what += f", blocks {','.join(map(str, sorted(blocks)))}"
    return case, expected, what + more, bool(good)


def flakey(agent, feature):
    """The table: the whole disk, of which the four blocks are on a flakey part; with a feature, it is down for good."""
    disk, sectors = DISK, SECTORS
    intervals = f"0 3600 {len(feature.split())} {feature}" if feature else "3600 0"
    after = BAD_SECTOR + BAD_SECTORS
    return (f"0 {BAD_SECTOR} linear {disk} 0\\n{BAD_SECTOR} {BAD_SECTORS} flakey {disk} {BAD_SECTOR} {intervals}\\n"
            f"{after} {sectors - after} linear {disk} {after}\\n")


def switch(agent, feature):
    agent.sh(f"dmsetup suspend flaky; printf '{flakey(agent, feature)}' | dmsetup load flaky; dmsetup resume flaky")


def dm_flakey(agent):
    agent.sh(f"printf '{flakey(agent, '')}' | dmsetup create flaky")
    path = "/dev/mapper/flaky"

    target = Target(agent, "flaky", path, KEYS + 'on_finding = "continue"\n')
    target.clean()
    switch(agent, "drop_writes")
    status, said, _ = target.run("run flaky --passes 1")
    blocks, classes = found(said)
    yield row("dm-flakey drop_writes, running", "violated, lost_write, 65", status, said,
              status == 65 and classes == ["lost_write"] and blocks == BAD_BLOCKS)
    status, said, _ = target.run("check flaky")
    blocks, classes = found(said)
    yield row("dm-flakey drop_writes, check", "violated, lost_write, 65", status, said,
              status == 65 and classes == ["lost_write"] and blocks == BAD_BLOCKS)

    switch(agent, "")
    target = Target(agent, "flaky", path)
    target.clean()
    feature = "error_reads"
    try:
        switch(agent, feature)
    except RigError:
        # Kernels before 6.4 have no name for it: a part that is down without any feature fails whatever reads it.
        feature = "(no feature)"
        agent.sh("dmsetup resume flaky")
        agent.sh(f"dmsetup suspend flaky; printf '{flakey(agent, 'X').replace('0 3600 1 X', '0 3600')}' | dmsetup load flaky; "
                 "dmsetup resume flaky")
    status, said, _ = target.run("check flaky")
    blocks, classes = found(said)
    errno = bool(said) and all("errno 5" in one["detail"] or "os error 5" in one["detail"] for one in said["findings"])
    yield row(f"dm-flakey {feature}", "violated, unreadable, EIO, 65", status, said,
              status == 65 and classes == ["unreadable"] and blocks == BAD_BLOCKS and errno, ", EIO" if errno else ", no errno")

    switch(agent, "")
    target = Target(agent, "flaky", path, KEYS + 'on_finding = "continue"\n')
    target.clean()
    # The flags 0 are: whatever else the bio is. Byte 9999 of each write is byte 9999 of a block, in its payload.
    switch(agent, "corrupt_bio_byte 9999 w 77 0")
    status, said, _ = target.run("run flaky --passes 1")
    switch(agent, "")
    blocks, classes = found(said)
    # Where the byte was 77 already nothing is corrupt: once in 256 blocks.
    yield row("dm-flakey corrupt_bio_byte, of writes", "violated, corrupt, 65", status, said,
              status == 65 and classes == ["corrupt"] and blocks <= BAD_BLOCKS and len(blocks) >= 3)

    target = Target(agent, "flaky", path)
    target.clean()
    # Not scrubd's word, but dd's: some kernels corrupt no read, whatever they are told (6.1 does not).
    contents = f"dd if={path} bs=64k skip=32 count=1 iflag=direct status=none | sha256sum"
    before = agent.sh(contents)[1]
    switch(agent, "corrupt_bio_byte 9999 r 77 0")
    if agent.sh(contents)[1] == before:
        yield ("dm-flakey corrupt_bio_byte, of reads", "violated, corrupt, 65",
               "this kernel takes the feature, and dd reads what it had read before", None)
        agent.sh("dmsetup remove --retry flaky")
        return
    status, said, _ = target.run("check flaky")
    blocks, classes = found(said)
    yield row("dm-flakey corrupt_bio_byte, of reads", "violated, corrupt, 65", status, said,
              status == 65 and classes == ["corrupt"] and blocks <= BAD_BLOCKS and blocks)
    agent.sh("dmsetup remove --retry flaky")


def dm_log_writes(agent):
    """State and target on one disk, all of it logged, so that each prefix is a cut of a whole machine."""
    log, replay = (device(agent, serial) for serial in ("VMLOG", "VMREPLAY"))
    state, target = 16384, 6144  # sectors: 8 MiB for the state's file system, 3 MiB for the target
    agent.sh(f"""dmsetup create lw --table "0 {SECTORS} log-writes {DISK} {log}"
        dmsetup create lw-state --table "0 {state} linear /dev/mapper/lw 0"
        dmsetup create lw-target --table "0 {target} linear /dev/mapper/lw {state}"
        dd if=/dev/zero of=/dev/mapper/lw-target bs=1M count=1 oflag=direct status=none
        mkfs.ext4 -q -b 1024 /dev/mapper/lw-state
        mkdir -p /mnt/lw; mount -o noatime /dev/mapper/lw-state /mnt/lw
cat >/etc/scrubd/conf.d/lw.toml <<'END'
[target.lw]
path = "/dev/mapper/lw-target"
length = "1536KiB"
block_size = "64KiB"
queue_depth = 4
flush_every = "192KiB"
verify.readback_lag = "128KiB"
END
        scrubd init lw --confirm /dev/mapper/lw-target --state-dir /mnt/lw
        dmsetup message lw 0 mark begin""")
    status, out = agent.sh("scrubd run lw --passes 3 --json --state-dir /mnt/lw", 240, False)
    if status:
        raise RigError(f"the run that is logged ends with {status}: {out[-2000:]}")
    agent.sh("umount /mnt/lw; dmsetup remove --retry lw-target; dmsetup remove --retry lw-state; dmsetup remove --retry lw")
    begin = time.monotonic()
    out = agent.sh(f"python3 -B /usr/local/lib/rig/replay.py {log} {replay} {state} {target}", 1500)[1]
    said = json.loads(out.splitlines()[-1])
    print(f"  {said['prefixes']} prefixes in {time.monotonic() - begin:.0f} s: {json.dumps(said)}", flush=True)
    good = said["prefixes"] >= 40 and said["verdicts"] == {"intact": said["prefixes"]} and not said["bad_count"]
    yield ("dm-log-writes, every prefix", "intact each", f"{said['verdicts'].get('intact', 0)} of {said['prefixes']} intact, "
           f"{said['rolled_back']} blocks rolled back, state {said['states']}", good)
    one = said["one_lost"]
    yield ("dm-log-writes, one flushed write left out", "violated, lost_write, 65",
           f"{one.get('verdict')}, {', '.join(one.get('classes', {}))}, {one['status']}",
           one["status"] == 65 and set(one.get("classes", {})) <= {"lost_write", "unserializable"} and one.get("classes"))


def scsi_debug(agent, opts=0):
    """One disk of 16 MiB; sectors 4128 to 4135 are in block 65."""
    agent.sh(f"modprobe -r scsi_debug; modprobe scsi_debug dev_size_mb=16 medium_error_start=4128 medium_error_count=8 opts={opts}; "
             "udevadm settle")
    name = agent.sh("basename $(ls -d /sys/bus/pseudo/drivers/scsi_debug/adapter0/host*/target*/*/block/*)")[1].strip()
    serial = agent.sh(f"tail -c +5 /sys/block/{name}/device/vpd_pg80 | tr -d '\\0'")[1].strip()
    return name, serial


def medium_errors(agent):
    name, serial = scsi_debug(agent)
    target = Target(agent, "sdebug", f"/dev/{name}", confirm=serial)
    target.clean()
    agent.sh("echo 2 >/sys/bus/pseudo/drivers/scsi_debug/opts")
    status, said, _ = target.run("check sdebug")
    blocks, classes = found(said)
    detail = said["findings"][0]["detail"] if said and said["findings"] else ""
    # The kernel's word for a medium error is ENODATA.
    errno = "errno 61" in detail or "os error 61" in detail
    yield row("scsi_debug medium error", "violated, unreadable, ENODATA, 65", status, said,
              status == 65 and classes == ["unreadable"] and blocks == {65} and errno, f" ({detail})")
    agent.sh("echo 0 >/sys/bus/pseudo/drivers/scsi_debug/opts")


def null_blk(agent):
    """Its write cache is volatile for real: switching the device off drops what was not flushed, and keeps what was."""
    path = "/sys/kernel/config/nullb/rig"
    agent.sh(f"""modprobe null_blk nr_devices=0; mkdir {path}; cd {path}
        echo 16 >size; echo 1 >memory_backed; echo 8 >cache_size; echo 512 >blocksize; echo 1 >power; udevadm settle""")
    node = "/dev/nullb" + agent.sh(f"cat {path}/index")[1].strip()
    if not agent.sh(f"test -b {node} && cat /sys/block/$(basename {node})/queue/write_cache", check=False)[1].startswith("write back"):
        node = "/dev/rig"
    # First the device itself: does it keep what was flushed, and lose the rest?
    agent.sh(f"""head -c 65536 /dev/zero | tr '\\0' F >/run/F
        dd if=/run/F of={node} bs=64k seek=16 oflag=direct conv=notrunc,fsync status=none
        dd if=/run/F of={node} bs=64k seek=32 oflag=direct conv=notrunc status=none
        echo 0 >{path}/power; echo 1 >{path}/power; udevadm settle""")
    kept, lost = (int(agent.sh(f"dd if={node} bs=64k skip={place} count=1 iflag=direct status=none | tr -dc F | wc -c")[1])
                  for place in (16, 32))
    if (kept, lost) != (65536, 0):
        yield ("null_blk with a volatile cache", "drops what is not flushed", f"{kept} flushed bytes kept, {lost} others", False)
        return
    target = Target(agent, "null", node, KEYS.replace("256KiB", "2MiB", 1))
    yield gone("null_blk switched off while running", agent, "null", lambda: agent.sh(f"echo 0 >{path}/power", 60))
    # What it said of a device that was not there is told once, and is no part of what comes now.
    agent.sh(f"echo 1 >{path}/power; udevadm settle")
    status, said, out = target.run("check null")
    lawful = said and said["blocks"]["rolled_back"] + said["blocks"]["interrupted"]
    yield row("null_blk, after its cache is dropped", "intact, some rolled back, 0", status, said, status == 0 and lawful,
              f", {lawful} rolled back or interrupted" if said else out[-300:])


def until_writing(agent, name):
    agent.sh(f"for i in $(seq 200); do scrubd status {name} | grep -q writing && exit 0; sleep 0.2; done; scrubd status {name}; exit 1", 120)


def ended(agent, unit):
    """The exit status of a transient or real unit, once it has one; a minute is enough for anything but a hang."""
    return agent.sh(f"""for i in $(seq 240); do
        case $(systemctl show -P ActiveState {unit}) in active|activating|deactivating|reloading) sleep 0.25 ;; *) break ;; esac
        done
        case $(systemctl show -P ActiveState {unit}) in failed|inactive) systemctl show -P ExecMainStatus {unit} ;; *) echo running ;; esac
        systemctl reset-failed {unit} 2>/dev/null || true""", 120)[1].strip()


def gone(case, agent, name, take_away):
    """A device that goes away under a run and stays away: 74, whatever the kernel answers first. It is accused of nothing, and
    nothing hangs."""
    agent.sh(f"systemd-run --quiet --unit={name} -p StandardOutput=file:/run/{name}.out scrubd run {name} --json")
    until_writing(agent, name)
    time.sleep(2)
    take_away()
    status = ended(agent, name)
    out = agent.sh(f"grep '^{{\"schema\"' /run/{name}.out | tail -1", check=False)[1]
    said = json.loads(out) if out.strip() else None
    _, classes = found(said)
    return case, "74, no finding", f"{status}, {', '.join(classes) or 'no finding'}", bool(said) and (status, classes) == ("74", [])


def unplugged(run, agent):
    name, serial = scsi_debug(agent)
    Target(agent, "gone", f"/dev/{name}", confirm=serial)
    yield gone("scsi disk deleted while running", agent, "gone",
               lambda: agent.sh(f"echo 1 >/sys/block/{name}/device/delete", 60))

    agent.sh("""cat >/etc/udev/rules.d/69-plug.rules <<'END'
SUBSYSTEM=="block", ENV{ID_SERIAL}=="VMPLUG", TAG+="scrubd"
END
        mkdir -p /etc/systemd/system/scrubd@plug.service.d
        printf '[Service]\\nDeviceAllow=/dev/disk/by-id/virtio-VMPLUG rw\\n' >/etc/systemd/system/scrubd@plug.service.d/device.conf
        udevadm control --reload; udevadm trigger --subsystem-match=block; udevadm settle; systemctl daemon-reload""")
    Target(agent, "plug", "/dev/disk/by-id/virtio-VMPLUG", confirm="VMPLUG")
    agent.sh("chown -R scrubd: /var/lib/scrubd/plug; systemctl start scrubd@plug")
    until_writing(agent, "plug")
    run.machine.unplug("plug")
    status = ended(agent, "scrubd@plug")
    classes = agent.sh("grep '\"event\":\"finding\"' /var/lib/scrubd/plug/events.jsonl | grep -o '\"class\":\"[a-z_]*\"' | sort -u", check=False)[1]
    classes = [line.split('"')[3] for line in classes.split()]
    yield ("virtio disk unplugged under the unit", "74, no finding", f"{status}, {', '.join(classes) or 'no finding'}",
           (status, classes) == ("74", []))


def device(agent, serial):
    return agent.sh(f"readlink -f /dev/disk/by-id/virtio-{serial}")[1].strip()


def all(run):
    """Boots, and yields rows: case, expected, found, as expected?"""
    global DISK, SECTORS
    for name, serial, size in (("scratch", "VMSCRATCH", 16), ("log", "VMLOG", 96), ("replay", "VMREPLAY", 16), ("plug", "VMPLUG", 16)):
        path = run.directory / f"{name}.img"
        with open(path, "wb") as file:
            file.truncate(size << 20)
        run.machine.scratch.append((name, serial, path))
    run.machine.start([], [])
    agent = run.machine.agent
    agent.sh("udevadm settle; modprobe -a dm-flakey dm-log-writes loop")
    DISK = device(agent, "VMSCRATCH")
    SECTORS = int(agent.sh(f"blockdev --getsz {DISK}")[1])
    for case in (dm_flakey, medium_errors, null_blk, lambda agent: unplugged(run, agent), dm_log_writes):
        try:
            yield from case(agent)
        except RigError as error:
            # The other cases have their own devices, and can go on.
            yield getattr(case, "__name__", "unplugged"), "as the case says", str(error)[-1500:], False
