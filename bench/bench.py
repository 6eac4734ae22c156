#!/usr/bin/python3
"""`make bench`: whole processes, ours and its peers in turns, on layers that skopeo encrypted.

Writes a table and the verdicts over the targets to docs/benchmark.md, and a plot to
docs/benchmark.svg. Peers: the Go ctd-decoder that CTD_PEER names, `skopeo copy --decryption-key`,
and `openssl speed` as what the machine can do at all. CONTAINERD names another containerd than the
installed one. BENCH_QUICK=1 makes fewer and shorter runs.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import fixtures
import node
import plot
from runs import Decoder, Sample, Skopeo, Together, limits, peak_mib

ROOT = Path(__file__).resolve().parent.parent
QUICK = bool(os.environ.get("BENCH_QUICK"))
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = {"1 KiB": KIB, "1 MiB": MIB, "64 MiB": 64 * MIB, "512 MiB": 512 * MIB, "4 GiB": 4 * GIB}
# How often each is run: what takes long varies less.
ROUNDS = {KIB: 41, MIB: 31, 64 * MIB: 11, 512 * MIB: 11, 4 * GIB: 3}
if QUICK:
    SIZES.pop("4 GiB")
    ROUNDS = {KIB: 11, MIB: 7, 64 * MIB: 5, 512 * MIB: 3}


def main():
    # The tests' own place for another build.
    dist = Path(os.environ.get("KEYCELL_DIST", ROOT / "dist"))
    ours = Decoder("Keycell", dist / "ctd-decoder")
    peer = os.environ.get("CTD_PEER")
    decoders = [ours] + ([Decoder("Go", Path(peer))] if peer else [])
    for decoder in decoders:
        if not os.access(decoder.program, os.X_OK):
            sys.exit(f"bench: `{decoder.program}` cannot be run: build it with `make`, or set CTD_PEER")
    cpus = sorted(os.sched_getaffinity(0))
    work = ROOT / "target/bench"
    work.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(work).free < 16 * GIB and SIZES.pop("4 GiB", None):
        print("bench: less than 16 GiB of disk are free: no layer of 4 GiB", file=sys.stderr)

    report = Report(decoders, cpus)
    throughput(report, work, decoders, cpus)
    growth(report, work, ours, cpus)
    start_up(report, work, decoders, cpus)
    together(report, work, decoders)
    pulls(report, work, decoders)
    report.write(ROOT / "docs")


def throughput(report, work, decoders, cpus):
    """Layers of every size, from a file to /dev/null and from pipe to pipe."""
    for name, size in SIZES.items():
        layer = fixtures.layer(work, "rsa2048", size)
        for decoder in decoders:
            decoder.check(layer)
        ways = [("file", cpus[:1]), ("pipe", cpus[:1])]
        if len(cpus) > 1:
            ways += [("file", cpus[:2]), ("pipe", cpus[:2])]
        for way, pinned in ways:
            before = limits(pinned) if size >= 64 * MIB else None
            samples = alternate(decoders, ROUNDS[size], lambda it: it.run(layer, way, pinned))
            after = limits(pinned) if size >= 64 * MIB else None
            speed = before and {kind: max(before[kind], after[kind]) for kind in before}
            report.throughput(name, size, way, len(pinned), samples, speed)
        report.memory(name, {it.name: peak_mib(it, layer) for it in decoders})
        if size <= 512 * MIB:
            skopeo = Skopeo(work / "skopeo")
            rounds = min(ROUNDS[size], 5)
            report.skopeo(name, size, [skopeo.run(layer, cpus[:1]) for _ in range(rounds)])


def growth(report, work, decoder, cpus):
    """What a byte costs in a layer of each size. Each round decrypts as many bytes of every size, so that
    whatever else the machine does meets all of them."""
    layers = {name: fixtures.layer(work, "rsa2048", size) for name, size in SIZES.items() if size >= 64 * MIB}
    most = max(SIZES.values())
    for _ in range(3):
        report.growth({name: sum(decoder.run(layer, "file", cpus[:1]).cpu for _ in range(most // SIZES[name]))
                       for name, layer in layers.items()}, most)


def start_up(report, work, decoders, cpus):
    """A layer of 1 KiB with every kind of key, from start to exit."""
    for kind in fixtures.KINDS:
        layer = fixtures.layer(work, kind, KIB)
        for decoder in decoders:
            decoder.check(layer)
        samples = alternate(decoders, ROUNDS[KIB], lambda it: it.run(layer, "alone", cpus[:1]))
        report.start_up(kind, samples)


def together(report, work, decoders):
    """Sixteen at once, against the same sixteen one after another."""
    layer = fixtures.layer(work, "rsa2048", 64 * MIB)
    for decoder in decoders:
        sixteen = Together(decoder, 16)
        at_once, in_turn = [], []
        for _ in range(3):
            at_once.append(sixteen.run(layer, True))
            in_turn.append(sixteen.run(layer, False))
        one = max(sixteen.peaks_mib(layer, False))
        report.together(decoder.name, min(at_once), min(in_turn), sum(sixteen.peaks_mib(layer, True)), one)


def pulls(report, work, decoders):
    """An image with many layers, pulled by a real containerd: the plain one shows the time without decryption."""
    if why := node.missing():
        print(f"bench: no image is pulled by containerd: {why}", file=sys.stderr)
        return
    with node.Pulls(work) as registry:
        ways = [Pull(decoder.name, registry, decoder, "sealed") for decoder in decoders]
        ways.append(Pull("not encrypted", registry, decoders[0], "plain"))
        report.pulls(alternate(ways, 3 if QUICK else 7, lambda way: way.run()), node.version())


@dataclass
class Pull:
    """One way to pull the image."""
    name: str
    registry: node.Pulls
    decoder: Decoder
    image: str

    def run(self):
        return Sample(self.registry.run(self.decoder, self.image), 0)


def alternate(decoders, rounds, run):
    """In every round each of them once, so that whatever else the machine does meets all."""
    samples = {decoder.name: [] for decoder in decoders}
    for decoder in decoders:
        run(decoder)  # the first fills caches
    for _ in range(rounds):
        for decoder in decoders:
            samples[decoder.name].append(run(decoder))
    return samples


def spread(values, digits=2):
    """The median, and the least and most in brackets."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratio(samples, measure):
    """Ours to Go's, round by round."""
    if "Go" not in samples:
        return None
    pairs = zip(samples["Keycell"], samples["Go"])
    return [measure(ours) / measure(go) for ours, go in pairs if measure(go)]


class Report:
    """The table, and what the targets say."""

    def __init__(self, decoders, cpus):
        self.names = [decoder.name for decoder in decoders]
        self.lines, self.starts, self.others, self.verdicts = [], [], [], []
        self.machine = machine(decoders, cpus)
        self.points, self.bars, self.growths, self.peaks = {}, {}, [], []

    def throughput(self, name, size, way, pinned, samples, speed):
        wall, cpu = lambda it: it.wall, lambda it: it.cpu
        best = {who: min(it.wall for it in runs) for who, runs in samples.items()}
        for who, runs in samples.items():
            walls, cpus = [1e3 * it.wall for it in runs], [1e3 * it.cpu for it in runs]
            rate = size / MIB / best[who]
            self.lines.append(f"| {name} | {WAYS[way]} | {pinned} | {who} | {spread(walls, 1)} | "
                              f"{spread(cpus, 1)} | {rate:.0f} |")
            if size >= MIB and pinned == 1:
                self.points.setdefault((who, way), []).append((name, rate))
        for what, measure in (("wall", wall), ("CPU", cpu)):
            if ratios := ratio(samples, measure):
                self.lines.append(f"| | | | {what}, ours / Go | {spread(ratios)} | | |")
        if size == 512 * MIB:
            self.judge_large(way, pinned, samples, speed)

    def judge_large(self, way, pinned, samples, speed):
        if way == "file" and pinned == 1:
            rate = 512 * MIB / min(it.cpu for it in samples["Keycell"])
            self.verdict("512 MiB, file to /dev/null, one CPU: rate / `openssl speed` HMAC-SHA256",
                         rate / speed["hmac"], 0.65, at_least=True)
            if ratios := ratio(samples, lambda it: it.cpu):
                self.verdict("the same: CPU time, ours / Go", median(ratios), 0.5)
        elif way == "pipe":
            if ratios := ratio(samples, lambda it: it.wall):
                self.verdict(f"512 MiB, pipe to pipe, {pinned} CPU: wall time, ours / Go",
                             median(ratios), 0.5)
        if speed:
            told = ", ".join(f"{LIMITS[kind]} {value / 1e6:.0f} MB/s" for kind, value in speed.items())
            self.others.append(f"`openssl speed` beside 512 MiB, {WAYS[way]}, {pinned} CPU: {told}.")

    def memory(self, name, peaks):
        self.peaks.append(peaks["Keycell"])
        told = ", ".join(f"{who} {peak:.1f} MiB" for who, peak in peaks.items())
        self.others.append(f"Peak memory with a layer of {name}: {told}.")

    def skopeo(self, name, size, walls):
        self.others.append(f"`skopeo copy --decryption-key`, a layer of {name} into a directory, one CPU: "
                           f"{spread([1e3 * it for it in walls], 0)} ms.")
        if size >= MIB:
            self.points.setdefault(("skopeo", "file"), []).append((name, size / MIB / min(walls)))

    def growth(self, seconds, size):
        self.growths.append(max(seconds.values()) / min(seconds.values()))
        told = ", ".join(f"{name} {1e3 * value * MIB / size:.2f}" for name, value in seconds.items())
        self.others.append(f"CPU time of Keycell for a MiB in layers of each size, one after another, ms: {told}.")

    def start_up(self, kind, samples):
        title = fixtures.KINDS[kind]
        for who, runs in samples.items():
            walls, cpus = [1e3 * it.wall for it in runs], [1e3 * it.cpu for it in runs]
            self.starts.append(f"| {title} | {who} | {spread(walls)} | {spread(cpus)} |")
            self.bars.setdefault(title, {})[who] = median(walls)
        if ratios := ratio(samples, lambda it: it.wall):
            self.starts.append(f"| | wall, ours / Go | {spread(ratios)} | |")
            if kind in START_TARGETS:
                self.verdict(f"1 KiB, {title}, start to exit: wall time, ours / Go",
                             median(ratios), START_TARGETS[kind])

    def together(self, who, at_once, in_turn, peaks, one):
        self.others.append(f"{who}, 16 layers of 64 MiB: at once {at_once:.2f} s, one after another "
                           f"{in_turn:.2f} s; all their peaks of memory together {peaks:.1f} MiB, "
                           f"one alone {one:.1f} MiB.")
        if who == "Keycell":
            self.verdict("16 at once: time / one after another", at_once / in_turn, 1.0)
            self.verdict("16 at once: memory / 16 times that of one", peaks / (16 * one), 1.0)

    def pulls(self, samples, version):
        for who, runs in samples.items():
            self.others.append(f"{version}, a pull of an image with {node.LAYERS} layers of 1 MiB, {who}: "
                               f"{spread([it.wall for it in runs])} s.")
        if ratios := ratio(samples, lambda it: it.wall):
            self.others.append(f"The same, ours / Go: {spread(ratios)}.")

    def verdict(self, what, value, target, at_least=False):
        met = value >= target if at_least else value <= target
        sign = "at least" if at_least else "at most"
        self.verdicts.append(f"| {what} | {value:.2f} | {sign} {target} | {'met' if met else '**missed**'} |")

    def write(self, docs):
        self.verdict("peak memory, any size, MiB", max(self.peaks), 10)
        self.verdict("CPU time per byte, 64 MiB and above: most / least", median(self.growths), 1.25)
        (docs / "benchmark.svg").write_text(plot.draw(self.points, self.bars))
        (docs / "benchmark.md").write_text("\n".join([
            "# Benchmark", "",
            "Written by `make bench`; [performance.md](performance.md) explains it. Medians, with the "
            "least and the most of all runs in brackets. MiB/s are of the fastest run.", "",
            *self.machine, "", "![Throughput and start](benchmark.svg)", "",
            "## Targets", "", "| | measured | target | |", "|---|---|---|---|", *self.verdicts, "",
            "## Layers", "", "| layer | way | CPUs | | wall, ms | CPU, ms | MiB/s |",
            "|---|---|---|---|---|---|---|", *self.lines, "",
            "## Start to exit, a layer of 1 KiB", "", "| key | | wall, ms | CPU, ms |", "|---|---|---|---|",
            *self.starts, "", "## Beside these", "", *(f"- {line}" for line in self.others), ""]))
        print("\n".join(self.verdicts))
        print(f"bench: wrote {docs}/benchmark.md and {docs}/benchmark.svg")


WAYS = {"file": "file to /dev/null", "pipe": "pipe to pipe"}
LIMITS = {"hmac": "HMAC-SHA256", "ctr": "AES-256-CTR"}
START_TARGETS = {"rsa2048": 0.5, "p256": 0.35}


def machine(decoders, cpus):
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((it.split(":")[1].strip() for it in lines if it.startswith("model name")), "unknown")

    def first_line(*command):
        told = subprocess.run(command, capture_output=True, text=True).stdout
        return next(iter(told.splitlines()), "unknown")

    told = [f"- {model}, {len(cpus)} CPUs, load {os.getloadavg()[0]:.1f} at the start",
            f"- Linux {platform.release()}, {first_line('openssl', 'version').split('  ')[0]}, "
            f"{first_line('skopeo', '--version').split(' commit')[0]}"]
    ours = first_line(str(decoders[0].program), "--version")
    revision = first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    told.append(f"- {ours}, revision {revision}" + (", quick" if QUICK else ""))
    if len(decoders) > 1:
        told.append(f"- Go: the original, {built_of(decoders[1].program)}")
    return told


def built_of(program):
    """What Go notes in its programs of their modules and of itself."""
    content = program.read_bytes()
    library = re.search(rb"\tgithub.com/containers/ocicrypt\t(v[\d.]+)", content)
    compiler = re.search(rb"Go buildinf:.{0,32}?(go[\d.]+)", content, re.DOTALL)
    told = [f"{name} {found[1].decode()}" for name, found in (("ocicrypt", library), ("built by", compiler)) if found]
    return ", ".join(told) or "of a version that it does not tell"


if __name__ == "__main__":
    main()
