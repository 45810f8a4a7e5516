"""Power cuts, one after the other, unattended: boot, systemd starts scrubd@disk, it judges what the cut before left, it
writes, the power goes. What is told of a cut comes from scrubd's own event log in the guest, and from the disk's counters."""
import json, time

from machine import RigError

EVENTS = "/var/lib/scrubd/disk/events.jsonl"
VERDICT_LIMIT = 240
LIE_LIMIT = 1200
# Small blocks and frequent flushes: at any moment some writes are promised, some are not, and some are in flight. The time
# of the trigger counts from the start, so that some cuts come while the check is still at it.
CONFIGURATION = """[target.disk]
path = "/dev/disk/by-id/virtio-VMTARGET01"
serial = "VMTARGET01"
length = "24MiB"
mode = "powercut"
block_size = "16KiB"
queue_depth = 16
flush_every = "1MiB"
verify.readback_lag = "2MiB"
trigger.after = "4s..25s"
trigger.io = "continue"
trigger.command = ["sh", "-c", "echo cut >/dev/virtio-ports/cut && sleep 20"]
"""


def prepare(machine):
    """In a guest that runs: as the README says. The power may go at any time from here on."""
    machine.agent.sh(f"""cat >/etc/scrubd/conf.d/disk.toml <<'END'
{CONFIGURATION}END
        scrubd config check
        udevadm settle
        scrubd init disk --confirm VMTARGET01
        chown -R scrubd: /var/lib/scrubd
        systemctl enable scrubd@disk scrubd.target
        sync""")
    # As long as the unit itself allows, on a machine that is busy with other things.
    return machine.agent.sh("systemctl start scrubd@disk", 150)


class Cuts:
    """The cuts of one machine."""

    def __init__(self, machine, random, options, tell):
        self.machine, self.random, self.options, self.tell = machine, random, options, tell
        self.number = 0
        self.unjudged = []  # lines of cuts that no check has judged yet
        self.told = []

    def boot(self):
        took = self.machine.start(*self.options())
        for line in self.unjudged:
            line.setdefault("boot_s", round(took, 1))
        self._attend()

    def _attend(self):
        self.machine.agent.watch(EVENTS)
        self.this_boot = False

    def judged(self, deadline=VERDICT_LIMIT):
        """Waits for this boot's verdict, and tells it of every cut that it is about. None: the power goes before."""
        end = time.monotonic() + deadline
        while not self.machine.pulled.is_set():
            event = self.machine.agent.event(0.2)
            if event is None:
                if self.machine.qemu.poll() is not None:
                    raise RigError("QEMU has died")
                if time.monotonic() > end:
                    status = self.machine.agent.sh("systemctl status --no-pager scrubd@disk; scrubd status disk", check=False)[1]
                    raise RigError(f"no verdict within {deadline} s:\n{status}")
                continue
            # The log is told from its beginning: what was before this boot has been heard, or was taken back by the cut.
            if event["event"] == "started":
                self.this_boot = event["boot_id"] == self.machine.agent.boot_id
            if self.this_boot and event["event"] == "verdict":
                self._tell(event)
                return event
        return None

    def _tell(self, event):
        cuts = [line["cut"] for line in self.unjudged]
        blocks = event["blocks"]
        for line in self.unjudged:
            line |= {name: blocks[name] for name in ("intact", "rolled_back", "interrupted", "unwritten", "findings")}
            line |= {"classes": event["classes"], "state": event["state"], "proved_by": event["proved_by"]}
            line |= {"verdict": event["verdict"], "check_s": round(event["elapsed_s"], 1), "judged_with": cuts}
            self.told.append(line)
            self.tell(json.dumps(line))
        self.unjudged = []

    def cut(self, after_s=None):
        """By the guest's trigger, or after that many seconds by us, whichever comes first."""
        begin = time.monotonic()
        by = "trigger" if self.machine.pulled.wait(180 if after_s is None else after_s) else "plug"
        if by == "plug" and after_s is None:
            raise RigError("the trigger did not come within 180 s")
        self.machine.cut()
        self.number += 1
        target, root = self.machine.target.counters(), self.machine.root.counters()
        self.unjudged.append({
            "cut": self.number, "by": by, "writing_s": round(time.monotonic() - begin, 1), "writes": target["writes"],
            "flushes": target["flushes"], "in_flight": target["waiting"], "unflushed": target["unflushed"],
            "survived": target["survived"], "torn": target["torn"], "lost": target["lost"], "betrayed": target["betrayed"],
            "state_disk_unflushed": root["unflushed"], "state_disk_lost": root["lost"],
        })


def honest(cuts, count):
    """`count` cuts of an honest disk. Returns the reasons why this is not what was to be shown."""
    cuts._attend()
    while cuts.number < count or cuts.unjudged:
        # Nothing is to be judged before the first.
        verdict = None
        if cuts.number:
            cuts.boot()
            verdict = cuts.judged()
        if verdict and cuts.number >= count:
            break
        # Every other cut comes without any warning; and one that comes before the verdict is judged with the next.
        cuts.cut(None if cuts.number % 2 else cuts.random.uniform(0.5, 9))
        if cuts.number > 3 * count:
            raise RigError("the power goes faster than a check can be made")
    return wrong_in(cuts.told)


def wrong_in(lines):
    wrong = [f"cut {line['cut']}: {line['verdict']}, {line['findings']} findings: {line['classes']}" for line in lines
             if line["verdict"] != "intact" or line["findings"]]
    wrong += [f"cut {line['cut']}: the state is {line['state']}, on an honest disk" for line in lines if line["state"] != "current"]
    total = summed(lines)
    for name, why in (("unflushed", "had anything to lose"), ("lost", "lost anything")):
        if not total[name]:
            wrong.append(f"no cut {why}: nothing was shown")
    if not any(line["by"] == "trigger" for line in lines):
        wrong.append("no cut was made by scrubd's trigger")
    return wrong


def summed(lines):
    names = ("in_flight", "unflushed", "survived", "torn", "lost", "betrayed", "rolled_back", "interrupted", "findings")
    return {name: sum(line[name] for line in lines) for name in names}


def lying(cuts, count):
    """The same disk, which from now on lies about flushes. Returns (cuts until it was found out, reasons why not)."""
    first = cuts.number
    verdict = None
    # Each broken block takes its evidence with it, about a second of an emulated machine: hence no more of them than it
    # takes, and the patience.
    while cuts.number < first + count:
        cuts.boot()
        verdict = cuts.judged(LIE_LIMIT)
        if verdict and verdict["verdict"] == "violated":
            break
        # Soon after it has something to answer for: writes that are behind an acknowledged flush and in the cache alone. Not at
        # once, as it takes a ledger that was saved, or a block that survived, to say later that there was that flush: cut at
        # the first one, a disk was acquitted three times for want of proof.
        end = time.monotonic() + 30
        while cuts.machine.target.counters()["flushes"] < 5 and time.monotonic() < end:
            time.sleep(0.05)
        cuts.cut(0)
    else:
        cuts.boot()
        verdict = cuts.judged(LIE_LIMIT)
    lines = [line for line in cuts.told if line["cut"] > first]
    if not verdict or verdict["verdict"] != "violated":
        return len(lines), [f"a disk that lies about flushes was not found out in {len(lines)} cuts"]
    wrong = []
    if not set(verdict["classes"]) & {"lost_write", "unserializable"}:
        wrong.append(f"it was found, and not named: {verdict['classes']}")
    if not lines[-1]["betrayed"]:
        wrong.append("a promise is said to be broken, and the disk had kept them all")
    wrong += quarantined(cuts.machine)
    return len(lines), wrong


def quarantined(machine):
    """What systemd and the next boot say of it."""
    wrong, agent = [], machine.agent

    def expect(what, script, expected):
        found = agent.sh(script, timeout=120, check=False)[1].strip()
        if found != expected:
            wrong.append(f"{what}: {found!r}, not {expected!r}")

    agent.sh("for i in $(seq 300); do [ \"$(systemctl show -P ActiveState scrubd@disk)\" = failed ] && exit; sleep 0.2; done", 120, False)
    unit = "systemctl show -P {} scrubd@disk"
    expect("the unit", unit.format("ActiveState"), "failed")
    expect("its exit status", unit.format("ExecMainStatus"), "65")
    expect("its restarts", unit.format("NRestarts"), "0")
    expect("the latch", "test -e /var/lib/scrubd/disk/QUARANTINE && echo set", "set")
    expect("scrubd check", "scrubd check disk >/run/check 2>&1 && echo 0 || echo $?", "65")
    # Cut once more: the latch is durable, and what is latched is not started.
    machine.cut()
    machine.start(*machine.last_options)
    agent = machine.agent
    expect("the latch after a cut", "test -e /var/lib/scrubd/disk/QUARANTINE && echo set", "set")
    agent.sh("systemctl is-system-running --wait", 120, False)
    expect("the unit's assertion", unit.format("AssertResult"), "no")
    expect("the daemon past the unit", "scrubd run disk >/run/run 2>&1 && echo 0 || echo $?", "65")
    return wrong
