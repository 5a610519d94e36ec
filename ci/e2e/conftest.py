import os

import pytest

from coney import Namespaces, NotPermitted, Server


@pytest.fixture(params=["epoll", "io_uring", "xdp"])
def server(request, tmp_path):
    """A running server, over each transport."""
    if request.param != "xdp":
        yield from serving(Server(tmp_path, None, "--set", f"kernel-transport={request.param}"))
        return
    try:
        namespaces = Namespaces(os.getpid()).__enter__()
    except NotPermitted as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    try:
        yield from serving(Server(tmp_path, namespaces))
    finally:
        namespaces.__exit__()


def serving(server):
    try:
        try:
            server.start()
        except AssertionError as error:
            if server.namespaces and "CAP_" in str(error):
                pytest.skip(f"AF_XDP is not permitted here: {error}")
            if "kernel-transport io_uring is not possible" in str(error):
                pytest.skip(str(error))
            raise
        yield server
    finally:
        server.discard()
