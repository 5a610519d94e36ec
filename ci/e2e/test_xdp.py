"""What only AF_XDP does: its program, its fall-backs, its rules. Each test makes namespaces of its own."""

import os
import socket
import subprocess
import time

import pytest
import redis

from coney import Namespaces, NotPermitted, Server, connect, run

# Goal: after a crash, new connections are served by kernel sockets within this time.
KERNEL_SERVES_SECONDS_MAX = 1.0


@pytest.fixture
def xdp(request, tmp_path):
    """Makes a server in namespaces of its own: `xdp(queues=2, workers=2, extra=[...])`."""
    undo = []

    def make(queues=1, extra=(), start=True, **options):
        try:
            namespaces = Namespaces(f"xdp-{os.getpid()}", queues=queues).__enter__()
        except NotPermitted as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        undo.append(namespaces.__exit__)
        server = Server(tmp_path, namespaces, *extra, **options)
        undo.append(server.kill)
        if start:
            try:
                server.start()
            except AssertionError as error:
                if "CAP_" in str(error):
                    pytest.skip(f"AF_XDP is not permitted here: {error}")
                raise
        return server

    yield make
    for step in reversed(undo):
        step()


def datapath_info(host, port):
    return connect(host, port).info("datapath")


def program_is_attached(server):
    namespaces = server.namespaces
    link = subprocess.run(["ip", "-n", namespaces.server, "link", "show", namespaces.interface], capture_output=True, text=True)
    return "prog/xdp" in link.stdout


def kernel_counter(namespace, name):
    """A counter of /proc/net/snmp or netstat in a namespace, such as Tcp OutRsts."""
    text = subprocess.run(["ip", "netns", "exec", namespace, "cat", "/proc/net/snmp", "/proc/net/netstat"],
                          capture_output=True, text=True, check=True).stdout
    group, field = name
    names, values = [line.split() for line in text.splitlines() if line.startswith(f"{group}:")]
    return int(values[names.index(field)])


def roundtrip(host, port):
    client = connect(host, port)
    assert client.set("k", "v")
    return client.get("k")


def hammer(host, port, pipe):
    """Pings until the connection ends; returns how it ended and how long that took after the crash was told."""
    client = connect(host, port, socket_connect_timeout=1, retry=None)
    client.set("before", "crash")
    os.write(pipe, b"x")
    while True:
        started = time.monotonic()
        try:
            client.execute_command("PING")
        except redis.ConnectionError as error:
            return type(error).__name__, time.monotonic() - started
        except redis.TimeoutError:
            return "TimeoutError", time.monotonic() - started


def connect_until_served(host, port, since):
    """Opens new connections until one is served; returns how long after `since` that was."""
    while True:
        try:
            client = redis.Redis(host=host, port=port, socket_connect_timeout=0.2, socket_timeout=5, retry=None)
            assert client.get("before") == b"crash"
            return time.monotonic() - since
        except (redis.ConnectionError, redis.TimeoutError):
            if time.monotonic() - since > 20:
                raise


def test_kill_9_leaves_a_clean_interface_and_kernel_sockets_serve_within_a_second(xdp):
    server = xdp()
    assert program_is_attached(server)
    read_end, write_end = os.pipe()
    established = server.task(hammer, write_end)
    os.close(write_end)
    assert os.read(read_end, 1) == b"x"
    os.close(read_end)

    started = time.monotonic()
    server.kill()
    # The kernel closes what the process had while it reaps it.
    assert not program_is_attached(server), "the program is gone with the process"
    reaped = time.monotonic() - started
    server.start_kernel()
    serving = server.task(connect_until_served, started)
    served = serving.result()
    how, seconds = established.result()
    print(f"kill -9: process gone after {reaped:.3f} s, kernel sockets of the next process serve after {served:.3f} s; "
          f"the established client saw {how} {seconds:.3f} s after its last request")
    assert served < KERNEL_SERVES_SECONDS_MAX, served
    # The kernel knows nothing of the old connection: it resets it as soon as the client speaks.
    assert how == "ConnectionError" and seconds < 5, (how, seconds)
    assert server.call(roundtrip) == b"v"


def test_a_restart_takes_the_traffic_from_the_kernel_again(xdp):
    server = xdp()
    for _round in range(3):
        server.kill()
        server.start()
        assert server.call(roundtrip) == b"v"
        assert server.call(datapath_info)["xdp_steered"] > 0


def converse(host, port):
    clients = [connect(host, port, single_connection_client=True) for _ in range(50)]
    for number, client in enumerate(clients):
        client.set(f"k{number}", "x" * 10_000)
        assert client.strlen(f"k{number}") == 10_000
    for client in clients:
        client.close()


def test_the_kernel_resets_none_of_our_connections(xdp):
    server = xdp()
    namespace = server.namespaces.server
    before = kernel_counter(namespace, ("Tcp", "OutRsts"))
    server.call(converse)
    assert kernel_counter(namespace, ("Tcp", "OutRsts")) == before
    assert kernel_counter(namespace, ("Tcp", "InSegs")) == 0, "no segment leaked to the kernel"
    info = server.call(datapath_info)
    assert info["xdp_no_socket"] == 0 and info["tcp_accepted"] >= 50, info


def clients_of_each_worker(host, port):
    clients = [connect(host, port, single_connection_client=True) for _ in range(32)]
    for client in clients:
        client.ping()
    info = clients[0].info("everything")
    return [info[f"worker{number}"]["clients"] for number in range(2)]


def test_two_queues_are_served_by_two_workers(xdp):
    server = xdp(queues=2, workers=2)
    server.call(converse)
    # The sender's flow hash chooses the queue.
    first, second = server.call(clients_of_each_worker)
    assert first > 0 and second > 0 and first + second >= 32, (first, second)
    assert server.call(datapath_info)["xdp_no_socket"] == 0
    assert kernel_counter(server.namespaces.server, ("Tcp", "InSegs")) == 0


def over_ipv6(host, port):
    client = connect(host, port, protocol=3)
    value = os.urandom(1_000_000)
    client.set("big", value)
    assert client.get("big") == value
    return client.client_info()["addr"]


def test_ipv6_is_served_end_to_end(xdp):
    server = xdp(ipv6=True)
    steered = server.call(datapath_info)["xdp_steered"]
    addr = server.call(over_ipv6)
    assert addr.startswith(f"[{server.namespaces.client_ip6}]") or addr.startswith(server.namespaces.client_ip6), addr
    info = server.call(datapath_info)
    # Hundreds of segments of a megabyte each way, in and acknowledgements.
    assert info["xdp_steered"] - steered > 500, info
    assert kernel_counter(server.namespaces.server, ("Tcp", "InSegs")) == 0


def is_refused(host, port):
    """Whether a new connection gets no answer at all."""
    try:
        socket.create_connection((host, port), timeout=0.5).close()
        return False
    except TimeoutError:
        return True


def set_config(host, port, *words):
    return connect(host, port).execute_command("CONFIG", "SET", *words)


def test_an_access_list_denies_a_client_and_lets_it_in_again(xdp):
    server = xdp()
    client_ip = server.namespaces.client_ip
    local = server.local
    assert not server.call(is_refused)
    assert local(set_config, "access-list-deny", client_ip) == b"OK"
    assert server.call(is_refused)
    info = local(datapath_info)
    assert info["xdp_drop_denied"] > 0, info
    # The longest prefix decides.
    assert local(set_config, "access-list-deny", "10.0.0.0/8", "access-list-allow", client_ip) == b"OK"
    assert not server.call(is_refused)
    assert local(set_config, "access-list-allow", "", "access-list-deny", "0.0.0.0/0 ::/0") == b"OK"
    assert server.call(is_refused)
    assert local(set_config, "access-list-deny", "") == b"OK"
    assert server.call(roundtrip) == b"v"


def test_an_access_list_holds_from_the_start_and_over_kernel_sockets(xdp):
    server = xdp(extra=["--set", "access-list-deny=10.77.0.2"])
    assert server.call(is_refused)
    assert server.local(datapath_info)["xdp_drop_denied"] > 0
    server.kill()
    server.start_kernel()

    def is_closed(host, port):
        with socket.create_connection((host, port), timeout=5) as stream:
            try:
                stream.sendall(b"PING\r\n")
                return stream.recv(100) == b""
            except ConnectionError:
                return True

    assert server.call(is_closed)
    assert server.local(roundtrip) == b"v"


def open_many(host, port, count):
    """Starts connections at once; returns how many were answered to the first SYN."""
    streams = []
    for _ in range(count):
        stream = socket.socket()
        stream.setblocking(False)
        stream.connect_ex((host, port))
        streams.append(stream)
    time.sleep(0.3)  # less than the second after which the kernel sends a SYN again
    answered = sum(1 for stream in streams if stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01")
    for stream in streams:
        stream.close()
    return answered


def test_syns_beyond_the_limit_are_dropped_and_counted(xdp):
    server = xdp()
    assert server.call(open_many, 100) == 100
    assert server.local(set_config, "syn-limit-per-source", "20") == b"OK"
    answered = server.call(open_many, 100)
    info = server.local(datapath_info)
    assert 20 <= answered < 100, info
    assert info["xdp_drop_syn_source"] >= 100 - answered, info
    assert server.local(set_config, "syn-limit-per-source", "0", "syn-limit-global", "10") == b"OK"
    assert server.call(open_many, 100) < 100
    assert server.local(datapath_info)["xdp_drop_syn_global"] > 0


def test_a_failed_self_test_is_named_and_auto_falls_back(xdp):
    server = xdp(start=False)
    namespaces = server.namespaces
    # A veth that is down lets itself be bound all the same, and never sends: the self-test finds it.
    run("ip", "-n", namespaces.server, "link", "set", namespaces.interface, "down")
    failure = "the self-test of queue 0 of coney0 failed: the device did not take a frame within a second"
    with pytest.raises(AssertionError, match=f"datapath xdp is not possible: {failure}"):
        server.start()
    assert not program_is_attached(server)
    server.start_kernel("auto")
    assert f"AF_XDP is not used: {failure}" in (server.directory / "log").read_text()
    assert not program_is_attached(server)
    run("ip", "-n", namespaces.server, "link", "set", namespaces.interface, "up")
    assert server.call(roundtrip) == b"v"
