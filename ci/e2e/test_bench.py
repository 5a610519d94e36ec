"""`coney bench --transport xdp`: our own TCP as a client, against the server over kernel sockets and over AF_XDP."""

import json
import os
import re
import subprocess

import pytest

from coney import BINARY, ROOT, Namespaces, NotPermitted, Server, connect
from test_xdp import kernel_counter


@pytest.fixture
def namespaces(request):
    try:
        namespaces = Namespaces(f"bench-{os.getpid()}", queues=getattr(request, "param", 1)).__enter__()
    except NotPermitted as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    yield namespaces
    namespaces.__exit__()


@pytest.fixture
def serve(namespaces, tmp_path):
    servers = []

    def start(datapath, **options):
        server = Server(tmp_path, namespaces, **options)
        servers.append(server)
        try:
            return server.start(datapath)
        except AssertionError as error:
            if "CAP_" in str(error):
                pytest.skip(f"AF_XDP is not permitted here: {error}")
            raise

    yield start
    for server in servers:
        server.kill()


def bench(server, *words, prefix=()):
    address = f"[{server.host}]:6379" if server.ipv6 else f"{server.host}:6379"
    options = {"--server": address, "--interface": "peer0", "--seconds": "1", "--warm-up": "0", "--keys": "1000"}
    given = dict(zip(words, words[1:]))
    missing = [word for option in options.items() if option[0] not in given for word in option]
    return server.command(*prefix, str(BINARY), "bench", "--transport", "xdp", *missing, *words)


def statistics(host, port):
    client = connect(host, port)
    return client.info("commandstats"), client.info("clients")


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("datapath", ["kernel", "xdp"])
def test_every_operation_over_our_own_tcp_is_one_that_the_server_counts(serve, tmp_path, datapath, ipv6):
    server = serve(datapath, ipv6=ipv6)
    result = tmp_path / "result.json"
    done = bench(server, "--load", "--resp", "3", "--pipeline", "4", "--connections", "300", "--value-bytes", "3000-6000", "--json", str(result))
    assert done.returncode == 0, done.stderr
    assert "our own TCP over AF_XDP on peer0" in done.stdout
    outcome = json.loads(result.read_text())
    [gets] = outcome["kinds"]
    assert gets["operations"] > 1000 and gets["errors"] == 0 and gets["nothing"] == 0, outcome
    assert outcome["server"].startswith("coney "), outcome
    commands, clients = server.local(statistics)
    assert commands["cmdstat_get"]["calls"] == gets["operations"]
    assert commands["cmdstat_set"]["calls"] == 1000
    assert commands["cmdstat_hello"]["calls"] == 300
    # Whoever asks is the only one left: connections were closed, not forgotten.
    assert clients["connected_clients"] == 1, clients
    assert kernel_counter(server.namespaces.client, ("Tcp", "InSegs")) == 0, "the client's kernel had no part in it"


def test_an_open_loop_keeps_its_rate_over_our_own_tcp(serve, tmp_path):
    server = serve("kernel")
    result = tmp_path / "result.json"
    done = bench(server, "--rate", "1000", "--workload", "set", "--connections", "10", "--json", str(result))
    assert done.returncode == 0, done.stderr
    outcome = json.loads(result.read_text())
    assert outcome["kinds"][0]["operations"] + outcome["not_started"] == 1000, outcome


def test_what_is_missing_is_said(serve):
    server = serve("kernel")

    def said(*words, prefix=()):
        done = bench(server, *words, prefix=prefix)
        assert done.returncode == 1, done
        return done.stderr

    assert "there is no network interface \"nowhere\"" in said("--interface", "nowhere")
    assert "no way leads from peer0 to 10.77.0.2:6379" in said("--server", "10.77.0.2:6379")
    assert "0 of 50 were accepted" in said("--server", f"{server.host}:1")
    assert "the next hop from peer0 to 10.77.0.9:6379 does not answer" in said("--server", "10.77.0.9:6379")
    bare = said(prefix=("setpriv", "--bounding-set=-all", "--inh-caps=-all"))
    assert "AF_XDP is not possible: no permission" in bare, bare
    usage = server.command(str(BINARY), "bench", "--transport", "xdp")
    assert usage.returncode == 2 and "--interface" in usage.stderr, usage


@pytest.mark.parametrize("namespaces", [2], indirect=True)
def test_an_interface_with_several_queues_is_refused(serve):
    done = bench(serve("kernel"))
    assert done.returncode == 1 and "peer0 has 2 receive queues" in done.stderr, done


def test_transports_measures_latencies_at_a_fixed_rate(namespaces):
    done = subprocess.run([str(ROOT / "bench/transports"), "--quick", "--setups", "default", "--pipelines=", "--rate", "1000"],
                          capture_output=True, text=True, env={**os.environ, "CONEY_BINARY": str(BINARY)}, timeout=300)
    if "CAP_" in done.stderr:
        pytest.skip(f"AF_XDP is not permitted here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    rates = dict(re.findall(r"^  default (\w+) +(\d+) ", done.stdout, re.MULTILINE))
    assert set(rates) == {"kernel", "xdp"} and all(int(rate) > 800 for rate in rates.values()), done.stdout
