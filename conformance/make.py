#!/usr/bin/env python3
"""Makes the cases of `cases/` anew, with the programs of others. See ../docs/conformance.md.

Needs openssl 3, GnuPG 2.2, skopeo and umoci, and Python's jwcrypto and cryptography (Debian's will do).
Families can be named: `make.py jwe keys`. Keys and certificates are those of ../ocicrypt/tests/data.
"""

import importlib, os, sys

FAMILIES = ("jwe", "pkcs7", "pgp", "keys", "payload", "options", "layer", "process", "provider",
            "numbers", "malleable", "decompress")

if __name__ == "__main__":
    os.makedirs(os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases"), exist_ok=True)
    for name in sys.argv[1:] or FAMILIES:
        family = importlib.import_module(f"makers.{name}").make()
        print(f"{family.write():4} {name}")
