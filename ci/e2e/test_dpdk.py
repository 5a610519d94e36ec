"""The DPDK path, on DPDK's virtual devices: no NIC, no huge pages, and a kernel only at the clients' end."""

import os
import subprocess

import pytest

from coney import BINARY, Namespaces, NotPermitted, Server, connect, run

EAL = "--no-pci --no-huge -m 256 --no-telemetry"


class DpdkServer(Server):
    """`coney serve --datapath dpdk`; the server's interface has no address of the kernel's."""

    def start(self, device):
        ready = self.directory / "ready"
        command = ["ip", "netns", "exec", self.namespaces.server, str(BINARY), "serve", "--port", "6379", "--dir", str(self.directory / "data"),
                   "--ready-file", str(ready), "--workers", "1", "--set", "protected-mode=false", "--datapath", "dpdk",
                   "--eal", f"{EAL} --vdev={device}", "--bind", "127.0.0.1",
                   "--bind", self.namespaces.server_ip, "--bind", self.namespaces.server_ip6, *self.extra]
        return self.launch(command, ready)


@pytest.fixture(params=["net_af_packet0,iface=coney0", "net_af_xdp0,iface=coney0,force_copy=1"], ids=["af_packet", "af_xdp"])
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
    server = DpdkServer(tmp_path, namespaces)
    try:
        # Nobody but the server answers at this end.
        run("ip", "-n", namespaces.server, "link", "set", "coney0", "addrgenmode", "none")
        run("ip", "-n", namespaces.server, "address", "flush", "dev", "coney0")
        # A packet socket gets what the sending kernel leaves to segment; its frames hold one segment.
        run("ip", "netns", "exec", namespaces.client, "ethtool", "-K", "peer0", "tso", "off", "gso", "off")
        yield server.start(request.param)
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
        client = connect(host, port)
        assert client.ping()
        mac = "02:00:00:00:c0:de"
        subprocess.run(["ip", "link", "set", "peer0", "address", mac], check=True)
        assert client.ping()
        return True

    assert server.call(change)
    assert server.command("ping", "-c", "1", "-W", "5", namespaces.server_ip).returncode == 0


def test_in_memory_is_refused_together_with_no_huge(server, tmp_path):
    refused = subprocess.run([BINARY, "serve", "--datapath", "dpdk", "--bind", "192.0.2.1", "--port", "6380", "--dir", tmp_path / "other",
                              "--eal", "--no-huge --in-memory"], capture_output=True, text=True)
    assert refused.returncode != 0 and "exclude each other" in refused.stdout + refused.stderr, refused
