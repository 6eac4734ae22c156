#!/usr/bin/env python3
"""Checks what sbom.py wrote: sbom_check.py DIRECTORY

Against CycloneDX's own schema, by CycloneDX's own library; and against what Keycell promises of its
programs: no compiler in `ctd-decoder`, its guest within it, one RustCrypto generation in the guest.
"""

import hashlib
import json
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

directory = Path(sys.argv[1])
names = {}
for program in ("ctd-decoder", "decoder.wasm", "keycell-broker", "keycell"):
    text = (directory / f"{program}.cdx.json").read_text()
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert fault is None, f"{program}: {fault}"
    bom = json.loads(text)
    components = {component["bom-ref"]: component for component in bom["components"]}
    main = bom["metadata"]["component"]
    digest = hashlib.sha256((directory / program).read_bytes()).hexdigest()
    assert main["hashes"] == [{"alg": "SHA-256", "content": digest}], f"{program}: another program's digest"

    # Every component is used by something, and everything that is used is there.
    used = {reference for item in bom["dependencies"] for reference in item.get("dependsOn", [])}
    assert used == components.keys(), f"{program}: {used ^ components.keys()}"
    for component in components.values():
        assert component["licenses"][0]["expression"], f"{program}: no licence of {component['name']}"
    names[program] = {component["name"] for component in components.values()}

decoder, guest = names["ctd-decoder"], names["decoder.wasm"]
assert not {"cranelift-codegen", "wasmtime-internal-cranelift", "winch-codegen"} & decoder, "a compiler in ctd-decoder"
assert "wasmtime" in decoder and "keycell-guest" in decoder and guest <= decoder
assert "cranelift-codegen" in names["keycell"], "the tool has no compiler"
assert not {"wasmtime", "libc", "tokio"} & guest, "the guest is linked with the host's crates"
print(f"sbom: {len(names)} files are CycloneDX 1.6; {len(decoder)} names in ctd-decoder, {len(guest)} in its guest")
