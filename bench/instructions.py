#!/usr/bin/python3
"""`make guard`: how many instructions a run of the decoder takes, against bench/instructions.json.

Counts do not depend on what else the machine does, as times would. What valgrind cannot do is left
out: the operating system's walls (host/examples/without-walls.rs), and the processor's SHA and
wide AES instructions, instead of which the programs take those that valgrind shows them. It shows
every processor of one architecture the same ones, but for AVX2, so that counts hold on all machines
that are named with them. With `--write` the counts become the new ones.
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import fixtures
from runs import Decoder

ROOT = Path(__file__).resolve().parent.parent
NOTED = Path(__file__).with_name("instructions.json")
PROGRAM = ROOT / f"target/{platform.machine()}-unknown-linux-musl/release/examples/without-walls"
RUNS = {"P-256, 1 KiB": ("p256", 1 << 10), "RSA-2048, 1 KiB": ("rsa2048", 1 << 10),
        "P-256, 1 MiB": ("p256", 1 << 20)}
# Other keys and random numbers make less than a tenth of that: see docs/performance.md.
TOLERANCE = 0.05


def main():
    decoder = Decoder("Keycell", PROGRAM)
    if not os.access(decoder.program, os.X_OK):
        sys.exit(f"guard: `{decoder.program}` cannot be run: `make guard` builds it")
    here = counted_with()
    noted = json.loads(NOTED.read_text()) if NOTED.exists() else None
    write = "--write" in sys.argv[1:]
    if not write:
        if not noted:
            sys.exit(f"guard: there is no `{NOTED.relative_to(ROOT)}`: make it with `make guard-write`")
        if noted["counted_with"] != here:
            # As with tests that lack a tool: where nobody looks, what tests nothing must be red.
            told = f"guard: nothing was compared: noted with {noted['counted_with']}, and here is {here}"
            sys.exit(told if os.environ.get("CI") else print(told))
    work = ROOT / "target/bench"
    work.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, what in RUNS.items():
        layer = fixtures.layer(work, *what)
        decoder.check(layer)
        counts[name] = count(decoder, layer)
    if write:
        NOTED.write_text(json.dumps({"counted_with": here, "instructions": counts}, indent=2) + "\n")
    else:
        compare(counts, noted["instructions"])


def compare(counts, noted):
    worse = []
    for name, found in counts.items():
        change = found / noted[name] - 1
        print(f"guard: {name}: {found:,} instructions, {change:+.2%}")
        if change > TOLERANCE:
            worse.append(name)
        elif change < -TOLERANCE:
            print(f"guard: {name} takes fewer now: note that with `make guard-write`")
    if worse:
        sys.exit(f"guard: over {TOLERANCE:.0%} more instructions than noted: {'; '.join(worse)}. "
                 "Where that is meant, `make guard-write` notes the new counts")


def counted_with():
    """What counts depend on, beside the program."""
    flags = next((it for it in Path("/proc/cpuinfo").read_text().splitlines() if it.startswith("flags")), "")
    told = subprocess.run(["valgrind", "--version"], check=True, capture_output=True, text=True).stdout
    return {"machine": platform.machine(), "avx2": "avx2" in flags.split(),
            "valgrind": told.strip().removeprefix("valgrind-")}


def count(decoder, layer):
    """Instructions from start to exit."""
    with tempfile.NamedTemporaryFile("r") as told:
        # The decoder's timer would interrupt it as often as the load wants; callgrind does not survive it.
        valgrind = ("env", "--block-signal=ALRM", "valgrind", "--tool=callgrind",
                    "--callgrind-out-file=/dev/null", f"--log-file={told.name}")
        null, encrypted = os.open("/dev/null", os.O_WRONLY), os.open(layer.blob, os.O_RDONLY)
        process = decoder.start(layer, encrypted, null, valgrind)
        status = os.waitpid(process, 0)[1]
        os.close(null)
        os.close(encrypted)
        log = told.read()
        found = re.search(r"Collected : (\d+)", log)
        if status or not found:
            sys.exit(f"guard: `{decoder.program}` failed under valgrind:\n{log}")
        return int(found[1])


if __name__ == "__main__":
    main()
