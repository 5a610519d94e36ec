"""An emulated machine with Debian's kernel, our server as all there is, and a disk whose power can be cut."""

import lzma
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# In the order in which they are loaded.
MODULES = ["virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "failover",
           "net_failover", "virtio_net", "virtio_blk"]
MEMORY_MIB = 1024
# What the server is compiled for, and no more: emulated AVX made the kernel's self-tests hang.
CPU = "Westmere,+rdrand"
# How the machine sees its disk: the device, its name there, and what the kernel is told for it. QEMU's NVMe drops the bit for force-unit-access from
# writes (7.2 does), so that it can have no volatile cache here; Linux uses flushes alone with virtio-blk.
DISKS = {"nvme": ("nvme,serial=coney", "/dev/nvme0n1", ""),
         # With a queue that whoever waits polls, in place of an interrupt.
         "polled nvme": ("nvme,serial=coney", "/dev/nvme0n1", "nvme.poll_queues=1"),
         "virtio": ("virtio-blk-pci", "/dev/vda", "")}
# Software emulation on a busy host is slow.
START_SECONDS_MAX = 180


def initramfs(kernel, binary, target):
    """Packs what the machine boots into: busybox, the server with its libraries, the drivers of its network."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("bin", "data", "dev", "modules", "proc", "sys", "tmp"):
            (root / name).mkdir()
        shutil.copy(HERE / "init", root / "init")
        (root / "init").chmod(0o755)
        shutil.copy("/bin/busybox", root / "bin/busybox")
        # Debugging sections would be most of it.
        subprocess.run(["strip", "-o", root / "bin/coney", binary], check=True)
        listed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
        for library in (word for word in listed.split() if word.startswith("/")):
            (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, root / library[1:])
        for module in MODULES:
            [found] = kernel.glob(f"lib/modules/*/kernel/**/{module}.ko*")
            packed = found.read_bytes()
            (root / f"modules/{module}.ko").write_bytes(lzma.decompress(packed) if found.suffix == ".xz" else packed)
        (root / "modules/order").write_text("".join(f"{module}.ko\n" for module in MODULES))
        names = b"\n".join(os.fsencode(path.relative_to(root)) for path in sorted(root.rglob("*")))
        with open(target, "wb") as out:
            subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names, stdout=out,
                           stderr=subprocess.DEVNULL, check=True)


class Guest:
    """The machine. What its console said since it was powered on last is in `directory`."""

    def __init__(self, directory, kernel, image, disk, disk_socket, fs, arguments):
        self.console = Path(directory) / "console"
        [self.kernel] = kernel.glob("boot/vmlinuz-*")
        self.image = image
        self.device, self.path, self.words = DISKS[disk]
        self.disk_socket = disk_socket
        self.fs = fs
        self.arguments = arguments
        self.process = None
        self.port = None

    def power_on(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.console.unlink(missing_ok=True)
        # On a busy host the kernel would take a slow timer for a broken one.
        words = (f"console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check cryptomgr.notests {self.words} "
                 f"coney.disk={self.path} coney.fs={self.fs} coney.args={','.join(self.arguments)}")
        disk = f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={self.disk_socket}"
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                   "-machine", "pc", "-accel", "tcg", "-cpu", CPU, "-smp", "2", "-m", str(MEMORY_MIB),
                   "-kernel", str(self.kernel), "-initrd", str(self.image), "-append", words,
                   "-serial", f"file:{self.console}",
                   # The guest is told of a volatile cache, and its flushes come through.
                   "-drive", f"if=none,id=disk,{disk},cache=writeback", "-device", f"{self.device},drive=disk",
                   "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-10.0.2.15:6379",
                   "-device", "virtio-net-pci,netdev=net"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def said(self):
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def wait_until(self, line, seconds):
        """Whether the console says `line` within `seconds`, before the machine ends."""
        deadline = time.monotonic() + seconds
        while line not in self.said():
            if self.process.poll() is not None or time.monotonic() > deadline:
                return line in self.said()
            time.sleep(0.02)
        return True

    def power_off(self):
        """Like pulling the plug."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
