"""The server under test, and the network namespaces in which it is reached over AF_XDP."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path

import redis

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = Path(os.environ.get("CONEY_BINARY", Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release" / "coney"))
START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 30
# What the data lives on: "posix", or "uring" for a file of 1 GiB as the device.
STORAGE = os.environ.get("CONEY_E2E_STORAGE", "posix")
CLONE_NEWNET = 0x40000000


class NotPermitted(Exception):
    """Namespaces or BPF cannot be used here."""


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotPermitted(f"{' '.join(command)}: {done.stderr.strip()}")


class Namespaces:
    """Two network namespaces with a veth pair between them."""

    server_ip = "10.77.0.1"
    client_ip = "10.77.0.2"
    server_ip6 = "2001:db8:77::1"
    client_ip6 = "2001:db8:77::2"
    interface = "coney0"

    def __init__(self, tag, queues=1):
        self.queues = queues
        self.server = f"coney-{tag}-s"
        self.client = f"coney-{tag}-c"

    def __enter__(self):
        try:
            for name in (self.server, self.client):
                run("ip", "netns", "add", name)
                run("ip", "-n", name, "link", "set", "lo", "up")
            queues = ["numrxqueues", str(self.queues), "numtxqueues", str(self.queues)]
            run("ip", "-n", self.server, "link", "add", self.interface, *queues, "type", "veth",
                "peer", "name", "peer0", *queues, "netns", self.client)
            for name, link, ip, ip6 in ((self.server, self.interface, self.server_ip, self.server_ip6),
                                        (self.client, "peer0", self.client_ip, self.client_ip6)):
                run("ip", "-n", name, "address", "add", f"{ip}/24", "dev", link)
                run("ip", "-n", name, "address", "add", f"{ip6}/64", "dev", link, "nodad")
                run("ip", "-n", name, "link", "set", link, "up")
        except (NotPermitted, FileNotFoundError) as error:
            self.__exit__()
            raise NotPermitted(str(error)) from error
        return self

    def __exit__(self, *_):
        for name in (self.server, self.client):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def enter(namespace):
    """Moves this process (a child, or a thread's) into a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def _child(namespace, function, args, pipe):
    try:
        if namespace:
            enter(namespace)
        pipe.send((True, function(*args)))
    except BaseException as error:  # the parent raises it
        pipe.send((False, f"{type(error).__name__}: {error}"))


class Task:
    """A function that runs in a process of its own, in the clients' namespace."""

    def __init__(self, namespace, function, *args):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_child, args=(namespace, function, args, theirs))
        self.process.start()
        theirs.close()

    def result(self, seconds=120):
        """What the function returned; raises what it raised."""
        if not self.pipe.poll(seconds):
            self.process.kill()
            raise AssertionError(f"no result within {seconds} s")
        worked, value = self.pipe.recv()
        self.process.join()
        if not worked:
            raise AssertionError(value)
        return value


class Server:
    """One `coney serve`, over kernel sockets on loopback or over AF_XDP in a namespace."""

    def __init__(self, directory, namespaces=None, *extra, workers=1, ipv6=False):
        self.workers = workers
        self.ipv6 = ipv6
        self.directory = Path(directory)
        self.namespaces = namespaces
        self.extra = extra
        self.process = None
        self.port = None

    @property
    def device(self):
        return self.directory / "device"

    @property
    def host(self):
        if not self.namespaces:
            return "127.0.0.1"
        return self.namespaces.server_ip6 if self.ipv6 else self.namespaces.server_ip

    @property
    def client_namespace(self):
        return self.namespaces.client if self.namespaces else None

    def start_kernel(self, datapath="kernel"):
        """Starts in the same place, to serve by kernel sockets."""
        return self.start(datapath)

    def start(self, datapath="xdp"):
        ready = self.directory / "ready"
        ready.unlink(missing_ok=True)
        command = [str(BINARY), "serve", "--port", "6379" if self.namespaces else "0", "--dir", str(self.directory / "data"),
                   "--ready-file", str(ready), "--workers", str(self.workers)]
        if STORAGE != "posix":
            # There, only what was synced survives a kill.
            command += ["--storage", STORAGE, "--device", str(self.device), "--set", "device-size=1gb", "--sync", "always"]
        command += self.extra
        if self.namespaces:
            command = ["ip", "netns", "exec", self.namespaces.server, *command, "--bind", self.host, "--set", "protected-mode=false",
                       "--datapath", datapath, "--interface", self.namespaces.interface]
        else:
            command += ["--bind", "127.0.0.1", "--datapath", "kernel"]
        return self.launch(command, ready)

    def launch(self, command, ready):
        """Starts `command` and waits for its ready file."""
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{' '.join(command)} did not start:\n{(self.directory / 'log').read_text()}")
            time.sleep(0.01)
        self.port = int(ready.read_text().split()[0].rsplit(":", 1)[1])
        return self

    def kill(self):
        """Like a crash: SIGKILL."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(STOP_SECONDS_MAX)

    def discard(self):
        """Ends it, and checks and removes its device, if it has one."""
        self.kill()
        if self.device.exists():
            checked = subprocess.run([str(BINARY), "fsck", "--repair", str(self.device)], capture_output=True, text=True)
            self.device.unlink()
            assert checked.returncode == 0, checked.stdout + checked.stderr

    def stop(self):
        """A clean shutdown; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS_MAX)

    def task(self, function, *args):
        """Starts `function(host, port, *args)` where clients are."""
        return Task(self.client_namespace, function, self.host, self.port, *args)

    def call(self, function, *args):
        return self.task(function, *args).result()

    def local(self, function, *args):
        """Runs a function on the server's own host, over kernel sockets."""
        return Task(self.namespaces.server, function, self.host, self.port, *args).result()

    def command(self, *words):
        """Runs a program where clients are."""
        prefix = ["ip", "netns", "exec", self.client_namespace] if self.namespaces else []
        return subprocess.run([*prefix, *words], capture_output=True, text=True, timeout=300)


def connect(host, port, **options):
    return redis.Redis(host=host, port=port, socket_timeout=60, **options)
