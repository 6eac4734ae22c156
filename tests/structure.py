#!/usr/bin/env python3
"""Checks the size of files and functions, and the types of errors: structure.py

- A `.rs`, `.py` or `.sh` file has at most 500 lines.
- A function in Rust or Python has at most 80 lines, from its signature to its last line; comments and blank
  lines count.
- `Result<_, String>` stands in tests only: errors are enums, and their text is made at the edge.

The Rust code is formatted by rustfmt, so a function ends at the first `}` that is indented like its `fn`.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES = 500
FUNCTION_LINES = 80
FUNCTION = re.compile(
    r'^(?P<indent> *)(?:pub(?:\([^)]*\))? )?(?:(?:default|const|async|unsafe|extern(?: "[^"]*")?) )*fn (?P<name>\w+)'
)
TEST_MODULE = re.compile(r"^ *#\[cfg\((?:all\()?test\b[^\n]*\]\n *(?:pub(?:\([^)]*\))? )?mod \w+ \{", re.MULTILINE)


def tracked_files():
    """The Rust, Python and shell files of the repository that exist in the working tree."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.rs", "*.py", "*.sh"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    files = (ROOT / name for name in sorted(set(names.split("\0"))) if name)
    return [path for path in files if path.is_file() and not path.is_symlink()]


def rust_functions(lines):
    """The name, first line and length of each function with a body."""
    for number, line in enumerate(lines):
        found = FUNCTION.match(line)
        if not found:
            continue
        end = found["indent"] + "}"
        for last in range(number, len(lines)):
            text = lines[last].split(" // ")[0].rstrip()
            if last > number and lines[last].rstrip() == end:
                yield found["name"], number + 1, last - number + 1
                break
            # A function without a body, or with one that stands in the line of its signature.
            indented = len(lines[last]) - len(lines[last].lstrip())
            if indented == len(found["indent"]) and text.endswith((";", "}")):
                break


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def error_type(text, start):
    """The second parameter of a `Result` whose `<` stands before `start`; an alias has only one."""
    depth, begin = 0, start
    for at in range(start, len(text)):
        character = text[at]
        if character in "<([{":
            depth += 1
        elif character == ">" and text[at - 1] == "-":
            continue
        elif character in ">)]}":
            if depth == 0:
                return text[begin:at].strip().rstrip(",").strip() if begin > start else ""
            depth -= 1
        elif character == "," and depth == 0 and text[at + 1 :].lstrip()[:1] != ">":
            begin = at + 1
    return ""


def string_errors(path, text):
    """The lines with a `Result<_, String>` outside tests."""
    if "tests" in path.relative_to(ROOT).parts or path.stem == "tests":
        return
    tests = TEST_MODULE.search(text)
    text = text[: tests.start()] if tests else text
    text = re.sub(r"//[^\n]*", lambda comment: " " * len(comment[0]), text)
    for found in re.finditer(r"\bResult<", text):
        if error_type(text, found.end()) in ("String", "std::string::String", "alloc::string::String"):
            yield text.count("\n", 0, found.start()) + 1


def faults_of(path):
    name = path.relative_to(ROOT)
    text = path.read_text()
    lines = text.splitlines()
    if len(lines) > FILE_LINES:
        yield f"{name}: {len(lines)} lines, and at most {FILE_LINES} are allowed"
    functions = []
    if path.suffix == ".rs":
        functions = rust_functions(lines)
        for number in string_errors(path, text):
            yield f"{name}:{number}: the error of a `Result` is a `String`"
    elif path.suffix == ".py":
        functions = python_functions(text)
    for function, number, length in functions:
        if length > FUNCTION_LINES:
            yield f"{name}:{number}: `{function}` has {length} lines, and at most {FUNCTION_LINES} are allowed"


def main():
    files = tracked_files()
    faults = [fault for path in files for fault in faults_of(path)]
    print(f"{len(files)} files, {len(faults)} too long or with a `String` for an error")
    sys.exit("\n".join(faults) if faults else 0)


if __name__ == "__main__":
    main()
