#!/usr/bin/python3
"""`make timing`: whether a branch or an address depends on a secret, by valgrind's memcheck.

The secrets are marked as undefined, and memcheck follows each of their bits through all that is computed
from them; it reports a branch, or an address, that depends on one (the way of ctgrind, A. Langley, 2010).
Measured are the library as a program of this machine, and the same as WebAssembly, compiled as the
decoder compiles its guest. What is reported has to be in `ALLOWED`, with its reason; and `leak`, which
is not constant in time, has to be reported, or the measurement sees nothing.
"""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "target/release/examples/timing"
GUEST = ROOT / "target/timing/wasm32-wasip1/guest/examples/timing.wasm"
HOST = ROOT / "target/release/examples/timing_host"
OPERATIONS = ("rsa-2048", "rsa-3072", "p-256", "p-384", "p-521", "pkcs1v15", "cbc-padding", "leak")
# Functions that branch on something that depends on a secret, and why that reveals nothing about it.
ALLOWED = {
    # Eight places a call, by their instructions: comparisons of the length, and assertions.
    r"BoxedUint>::(rem|div_rem|div_rem_assign)$":
        "crypto-bigint's division: how many bits the divisor, a prime, has, and that it is not zero",
    r"timing::operations::rsa": "whether there is a message, where that function has taken in what it calls",
    r"ocicrypt_arithmetic::rsa::power": "whether the random number has an inverse modulo the prime, which it always has",
    r"ocicrypt_arithmetic::rsa::is_right": "whether the message is below the modulus, which it always is",
    r"ocicrypt_arithmetic::rsa::decrypt": "whether the message encrypts to the ciphertext again, which it always does",
    r"PublicKey<C>::from_sec1_bytes": "whether the shared point is on the curve, which it always is",
}
REPORT = re.compile(r"depends on uninitialised value|Use of uninitialised value|points to uninitialised")
PLACE = re.compile(r"(?:at|by) 0x([0-9A-F]+): (.*)")


def main():
    if platform.machine() != "x86_64":
        sys.exit("timing: valgrind's client requests are written for x86_64 here")
    wrong = []
    for how, command in (("native", lambda it: (NATIVE, it)), ("guest", lambda it: (HOST, GUEST, it))):
        for operation in OPERATIONS:
            reports = measure(command(operation))
            unknown = {name: count for name, count in reports.items() if not allowed(name)}
            told = ", ".join(f"{count} in {name}" for name, count in sorted(reports.items())) or "none"
            print(f"timing: {how}, {operation}: decisions that depend on a secret: {told}")
            if operation == "leak" and not reports:
                wrong.append(f"{how}: `leak` was not reported, so nothing was measured")
            elif operation != "leak":
                wrong += [f"{how}, {operation}: {name}" for name in unknown]
    if wrong:
        sys.exit("timing: not constant in time, or not known to be: " + "; ".join(wrong))


def allowed(name):
    return any(re.search(pattern, name) for pattern in ALLOWED)


def measure(command):
    """How often memcheck reports each function, by the function that the report is about."""
    valgrind = ("valgrind", "--tool=memcheck", "--error-limit=no", "--undef-value-errors=yes", "--num-callers=6",
                "--vex-iropt-register-updates=allregs-at-mem-access")
    done = subprocess.run([*valgrind, *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"timing: `{' '.join(map(str, command))}` failed under valgrind:\n{done.stderr[-3000:]}")
    functions = [line.split(" ", 2) for line in done.stdout.splitlines()]
    functions = [(int(start, 16), int(length, 16), name) for start, length, name in functions]
    reports, lines = {}, iter(done.stderr.splitlines())
    for line in lines:
        if not REPORT.search(line):
            continue
        found = PLACE.search(next(lines))
        name = name_of(int(found[1], 16), functions) or found[2].rsplit(" (", 1)[0]
        reports[name] = reports.get(name, 0) + 1
    return reports


def name_of(address, functions):
    return next((name for start, length, name in functions if start <= address < start + length), None)


if __name__ == "__main__":
    main()
