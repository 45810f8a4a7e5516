"""A machine with its disks, and the plug of all of them. QEMU emulates the processor in software, so that this runs wherever
python does; the disks are processes of their own (disk.py)."""
import json, pathlib, queue, signal, socket, struct, subprocess, sys, threading, time

import disk as disks

HERE = pathlib.Path(__file__).resolve().parent
BOOT_LIMIT = 300
# No rootdelay=, which sleeps; the root by its label, as names follow the order on the bus.
KERNEL_ARGUMENTS = ("root=LABEL=scrubd-vm rw rootfstype=ext4 fsck.mode=skip console=ttyS0 loglevel=4 panic=1 mitigations=off "
                    "systemd.show_status=0 random.trust_cpu=1 nowatchdog")


class RigError(Exception):
    """The rig did not do what it must: nothing has been said about scrubd."""


class Disk:
    """One disk: what is durable of it is in `medium`."""

    def __init__(self, directory, name, serial, size=None, image=None):
        self.name, self.serial, self.directory = name, serial, pathlib.Path(directory)
        self.medium = self.directory / f"{name}.medium"
        if image:
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, self.medium], check=True)
        else:
            with open(self.medium, "wb") as file:
                file.truncate(size)
        self.process = None

    @property
    def socket(self):
        return self.directory / f"{self.name}.sock"

    def start(self, *options):
        self.socket.unlink(missing_ok=True)
        command = [sys.executable, "-B", HERE / "disk.py", "--socket", self.socket, "--medium", self.medium, "--counters",
                   self.directory / f"{self.name}.counters", *map(str, options)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 20
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RigError(f"the disk {self.name} does not start")
            time.sleep(0.01)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def counters(self):
        data = (self.directory / f"{self.name}.counters").read_bytes()
        found = dict(zip(disks.COUNTERS, struct.unpack(f"<{len(disks.COUNTERS)}Q", data)))
        found["lost"] = found["unflushed"] - found["survived"] - found["torn"] - found["superseded"]
        return found


class Machine:
    def __init__(self, guest, directory, root, target, scratch=()):
        self.guest, self.directory, self.root, self.target = guest, pathlib.Path(directory), root, target
        self.scratch = list(scratch)  # (name, serial, path): plain files, for the faults that are made inside
        self.qemu = self.agent = self.plug = self.monitor = None
        self.boots, self.last_options = 0, None

    def start(self, root_options, target_options):
        """Returns once the agent answers; how long that took, in seconds."""
        begin = time.monotonic()
        self.boots += 1
        self.last_options = root_options, target_options
        self.root.start(*root_options)
        self.target.start(*target_options)
        ports = {name: self.directory / f"{name}.port" for name in ("rig", "cut", "qmp")}
        for path in ports.values():
            path.unlink(missing_ok=True)
        command = ["qemu-system-x86_64", "-machine", "pc,usb=off", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m",
                   "1024", "-nodefaults", "-no-user-config", "-nic", "none", "-display", "none", "-no-reboot",
                   "-serial", f"file:{self.directory}/console.{self.boots}.log",
                   "-kernel", self.guest.kernel, "-initrd", self.guest.initrd, "-append", KERNEL_ARGUMENTS,
                   "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
                   "-qmp", f"unix:{ports['qmp']},server=on,wait=off", "-device", "virtio-serial-pci,id=serials"]
        for name in ("rig", "cut"):
            command += ["-chardev", f"socket,id={name},path={ports[name]},server=on,wait=off",
                        "-device", f"virtserialport,bus=serials.0,chardev={name},name={name}"]
        # Writeback to the guest is what makes it send flushes; what QEMU itself holds back is nothing.
        for disk in (self.root, self.target):
            command += ["-drive", f"if=none,id={disk.name},format=raw,cache=none,discard=ignore,file=nbd:unix:{disk.socket}",
                        "-device", f"virtio-blk-pci,id=dev-{disk.name},drive={disk.name},serial={disk.serial}"]
        for name, serial, path in self.scratch:
            command += ["-drive", f"if=none,id={name},format=raw,cache=writeback,file={path}",
                        "-device", f"virtio-blk-pci,id=dev-{name},drive={name},serial={serial}"]
        self.log = open(self.directory / f"qemu.{self.boots}.log", "wb")
        self.qemu = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                     start_new_session=True)
        self.agent = Agent(self._connect(ports["rig"]))
        # Set when the guest asks for the cut: a byte on this port.
        self.plug, self.pulled = self._connect(ports["cut"]), threading.Event()
        self.listener = threading.Thread(target=self._listen, args=(self.plug, self.pulled), daemon=True)
        self.listener.start()
        self.monitor = ports["qmp"]
        hello = self.agent.hello.wait(BOOT_LIMIT) and self.agent.boot_id
        if not hello:
            raise RigError(f"the guest does not boot within {BOOT_LIMIT} s: {self.directory}/console.{self.boots}.log")
        return time.monotonic() - begin

    def _connect(self, path):
        deadline = time.monotonic() + 20
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(str(path))
                return sock
            except OSError:
                sock.close()
                if self.qemu.poll() is not None or time.monotonic() > deadline:
                    raise RigError(f"QEMU does not start: {self.directory}/qemu.{self.boots}.log") from None
                time.sleep(0.05)

    def cut(self):
        """The plug. The machine first: a disk that were gone before it would answer with errors, which no power cut does."""
        self.qemu.send_signal(signal.SIGKILL)
        for disk in (self.target, self.root):
            disk.process.send_signal(signal.SIGKILL)
        self.qemu.wait()
        for disk in (self.target, self.root):
            disk.kill()
        self._forget()

    def power_off(self):
        """As one shuts a machine down."""
        self.agent.run(["systemctl", "poweroff", "--no-block"], check=False)
        try:
            self.qemu.wait(90)
        except subprocess.TimeoutExpired:
            raise RigError("the guest does not shut down") from None
        self.cut()

    def unplug(self, disk, wait=30):
        """Takes a disk out of the running machine, if the guest lets it go."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(wait)
            sock.connect(str(self.monitor))
            stream = sock.makefile("rw")
            stream.readline()
            for command in ({"execute": "qmp_capabilities"}, {"execute": "device_del", "arguments": {"id": f"dev-{disk}"}}):
                stream.write(json.dumps(command) + "\n")
                stream.flush()
            for line in stream:
                message = json.loads(line)
                if "error" in message:
                    raise RigError(f"device_del: {message['error']}")
                if message.get("event") == "DEVICE_DELETED" and message["data"].get("device") == f"dev-{disk}":
                    return
            raise RigError(f"the monitor ended before {disk} was gone")

    def _listen(self, sock, pulled):
        try:
            if sock.recv(16):
                pulled.set()
        except OSError:
            pass

    def _forget(self):
        # QEMU is gone, so that both listeners come to their end; only then may the numbers of their descriptors be used anew.
        self.listener.join()
        self.agent.thread.join()
        self.plug.close()
        self.agent.sock.close()
        self.log.close()
        self.qemu = self.agent = self.plug = None

    def end(self):
        """Whatever state it is in."""
        if self.qemu:
            self.qemu.kill()
            self.qemu.wait()
            self.qemu = None
        for disk in (self.root, self.target):
            disk.kill()


class Agent:
    """The host's side of guest/agent.py."""

    def __init__(self, sock):
        self.sock, self.boot_id, self.hello = sock, None, threading.Event()
        self.answers, self.lines, self.number, self.turn = {}, queue.Queue(), 0, threading.Lock()
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self):
        try:
            for line in self.sock.makefile("r", errors="replace"):
                message = json.loads(line)
                if "hello" in message:
                    self.boot_id = message["hello"]
                    self.hello.set()
                elif "id" in message:
                    self.answers[message["id"]].put(message)
                elif "line" in message:
                    self.lines.put(message["line"])
        except (OSError, ValueError):
            pass
        # Whoever waits for an answer need not wait for ever.
        for waiting in list(self.answers.values()):
            waiting.put(None)

    def _send(self, message):
        with self.turn:
            self.sock.sendall(json.dumps(message).encode() + b"\n")

    def watch(self, path):
        self._send({"watch": path})

    def run(self, argv, timeout=60, check=True):
        """In the guest. Returns (status, output); RigError where it fails and may not."""
        self.number += 1
        answer = self.answers[self.number] = queue.Queue()
        self._send({"id": self.number, "run": argv, "timeout": timeout})
        try:
            # The emulated clock is the host's; a little for the way.
            message = answer.get(timeout=timeout + 60)
        except queue.Empty:
            message = None
        if message is None:
            raise RigError(f"the guest no longer answers: {argv}")
        if check and message["status"] != 0:
            raise RigError(f"in the guest: {argv}: status {message['status']}: {message['out'][-2000:]}")
        return message["status"], message["out"]

    def sh(self, script, timeout=60, check=True):
        return self.run(["sh", "-euc", script], timeout, check)

    def event(self, timeout):
        """The next line of what is watched; None where none comes."""
        try:
            return self.lines.get(timeout=timeout)
        except queue.Empty:
            return None
