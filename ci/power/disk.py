"""A disk that loses its power, for an emulated machine: an NBD server on a Unix socket.

What was written lies in memory, block by block and version by version, until a flush brings the newest version of each
to the file behind the disk. At a power cut every block keeps, by chance, one of its versions since the last flush, or
what is in the file: so unflushed writes are lost, torn between blocks and reordered, as with the cache of a drive.
A disk without such a cache does that to the writes that were in flight.

Not simulated: a block that is half old and half new (drives promise that it is not), bytes that rot, and writes that
land elsewhere; spdk-env's simulated device does these.
"""

import os
import socket
import struct
import threading

# Smallest unit that a power cut does not tear, and the disk's logical block.
BLOCK_LEN = 512
# Longest request that is taken; QEMU splits at this.
REQUEST_LEN_MAX = 32 << 20
# So many versions of a block are remembered between flushes, the newest ones.
VERSIONS_MAX = 4

OPTION_MAGIC = b"IHAVEOPT"
OPTION_REPLY_MAGIC = 0x3E889045565A9
OPTION_EXPORT_NAME, OPTION_ABORT, OPTION_INFO, OPTION_GO = 1, 2, 6, 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, 0x80000001
INFO_EXPORT, INFO_BLOCK_SIZE = 0, 3
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FORCE_UNIT_ACCESS = 1
# Has flags, takes flushes and writes with force-unit-access; trims stay with the guest.
EXPORT_FLAGS = 1 | 1 << 2 | 1 << 3
EINVAL = 22


class Disk:
    """The disk, on `file`. Without `caches` every write is in the file before it completes; with `lies` a flush does
    nothing, as with a bad drive."""

    def __init__(self, file, caches=True, lies=False):
        self.file = os.open(file, os.O_RDWR)
        self.len = os.fstat(self.file).st_size
        self.caches = caches
        self.lies = lies
        self.powered = True
        self.versions = {}
        self.writes = self.flushes = self.forced = 0
        self.lock = threading.Lock()

    def read(self, offset, length):
        with self.lock:
            data = bytearray(os.pread(self.file, length, offset))
            first, end = offset // BLOCK_LEN, (offset + length) // BLOCK_LEN
            if self.versions:
                for block in range(first, end):
                    if versions := self.versions.get(block):
                        at = (block - first) * BLOCK_LEN
                        data[at:at + BLOCK_LEN] = versions[-1]
            return data

    def write(self, offset, data, forced):
        with self.lock:
            self.writes += 1
            self.forced += bool(forced)
            first = offset // BLOCK_LEN
            for at in range(0, len(data), BLOCK_LEN):
                versions = self.versions.setdefault(first + at // BLOCK_LEN, [])
                versions.append(data[at:at + BLOCK_LEN])
                del versions[:-VERSIONS_MAX]
            if not self.caches or (forced and not self.lies):
                self._settle(range(first, first + len(data) // BLOCK_LEN))

    def flush(self):
        with self.lock:
            self.flushes += 1
            if not self.lies:
                self._settle(list(self.versions))

    def lose_power(self):
        """From here on nothing reaches the file, and no request is answered."""
        with self.lock:
            self.powered = False

    def cut(self, random):
        """What is not in the file becomes whatever it may. Returns how many blocks lost something."""
        with self.lock:
            lost = 0
            # With a chance of its own at each cut, so that all-lost and all-kept happen too.
            loss = random.choice((0.1, 0.5, 0.9, 1))
            for block, versions in self.versions.items():
                keep = len(versions) if random.random() >= loss else random.randrange(len(versions))
                lost += keep < len(versions)
                if keep > 0:
                    os.pwrite(self.file, versions[keep - 1], block * BLOCK_LEN)
            self.versions.clear()
            self.powered = True
            return lost

    def close(self):
        os.close(self.file)

    def _settle(self, blocks):
        if self.powered:
            for block in blocks:
                os.pwrite(self.file, self.versions.pop(block)[-1], block * BLOCK_LEN)


class Gone(Exception):
    """The other end is not there any more."""


class Server:
    """Serves a disk to one emulated machine after the other, at the socket `path`."""

    def __init__(self, disk, path):
        self.disk = disk
        self.path = str(path)
        self.connected = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = None

    def serve_next(self):
        """Waits in a thread of its own for one machine, and serves it until it is gone."""
        self.connected.clear()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def wait_until_gone(self):
        """After the machine was killed: everything that was in flight has been taken."""
        if not self.connected.is_set():
            # It ended before it came here.
            with socket.socket(socket.AF_UNIX) as nobody:
                nobody.connect(self.path)
        self.thread.join()

    def close(self):
        self.listener.close()

    def _serve(self):
        connection, _ = self.listener.accept()
        self.connected.set()
        with connection:
            try:
                if self._negotiate(connection):
                    while self._request(connection):
                        pass
            except (Gone, ConnectionError):
                pass

    def _negotiate(self, connection):
        fixed_newstyle = 1
        connection.sendall(b"NBDMAGIC" + OPTION_MAGIC + struct.pack(">H", fixed_newstyle))
        receive(connection, 4)
        while True:
            magic, option, length = struct.unpack(">8sII", receive(connection, 16))
            receive(connection, length)
            if magic != OPTION_MAGIC or option == OPTION_ABORT:
                return False
            if option == OPTION_EXPORT_NAME:
                connection.sendall(struct.pack(">QH", self.disk.len, EXPORT_FLAGS) + bytes(124))
                return True
            if option not in (OPTION_INFO, OPTION_GO):
                answer(connection, option, REPLY_UNSUPPORTED, b"")
                continue
            answer(connection, option, REPLY_INFO, struct.pack(">HQH", INFO_EXPORT, self.disk.len, EXPORT_FLAGS))
            sizes = struct.pack(">HIII", INFO_BLOCK_SIZE, BLOCK_LEN, 4096, REQUEST_LEN_MAX)
            answer(connection, option, REPLY_INFO, sizes)
            answer(connection, option, REPLY_ACK, b"")
            if option == OPTION_GO:
                return True

    def _request(self, connection):
        magic, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", receive(connection, 28))
        if magic != REQUEST_MAGIC or kind == DISCONNECT:
            return False
        data, error = b"", 0
        payload = receive(connection, length) if kind == WRITE else b""
        whole = offset % BLOCK_LEN == 0 and length % BLOCK_LEN == 0 and offset + length <= self.disk.len
        if kind == FLUSH:
            self.disk.flush()
        elif kind == READ and whole:
            data = self.disk.read(offset, length)
        elif kind == WRITE and whole:
            self.disk.write(offset, payload, flags & FORCE_UNIT_ACCESS)
        else:
            error = EINVAL
        if self.disk.powered:
            connection.sendall(struct.pack(">IIQ", REPLY_MAGIC, error, handle) + data)
        return True


def answer(connection, option, reply, data):
    connection.sendall(struct.pack(">QIII", OPTION_REPLY_MAGIC, option, reply, len(data)) + data)


def receive(connection, length):
    """Exactly `length` bytes."""
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = connection.recv_into(view)
        if count == 0:
            raise Gone
        view = view[count:]
    return bytes(data)
