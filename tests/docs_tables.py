"""Compares tables in the documents with the code that they describe. `docs.py` calls this.

| table | code |
|---|---|
| imports in `wit/decoder.wit` | what `core/src/linker.rs`, `host/src/sandbox/files.rs` and `host/src/guests/sockets.rs` link, what `cli/src/guest/imports.rs` accepts |
| keys in `docs/operating.md` | flags in `settings/src/flags.rs`, with their values and defaults |
"""

import re


def faults(root):
    return [*imports(root), *keys(root)]


def imports(root):
    wit = (root / "wit/decoder.wit").read_text()
    accepted_by = (root / "cli/src/guest/imports.rs").read_text()
    linked = set()
    for file in ("core/src/linker.rs", "host/src/sandbox/files.rs"):
        linked |= linked_interfaces((root / file).read_text())
    accepted = accepted_interfaces(accepted_by)
    # All interfaces of this package are defined by what a guest imports of them.
    package = re.search(r'const PACKAGE: &str = "([^"]+)"', (root / "host/src/guests/sockets.rs").read_text())[1]
    linked |= {name for name in accepted if name.startswith(package)}
    for name in sorted(linked ^ accepted):
        where = ("linker.rs", "imports.rs") if name in linked else ("imports.rs", "linker.rs")
        yield f"`{name}` is in {where[0]} and not in {where[1]}"
    covered = {}
    for name, granted in import_rows(wit):
        matches = {each for each in linked | accepted if each == name or each.startswith(name + "/")}
        if "does not exist" in granted:
            yield from (f"decoder.wit: `{each}` does exist" for each in sorted(matches))
        elif not matches:
            yield f"decoder.wit: no guest can import `{name}`, which the table lists"
        for each in matches:
            covered.setdefault(each, []).append(name)
    for name in sorted(linked):
        if len(covered.get(name, [])) != 1:
            yield f"decoder.wit: `{name}` is in {len(covered.get(name, []))} rows of the table, not in one"
    version = re.search(r"^package keycell:decoder@(\d+\.\d+)\.\d+;", wit, re.MULTILINE)[1]
    if f'CONTRACT: &str = "{version}"' not in accepted_by:
        yield f"cli/src/guest/imports.rs: `CONTRACT` is not {version}, as in decoder.wit"


def linked_interfaces(text):
    table = text[re.search(r"const INTERFACES", text).start() :]
    table = table[: table.index("\n];")]
    return set(re.findall(r'\(\s*"((?:wasi|keycell):[\w-]+/[\w-]+)"', table))


def accepted_interfaces(text):
    grants = re.findall(r'package: "([^"]+)",\s*interfaces: &\[(.*?)\]', text, re.DOTALL)
    return {f"{package}/{name}" for package, names in grants for name in re.findall(r'"([^"]+)"', names)}


def import_rows(wit):
    """Each name in the table of imports, in full, and what is said of it."""
    table = wit[wit.index("/// | import |") :]
    for row in table[: table.index("\n///\n")].splitlines()[2:]:
        cells = [cell.strip() for cell in row.removeprefix("///").strip().strip("|").split("|")]
        for quoted in re.findall(r"`([^`]+)`", cells[0]):
            before, listed = re.fullmatch(r"([^{]*)(?:\{(.*)\})?", quoted).groups()
            for name in [before + each.strip() for each in (listed or "").split(",")]:
                yield (name if ":" in name else f"keycell:decoder/{name}"), " ".join(cells[1:])


def keys(root):
    page = (root / "docs/operating.md").read_text()
    table = page[page.index("| key | value | default |") :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table]
    told = {row[0].strip("`"): row[1:] for row in rows}
    flags = dict(declared_flags((root / "settings/src/flags.rs").read_text()))
    for name in sorted(told.keys() ^ flags.keys()):
        where = "and not a flag" if name in told else "a flag, and not told"
        yield f"docs/operating.md: `{name}` is in the table of keys {where}" if name in told else (
            f"docs/operating.md: `{name}` is {where} in the table of keys"
        )
    store = re.search(r'DEFAULT_STORE: &str = "([^"]+)"', (root / "guest-store/src/store.rs").read_text())[1]
    for name in told.keys() & flags.keys():
        values, default = flags[name]
        value_cell, default_cell = told[name][:2]
        if values and values != re.findall(r"[\w-]+", value_cell):
            yield f"docs/operating.md: `{name}` takes {', '.join(values)}, not {value_cell}"
        default = store if default == "DEFAULT_STORE" else default.strip('"')
        if default and default != default_cell.strip('`"'):
            yield f"docs/operating.md: the default of `{name}` is {default}, not {default_cell}"


def declared_flags(text):
    """Each flag: the values that are possible, where they are listed, and its default."""
    text = text[text.index("fn layer_flags") : text.index("/// A path, which may be empty.")]
    parts = re.split(r'(?:Arg::new|switch)\("([\w-]+)"\)', text)
    kinds = re.findall(r"(Arg::new|switch)\(\"", text)
    for kind, name, rest in zip(kinds, parts[1::2], parts[2::2], strict=True):
        if kind != "switch" and ".long(" not in rest:
            continue  # words that are ignored
        if kind == "switch":
            yield name, (["true", "false"], "false")
            continue
        listed = re.search(r"value_parser\(\[([^\]]*)\]\)", rest)
        default = re.search(r'default_value\(("[^"]*"|\w+)\)', rest)
        yield name, (re.findall(r'"([^"]+)"', listed[1]) if listed else [], default[1] if default else "")
