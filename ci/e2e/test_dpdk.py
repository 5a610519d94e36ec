"""The DPDK path, on DPDK's virtual devices: no NIC, no huge pages, and a kernel only at the clients' end."""

import multiprocessing
import os
import re
import subprocess
import time

import pytest

from coney import BINARY, Namespaces, NotPermitted, Server, Task, connect, run
from test_xdp import datapath_info, open_many, set_config

EAL = "--no-pci --no-huge -m 256 --no-telemetry"


class DpdkServer(Server):
    """`coney serve --datapath dpdk`; the server's interface has no address of the kernel's."""

    def start(self, device):
        ready = self.directory / "ready"
        command = ["ip", "netns", "exec", self.namespaces.server, str(BINARY), "serve", "--port", "6379", "--dir", str(self.directory / "data"),
                   "--ready-file", str(ready), "--workers", str(self.workers), "--set", "protected-mode=false", "--datapath", "dpdk",
                   "--eal", f"{EAL} --vdev={device}", "--bind", "127.0.0.1",
                   "--bind", self.namespaces.server_ip, "--bind", self.namespaces.server_ip6, *self.extra]
        return self.launch(command, ready)

    def local(self, function, *args):
        """The server's own host has but loopback."""
        return Task(self.namespaces.server, function, "127.0.0.1", self.port, *args).result()


DEVICES = {
    "af_packet": ("net_af_packet0,iface=coney0", 1),
    # The kernel spreads connections by their hash, and puts ARP and neighbour discovery where it likes.
    "af_packet_two_queues": ("net_af_packet0,iface=coney0,qpairs=2", 2),
    "af_xdp": ("net_af_xdp0,iface=coney0,force_copy=1", 1),
}


@pytest.fixture(params=DEVICES)
def server(request, tmp_path):
    # Port 0 is refused before DPDK is started.
    probe = subprocess.run([BINARY, "serve", "--datapath", "dpdk", "--bind", "192.0.2.1", "--port", "0", "--dir", tmp_path / "probe"],
                           capture_output=True, text=True)
    if "built without DPDK" in probe.stdout + probe.stderr:
        pytest.skip("the binary was built without DPDK (ci/stages/45-dpdk builds it)")
    try:
        namespaces = Namespaces(f"dpdk-{os.getpid()}").__enter__()
    except NotPermitted as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    device, queues = DEVICES[request.param]
    server = DpdkServer(tmp_path, namespaces, workers=queues)
    try:
        # Nobody but the server answers at this end.
        run("ip", "-n", namespaces.server, "link", "set", "coney0", "addrgenmode", "none")
        run("ip", "-n", namespaces.server, "address", "flush", "dev", "coney0")
        # A packet socket gets what the sending kernel leaves to segment; its frames hold one segment.
        run("ip", "netns", "exec", namespaces.client, "ethtool", "-K", "peer0", "tso", "off", "gso", "off")
        yield server.start(device)
    finally:
        server.kill()
        namespaces.__exit__()


def converse(host, port):
    client = connect(host, port)
    value = os.urandom(300_000)
    assert client.set("big", value)
    assert client.get("big") == value
    with client.pipeline(transaction=False) as pipeline:
        for number in range(2000):
            pipeline.set(f"k{number}", number)
        pipeline.execute()
    assert client.get("k1999") == b"1999"
    return client.info("datapath")


def test_real_clients_ping_and_neighbours_over_ipv4_and_ipv6(server):
    namespaces = server.namespaces
    for ipv6, address in ((False, namespaces.server_ip), (True, namespaces.server_ip6)):
        ping = server.command("ping", "-c", "3", "-i", "0.2", "-W", "5", address)
        assert ping.returncode == 0 and " 0% packet loss" in ping.stdout, ping.stdout
        server.ipv6 = ipv6
        said = server.command("redis-cli", "-h", address, "PING")
        assert said.stdout.strip() == "PONG", said
        info = server.call(converse)
        assert info["dpdk_rx_frames"] > 0 and info["responder_echo_answered"] >= 3, info
    assert info["responder_arp_answered"] >= 1 and info["responder_nd_answered"] >= 1, info
    benchmark = server.command("redis-benchmark", "-h", namespaces.server_ip, "-n", "20000", "-c", "20", "-P", "4", "-t", "set,get", "-q")
    assert benchmark.returncode == 0 and benchmark.stdout.count("requests per second") == 2, benchmark
    assert server.stop() == 0
    assert "this is a bug" not in (server.directory / "log").read_text()


def test_client_whose_hardware_address_changes_is_found_again(server):
    namespaces = server.namespaces

    def change(host, port):
        # As many as surely come to every queue.
        clients = [connect(host, port) for _ in range(16)]
        assert all(client.ping() for client in clients)
        mac = "02:00:00:00:c0:de"
        subprocess.run(["ip", "link", "set", "peer0", "address", mac], check=True)
        assert all(client.ping() for client in clients)
        return True

    assert server.call(change)
    assert server.command("ping", "-c", "1", "-W", "5", namespaces.server_ip).returncode == 0


def clients_of_each_worker(host, port):
    clients = [connect(host, port, single_connection_client=True) for _ in range(32)]
    assert all(client.ping() for client in clients)
    info = clients[0].info("everything")
    return [row["clients"] for name, row in info.items() if re.fullmatch("worker[0-9]+", name)]


def test_connections_come_to_every_queue(server):
    counts = server.call(clients_of_each_worker)
    assert len(counts) == server.workers and min(counts) > 0, counts


def hear(host, port, pipe):
    """What silent subscribers are told after their hardware address changed."""
    # As many as surely come to every queue.
    subscribers = [connect(host, port).pubsub() for _ in range(16)]
    for subscriber in subscribers:
        subscriber.subscribe("news")
        assert subscriber.get_message(timeout=5)["type"] == "subscribe"
    # A delayed acknowledgement would make the kernel ask for the server, and tell its new address by that.
    time.sleep(0.5)
    subprocess.run(["ip", "link", "set", "peer0", "address", "02:00:00:00:c0:de"], check=True)
    pipe.send(True)
    return [(subscriber.get_message(timeout=20) or {}).get("data") for subscriber in subscribers]


def publish(host, port):
    return connect(host, port).publish("news", "hello")


def test_silent_clients_with_a_new_hardware_address_are_asked_for(server):
    ours, theirs = multiprocessing.Pipe()
    subscribers = server.task(hear, theirs)
    assert ours.poll(60)
    assert server.local(publish) == 16
    assert subscribers.result() == [b"hello"] * 16
    assert server.local(datapath_info)["responder_asked"] >= 1


def test_syns_beyond_the_limit_are_dropped_and_counted(server):
    assert server.call(open_many, 100) == 100
    assert server.local(set_config, "syn-limit-per-source", "20") == b"OK"
    answered = server.call(open_many, 100)
    info = server.local(datapath_info)
    assert 20 <= answered < 100, info
    assert info["tcp_drop_syn_source"] >= 100 - answered, info
    assert server.local(set_config, "syn-limit-per-source", "0", "syn-limit-global", "10") == b"OK"
    assert server.call(open_many, 100) < 100
    assert server.local(datapath_info)["tcp_drop_syn_global"] > 0


def test_denied_clients_hear_nothing_and_their_connections_go_on(server):
    namespaces = server.namespaces

    def deny(host, port):
        client = connect(host, port)
        assert client.config_set("access-list-deny", namespaces.client_ip)
        assert open_many(host, port, 3) == 0
        return client.ping()

    assert server.call(deny)
    assert server.local(datapath_info)["tcp_drop_denied"] >= 3
    assert server.local(set_config, "access-list-deny", "") == b"OK"
    assert server.call(open_many, 3) == 3


def test_in_memory_is_refused_together_with_no_huge(server, tmp_path):
    refused = subprocess.run([BINARY, "serve", "--datapath", "dpdk", "--bind", "192.0.2.1", "--port", "6380", "--dir", tmp_path / "other",
                              "--eal", "--no-huge --in-memory"], capture_output=True, text=True)
    assert refused.returncode != 0 and "exclude each other" in refused.stdout + refused.stderr, refused
