#!/usr/bin/python3
"""`make guard`: how many instructions a run of the decoder takes, against bench/instructions.json.

Counts do not depend on what else the machine does, as times would. valgrind has no SHA
instructions, so what is counted is the start and the way of the bytes, with SHA-256 in software.
With `--write` the counts become the new ones.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import fixtures
from runs import Decoder

ROOT = Path(__file__).resolve().parent.parent
NOTED = Path(__file__).with_name("instructions.json")
RUNS = {"P-256, 1 KiB": ("p256", 1 << 10), "RSA-2048, 1 KiB": ("rsa2048", 1 << 10),
        "P-256, 1 MiB": ("p256", 1 << 20)}
# Blinding and hash tables draw random numbers.
TOLERANCE = 0.03


def main():
    dist = Path(os.environ.get("KEYCELL_DIST", ROOT / "dist"))
    decoder = Decoder("Keycell", dist / "ctd-decoder")
    work = ROOT / "target/bench"
    work.mkdir(parents=True, exist_ok=True)
    counts = {name: count(decoder, fixtures.layer(work, *what)) for name, what in RUNS.items()}
    if "--write" in sys.argv[1:]:
        NOTED.write_text(json.dumps(counts, indent=2) + "\n")
        return
    if not NOTED.exists():
        sys.exit(f"guard: there is no `{NOTED.relative_to(ROOT)}`: make it with `make guard-write`")
    noted = json.loads(NOTED.read_text())
    worse = []
    for name, found in counts.items():
        change = found / noted[name] - 1
        print(f"guard: {name}: {found:,} instructions, {change:+.1%}")
        if change > TOLERANCE:
            worse.append(name)
        elif change < -TOLERANCE:
            print(f"guard: {name} takes fewer now: note that with `make guard-write`")
    if worse:
        sys.exit(f"guard: {TOLERANCE:.0%} more instructions than noted, or worse: {'; '.join(worse)}. "
                 "Where that is meant, `make guard-write` notes the new counts")


def count(decoder, layer):
    """Instructions from start to exit."""
    with tempfile.NamedTemporaryFile("r") as told:
        valgrind = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={told.name}")
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
