#!/usr/bin/python3
"""A part of `make bench`: how long `keycell encrypt` and skopeo take for the same image, to a layout and to a
registry, and how much CPU and memory. Writes docs/encrypt.md. BENCH_QUICK=1 makes smaller images.
"""

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import time
import zlib
from pathlib import Path
from statistics import median

import fixtures
from bench import spread

ROOT = Path(__file__).resolve().parent.parent
QUICK = bool(os.environ.get("BENCH_QUICK"))
ROUNDS = 3
MIB = 1 << 20
IMAGES = {"2 GiB in one layer": [2048], "4 × 512 MiB": [512] * 4}
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
# What Keycell may take of skopeo's wall time and CPU time, and the memory of a job in MiB.
SHARE, MEMORY = 0.4, 16


def main():
    keycell = Path(os.environ.get("KEYCELL_DIST", ROOT / "dist")) / "keycell"
    work = ROOT / "target/bench"
    work.mkdir(parents=True, exist_ok=True)
    fixtures.key(work, "rsa2048")
    lines, verdicts = [], []
    with Registry(work) as registry:
        for name, sizes in IMAGES.items():
            source = image(work, [size // 16 for size in sizes] if QUICK else sizes)
            for place in ("layout", "registry"):
                measure(name, source, place, registry, keycell, work, lines, verdicts)
    report(lines, verdicts)


def measure(name, source, place, registry, keycell, work, lines, verdicts):
    recipient = f"jwe:{work}/rsa2048.pub"
    samples = {"skopeo": [], "keycell": []}
    for number in range(ROUNDS + 1):
        for who in samples:
            shutil.rmtree(work / "encrypted", ignore_errors=True)
            to = f"oci:{work}/encrypted:image" if place == "layout" else registry.fresh()
            command = {
                "skopeo": ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false",
                           "--encryption-key", recipient, source, to],
                "keycell": [keycell, "encrypt", "--insecure", source, to, "-r", recipient],
            }[who]
            sample = run(command)
            if number:  # the first fills caches
                samples[who].append(sample)
    for who, runs in samples.items():
        walls, cpu, peaks = zip(*runs)
        lines.append(f"| {name} | {place} | {who} | {spread(walls)} | {spread(cpu)} | {median(peaks):.0f} |")
    jobs = min(len(os.sched_getaffinity(0)), len(IMAGES[name]))
    for index, what in enumerate(("wall time", "CPU time")):
        share = median(run[index] for run in samples["keycell"]) / median(run[index] for run in samples["skopeo"])
        verdict(verdicts, f"{name} to a {place}: {share:.2f} of skopeo's {what}", share <= SHARE, SHARE)
    peak = median(run[2] for run in samples["keycell"]) / jobs
    verdict(verdicts, f"{name} to a {place}: {peak:.1f} MiB a job", peak <= MEMORY, MEMORY)


def verdict(verdicts, text, is_met, limit):
    line = f"{'met' if is_met else '**missed**'}: {text} (at most {limit})"
    print(line)
    verdicts.append(f"- {line}")


def run(command):
    """Wall and CPU seconds, and the peak of the memory in MiB. The peak that a child of Python has is at least that
    of Python, so `time` starts the program."""
    start = time.perf_counter()
    process = subprocess.Popen(["time", "--format", "%M", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        sys.exit(f"bench: {command}: {said}")
    return wall, used.ru_utime + used.ru_stime, int(said.split()[-1]) / 1024


def image(work, sizes):
    """A layout with layers of so many MiB: gzip without compression, so that none is compressed again."""
    root = work / ("image-" + "-".join(map(str, sizes)))
    name = f"oci:{root}:layer"
    if (root / "index.json").exists():
        return name
    shutil.rmtree(root, ignore_errors=True)
    (root / "blobs/sha256").mkdir(parents=True)
    layers, diffs = [], []
    for number, size in enumerate(sizes):
        new = root / "new"
        diffs.append(stored(new, size, number))
        digest = digest_of(new)
        new.rename(fixtures.blob(root, digest))
        layers.append({"mediaType": GZIP, "digest": digest, "size": fixtures.blob(root, digest).stat().st_size})
    fixtures.finish(root, diffs, layers)
    return name


def stored(path, mib, seed):
    """Writes gzip with stored blocks, and returns the digest of what it holds."""
    source = random.Random(seed)
    plain, packer = hashlib.sha256(), zlib.compressobj(0, zlib.DEFLATED, 31)
    with path.open("wb") as file:
        for _ in range(mib):
            piece = source.randbytes(MIB)
            plain.update(piece)
            file.write(packer.compress(piece))
        file.write(packer.flush())
    return f"sha256:{plain.hexdigest()}"


def digest_of(path):
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


class Registry:
    """docker-registry, with its blobs beside the images."""

    def __init__(self, work):
        self.work, self.number = work / "registry", 0

    def __enter__(self):
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        config = self.work / "config.yml"
        config.write_text("version: 0.1\nlog: {level: info, formatter: json}\n"
                          f"storage: {{filesystem: {{rootdirectory: {self.work}/blobs}}}}\n"
                          "http: {addr: '127.0.0.1:0'}\n")
        log = self.work / "log"
        with log.open("w") as file:
            self.process = subprocess.Popen(["docker-registry", "serve", config], stdout=file, stderr=file)
        for _ in range(500):
            if found := re.search(r"listening on ([0-9.:]+)", log.read_text()):
                self.address = found[1]
                return self
            time.sleep(0.02)
        sys.exit(f"bench: docker-registry does not start: {log.read_text()}")

    def fresh(self):
        """A repository that has nothing yet."""
        shutil.rmtree(self.work / "blobs", ignore_errors=True)
        self.number += 1
        return f"docker://{self.address}/image-{self.number}:1"

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.work, ignore_errors=True)


def report(lines, verdicts):
    if QUICK:
        return
    skopeo = subprocess.run(["skopeo", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    cpus = len(os.sched_getaffinity(0))
    (ROOT / "docs/encrypt.md").write_text("\n".join([
        "# Encrypting: measurements",
        "",
        f"`make bench` writes this page. {skopeo}, {cpus} processors, medians of {ROUNDS} runs that alternate, the "
        "least and the most in brackets; the layers are gzip, for one RSA key by JWE.",
        "",
        "| image | to a | program | wall, seconds | CPU, seconds | memory, MiB |",
        "|---|---|---|---|---|---|",
        *lines,
        "",
        *verdicts,
        "",
    ]))


if __name__ == "__main__":
    main()
