#!/usr/bin/env python3
"""Checks that the documentation describes what exists: docs.py

- Links between documents lead to a file.
- Paths in backticks exist.
- Hostile guests that are named exist.
- The reading guide in docs/architecture.md names every file of `host/src` and `core/src`.
- Tables that repeat what the code says are compared with the code, in `docs_tables.py`.
"""

import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True
import docs_tables  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])
SOURCES = (".rs", ".py", ".sh", ".wit", ".toml", ".md", ".json")
GUIDE = "docs/architecture.md"
GUIDED = ["host/src", "core/src"]


def links(name, text):
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if ":" not in link and not ((ROOT / name).parent / link).exists():
            yield f"{name}: the link to `{link}` leads nowhere"


def paths(name, text):
    """Paths of sources and folders (with a slash at the end), from the root or the document's folder."""
    for quoted in re.findall(r"`([^`\n]+)`", text):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*/[\w.-]*", quoted) or not quoted.endswith((*SOURCES, "/")):
            continue
        # What a build or a run makes is not there before it.
        made = quoted.startswith(("dist/", "target/", "fuzz/artifacts/", "fuzz/seeds/TARGET/"))
        if not made and not (ROOT / quoted).exists() and not ((ROOT / name).parent / quoted).exists():
            yield f"{name}: there is no `{quoted}`"


def hostile_guests(name, text):
    folder = ROOT / "tests/hostile/guests"
    guests = {path.stem for path in [*folder.glob("examples/*.rs"), *folder.glob("text/**/*.wat")]}
    for quoted in re.findall(r"`((?:unwrap|decrypt|inside)_\w+)`", text):
        if quoted not in guests:
            yield f"{name}: there is no hostile guest `{quoted}`"


def reading_guide(text):
    """A file stands in the guide by its path, or all of its folder does: `host/src/broker/`."""
    quoted = set(re.findall(r"`([^`\n]+)`", text))
    for path in sorted(path for folder in GUIDED for path in (ROOT / folder).rglob("*.rs")):
        name = path.relative_to(ROOT)
        folders = {f"{folder}/" for folder in name.parents if len(folder.parts) > 2}
        if str(name) not in quoted and not folders & quoted:
            yield f"{GUIDE}: `{name}` is not in the reading guide"


def main():
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in DOCUMENTS}
    faults = []
    for name, text in texts.items():
        faults += links(name, text)
        faults += paths(name, text)
        faults += hostile_guests(name, text)
    faults += reading_guide(texts[GUIDE])
    faults += docs_tables.faults(ROOT)
    sys.exit("\n".join(faults) if faults else 0)


if __name__ == "__main__":
    main()
