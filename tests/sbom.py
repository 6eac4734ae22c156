#!/usr/bin/env python3
"""Writes what each program is made of as CycloneDX 1.6: sbom.py DIRECTORY

A file for each program, and one for the guest by itself. `cargo tree` tells what is linked, package by
package and for its target, as the build resolves it: neither the whole lock file, nor build scripts
and macros, which run on the machine that builds and nowhere else. Without a date or a random
number, so that the same sources make the same files.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CARGO = os.environ.get("CARGO", "cargo")
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"
WASM = "wasm32-wasip2"
LOCK = {
    (package["name"], package["version"]): package
    for package in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
}


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def tree(package, target, *options):
    """What is linked, and by what: the component of each crate, and the crates that it uses."""
    text = run(CARGO, "tree", "--locked", "--package", package, "--target", target, "--edges",
               "normal,no-proc-macro", "--prefix", "depth", "--no-dedupe", "--format", "|{p}|{l}|{r}", *options)
    components, uses, path = {}, {}, []
    for line in text.splitlines():
        depth, crate, license, repository = line.split("|")
        name, version = crate.split()[:2]
        component = of_crate(name, version.removeprefix("v"), license, repository)
        reference = component["bom-ref"]
        components[reference] = component
        uses.setdefault(reference, set())
        del path[int(depth):]
        if path:
            uses[path[-1]].add(reference)
        path.append(reference)
    return components, uses


def of_crate(name, version, license, repository):
    package = LOCK[name, version]
    purl = f"pkg:cargo/{name}@{version}"
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if "source" in package:
        assert package["source"] == REGISTRY, f"{name} is not from the registry"
        component["hashes"] = [{"alg": "SHA-256", "content": package["checksum"]}]
    component["licenses"] = [{"expression": license.replace(" / ", " OR ").replace("/", " OR ")}]
    if repository:
        component["externalReferences"] = [{"type": "vcs", "url": repository}]
    return component


def add_std(main, components, uses):
    """The standard library: linked too, and in no lock file."""
    version = rustc()["release"]
    reference = f"pkg:generic/rust-std@{version}"
    components[reference] = {
        "type": "library", "bom-ref": reference, "name": "rust-std", "version": version, "purl": reference,
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    }
    uses.setdefault(reference, set())
    uses[main].add(reference)


def add_linked(main, target, components, uses):
    """What a program that is linked statically has of the toolchain's libraries."""
    libc = Path(run("rustc", "--print", "sysroot").strip()) / f"lib/rustlib/{target}/lib/self-contained/libc.a"
    musl = re.search(rb"\0(1\.\d+\.\d+)\0", libc.read_bytes())[1].decode()
    llvm = rustc()["LLVM version"]
    for name, version, license in [("musl", musl, "MIT"),
                                   ("llvm-libunwind", llvm, "Apache-2.0 WITH LLVM-exception")]:
        reference = f"pkg:generic/{name}@{version}"
        components[reference] = {
            "type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference,
            "licenses": [{"expression": license}],
        }
        uses.setdefault(reference, set())
        uses[main].add(reference)


def rustc():
    """What the compiler says of itself."""
    return dict(line.split(": ", 1) for line in run("rustc", "-vV").splitlines() if ": " in line)


def write(out, file, program, target, main, components, uses):
    main = dict(components[main], type="application", name=program.name)
    if program.exists():
        digest = hashlib.sha256(program.read_bytes()).hexdigest()
        main["hashes"] = [{"alg": "SHA-256", "content": digest}]
    main["properties"] = [{"name": "keycell:target", "value": target}]
    others = [components[reference] for reference in sorted(components) if reference != main["bom-ref"]]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": main},
        "components": others,
        "dependencies": [
            {"ref": reference, "dependsOn": sorted(uses[reference])} if uses[reference] else {"ref": reference}
            for reference in sorted(uses)
        ],
    }
    (out / file).write_text(json.dumps(bom, indent=1) + "\n")
    print(f"sbom: {out.name}/{file}: {program.name} and {len(others)} components")


def main():
    out = Path(sys.argv[1]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    host = rustc()["host"]
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    named = lambda package: f"pkg:cargo/{package}@{version}"

    guest, used_by_guest = tree("keycell-guest", WASM)
    add_std(named("keycell-guest"), guest, used_by_guest)
    write(out, "decoder.wasm.cdx.json", out / "decoder.wasm", WASM, named("keycell-guest"), guest, used_by_guest)

    for package in ("ctd-decoder", "keycell-broker", "keycell"):
        target = f"{platform.machine()}-unknown-linux-musl" if package == "ctd-decoder" else host
        components, uses = tree(package, target)
        add_std(named(package), components, uses)
        if package == "ctd-decoder":
            # It carries the guest, compiled ahead of time.
            for reference, used in used_by_guest.items():
                uses.setdefault(reference, set()).update(used)
            components = guest | components
            uses[named(package)].add(named("keycell-guest"))
            add_linked(named(package), target, components, uses)
        write(out, f"{package}.cdx.json", out / package, target, named(package), components, uses)


main()
