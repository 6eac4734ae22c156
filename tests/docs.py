#!/usr/bin/env python3
"""Checks that the documentation describes what exists: docs.py

- Links between documents lead to a file.
- Paths in backticks exist, in the documents that describe the code.
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
ABOUT_CODE = ["SECURITY.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/walls.md", "docs/glossary.md"]
GUIDE = "docs/architecture.md"
GUIDED = ["host/src", "core/src"]


def links(name, text):
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if ":" not in link and not ((ROOT / name).parent / link).exists():
            yield f"{name}: the link to `{link}` leads nowhere"


def paths(name, text):
    for quoted in re.findall(r"`([^`\n]+)`", text):
        first = quoted.split("/")[0]
        is_path = re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", quoted) and (name == GUIDE or (ROOT / first).is_dir())
        # What a build makes is not there before it.
        if is_path and first not in ("dist", "target") and not (ROOT / quoted).exists():
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
        if name in ABOUT_CODE or name.startswith("docs/decisions/"):
            faults += paths(name, text)
            faults += hostile_guests(name, text)
    faults += reading_guide(texts[GUIDE])
    faults += docs_tables.faults(ROOT)
    sys.exit("\n".join(faults) if faults else 0)


if __name__ == "__main__":
    main()
