"""The guest: a Debian 12 with its kernel, made once by mmdebstrap and kept outside the repository; then, for each package that
is tested, an ext4 image with that package installed. `mkfs.ext4 -d` fills it, so no loop device and no tool of QEMU's is needed."""
import hashlib, os, pathlib, shutil, subprocess, sys, tempfile

HERE = pathlib.Path(__file__).resolve().parent
LABEL = "scrubd-vm"
IMAGE_SIZE = 1 << 30
PACKAGES = ("systemd,systemd-sysv,dbus,udev,util-linux,procps,e2fsprogs,kmod,dmsetup,python3,initramfs-tools,linux-image-amd64")
# Modules of hardware that this machine will never have: most of the archive, and of the time to unpack it.
WITHOUT = ("kernel/drivers/gpu", "kernel/drivers/net", "kernel/drivers/media", "kernel/drivers/usb", "kernel/drivers/infiniband",
           "kernel/drivers/iio", "kernel/drivers/hwmon", "kernel/drivers/staging", "kernel/drivers/input", "kernel/drivers/isdn",
           "kernel/drivers/platform", "kernel/drivers/mmc", "kernel/drivers/mtd", "kernel/net", "kernel/sound",
           "kernel/fs/xfs", "kernel/fs/btrfs", "kernel/fs/ocfs2", "kernel/fs/nfs", "kernel/fs/ceph", "kernel/fs/f2fs")
# An initramfs of what it boots from, and not of everything that anything could boot from.
HOOK = """set -e
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
printf 'MODULES=list\\nCOMPRESS=gzip\\n' >"$1/etc/initramfs-tools/conf.d/rig"
printf 'virtio_pci\\nvirtio_blk\\next4\\n' >"$1/usr/share/initramfs-tools/modules.d/rig"
"""
# A boot under software emulation takes what its units take; none of these has anything to do here.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
          "fstrim.timer", "systemd-pstore.service", "getty@tty1.service", "serial-getty@ttyS0.service",
          "systemd-update-utmp.service", "systemd-tmpfiles-clean.timer", "dev-hugepages.mount", "sys-kernel-debug.mount",
          "sys-kernel-tracing.mount", "systemd-journal-flush.service", "modprobe@drm.service", "systemd-hwdb-update.service", "systemd-logind.service",
          "systemd-user-sessions.service", "systemd-update-utmp-runlevel.service", "getty.target", "systemd-binfmt.service",
          "proc-sys-fs-binfmt_misc.automount", "dev-mqueue.mount", "sys-fs-fuse-connections.mount")
UDEV_RULES = """# Which disk user scrubd may have. A virtio disk's serial is ID_SERIAL.
SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", ENV{ID_SERIAL}=="VMTARGET01", TAG+="scrubd"
SUBSYSTEM=="virtio-ports", ATTR{name}=="cut", OWNER="scrubd", MODE="0600"
"""
DEVICE = """[Unit]
After=dev-disk-by\\x2did-virtio\\x2dVMTARGET01.device dev-virtio\\x2dports-cut.device
Wants=dev-disk-by\\x2did-virtio\\x2dVMTARGET01.device dev-virtio\\x2dports-cut.device

[Service]
DeviceAllow=/dev/disk/by-id/virtio-VMTARGET01 rw
# The wire to the one who pulls the plug.
DeviceAllow=/dev/virtio-ports/cut rw
"""


# Neither a success nor a failure, as automake has it. argparse says 2.
MISSING = 77


class Guest:
    """Paths of what a machine boots from."""

    def __init__(self, image, kernel, initrd):
        self.image, self.kernel, self.initrd = image, kernel, initrd


def make(cache, deb):
    cache.mkdir(parents=True, exist_ok=True)
    base = _base(cache)
    ours = b"".join(file.read_bytes() for file in sorted(HERE.glob("guest/*"))) + pathlib.Path(__file__).read_bytes()
    image = cache / f"root-{_digest(base.name.encode(), ours, deb.read_bytes())}.img"
    kernel, initrd = base.with_suffix(".vmlinuz"), base.with_suffix(".initrd")
    if not image.exists():
        for old in cache.glob("root-*.img"):
            old.unlink()
        _image(cache, base, deb, image)
    return Guest(image, kernel, initrd)


def _digest(*parts):
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:12]


def _base(cache):
    recipe = f"{PACKAGES} {WITHOUT} {HOOK}".encode()
    base = cache / f"base-{_digest(recipe)}.tar"
    if base.exists():
        return base
    for old in cache.glob("base-*"):
        old.unlink()
    print(f"making a Debian 12 with a kernel in {cache}, once", flush=True)
    new = base.with_suffix(".new.tar")
    exclude = [f"--dpkgopt=path-exclude=/lib/modules/*/{part}/*" for part in WITHOUT]
    exclude += ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*"]
    # The documents of the package under test are what its users read.
    exclude += ["--dpkgopt=path-include=/usr/share/doc/scrubd/*"]
    with open(cache / "mmdebstrap.log", "wb") as log:
        made = subprocess.run(["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", *exclude, f"--essential-hook={HOOK}",
                               "bookworm", new], stdout=log, stderr=log, timeout=1200)
    if made.returncode:
        print(f"SKIPPED: no guest: mmdebstrap failed (is there a network?), see {cache}/mmdebstrap.log", file=sys.stderr)
        sys.exit(MISSING)
    with tempfile.TemporaryDirectory(dir=cache) as boot:
        subprocess.run(["tar", "-C", boot, "--wildcards", "-xf", new, "./boot/vmlinuz-*", "./boot/initrd.img-*"], check=True)
        for name, suffix in (("vmlinuz-*", ".vmlinuz"), ("initrd.img-*", ".initrd")):
            shutil.move(next(pathlib.Path(boot).glob(f"boot/{name}")), base.with_suffix(suffix))
    new.rename(base)
    return base


def _image(cache, base, deb, image):
    with tempfile.TemporaryDirectory(dir=cache, prefix="root-") as text:
        root = pathlib.Path(text)
        subprocess.run(["tar", "-C", root, "-xf", base, "--exclude=./boot/*", "--exclude=./dev/*"], check=True)
        shutil.copy(deb, root / "scrubd.deb")
        # As anybody installs it; a network for what it depends on is not needed, as all of that is there.
        install = 'mount -t proc proc "$0/proc" && exec chroot "$0" dpkg -i /scrubd.deb'
        subprocess.run(["unshare", "--mount", "sh", "-c", install, root], check=True, stdout=subprocess.DEVNULL)
        # For the quick start, which installs scrubd_*.deb once more, whatever it is called here.
        (root / "scrubd.deb").rename(root / "root" / "scrubd_tested.deb")
        _furnish(root)
        new = image.with_suffix(".new")
        with open(new, "wb") as file:
            file.truncate(IMAGE_SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-L", LABEL, "-d", root, "-E", "lazy_itable_init=0,lazy_journal_init=0", new], check=True)
        new.rename(image)


def _furnish(root):
    def put(path, text):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    put("etc/fstab", f"LABEL={LABEL} / ext4 rw 0 0\n")
    put("etc/hostname", "rig\n")
    put("etc/udev/rules.d/69-scrubd.rules", UDEV_RULES)
    put("etc/systemd/system/scrubd@disk.service.d/device.conf", DEVICE)
    # Journals in memory: what counts is in the event log, and the disk is busy enough.
    put("etc/systemd/journald.conf.d/rig.conf", "[Journal]\nStorage=volatile\nForwardToConsole=no\n")
    for file in HERE.glob("guest/*.py"):
        put(f"usr/local/lib/rig/{file.name}", file.read_text())
    put("etc/systemd/system/agent.service", (HERE / "guest/agent.service").read_text())
    units = root / "etc/systemd/system"
    (units / "sysinit.target.wants").mkdir(exist_ok=True)
    os.symlink("../agent.service", units / "sysinit.target.wants/agent.service")
    for unit in MASKED:
        if not (units / unit).is_symlink():
            os.symlink("/dev/null", units / unit)
