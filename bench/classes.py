#!/usr/bin/python3
"""`make guard`: whether wrapped keys that must be indistinguishable take the same work.

Counts the instructions of ocicrypt/examples/unwrap.rs, whose random numbers are fixed, so that two runs
with the same input take the same number. The messages of one group differ only in what an attacker must
not learn: whether the padding of CBC was right, where the text stopped to be JSON, whether the padding of
PKCS#1 v1.5 was right, which cipher an OpenPGP session key is for.
"""

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "ocicrypt/tests/data"
PROGRAM = ROOT / "target/release/examples/unwrap"
sys.path.insert(0, str(ROOT / "conformance"))
# Of all instructions of a run; one private-key operation of RSA-2048 is nine tenths of them.
MOST = 0.001
# Of the data of OpenPGP messages, as GnuPG calls them.
CIPHERS = ("3DES", "CAST5", "AES", "AES192", "AES256")


def main():
    from makers import kit
    if not os.access(PROGRAM, os.X_OK):
        sys.exit(f"guard: `{PROGRAM}` cannot be run: `make guard` builds it")
    rsa = (DATA / "keys/rsa-2048.pkcs8.pem", DATA / "pkcs7/rsa-2048.cert.pem")
    groups = [("CMS with CBC", kit.PKCS7, rsa, cbc()), ("CMS with GCM and PKCS#1 v1.5", kit.PKCS7, rsa, gcm())]
    ring = (DATA / "pgp/keys/rsa-2048.gpg",)
    groups += [(f"OpenPGP with RSA and {cipher}", kit.PGP, ring, openpgp(cipher)) for cipher in CIPHERS]
    wrong = []
    with tempfile.TemporaryDirectory() as work:
        for group, scheme, keys, messages in groups:
            counts = {}
            for name, message in messages.items():
                path = Path(work) / "payload"
                path.write_text(json.dumps(kit.payload(kit.LAYER.descriptor(scheme, [message]))))
                counts[name] = count(path, keys)
            least, most = min(counts.values()), max(counts.values())
            difference = most / least - 1
            print(f"guard: {group}: {least:,} to {most:,} instructions, {difference:.3%} apart")
            if difference > MOST:
                wrong += [f"{group}: " + ", ".join(f"{name} {found:,}" for name, found in counts.items())]
    if wrong:
        sys.exit(f"guard: over {MOST:.1%} apart, what must not be told apart: " + "; ".join(wrong))


def cbc():
    from makers import kit
    from makers.malleable import BLOCK, Message
    options = kit.LAYER.options()
    # One message: the same random key for all.
    base = Message(options)

    def altered(change):
        message = Message(options)
        message.key, message.wrapped = base.key, base.wrapped
        message.with_blocks(base.blocks())
        change(message)
        return message.cms()

    last = BLOCK - len(options) % BLOCK
    messages = {"good": altered(lambda it: None)}
    for padding in (0, 1, 5, 17):
        messages[f"padding {padding}"] = altered(lambda it: it.flipped(-1 - BLOCK, last ^ padding))
    messages["no JSON from the first byte"] = altered(lambda it: it.flipped(0, 1))
    messages["another name"] = altered(lambda it: it.flipped(4, 2))
    for place in range(0, len(options) - BLOCK, BLOCK):
        messages[f"garbage at {place}"] = altered(lambda it: it.flipped(BLOCK + place, 0x80))
    wrapped = bytearray(base.wrapped)
    wrapped[100] ^= 1
    messages["wrapped key"] = altered(lambda it: setattr(it, "wrapped", bytes(wrapped)))
    return messages


def of(file, *names):
    found = json.loads((DATA / file).read_text())
    return {case["name"]: base64.b64decode(case.get("cms") or case["message"]) for case in found["cases"] if case["name"] in names}


def flipped(message, place):
    return message[:place] + bytes([message[place] ^ 1]) + message[place + 1:]


def gcm():
    message = of("pkcs7/messages.json", "aes-256-gcm DER")["aes-256-gcm DER"]
    wrapped = message.index(bytes.fromhex("04820100")) + 4
    return {"tag": flipped(message, len(message) - 1), "wrapped key": flipped(message, wrapped + 100), "its end": flipped(message, wrapped + 255)}


def openpgp(cipher):
    """The data altered, and the session key."""
    name = f"cipher {cipher} rsa-2048"
    message = of("pgp/gnupg.json", name)[name]
    return {"data": flipped(message, len(message) - 30), "session key": flipped(message, 100), "its end": flipped(message, 270)}


def count(payload, keys):
    """Instructions from start to exit."""
    with tempfile.NamedTemporaryFile("r") as told:
        valgrind = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={told.name}")
        done = subprocess.run([*valgrind, PROGRAM, payload, *keys], capture_output=True, text=True)
        log = told.read()
    found = re.search(r"Collected : (\d+)", log)
    if done.returncode or not found:
        sys.exit(f"guard: `{PROGRAM}` failed under valgrind:\n{log}{done.stderr}")
    return int(found[1])


if __name__ == "__main__":
    main()
