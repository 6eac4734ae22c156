#!/usr/bin/env python3
"""Prints which files import which, and fails where imports run in a circle: imports.py [--edges|--folders]

A module may use its own submodules, and they may use it: a file and the files in its folder (`key.rs` and
`key/`) count as one module, so a circle of a parent with its children is none. Any other circle between
crates, between folders, between modules or between files is a fault. Imports inside `#[cfg(test)] mod` are
not looked at.

Modules are compared level by level: an import of `a/c/y.rs` by `a/b/x.rs` is an import of the module `a/c` by
the module `a/b`. Folders likewise, without the files beside them.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES = {
    "host": "keycell_host", "engine": "keycell_engine", "guest-store": "keycell_guest_store",
    "trusted-path": "keycell_trusted_path", "guest": "keycell_guest",
    "ocicrypt": "ocicrypt", "broker": "keycell_broker", "broker/protocol": "keycell_broker_protocol",
    "walls": "keycell_walls", "cli": "keycell", "core": "keycell_core", "settings": "keycell_settings",
    "diagnostic": "keycell_diagnostic", "keys-directory": "keycell_keys_directory",
    "ocicrypt/arithmetic": "ocicrypt_arithmetic", "nested-build": "keycell_nested_build",
    "content-store": "keycell_content_store",
}  # fmt: skip
# Nothing can depend on the tool, and `keycell` is also the name of the contract's package.
LIBRARIES = set(CRATES.values()) - {"keycell"}


def module_files(crate):
    """The files of a crate by the path of their module: `()` for the root."""
    source = ROOT / crate / "src"
    files = {}
    for path in sorted(source.rglob("*.rs")):
        parts = path.relative_to(source).with_suffix("").parts
        if parts[-1] in ("lib", "mod") or (parts == ("main",) and not (source / "lib.rs").exists()):
            parts = parts[:-1]
        files[parts] = path
    return files


def without_comments_and_tests(text):
    text = re.sub(r"//[^\n]*", "", text)
    at = text.find("#[cfg(test)]\nmod ")
    return text if at < 0 else text[:at]


def expanded(tree, prefix=()):
    """The paths of a `use` tree."""
    tree = tree.strip()
    if "{" not in tree:
        path = tree.split(" as ")[0].strip()
        return [prefix + tuple(part.strip() for part in path.split("::") if part.strip())]
    head, rest = tree.split("{", 1)
    rest = rest[: rest.rindex("}")]
    head = prefix + tuple(part.strip() for part in head.split("::") if part.strip())
    found, depth, item = [], 0, ""
    for character in rest + ",":
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            found += expanded(item, head) if item.strip() else []
            item = ""
        else:
            item += character
    return found


def paths(text):
    for use in re.findall(r"^\s*(?:pub(?:\([^)]*\))? )?use ([^;]+);", text, flags=re.MULTILINE):
        yield from expanded(use)
    body = re.sub(r"^\s*(?:pub(?:\([^)]*\))? )?use [^;]+;", "", text, flags=re.MULTILINE)
    for path in re.findall(r"(?<![\w:])(?:crate|super|self)(?:::\w+)+", body):
        yield tuple(path.split("::"))
    for name in LIBRARIES:
        for path in re.findall(rf"(?<![\w:]){name}(?:::\w+)+", body):
            yield tuple(path.split("::"))
    # `use crate::key;` and then `key::parse(…)` is an import of `key` already.


def resolve(crate, files, module, path):
    """The file that a path leads to, or None where that is another project's."""
    head, *rest = path
    if head == "crate":
        target = (crate, tuple(rest))
    elif head == "self":
        target = (crate, module + tuple(rest))
    elif head == "super":
        up = module
        rest = list(path)
        while rest and rest[0] == "super":
            up, rest = up[:-1], rest[1:]
        target = (crate, up + tuple(rest))
    elif head in LIBRARIES:
        target = (next(folder for folder, name in CRATES.items() if name == head), tuple(rest))
    elif module + (head,) in files[crate]:
        target = (crate, module + tuple(path))
    else:
        return None
    owner, parts = target
    while parts and parts not in files[owner]:
        parts = parts[:-1]
    return files[owner].get(parts)


def circles(graph):
    """Strongly connected components of more than one node (Tarjan)."""
    index, low, stack, found, state = {}, {}, [], [], [0]

    def visit(node):
        index[node] = low[node] = state[0]
        state[0] += 1
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                found.append(sorted(component))

    sys.setrecursionlimit(10_000)
    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def module_of(path):
    """The crate of a file and the path of its module, as one tuple: `("broker/protocol", "fields")`."""
    parts = path.relative_to(ROOT).parts
    at = parts.index("src")
    names = parts[at + 1 :]
    name = names[-1].removesuffix(".rs")
    return ("/".join(parts[:at]), *names[:-1], *([] if name in ("lib", "main", "mod") else [name]))


def folder_of(path):
    """The folder that a file belongs to: `key.rs` belongs to `key/` where there is one."""
    own = module_of(path)
    return own if path.with_suffix("").is_dir() or path.name in ("lib.rs", "main.rs", "mod.rs") else own[:-1]


def between(edges, of):
    """The imports between modules or folders: each pair below the last one that contains both."""
    graph = {}
    for path, targets in edges.items():
        for target in targets:
            one, other = of(path), of(target)
            level = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
            if level:  # neither contains the other, and they are of one crate
                graph.setdefault(one[: level + 1], set()).add(other[: level + 1])
    return graph


def named(module):
    return f"{module[0]}:{'/'.join(module[1:])}"


def is_parent_with_child(component):
    """A component that is one file and files below the folder of its name."""
    for parent in component:
        folder = parent.parent if parent.name in ("mod.rs", "lib.rs", "main.rs") else parent.with_suffix("")
        if all(other == parent or folder in other.parents for other in component):
            return True
    return False


def main():
    files = {crate: module_files(crate) for crate in CRATES}
    edges = {}
    for crate in CRATES:
        for module, path in files[crate].items():
            text = without_comments_and_tests(path.read_text())
            targets = {resolve(crate, files, module, found) for found in paths(text)}
            edges[path] = {target for target in targets if target and target not in (path, files[crate].get(()))}
        edges[files[crate].get(())] = set()  # the root declares modules and hands names on
    short = lambda path: str(path.relative_to(ROOT))  # noqa: E731
    if "--edges" in sys.argv:
        for path in sorted(edges):
            for target in sorted(edges[path]):
                print(f"{short(path)} -> {short(target)}")
    modules, folders = between(edges, module_of), between(edges, folder_of)
    crates = {}
    for path, targets in edges.items():
        for target in targets:
            if module_of(path)[0] != module_of(target)[0]:
                crates.setdefault(module_of(path)[0], set()).add(module_of(target)[0])
    if "--folders" in sys.argv:
        for one in sorted(crates):
            print(f"{one} -> {', '.join(sorted(crates[one]))}")
        for one in sorted(folders):
            print(f"{named(one)} -> {', '.join(named(other) for other in sorted(folders[one]))}")
    faults = [f"crates import each other: {', '.join(found)}" for found in circles(crates)]
    for what, graph in (("folders", folders), ("modules", modules)):
        faults += [f"{what} import each other: {', '.join(map(named, found))}" for found in circles(graph)]
    for found in circles(edges):
        if not is_parent_with_child(found):
            faults.append(f"files import each other: {', '.join(map(short, found))}")
    print(f"{len(edges)} files, {sum(map(len, edges.values()))} imports, {len(faults)} circles")
    sys.exit("\n".join(faults) if faults else 0)


if __name__ == "__main__":
    main()
