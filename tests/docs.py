#!/usr/bin/env python3
"""Checks that SECURITY.md and docs/ speak of what is there: docs.py [--write]

Paths in backticks exist, names of hostile guests are fixtures, every file of the host stands in the
reading guide, and is as long as that says, rounded up to fifty lines. `--write` mends the numbers, and puts
files that are missing at the end of the guide, with the first sentence of their documentation. Tables that
repeat what the code says are compared with it in `docs_tables.py`.
"""

import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True
import docs_tables  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
GUESTS = ROOT / "tests/hostile/guests"
fixtures = {path.stem for path in [*GUESTS.glob("examples/*.rs"), *GUESTS.glob("text/*.wat")]}
faults = []

security = (ROOT / "SECURITY.md").read_text()
architecture = (ROOT / "docs/architecture.md").read_text()
for name, text in (("SECURITY.md", security), ("docs/architecture.md", architecture)):
    for quoted in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", quoted) and not (ROOT / quoted).exists():
            faults.append(f"{name}: there is no `{quoted}`")
        if re.fullmatch(r"(unwrap|decrypt|inside)_\w+", quoted) and quoted not in fixtures:
            faults.append(f"{name}: there is no hostile guest `{quoted}`")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        if not ((ROOT / name).parent / link).exists():
            faults.append(f"{name}: the link to `{link}` leads nowhere")

listed = set()


def counted(row):
    files = re.findall(r"`([^`]+)`", row[2])
    listed.update(files)
    lines = sum(len((ROOT / file).read_text().splitlines()) for file in files if (ROOT / file).exists())
    most = -(-lines // 50) * 50
    if int(row[3]) != most:
        faults.append(f"docs/architecture.md: {', '.join(files)}: {most} lines, not {row[3]}")
    return f"{row[1]}{row[2]} | {most} |"


right = re.sub(r"^(\| [^|]*\| )(`[^|]+`) \| (\d+) \|", counted, architecture, flags=re.MULTILINE)
for path in sorted((ROOT / "host/src").rglob("*.rs")):
    if (file := str(path.relative_to(ROOT))) not in listed:
        faults.append(f"docs/architecture.md: `{file}` is not in the reading guide")
        lines = path.read_text().splitlines()
        documented = " ".join(line.removeprefix("//!").strip() for line in lines if line.startswith("//!"))
        sentence = re.split(r"(?<=[.:]) |[.:]$", documented)[0].rstrip(".:").replace("|", ",")
        row = f"| | `{file}` | {-(-len(lines) // 50) * 50} | {sentence[:1].lower()}{sentence[1:]} |\n"
        end = right.index("\n", right.rindex("\n| | `host/src/") + 1) + 1
        right = right[:end] + row + right[end:]
faults += docs_tables.faults(ROOT)
if "--write" in sys.argv:
    (ROOT / "docs/architecture.md").write_text(right)

sys.exit("\n".join(faults) if faults else 0)
