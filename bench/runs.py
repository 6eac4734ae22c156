"""One run of a program: its wall time, its CPU time, the peak of its memory."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass
class Sample:
    """Seconds. The CPU time is the program's own, not that of whatever feeds and drains it."""
    wall: float
    cpu: float


class Decoder:
    """A `ctd-decoder`, called as containerd calls it."""

    def __init__(self, name, program):
        self.name, self.program = name, program

    def run(self, layer, way, cpus):
        """`file`: from the file to /dev/null. `pipe`: between two `cat`s, on the same CPUs. `alone`: from a
        pipe that holds the layer already to one that has room for it, so that no other process runs."""
        os.sched_setaffinity(0, cpus)
        warm(layer.blob)
        null = os.open("/dev/null", os.O_WRONLY)
        encrypted = os.open(layer.blob, os.O_RDONLY)
        others, stdin, stdout, drain = [], encrypted, null, None
        if way == "alone":
            stdin, feed = os.pipe()
            drain, stdout = os.pipe()
            os.write(feed, os.read(encrypted, 4096))
            os.close(feed)
        start = time.perf_counter()
        if way == "pipe":
            stdin, feed = os.pipe()
            drain, stdout = os.pipe()
            others = [spawn(["cat"], encrypted, feed), spawn(["cat"], drain, null)]
            for end in (feed, drain):
                os.close(end)
        process = self.start(layer, stdin, stdout)
        for end in {stdin, stdout} - {encrypted, null}:
            os.close(end)
        _, status, used = os.wait4(process, 0)
        for other in others:
            os.waitpid(other, 0)
        wall = time.perf_counter() - start
        if way == "alone":
            os.close(drain)
        os.close(null)
        os.close(encrypted)
        self.expect(status == 0, layer)
        return Sample(wall, used.ru_utime + used.ru_stime)

    def start(self, layer, stdin, stdout, before=()):
        third, write = os.pipe()
        os.write(write, layer.payload)  # a few kilobytes: the pipe takes them
        os.close(write)
        command = [*before, self.program, "--decryption-keys-path", layer.keys]
        process = spawn(command, stdin, stdout, third, {"STREAM_PROCESSOR_MEDIATYPE": layer.media_type})
        os.close(third)
        return process

    def check(self, layer):
        """What is measured has to be right."""
        encrypted = os.open(layer.blob, os.O_RDONLY)
        read, write = os.pipe()
        process = self.start(layer, encrypted, write)
        os.close(write)
        os.close(encrypted)
        digest = hashlib.sha256()
        with os.fdopen(read, "rb") as plain:
            while piece := plain.read(1 << 20):
                digest.update(piece)
        status = os.waitpid(process, 0)[1]
        self.expect(status == 0 and digest.hexdigest() == layer.sha256, layer)

    def expect(self, right, layer):
        if not right:
            sys.exit(f"bench: {self.name}: `{self.program}` did not decrypt `{layer.blob}`")


class Skopeo:
    """skopeo, which writes what it decrypts."""

    def __init__(self, target):
        self.target = target

    def run(self, layer, cpus):
        os.sched_setaffinity(0, cpus)
        shutil.rmtree(self.target, ignore_errors=True)
        key = next(layer.keys.iterdir())
        start = time.perf_counter()
        subprocess.run(["skopeo", "--insecure-policy", "copy", "--quiet", "--decryption-key", key,
                        layer.image, f"dir:{self.target}"], check=True)
        seconds = time.perf_counter() - start
        shutil.rmtree(self.target)
        return seconds


class Together:
    """Several decoders, at once or one after another."""

    def __init__(self, decoder, count):
        self.decoder, self.count = decoder, count

    def run(self, layer, at_once):
        os.sched_setaffinity(0, range(os.cpu_count()))
        warm(layer.blob)
        running = []
        null = os.open("/dev/null", os.O_WRONLY)
        start = time.perf_counter()
        for _ in range(self.count):
            encrypted = os.open(layer.blob, os.O_RDONLY)
            running.append(self.decoder.start(layer, encrypted, null))
            os.close(encrypted)
            if not at_once:
                self.wait(running, layer)
        self.wait(running, layer)
        seconds = time.perf_counter() - start
        os.close(null)
        return seconds

    def peaks_mib(self, layer, at_once):
        """The peak of each one's memory."""
        null = os.open("/dev/null", os.O_WRONLY)
        running, told = [], [tempfile.NamedTemporaryFile("r") for _ in range(self.count)]
        for file in told:
            encrypted = os.open(layer.blob, os.O_RDONLY)
            running.append(self.decoder.start(layer, encrypted, null, timed(file)))
            os.close(encrypted)
            if not at_once:
                self.wait(running, layer)
        self.wait(running, layer)
        os.close(null)
        return [mib(file) for file in told]

    def wait(self, running, layer):
        while running:
            self.decoder.expect(os.waitpid(running.pop(), 0)[1] == 0, layer)


def warm(blob):
    """Reads it once, so that no decoder waits for the disk: a kernel may take back what nobody reads."""
    piece = bytearray(1 << 20)
    with open(blob, "rb", buffering=0) as file:
        while file.readinto(piece):
            pass


def peak_mib(decoder, layer):
    """The peak of one decoder's memory."""
    return Together(decoder, 1).peaks_mib(layer, True)[0]


def timed(file):
    """Measures with `time`: a child's peak counts what the process held that forked it."""
    return ("/usr/bin/time", "-f", "%M", "-o", file.name)


def mib(file):
    with file:
        return int(file.read()) / 1024


def limits(cpus):
    """Bytes per second that openssl reaches on one CPU, with all its blocks in the cache."""
    os.sched_setaffinity(0, cpus[:1])
    return {"hmac": speed("-hmac", "sha256"), "ctr": speed("-evp", "aes-256-ctr")}


def speed(*what):
    command = ["openssl", "speed", "-seconds", "1", "-bytes", "16384", *what]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(told.split()[-1].removesuffix("k")) * 1000


def spawn(command, stdin, stdout, third=None, environment=None):
    """Descriptors 0, 1 and 3, and nothing else that this process has open."""
    moves = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
    if third is not None:
        moves.append((os.POSIX_SPAWN_DUP2, third, 3))
        if third == 3:
            os.set_inheritable(3, True)
    program = shutil.which(command[0])
    return os.posix_spawn(program, [str(word) for word in command], {**ENVIRONMENT, **(environment or {})},
                          file_actions=moves)
