"""Real clients, over kernel sockets and over AF_XDP."""

import csv
import hashlib
import io
import random

import pytest

from coney import BINARY, ROOT, connect


@pytest.mark.parametrize("pipeline", [1, 16])
def test_redis_benchmark_with_50_connections_ends_without_an_error(server, pipeline):
    done = server.command("redis-benchmark", "-h", server.host, "-p", str(server.port), "-c", "50", "-P", str(pipeline),
                          "-n", str(20_000 * min(pipeline, 5)), "-d", "64", "-r", "10000", "-t", "set,get,incr,mset", "--csv")
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stdout + done.stderr, done.stdout + done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 4 and all(float(row["rps"]) > 0 for row in rows), done.stdout


def test_every_conversation_goes_as_written(server):
    done = server.command(str(BINARY.parent / "coney-conversation"), f"{server.host}:{server.port}", str(ROOT / "ci/conversations"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 100, done.stdout


def test_redis_cli_speaks(server):
    done = server.command("redis-cli", "-h", server.host, "-p", str(server.port), "SET", "greeting", "hello")
    assert (done.stdout.strip(), done.returncode) == ("OK", 0), done.stderr
    done = server.command("redis-cli", "-3", "-h", server.host, "-p", str(server.port), "GET", "greeting")
    assert done.stdout.strip() == "hello", done.stderr


def large_values(host, port, protocol):
    client = connect(host, port, protocol=protocol)
    generator = random.Random(1)
    for size in (1, 1400, 1460, 1461, 65_536, 1_000_000, 5_000_000):
        value = generator.randbytes(size)
        assert client.set(f"value:{size}", value)
        got = client.get(f"value:{size}")
        assert hashlib.sha256(got).digest() == hashlib.sha256(value).digest(), size
    return client.dbsize()


@pytest.mark.parametrize("protocol", [2, 3])
def test_values_of_all_sizes_come_back_byte_for_byte(server, protocol):
    assert server.call(large_values, protocol) == 7


def long_pipeline(host, port):
    client = connect(host, port)
    pipeline = client.pipeline(transaction=False)
    for number in range(10_000):
        pipeline.set(f"key:{number}", f"value {number}")
    assert all(pipeline.execute())
    for number in range(10_000):
        pipeline.get(f"key:{number}")
    assert pipeline.execute() == [f"value {number}".encode() for number in range(10_000)]
    return client.dbsize()


def test_a_pipeline_of_10000_commands_is_answered_in_order(server):
    assert server.call(long_pipeline) == 10_000


def many_connections(host, port, count):
    clients = [connect(host, port, single_connection_client=True) for _ in range(count)]
    for number, client in enumerate(clients):
        client.set(f"conn:{number}", number)
    values = [int(client.get(f"conn:{number}")) for number, client in enumerate(clients)]
    for client in clients:
        client.close()
    return values


def test_a_thousand_connections_are_served_side_by_side(server):
    assert server.call(many_connections, 1000) == list(range(1000))
