"""Nothing acknowledged is lost when the process is killed."""

import os
import threading

import redis

from coney import Server, connect

WRITERS = 4
BATCH = 32
# A writer is killed only after it saw this many batches acknowledged.
FIRST_BATCHES = 10


def write_until_killed(host, port, first_pipe):
    """Writes in pipelines from several connections; returns how many batches each saw acknowledged."""
    acknowledged = [0] * WRITERS

    def write(writer):
        client = connect(host, port)
        while True:
            number = acknowledged[writer]
            pipeline = client.pipeline(transaction=False)
            for at in range(BATCH):
                pipeline.set(f"{writer}:{number}:{at}", f"{writer}-{number}-{at}")
            try:
                replies = pipeline.execute()
            except (redis.ConnectionError, redis.TimeoutError):
                return
            assert all(replies)
            acknowledged[writer] = number + 1
            if number == FIRST_BATCHES:
                os.write(first_pipe, b"x")

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return acknowledged


def check(host, port, acknowledged):
    client = connect(host, port)
    for writer, batches in enumerate(acknowledged):
        for number in range(batches):
            keys = [f"{writer}:{number}:{at}" for at in range(BATCH)]
            expected = [f"{writer}-{number}-{at}".encode() for at in range(BATCH)]
            assert client.mget(keys) == expected, (writer, number)
    # The count of keys survived too: what is there beyond the acknowledged is what was under way.
    counted = sum(1 for _ in client.scan_iter(count=1000))
    assert client.dbsize() == counted
    return counted


def test_every_acknowledged_write_survives_kill_9(server):
    for _round in range(2):
        read_end, write_end = os.pipe()
        writing = server.task(write_until_killed, write_end)
        os.close(write_end)
        for _ in range(WRITERS):
            assert os.read(read_end, 1) == b"x"
        server.kill()
        acknowledged = writing.result()
        os.close(read_end)
        assert sum(acknowledged) > WRITERS * FIRST_BATCHES
        server.start()
        counted = server.call(check, acknowledged)
        assert counted >= sum(acknowledged) * BATCH


def test_a_clean_stop_keeps_everything_and_exits_with_0(tmp_path):
    server = Server(tmp_path).start()
    connect(server.host, server.port).set("k", "v")
    assert server.stop() == 0
    server.start()
    assert connect(server.host, server.port).get("k") == b"v"
    server.discard()
