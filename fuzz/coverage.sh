#!/usr/bin/env bash
# Which lines of the parsers the seeds and the corpus reach: one table for all targets together.
# Needs what run.sh needs, and `rustup component add llvm-tools --toolchain nightly`.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc +nightly -vV | sed -n 's/^host: //p')
tools=$(rustc +nightly --print sysroot)/lib/rustlib/$host/bin
[ -x "$tools/llvm-cov" ] || {
    echo 'coverage: llvm-tools are missing: `rustup component add llvm-tools --toolchain nightly`' >&2
    exit 1
}
seeds=fuzz/target/coverage-seeds profiles=fuzz/target/profiles build=${COVERAGE_BUILD:-fuzz/target/coverage}
rm -rf "$seeds" "$profiles"
python3 fuzz/seeds.py "$seeds"
mkdir -p "$profiles"
RUSTFLAGS='-Cinstrument-coverage --cfg fuzzing' CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=false \
    CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=false cargo +nightly build --release --bins --locked \
    --manifest-path fuzz/Cargo.toml --target-dir "$build" --target "$host"

objects=()
for source in fuzz/fuzz_targets/*.rs; do
    target=$(basename "$source" .rs)
    program=$build/$host/release/$target
    objects+=(-object "$program")
    inputs=("$seeds/$target")
    [ ! -d "fuzz/corpus/$target" ] || inputs+=("fuzz/corpus/$target")
    # Some hundred inputs to a process; `%m` has all of them count in one file.
    find "${inputs[@]}" -type f -print0 |
        LLVM_PROFILE_FILE=$profiles/$target-%m.profraw xargs -0 -n 500 "$program" >/dev/null 2>&1
done
"$tools/llvm-profdata" merge --sparse -o "$profiles/all.profdata" "$profiles"/*.profraw
"$tools/llvm-cov" report "${objects[@]}" --instr-profile "$profiles/all.profdata" \
    --ignore-filename-regex '(/rustc/|\.cargo|\.rustup|/fuzz/)'
