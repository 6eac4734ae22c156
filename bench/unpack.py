#!/usr/bin/python3
"""A part of `make bench`: how long a real containerd takes to unpack an image, plain and encrypted.

Writes docs/unpack.md and docs/unpack.svg. CONTAINERDS names the programs, with colons between them; otherwise
the installed one is measured. BENCH_QUICK=1 makes fewer runs of fewer images.
"""

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from statistics import median

import fixtures
import plot
from bench import spread
from node import containerd_in, ended, waited
from runs import Sample

ROOT = Path(__file__).resolve().parent.parent
QUICK = bool(os.environ.get("BENCH_QUICK"))
ROUNDS = 3 if QUICK else 7
MIB = 1 << 20
# Programs that containerd calls, and what forbids it.
HELPERS = {"igzip": "CONTAINERD_DISABLE_IGZIP", "unpigz": "CONTAINERD_DISABLE_PIGZ"}
# What an unpack of the encrypted image may take of the time of the plain one, by containerd and image.
TARGETS = {"1.6": 0.50, "2.3": 0.55, "2.4": 0.70}
LARGE = "one large layer"
PROCESSORS = """
[stream_processors."io.containerd.ocicrypt.decoder.v1.tar.gzip"]
  accepts = ["application/vnd.oci.image.layer.v1.tar+gzip+encrypted"]
  returns = "application/vnd.oci.image.layer.v1.tar{returns}"
  path = "{program}"
  args = ["--decryption-keys-path", "{keys}"{flag}, "--content-store", "{store}"]
"""


def main():
    dist = Path(os.environ.get("KEYCELL_DIST", ROOT / "dist"))
    if os.geteuid():
        sys.exit("bench: containerd takes root")
    work = ROOT / "target/bench"
    work.mkdir(parents=True, exist_ok=True)
    containerds = os.environ.get("CONTAINERDS", shutil.which("containerd") or "").split(":")
    images = {name: image(work, name, make) for name, make in IMAGES.items() if not QUICK or name == LARGE}
    cpus = sorted(os.sched_getaffinity(0))
    lines, verdicts, bars = [], [], {}
    for program in map(Path, containerds):
        for helper in (None, *filter(shutil.which, HELPERS)):
            for name, (plain, sealed) in images.items():
                for count in sorted({1, len(cpus)}) if name == LARGE and not helper else [len(cpus)]:
                    measure(program, helper, name, plain, sealed, cpus[:count], dist, work, lines, verdicts, bars)
    report(lines, verdicts, bars)


def measure(program, helper, name, plain, sealed, cpus, dist, work, lines, verdicts, bars):
    keys = fixtures.key(work, "rsa2048")
    with Containerd(program, helper, dist, keys, cpus, "") as today, \
            Containerd(program, helper, dist, keys, cpus, "--decompress") as ours:
        ways = {"plain": (today, plain), "encrypted": (today, sealed), "`--decompress`": (ours, sealed)}
        samples = {way: [] for way in ways}
        for number in range(ROUNDS + 1):
            for way, (containerd, archive) in ways.items():
                sample = containerd.unpack(archive)
                if number:  # the first fills caches
                    samples[way].append(sample)
        version = today.version
    walls = {way: [it.wall for it in runs] for way, runs in samples.items()}
    cpu = {way: [it.cpu for it in runs] for way, runs in samples.items()}
    if not helper and len(cpus) > 1:
        bars[f"{version} {name}"] = {way: median(seconds) for way, seconds in walls.items()}
    note = helper or "Go's own gzip"
    for way in ways:
        ratio, used = ([a / b for a, b in zip(it[way], it["plain"])] for it in (walls, cpu))
        lines.append(f"| {version} | {note} | {name} | {len(cpus)} | {way} | {spread(walls[way])} | "
                     f"{median(ratio):.2f} | {spread(cpu[way])} | {median(used):.2f} |")
        print(lines[-1], flush=True)
        if way == "`--decompress`" and not helper:
            most = TARGETS.get(".".join(version.split(".")[:2])) if name == LARGE and len(cpus) > 1 else 1.0
            most = 1.05 if len(cpus) == 1 else most
            what = f"{version}, {name}, {len(cpus)} CPU"
            if most:
                verdicts.append(verdict(f"{what}: wall time / plain", median(ratio), most))
            if name == LARGE:
                verdicts.append(verdict(f"{what}: CPU time / plain", median(used), 0.9))


def verdict(what, value, most):
    return f"| {what} | {value:.2f} | at most {most} | {'met' if value <= most else '**missed**'} |"


class Containerd:
    """A containerd with a decoder; use it in a `with`."""

    def __init__(self, program, helper, dist, keys, cpus, flag):
        self.dir = Path(tempfile.mkdtemp(prefix="keycell-bench-"))
        config = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\"]\n"
        config += PROCESSORS.format(returns="" if flag else "+gzip", program=(dist / "ctd-decoder").resolve(), keys=keys,
                                    flag=f', "{flag}"' if flag else "", store=self.dir / "root")
        (self.dir / "config.toml").write_text(config)
        forbidden = [f"{variable}=1" for name, variable in HELPERS.items() if name != helper]
        before = ["env", f"PATH={program.parent}:{os.environ['PATH']}", *forbidden,
                  "taskset", "-c", ",".join(map(str, cpus))]
        self.process = containerd_in(self.dir, program, before)
        self.ctr = [program.parent / "ctr", "--address", self.dir / "socket"]
        self.runs = 0
        waited(lambda: subprocess.run([*self.ctr, "version"], capture_output=True).returncode == 0,
               "containerd does not answer")
        self.pid = next(int(it.name) for it in Path("/proc").glob("[0-9]*")
                        if cmdline(it).startswith(f"{program}\0--config\0{self.dir}"))
        told = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
        self.version = told.split()[2].lstrip("v").split("+")[0].split("~")[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        ended(self.process)
        shutil.rmtree(self.dir)

    def unpack(self, archive):
        """Unpacks an image that is in the content store; a namespace of its own has no snapshots yet."""
        self.runs += 1
        ctr = [*self.ctr, "--namespace", f"run-{self.runs}"]
        quietly([*ctr, "images", "import", "--no-unpack", archive])
        digest = subprocess.run([*ctr, "images", "ls"], check=True, capture_output=True, text=True).stdout
        digest = next(word for word in digest.split() if word.startswith("sha256:"))
        before, start = used(self.pid), time.perf_counter()
        quietly([*ctr, "snapshots", "unpack", digest])
        sample = Sample(time.perf_counter() - start, used(self.pid) - before)
        name = subprocess.run([*ctr, "images", "ls", "-q"], check=True, capture_output=True, text=True).stdout.strip()
        quietly([*ctr, "images", "rm", "--sync", name])
        return sample


def quietly(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench: {' '.join(map(str, command))}: {done.stderr}")


def cmdline(process):
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""


def used(pid):
    """Seconds of CPU of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def image(work, name, make):
    """Archives of an image, plain and encrypted. Made once."""
    place = work / ("unpack-" + name.replace(" ", "-"))
    archives = place / "plain.tar", place / "sealed.tar"
    if not archives[1].exists():
        shutil.rmtree(place, ignore_errors=True)
        (place / "image/blobs/sha256").mkdir(parents=True)
        diffs, layers = [], []
        for tar, level in make():
            diffs.append("sha256:" + hashlib.sha256(tar).hexdigest())
            layers.append({"mediaType": fixtures.LAYER, **fixtures.put(place / "image", gzip.compress(tar, level, mtime=0))})
        fixtures.finish(place / "image", diffs, layers)
        fixtures.key(work, "rsa2048")
        for archive, options in zip(archives, ([], ["--encryption-key", fixtures.recipient(work, "rsa2048")])):
            fixtures.skopeo("copy", *options, f"oci:{place}/image:layer", f"oci-archive:{archive}:bench.test/image:1")
        shutil.rmtree(place / "image")
    return archives


def archived(files):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return tar.getvalue()


def programs(most):
    """Programs and libraries of this machine, as images have them."""
    total = 0
    for path in sorted(Path("/usr").rglob("*")):
        if path.is_file() and not path.is_symlink() and total < most:
            try:
                content = path.read_bytes()
            except OSError:
                continue
            if len(content) < 64 * MIB:
                total += len(content)
                yield str(path).lstrip("/"), content


def large():
    yield archived(programs(356 * MIB)), 6


def small_layers():
    content = b"".join(content for _, content in programs(100 * MIB))
    for number in range(100):
        yield archived([(f"file-{number}", content[number * MIB:(number + 1) * MIB])]), 6


def few_files():
    content = b"".join(content for _, content in programs(200 * MIB))
    yield archived((f"file-{number}", content[number * 50 * MIB:(number + 1) * 50 * MIB]) for number in range(4)), 6


def many_files():
    content = b"".join(content for _, content in programs(80 * MIB))
    yield archived((f"directory-{number // 200}/file-{number}", content[number * 4096:number * 4096 + 4096])
                   for number in range(20_000)), 6


def incompressible():
    yield archived([("random", random.Random(1).randbytes(128 * MIB))]), 6


def stored():
    yield archived(programs(128 * MIB)), 0


IMAGES = {LARGE: large, "100 small layers": small_layers, "few large files": few_files, "many small files": many_files,
          "incompressible": incompressible, "gzip without compression": stored}


def report(lines, verdicts, bars):
    text = "\n".join([
        "# Unpacking", "",
        "Written by `make bench`: `ctr snapshots unpack` of images that are in the content store, wall time and",
        "CPU time of containerd and all that it starts, in seconds. Medians, with the least and the most of all runs in",
        f"brackets; the ratios are medians over {ROUNDS} rounds, in each of which all three were measured.", "",
        "![Time to unpack](unpack.svg)", "",
        "## Targets", "", "| | measured | target | |", "|---|---|---|---|", *verdicts, "",
        "## Runs", "", "| containerd | decompressed by | image | CPUs | layers | wall, s | / plain | CPU, s | / plain |",
        "|---|---|---|---|---|---|---|---|---|", *lines, ""])
    (ROOT / "docs/unpack.md").write_text(text)
    (ROOT / "docs/unpack.svg").write_text(plot.unpacking(bars))
    print("\n".join(verdicts))


if __name__ == "__main__":
    main()
