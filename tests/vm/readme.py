"""The quick starts of README.md, as they stand there, in a guest that has never seen scrubd configured. Replaced is only what
nobody could have: the disk, the wait, and who switches the outlet."""
import json, pathlib, re, time

from machine import RigError

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
DISK = "disk=/dev/disk/by-id/virtio-VMTARGET01 serial=VMTARGET01"
EVENTS = "/var/lib/scrubd/bay3/events.jsonl"


def blocks(heading):
    """The commands below a heading, up to the next one."""
    section = re.split(r"^#{2,3} ", README.read_text(), flags=re.M)
    section = next((part for part in section if part.startswith(heading + "\n")), None)
    if section is None:
        raise RigError(f"README.md has no section {heading!r}")
    return re.findall(r"^```sh\n(.*?)^```$", section, flags=re.M | re.S)


def replaced(script, pattern, by):
    script, count = re.subn(pattern, by, script, flags=re.M)
    if count != 1:
        raise RigError(f"README.md has {pattern!r} {count} times, not once")
    return script


def burn_in(machine):
    machine.start([], [])
    script = replaced(blocks("Burn-in of a new disk")[0], r"^disk=.*$", DISK)
    agent = machine.agent
    agent.sh(f"rm -f /etc/udev/rules.d/69-scrubd.rules; cd /root; {script}", 240)
    agent.sh(f"for i in $(seq 300); do grep -q pass_written {EVENTS} && exit 0; sleep 0.3; done; scrubd status bay3; exit 1", 180)
    rank = agent.sh("systemctl show -P ActiveState scrubd@bay3; scrubd report bay3 --json >/dev/null; "
                    "systemctl disable --now scrubd@bay3; systemctl show -P ExecMainStatus scrubd@bay3; "
                    "scrubd release bay3 --confirm VMTARGET01 >/dev/null; echo released", 180)[1].split()
    expected = ["active", "0", "released"]
    found = [word for word in rank if word in ("active", "failed", "inactive", "released") or word.isdigit()]
    return "README: burn-in of a new disk", "active, writes, stops with 0, released", ", ".join(found), found == expected


def patrol(machine):
    machine.start([], [])
    agent = machine.agent
    script = replaced(blocks("Burn-in of a new disk")[0], r"^disk=.*$", DISK)
    agent.sh(f"rm -f /etc/udev/rules.d/69-scrubd.rules; cd /root; {script}", 240)
    agent.sh(f"for i in $(seq 300); do grep -q pass_written {EVENTS} && exit 0; sleep 0.3; done; scrubd status bay3; exit 1", 180)
    script = replaced(blocks("Monthly patrol of long-lived data")[0], r"^disk=.*$", DISK)
    agent.sh(replaced(script, r'^patrol.pass_time = "14d"', 'patrol.pass_time = "20s"'), 240)
    status = agent.sh("scrubd status bay3", check=False)[1]
    found = agent.sh("""for i in $(seq 240); do
        [ "$(systemctl show -P ActiveState scrubd-patrol@bay3)" = inactive ] && break; sleep 0.5; done
        systemctl show -P Result scrubd-patrol@bay3; systemctl is-active scrubd-patrol@bay3.timer
        journalctl --no-pager -o cat -u scrubd-patrol@bay3 | grep -o 'verdict: [a-z]*' | tail -1""", 180, check=False)[1].split("\n")
    found = [line for line in found if line] + ["on schedule" if "schedule" in status else "no schedule"]
    expected = ["success", "active", "verdict: intact", "on schedule"]
    return "README: monthly patrol", ", ".join(expected), ", ".join(found), found == expected


def power_cut(machine):
    machine.start([], [])
    common = replaced(blocks("Burn-in of a new disk")[0], r"^disk=.*$", DISK)
    common = common[: common.index("scrubd init")]
    loop, look = blocks("An unattended power-cut rig")
    loop = replaced(loop, r'^trigger.after = .*$', 'trigger.after = "40s..45s"')
    # The outlet of this machine is a wire to the host.
    loop = replaced(loop, r"^exec ipmitool.*$", "echo cut >/dev/virtio-ports/cut \\&\\& sleep 20".replace("\\&", "&"))
    machine.agent.sh(f"rm -f /etc/udev/rules.d/69-scrubd.rules; cd /root; {common}\n{loop}", 240)
    verdicts = []
    # Two cuts by themselves: nobody starts anything after the first.
    for _ in range(2):
        if not machine.pulled.wait(180):
            raise RigError("the quick start's trigger did not come: " + machine.agent.sh(
                "systemctl status --no-pager scrubd@bay3 scrubd-action@bay3.path", check=False)[1])
        machine.cut()
        machine.start([], [])
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and not machine.pulled.is_set():
            out = machine.agent.sh(look, check=False)[1] if look else ""
            verdicts = [json.loads(line)["verdict"] for line in out.splitlines() if line.startswith("{")]
            if len(verdicts) > _:
                break
            time.sleep(0.5)
    return "README: an unattended power-cut rig", "intact after each of 2 cuts", f"{', '.join(verdicts)}", verdicts == ["intact"] * 2
