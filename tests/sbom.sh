#!/usr/bin/env bash
# Writes dist/*.cdx.json, what the programs in dist/ are made of, and checks it.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 tests/sbom.py dist
# CycloneDX's schema comes with its library.
library=target/tools/cyclonedx
[ -d "$library/cyclonedx" ] || python3 -m pip install --quiet --disable-pip-version-check \
    --no-warn-conflicts --root-user-action=ignore --target "$library" \
    'cyclonedx-python-lib[json-validation]==11.12.0'
PYTHONPATH=$library python3 tests/sbom_check.py dist
