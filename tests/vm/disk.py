#!/usr/bin/env python3
"""A disk with a volatile write cache, for QEMU over a unix socket (NBD). Its medium is a file; its cache is the memory of
this process alone, so that SIGKILL is the loss of its power: what was acknowledged and not flushed is gone, except for
what had been destaged, which happens sector by sector, in no order, all the time.

    disk.py --socket PATH --medium FILE --counters FILE [--destage N] [--latency-us N] [--lie] [--cache-mib N] [--seed N]

    --destage N      sectors that go to the medium beside each request; 0: nothing does but by a flush
    --latency-us N   each write takes that long, so that writes queue up here and are in flight when the power goes
    --lie            a flush, and FUA, is acknowledged and nothing is done: the disk that must be found out
    --through        no cache at all, for the proof that the rig would notice

Requests that wait are served in no order either. The counters outlive the process: they are in a file that is mapped."""
import argparse, mmap, os, random, select, signal, socket, struct, time

import nbd

SECTOR = 512
# What the host reads after the cut, in this order, 8 bytes each.
COUNTERS = ("writes", "flushes", "waiting", "unflushed", "survived", "torn", "superseded", "betrayed", "sectors")


class Counters:
    """In a mapped file, which the kernel keeps when this process is killed."""

    def __init__(self, path):
        with open(path, "wb+") as file:
            file.truncate(8 * len(COUNTERS))
            self.map = mmap.mmap(file.fileno(), 8 * len(COUNTERS))
        self.values = dict.fromkeys(COUNTERS, 0)

    def add(self, name, by=1):
        self.put(name, self.values[name] + by)

    def put(self, name, value):
        self.values[name] = value
        struct.pack_into("<Q", self.map, 8 * COUNTERS.index(name), value)


class Write:
    """One write since the last true flush: how many of its sectors have come to the medium, or were written over before."""

    __slots__ = ("sectors", "destaged", "superseded", "betrayed")

    def __init__(self, sectors):
        self.sectors, self.destaged, self.superseded, self.betrayed = sectors, 0, 0, False


class Cache:
    def __init__(self, medium, options, counters):
        self.medium, self.options, self.counters = medium, options, counters
        self.random = random.Random(options.seed)
        self.sectors = {}  # number -> (bytes, the write that they are of)
        self.order = []  # numbers, for drawing one at random; each is in `sectors`
        self.place = {}  # number -> its index in `order`
        self.writes = []

    def write(self, offset, data, fua):
        self.counters.add("writes")
        if self.options.through or (fua and not self.options.lie):
            for number in range(offset // SECTOR, (offset + len(data)) // SECTOR):
                if number in self.sectors:
                    self._supersede(number)
                    self._forget(number)
            os.pwrite(self.medium, data, offset)
            return
        write = Write(len(data) // SECTOR)
        self.writes.append(write)
        self.counters.add("unflushed")
        for index in range(write.sectors):
            number = offset // SECTOR + index
            if number in self.sectors:
                self._supersede(number)
            else:
                self.place[number] = len(self.order)
                self.order.append(number)
            self.sectors[number] = (data[index * SECTOR : (index + 1) * SECTOR], write)
        self.counters.put("sectors", len(self.order))
        while len(self.order) > self.options.cache_mib << 11:
            self._destage_one()

    def read(self, offset, length):
        data = os.pread(self.medium, length, offset)
        data = bytearray(data + bytes(length - len(data)))
        if self.sectors:
            first = offset // SECTOR
            for index in range(length // SECTOR):
                cached = self.sectors.get(first + index)
                if cached:
                    data[index * SECTOR : (index + 1) * SECTOR] = cached[0]
        return bytes(data)

    def flush(self):
        self.counters.add("flushes")
        if self.options.lie:
            for write in self.writes:
                if not write.betrayed and write.destaged + write.superseded < write.sectors:
                    write.betrayed = True
                    self.counters.add("betrayed")
            return
        # In runs of neighbours, for speed; a cut in the midst of it has acknowledged nothing.
        run, start = [], None
        for number in sorted(self.sectors):
            if start is not None and number != start + len(run):
                os.pwrite(self.medium, b"".join(run), start * SECTOR)
                run, start = [], None
            start = number if start is None else start
            run.append(self.sectors[number][0])
        if run:
            os.pwrite(self.medium, b"".join(run), start * SECTOR)
        self.sectors, self.order, self.place, self.writes = {}, [], {}, []
        for name in ("unflushed", "survived", "torn", "superseded", "sectors"):
            self.counters.put(name, 0)

    def destage(self, count):
        for _ in range(min(count, len(self.order))):
            self._destage_one()

    def _destage_one(self):
        number = self.order[self.random.randrange(len(self.order))]
        data, write = self.sectors[number]
        os.pwrite(self.medium, data, number * SECTOR)
        before = self._fate(write)
        write.destaged += 1
        self._count(write, before)
        self._forget(number)

    def _supersede(self, number):
        write = self.sectors[number][1]
        before = self._fate(write)
        write.superseded += 1
        self._count(write, before)

    @staticmethod
    def _fate(write):
        """What becomes of it if the power goes now; None: nothing of it is left."""
        if write.superseded == write.sectors:
            return "superseded"
        if write.destaged + write.superseded == write.sectors:
            return "survived"
        return "torn" if write.destaged else None

    def _count(self, write, before):
        after = self._fate(write)
        if after != before:
            if before:
                self.counters.add(before, -1)
            if after:
                self.counters.add(after)
        if write.betrayed and write.destaged + write.superseded == write.sectors:
            write.betrayed = False
            self.counters.add("betrayed", -1)

    def _forget(self, number):
        """Out of the cache; its place in `order` goes to the last one."""
        place, last = self.place.pop(number), self.order.pop()
        if last != number:
            self.order[place] = last
            self.place[last] = place
        del self.sectors[number]
        self.counters.put("sectors", len(self.order))


def serve(sock, cache, size, options, counters):
    """Until the machine is gone. Then the power is gone too, and what is in the cache with it."""
    chance = random.Random(options.seed + 1)
    sock.setblocking(False)
    buffer, waiting = bytearray(), []
    while True:
        ready, _, _ = select.select([sock], [], [], 0 if waiting else 0.05)
        if ready:
            part = sock.recv(4 << 20)
            if not part:
                return
            buffer += part
            if not take(buffer, waiting):
                return
            counters.put("waiting", sum(request[1] == nbd.WRITE for request in waiting))
        if not waiting:
            cache.destage(options.destage)
            continue
        flags, command, handle, offset, data, length = waiting.pop(chance.randrange(len(waiting)))
        error, answer = 0, b""
        if command in (nbd.READ, nbd.WRITE) and (offset % SECTOR or length % SECTOR or offset + length > size):
            error = nbd.EINVAL
        elif command == nbd.READ:
            answer = cache.read(offset, length)
        elif command == nbd.WRITE:
            if options.latency_us:
                time.sleep(options.latency_us / 1e6)
            cache.write(offset, data, flags & nbd.FUA)
        elif command == nbd.FLUSH:
            cache.flush()
        else:
            error = nbd.EINVAL
        send(sock, nbd.REPLY_HEAD.pack(nbd.REPLY, error, handle) + answer)
        cache.destage(options.destage)
        counters.put("waiting", sum(request[1] == nbd.WRITE for request in waiting))


def take(buffer, waiting):
    """Moves whole requests from the buffer to those that wait. False: the client says goodbye."""
    while len(buffer) >= nbd.REQUEST_HEAD.size:
        magic, flags, command, handle, offset, length = nbd.REQUEST_HEAD.unpack_from(buffer)
        if magic != nbd.REQUEST or command == nbd.DISCONNECT:
            return False
        end = nbd.REQUEST_HEAD.size + (length if command == nbd.WRITE else 0)
        if len(buffer) < end:
            break
        waiting.append((flags, command, handle, offset, bytes(buffer[nbd.REQUEST_HEAD.size : end]), length))
        del buffer[:end]
    return True


def send(sock, data):
    view = memoryview(data)
    while view:
        select.select([], [sock], [])
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            continue


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--medium", required=True)
    parser.add_argument("--counters", required=True)
    parser.add_argument("--destage", type=int, default=0)
    parser.add_argument("--latency-us", type=int, default=0)
    parser.add_argument("--cache-mib", type=int, default=64)
    parser.add_argument("--lie", action="store_true")
    parser.add_argument("--through", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    medium = os.open(options.medium, os.O_RDWR | os.O_CLOEXEC)
    size = os.fstat(medium).st_size
    counters = Counters(options.counters)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(options.socket)
    listener.listen(1)
    # Nobody waits for ever: whoever started this and went away is not served any more.
    signal.alarm(60)
    sock, _ = listener.accept()
    signal.alarm(0)
    try:
        nbd.negotiate(sock, size)
        serve(sock, Cache(medium, options, counters), size, options, counters)
    except (EOFError, ConnectionError):
        pass


if __name__ == "__main__":
    main()
