"""The network block device protocol, as far as QEMU and the proof of the rig speak it: newstyle negotiation, simple replies.
From the protocol's own specification, doc/proto.md of the NetworkBlockDevice project."""
import socket, struct

GREETING = b"NBDMAGIC"
OPTION = b"IHAVEOPT"
OPTION_REPLY = 0x3E889045565A9
REQUEST = 0x25609513
REPLY = 0x67446698

OPT_EXPORT_NAME, OPT_ABORT, OPT_GO = 1, 2, 7
REP_ACK, REP_INFO, REP_ERR_UNSUP = 1, 3, (1 << 31) + 1
INFO_EXPORT, INFO_BLOCK_SIZE = 0, 3
HAS_FLAGS, SEND_FLUSH, SEND_FUA = 1, 4, 8
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FUA = 1
EINVAL, EIO = 22, 5

REQUEST_HEAD = struct.Struct(">IHHQQI")
REPLY_HEAD = struct.Struct(">IIQ")


def receive(sock, length):
    """Exactly that many bytes; EOFError where the other side is gone."""
    parts = []
    while length:
        part = sock.recv(min(length, 1 << 20))
        if not part:
            raise EOFError("the other side hung up")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def negotiate(sock, size):
    """The server's half, up to the first request. EOFError where the client goes away."""
    # Fixed newstyle, and no 124 zeros behind the answer to the oldest option.
    sock.sendall(GREETING + OPTION + struct.pack(">H", 3))
    receive(sock, 4)
    flags = HAS_FLAGS | SEND_FLUSH | SEND_FUA
    while True:
        magic, option, length = struct.unpack(">8sII", receive(sock, 16))
        if magic != OPTION:
            raise EOFError("not an option")
        receive(sock, length)

        def answer(kind, data=b""):
            sock.sendall(struct.pack(">QIII", OPTION_REPLY, option, kind, len(data)) + data)

        if option == OPT_EXPORT_NAME:
            sock.sendall(struct.pack(">QH", size, flags))
            return
        if option == OPT_GO:
            answer(REP_INFO, struct.pack(">HQH", INFO_EXPORT, size, flags))
            answer(REP_INFO, struct.pack(">HIII", INFO_BLOCK_SIZE, 512, 4096, 32 << 20))
            answer(REP_ACK)
            return
        if option == OPT_ABORT:
            answer(REP_ACK)
            raise EOFError("aborted")
        answer(REP_ERR_UNSUP)


class Client:
    """One request at a time: for what needs no machine."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(path))
        receive(self.sock, 18)
        self.sock.sendall(struct.pack(">I", 3) + OPTION + struct.pack(">II", OPT_EXPORT_NAME, 0))
        self.size, self.flags = struct.unpack(">QH", receive(self.sock, 10))
        self.handle = 0

    def _ask(self, command, offset=0, length=0, data=b"", flags=0):
        self.handle += 1
        self.sock.sendall(REQUEST_HEAD.pack(REQUEST, flags, command, self.handle, offset, length) + data)
        magic, error, handle = REPLY_HEAD.unpack(receive(self.sock, REPLY_HEAD.size))
        if (magic, error, handle) != (REPLY, 0, self.handle):
            raise OSError(error, "the disk answers with an error")
        return receive(self.sock, length) if command == READ else b""

    def read(self, offset, length):
        return self._ask(READ, offset, length)

    def write(self, offset, data, fua=False):
        self._ask(WRITE, offset, len(data), data, FUA if fua else 0)

    def flush(self):
        self._ask(FLUSH)
