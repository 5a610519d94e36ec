"""Cuts the power of an emulated machine in the middle of writes, again and again, and looks for what was acknowledged.

python ci/power/cuts.py KERNEL [--rounds N] [--storage posix|uring] [--seed N]

KERNEL is an unpacked Debian kernel package. Each round starts the machine, checks everything, writes from several
clients, and cuts the power at some moment; every second time once more while the machine starts. With `sync = always`
every acknowledged write must be there. Before, the same is done with `sync = everysec`, and with a disk that lies about
its flushes: if nothing is missing then, the test itself is broken, and fails.
"""

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from disk import Disk, Server
from guest import DISKS, START_SECONDS_MAX, Guest, initramfs

BINARY = Path(os.environ.get("CONEY_BINARY", Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release" / "coney"))
STORAGES = ["posix", "uring"]
DISK_LEN = 1 << 30
WRITERS = 4
BATCH = 8
# Each writer goes over its keys again and again.
KEYS = 1024
VALUE_BYTES_MAX = 2048
WRITE_SECONDS_MAX = 4
# Software emulation on a busy host is slow, and now and then the kernel hangs in it.
BOOT_SECONDS_MAX = 90
BOOTS_MAX = 3
# A control round may lose nothing by chance.
CONTROL_ROUNDS_MAX = 3
# Little memory, so that tables are written and compacted during a round.
SETTINGS = ["--workers", "1", "--set", "write-buffer=1mb", "--set", "block-cache=16mb", "--set", "hot-cache=16mb"]


def value(key, version):
    seed = f"{key} {version}".encode()
    length = 64 + int.from_bytes(hashlib.sha256(seed).digest()[:2], "big") % VALUE_BYTES_MAX
    return b"%d " % version + hashlib.shake_128(seed).digest(length)


@dataclass
class Writer:
    """What one client has written: batch `n` gives the next keys in turn version `n`, and adds one to a counter."""

    name: int
    acknowledged: int = 0
    # Batches that were sent, acknowledged or not.
    sent: int = 0
    writes: dict = field(default_factory=dict)

    def keys(self, batch):
        return [f"{self.name}:{(batch * BATCH + at) % KEYS}" for at in range(BATCH)]

    def write(self, port):
        """Until the power goes."""
        try:
            client = connect(port)
            while True:
                number = self.sent + 1
                pipeline = client.pipeline(transaction=False)
                for key in self.keys(number):
                    pipeline.set(key, value(key, number))
                pipeline.incr(f"count:{self.name}")
                self.sent = number
                for key in self.keys(number):
                    self.writes.setdefault(key, []).append(number)
                replies = pipeline.execute()
                assert all(replies), replies
                self.acknowledged = number
                # What was acknowledged over an older version counts from here on.
                for key in self.keys(number):
                    self.writes[key] = [number]
        except (redis.ConnectionError, redis.TimeoutError):
            return

    def missing(self, port):
        """What is not as it must be; what is there counts as written from here on."""
        client = connect(port)
        wrong = []
        names = sorted(self.writes)
        for start in range(0, len(names), 128):
            some = names[start:start + 128]
            for key, found in zip(some, client.mget(some)):
                versions = self.writes[key]
                there = [version for version in versions if found == value(key, version)]
                # A key whose only write was not acknowledged may be missing.
                if not there and not (found is None and versions[0] > self.acknowledged):
                    wrong.append(f"{key} is {found and found[:12]}, not one of {versions}")
                self.writes[key] = there or versions
        count = int(client.get(f"count:{self.name}") or 0)
        if not self.acknowledged <= count <= self.sent:
            wrong.append(f"count:{self.name} is {count}, not {self.acknowledged} to {self.sent}")
        self.acknowledged = self.sent = count
        return wrong


def connect(port):
    # No second try of the library's own: what was sent twice could not be counted.
    once = Retry(NoBackoff(), 0)
    return redis.Redis(host="127.0.0.1", port=port, socket_timeout=60, socket_connect_timeout=60, retry=once)


class Refused(Exception):
    """The server, or the kernel, found its file system or database damaged."""


class Machine:
    """A machine with its disk, and the clients that write to it."""

    def __init__(self, directory, boot, storage, disk, sync, seed, lies=False):
        directory.mkdir()
        self.name = f"{storage} on {disk}, sync = {sync}" + (", flushes are lies" if lies else "")
        self.storage = storage
        self.is_polled = disk == "polled nvme"
        self.file = directory / "disk"
        with open(self.file, "wb") as file:
            file.truncate(DISK_LEN)
        if storage == "posix":
            run("mkfs.ext4", "-q", self.file)
        else:
            run(BINARY, "mkfs", self.file)
        self.disk = Disk(self.file, caches=disk == "virtio", lies=lies)
        self.server = Server(self.disk, directory / "socket")
        place = {"posix": ["--dir", "/data/db"],
                 "uring": ["--dir", "/tmp/db", "--storage", "uring", "--device", DISKS[disk][1]]}
        self.guest = Guest(directory, *boot, disk, directory / "socket", "ext4" if storage == "posix" else "raw",
                           [*place[storage], "--sync", sync, *SETTINGS])
        self.random = random.Random(seed)
        self.writers = [Writer(name) for name in range(WRITERS)]
        self.start_seconds = 1.0

    def power_on(self):
        """Starts the machine, until its server starts."""
        for attempt in range(1, BOOTS_MAX + 1):
            self.server.serve_next()
            self.guest.power_on()
            if self.guest.wait_until("coney: starting", BOOT_SECONDS_MAX):
                return
            said = self.guest.said()
            if "coney: no file system" in said:
                raise Refused(said[-4000:])
            say(f"{self.name}: the emulated machine hangs before anything of ours runs, {attempt} of {BOOTS_MAX} times:\n{said[-1000:]}")
            self.cut()
        raise AssertionError(f"{self.name}: the emulated machine does not boot")

    def cut(self):
        self.disk.lose_power()
        self.guest.power_off()
        self.server.wait_until_gone()
        return self.disk.cut(self.random)

    def start(self):
        """Starts the machine and waits until it serves."""
        self.power_on()
        begin = time.monotonic()
        while True:
            try:
                connect(self.guest.port).ping()
                break
            except (redis.ConnectionError, redis.TimeoutError) as error:
                said = self.guest.said()
                if "coney: ended" in said or "coney: no file system" in said:
                    raise Refused(said[-4000:]) from error
                if self.guest.process.poll() is not None or time.monotonic() > begin + START_SECONDS_MAX:
                    raise AssertionError(f"{self.name}: the server does not start: {error}\n{said[-4000:]}") from error
                time.sleep(0.05)
        self.start_seconds = time.monotonic() - begin
        # Else a round on polled queues would be one more without them.
        assert ("its queues are polled" in self.guest.said()) == self.is_polled, self.guest.said()[-4000:]

    def cut_while_starting(self):
        self.power_on()
        time.sleep(self.random.uniform(0, self.start_seconds))
        return self.cut()

    def write_and_cut(self):
        """Returns how many blocks the cut changed."""
        threads = [threading.Thread(target=writer.write, args=(self.guest.port,)) for writer in self.writers]
        for thread in threads:
            thread.start()
        time.sleep(self.random.uniform(0.2, WRITE_SECONDS_MAX))
        lost = self.cut()
        for thread in threads:
            thread.join()
        return lost

    def missing(self):
        return [line for writer in self.writers for line in writer.missing(self.guest.port)]

    def stop_and_check(self):
        """Ends the server and the machine in order, and looks at the file system from outside."""
        try:
            connect(self.guest.port).shutdown()
        except redis.ConnectionError:
            pass
        self.guest.process.wait(START_SECONDS_MAX)
        self.server.wait_until_gone()
        self.cut()
        assert "coney: ended with 0" in self.guest.said(), self.guest.said()[-4000:]
        if self.storage == "posix":
            run("e2fsck", "-fn", self.file)
        else:
            run(BINARY, "fsck", self.file)

    def close(self):
        self.guest.power_off()
        self.server.close()
        self.disk.close()
        self.file.unlink()


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(str(word) for word in command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def say(line):
    print(line, flush=True)


def must_keep(machine, rounds):
    """Every acknowledged write is there after each of `rounds` cuts."""
    for number in range(1, rounds + 1):
        machine.start()
        if missing := machine.missing():
            raise AssertionError(f"{machine.name}: {len(missing)} things are missing, such as\n" + "\n".join(missing[:10]))
        begin = sum(writer.acknowledged for writer in machine.writers)
        lost = machine.write_and_cut()
        batches = sum(writer.acknowledged for writer in machine.writers) - begin
        say(f"{machine.name}: cut {number}: {batches} batches acknowledged, {lost} blocks lost in the disk's cache")
        assert batches > 0, machine.guest.said()[-4000:]
        if number % 2 == 0:
            say(f"{machine.name}: cut again while it starts: {machine.cut_while_starting()} blocks lost")
    machine.start()
    if missing := machine.missing():
        raise AssertionError(f"{machine.name}: {len(missing)} things are missing, such as\n" + "\n".join(missing[:10]))
    machine.stop_and_check()
    total = sum(writer.acknowledged for writer in machine.writers)
    say(f"{machine.name}: all of {total * (BATCH + 1)} acknowledged writes in order; the file system is clean; "
        f"{machine.disk.writes} writes, {machine.disk.flushes} flushes, {machine.disk.forced} forced")


def must_lose(machine, _rounds):
    """Something acknowledged is missing after a cut, or the database cannot even be opened."""
    for _ in range(CONTROL_ROUNDS_MAX):
        machine.start()
        machine.write_and_cut()
        try:
            machine.start()
        except Refused:
            say(f"{machine.name}: the damage is found at the start, as it may be")
            return
        if missing := machine.missing():
            say(f"{machine.name}: {len(missing)} acknowledged things are missing, as it must be")
            return
        machine.cut()
    raise AssertionError(f"{machine.name}: nothing was lost: what do these cuts cut?")


def judge(directory, boot, storage, options):
    """Everything about one kind of storage."""
    for disk, sync, lies, verdict in [
            ("nvme", "everysec", False, must_lose),
            ("virtio", "always", True, must_lose),
            ("nvme", "always", False, must_keep),
            *([("polled nvme", "always", False, must_keep)] if storage == "uring" else []),
            ("virtio", "always", False, must_keep)]:
        name = f"{storage}-{disk}-{sync}".replace(" ", "-") + ("-lies" if lies else "")
        machine = Machine(directory / name, boot, storage, disk, sync, f"{options.seed} {name}", lies)
        try:
            verdict(machine, options.rounds)
        except Refused as problem:
            raise AssertionError(f"{machine.name}: does not start:\n{problem}") from problem
        finally:
            machine.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kernel", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--storage", choices=STORAGES, action="append")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    say(f"seed {options.seed}")
    directory = Path(tempfile.mkdtemp(prefix="coney-power-"))
    try:
        image = directory / "initramfs"
        initramfs(options.kernel, BINARY, image)
        boot = (options.kernel, image)
        with ThreadPoolExecutor() as executor:
            all_kinds = [executor.submit(judge, directory, boot, storage, options) for storage in options.storage or STORAGES]
            for judged in all_kinds:
                judged.result()
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
