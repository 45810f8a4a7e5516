#!/usr/bin/python3
"""In the guest: runs what the host asks for, over a virtio port, a line of JSON each way; and passes on the lines of files
that the host wants to watch, from the file's beginning, across rotation.

    {"id": 1, "run": ["argv", …], "timeout": 60}      → {"id": 1, "status": 0, "out": "…"}; status 124 after the timeout
    {"watch": "/var/lib/scrubd/disk/events.jsonl"}    → {"line": {…}} for each, as it comes"""
import json, os, signal, subprocess, threading, time

PORT = "/dev/virtio-ports/rig"
OUT_MAX = 256 << 10

# One descriptor for both ways: a port can be open only once.
port = os.open(PORT, os.O_RDWR)
turn = threading.Lock()


def say(message):
    data = json.dumps(message).encode() + b"\n"
    with turn:
        while data:
            data = data[os.write(port, data) :]


def run(request):
    try:
        process = subprocess.Popen(request["run"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   start_new_session=True)
    except OSError as error:
        return say({"id": request["id"], "status": 127, "out": str(error)})
    try:
        out, _ = process.communicate(timeout=request["timeout"])
        status = process.returncode
    except subprocess.TimeoutExpired:
        # All of it: what a shell has started holds the other end of the pipe, and would be waited for without end.
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        status, out = 124, out + b"\n(no end within the timeout)"
    say({"id": request["id"], "status": status, "out": out[-OUT_MAX:].decode(errors="replace")})


def watch(path):
    file, part = None, ""
    while True:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            found = None
        if file is None and found:
            file = open(path, errors="replace")
        more = file.read() if file else ""
        if not more:
            # Rotated: what was left of the old one has been read.
            if file and found and os.fstat(file.fileno()).st_ino != found.st_ino:
                file.close()
                file, part = None, ""
            time.sleep(0.2)
            continue
        *lines, part = (part + more).split("\n")
        for line in lines:
            try:
                say({"line": json.loads(line)})
            except ValueError:
                say({"damaged": line})


say({"hello": open("/proc/sys/kernel/random/boot_id").read().strip(), "uptime": time.clock_gettime(time.CLOCK_BOOTTIME)})
waiting = b""
while True:
    part = os.read(port, 1 << 16)
    if not part:
        # Nobody on the host's side yet, or no more.
        time.sleep(0.1)
        continue
    *requests, waiting = (waiting + part).split(b"\n")
    for request in map(json.loads, requests):
        work = (watch, request["watch"]) if "watch" in request else (run, request)
        threading.Thread(target=work[0], args=work[1:], daemon=True).start()
