"""The storage on SPDK: its bdevs in memory and on files, without huge pages and PCI."""

import json
import subprocess

import pytest
import redis

from coney import BINARY, Server, connect

FLAGS = ["--spdk-no-huge", "--spdk-config"]


class SpdkServer(Server):
    """`coney serve --storage spdk`."""

    def start(self, bdev, sync):
        ready = self.directory / "ready"
        ready.unlink(missing_ok=True)
        return self.launch([*self.command_line(bdev, sync), "--ready-file", str(ready)], ready)

    def command_line(self, bdev, sync):
        return [str(BINARY), "serve", "--port", "0", "--bind", "127.0.0.1", "--dir", str(self.directory / "data"), "--workers", "1",
                "--storage", "spdk", "--device", bdev, "--set", f"spdk-config={self.directory / 'spdk.json'}",
                "--set", "spdk-no-huge=true", "--sync", sync, "--set", "write-buffer=4mb"]

    def tool(self, *words):
        return subprocess.run([BINARY, *words, *FLAGS, self.directory / "spdk.json"], capture_output=True, text=True)


@pytest.fixture
def server(tmp_path):
    methods = [("bdev_malloc_create", {"name": "Malloc0", "num_blocks": 131072, "block_size": 4096})]
    for name, method in (("Aio0", "bdev_aio_create"), ("Uring0", "bdev_uring_create")):
        with open(tmp_path / name, "wb") as file:
            file.truncate(512 << 20)
        methods.append((method, {"name": name, "filename": str(tmp_path / name), "block_size": 4096}))
    config = [{"method": method, "params": params} for method, params in methods]
    (tmp_path / "spdk.json").write_text(json.dumps({"subsystems": [{"subsystem": "bdev", "config": config}]}))
    server = SpdkServer(tmp_path)
    probe = server.tool("fs", "df", "Malloc0")
    if "built without SPDK" in probe.stderr:
        pytest.skip("the binary was built without SPDK (ci/stages/47-spdk builds it)")
    yield server
    server.kill()


def test_acknowledged_writes_survive_kills_on_a_bdev_that_flushes(server):
    made = server.tool("mkfs", "Aio0")
    assert made.returncode == 0, made.stderr
    refused = server.tool("mkfs", "Aio0")
    assert refused.returncode != 0 and "--force overwrites it" in refused.stderr, refused
    acknowledged = 0
    for _ in range(3):
        client = connect("127.0.0.1", server.start("Aio0", "always").port)
        assert client.mget([f"k{number}" for number in range(acknowledged)] or ["none"]) == (
            [b"v" * 5000 + str(number).encode() for number in range(acknowledged)] or [None])
        for _ in range(20):
            with client.pipeline(transaction=False) as pipeline:
                for number in range(acknowledged, acknowledged + 50):
                    pipeline.set(f"k{number}", b"v" * 5000 + str(number).encode())
                assert all(pipeline.execute())
            acknowledged += 50
        assert client.info("storage")["device_errors"] == 0
        server.kill()
    checked = server.tool("fsck", "Aio0")
    assert checked.returncode == 0 and "clean" in checked.stdout, checked
    # It is the same file system for every other backend.
    assert subprocess.run([BINARY, "fsck", server.directory / "Aio0"]).returncode == 0


def test_durability_is_not_promised_where_a_flush_does_nothing(server):
    made = server.tool("mkfs", "Uring0")
    assert made.returncode == 0, made.stderr
    for bdev, why in (("Malloc0", "takes a flush and does nothing"), ("Uring0", "has no flush")):
        for sync in ("always", "everysec"):
            refused = subprocess.run(server.command_line(bdev, sync), capture_output=True, text=True, timeout=60)
            assert refused.returncode != 0 and why in refused.stdout + refused.stderr, refused
        client = connect("127.0.0.1", server.start(bdev, "off").port)
        with client.pipeline(transaction=False) as pipeline:
            for number in range(20_000):
                pipeline.set(f"k{number}", b"v" * 500)
            pipeline.execute()
        assert client.dbsize() == 20_000
        with pytest.raises(redis.ResponseError, match=why):
            client.config_set("appendfsync", "always")
        assert server.stop() == 0
    assert connect("127.0.0.1", server.start("Uring0", "off").port).dbsize() == 20_000
    assert server.stop() == 0


def test_a_bdev_that_is_missing_and_one_that_cannot_be_made_are_named(server):
    refused = subprocess.run(server.command_line("Nvme0n1", "off"), capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0 and "it has: Malloc0, Aio0, Uring0" in refused.stdout + refused.stderr, refused
    (server.directory / "Aio0").unlink()
    refused = subprocess.run(server.command_line("Malloc0", "off"), capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0 and "its configuration" in refused.stdout + refused.stderr, refused
