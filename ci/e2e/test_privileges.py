"""Started as root with `user`, the server gives its privileges up after the set-up and goes on serving."""

import os
import pwd
import tempfile
from pathlib import Path

import pytest

from coney import Namespaces, NotPermitted, Server, connect

USER = "nobody"
# linux/capability.h
CAP_NET_ADMIN, CAP_BPF = 1 << 12, 1 << 39


@pytest.fixture
def directory():
    """A directory of the user's, under parents that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="coney-user-") as path:
        owner = pwd.getpwnam(USER)
        os.chown(path, owner.pw_uid, owner.pw_gid)
        yield Path(path)


def threads(pid):
    """Name, ids and permitted capabilities of each thread."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        yield fields["Name"].strip(), fields["Uid"].split() + fields["Gid"].split(), int(fields["CapPrm"], 16), fields["Groups"].split()


def assert_unprivileged(server, expected):
    owner = pwd.getpwnam(USER)
    # `ip netns exec` becomes the server: they are the same process.
    kept = {}
    for name, ids, permitted, groups in threads(server.process.pid):
        assert ids == [str(owner.pw_uid)] * 4 + [str(owner.pw_gid)] * 4, name
        assert "0" not in groups, name
        if permitted:
            kept[name] = permitted
    assert kept == expected


def roundtrip(host, port):
    client = connect(host, port)
    assert client.set("k", "v")
    return client.get("k")


def set_rules(host, port, deny):
    client = connect(host, port)
    assert client.config_set("access-list-deny", deny)
    return client.info("datapath")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_over_kernel_sockets_no_capability_is_left(directory):
    server = Server(directory, None, "--set", f"user={USER}")
    try:
        server.start()
        assert_unprivileged(server, {})
        assert server.call(roundtrip) == b"v"
        assert (directory / "data").stat().st_uid == pwd.getpwnam(USER).pw_uid
        assert server.stop() == 0
        server.start()
        assert server.call(lambda host, port: connect(host, port).get("k")) == b"v"
    finally:
        server.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_over_af_xdp_two_threads_keep_one_capability_each_and_everything_works(directory):
    try:
        namespaces = Namespaces(f"user-{os.getpid()}").__enter__()
    except NotPermitted as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    server = Server(directory, namespaces, "--set", f"user={USER}")
    try:
        try:
            server.start()
        except AssertionError as error:
            if "CAP_" in str(error):
                pytest.skip(f"AF_XDP is not permitted here: {error}")
            raise
        # Thread names have 15 characters.
        assert_unprivileged(server, {"coney-next-hops": CAP_NET_ADMIN, "coney-steering": CAP_BPF})
        assert server.call(roundtrip) == b"v"
        # A new access list is a new map.
        info = server.call(set_rules, "192.0.2.0/24")
        assert info["datapath"] == "xdp" and info["xdp_steered"] > 0, info
        assert server.call(roundtrip) == b"v"
        assert server.stop() == 0
    finally:
        server.kill()
        namespaces.__exit__()


def test_a_user_that_does_not_exist_is_refused(directory):
    with pytest.raises(AssertionError, match="no such user"):
        Server(directory, None, "--set", "user=there-is-no-such-user").start()
