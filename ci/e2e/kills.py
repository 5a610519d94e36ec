"""Writes a large database on a device, kills the server many times, and looks for what was acknowledged."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

os.environ["CONEY_E2E_STORAGE"] = "uring"

import redis

from coney import BINARY, Server, connect

WRITERS = 4
BATCH = 64
VALUE_BYTES = 16384
# Of older batches, so many are looked at after each kill; all are at the end.
SAMPLE = 200


def value(key):
    # Different for each key, and not to be compressed.
    return hashlib.shake_128(key.encode()).digest(VALUE_BYTES)


def keys_of(writer, number):
    return [f"{writer}:{number}:{at}" for at in range(BATCH)]


def write(server, writer, acknowledged, goal):
    client = connect(server.host, server.port)
    while True:
        number = acknowledged[writer]
        pipeline = client.pipeline(transaction=False)
        for key in keys_of(writer, number):
            pipeline.set(key, value(key))
        try:
            replies = pipeline.execute()
        except (redis.ConnectionError, redis.TimeoutError):
            return
        assert all(replies)
        acknowledged[writer] = number + 1
        if sum(acknowledged) >= goal:
            # The others are in the middle of something.
            server.kill()


def check(server, batches):
    client = connect(server.host, server.port)
    for writer, number in batches:
        keys = keys_of(writer, number)
        assert client.mget(keys) == [value(key) for key in keys], (writer, number)


def main():
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    directory = Path(tempfile.mkdtemp(dir=sys.argv[3] if len(sys.argv) > 3 else None))
    # Compactions need room.
    size = f"device-size={int(gigabytes * 1.6) + 1}gb"
    server = Server(directory, None, "--set", size)
    batches = int(gigabytes * 1e9 / (BATCH * VALUE_BYTES)) + 1
    acknowledged = [0] * WRITERS
    try:
        for kill in range(1, kills + 1):
            server.start()
            everything = [(writer, number) for writer, count in enumerate(acknowledged) for number in range(count)]
            newest = [(writer, count - 1) for writer, count in enumerate(acknowledged) if count > 0]
            check(server, newest + random.sample(everything, min(SAMPLE, len(everything))))
            goal = batches * kill // kills
            threads = [threading.Thread(target=write, args=(server, writer, acknowledged, goal)) for writer in range(WRITERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sum(acknowledged) >= goal, (directory / "log").read_text()[-2000:]
            print(f"kill {kill}: {sum(acknowledged) * BATCH * VALUE_BYTES / 1e9:.2f} GB acknowledged", flush=True)
        server.start()
        check(server, [(writer, number) for writer, count in enumerate(acknowledged) for number in range(count)])
        assert server.stop() == 0
        print(subprocess.run([BINARY, "fsck", server.device], capture_output=True, text=True, check=True).stdout, end="")
    finally:
        server.kill()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
