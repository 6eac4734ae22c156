#!/usr/bin/env bash
# Runs every fuzz target, or those that are named, for FUZZ_SECONDS each (default: 60).
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
for program in python3 cargo; do
    command -v "$program" >/dev/null || { echo "fuzz: \`$program\` is missing: install it" >&2; exit 1; }
done
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo 'fuzz: the fuzzer needs a nightly compiler: `rustup toolchain install nightly --profile minimal`' >&2
    exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo 'fuzz: cargo-fuzz is missing: `cargo install cargo-fuzz --locked`' >&2
    exit 1
fi

# The longest input worth trying: what the seeds of a target have, and some more.
declare -A longest=(
    [payload]=8192 [manifest]=8192 [annotations]=4096 [options]=1024 [jwe]=4096 [jwe_content]=4096 [pkcs7]=4096
    [certificates]=4096 [pgp_message]=4096 [pgp_content]=4096 [pgp_keys]=8192 [keys]=4096
    [pkcs11]=2048 [public_keys]=8192 [layer]=256 [key_directory]=8192 [unwrap]=6144
    [broker_frames]=1024 [accounting]=2048 [guest_answers]=4096 [text]=1024 [token_files]=2048
    [provider_files]=2048 [provider_answers]=1024 [keys_tree]=128 [inflate]=4096 [config]=1024 [modulus]=1028 [point]=64
)
declare -A words=(
    [payload]=json [manifest]=json [options]=json [jwe]=json [pkcs11]=json [unwrap]=json
    [provider_files]=json [provider_answers]=json [guest_answers]=keys
    [keys]=keys [key_directory]=keys [certificates]=keys [public_keys]=keys [pgp_keys]=keys
)
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list --fuzz-dir fuzz)

# Without a sanitizer: the code under test has no `unsafe`, and runs twice as fast. What it
# catches are panics, overflows, hangs, memory without end, and the assertions of the targets.
cargo +nightly fuzz build --fuzz-dir fuzz --sanitizer none
seeds=fuzz/target/seeds
rm -rf "$seeds"
python3 fuzz/seeds.py "$seeds"

# What targets put into files stays in memory.
[ ! -d /dev/shm ] || export TMPDIR=/dev/shm

failed=()
for target in "${targets[@]}"; do
    corpus=fuzz/corpus/$target log=fuzz/target/$target.log
    mkdir -p "$corpus"
    options=("-max_total_time=$seconds" "-max_len=${longest[$target]:-4096}" -rss_limit_mb=2048
             -timeout=25 -print_final_stats=1)
    [ -z "${words[$target]:-}" ] || options+=("-dict=fuzz/dictionaries/${words[$target]}.dict")
    if cargo +nightly fuzz run --fuzz-dir fuzz --sanitizer none "$target" "$corpus" \
        "$seeds/$target" -- "${options[@]}" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
        echo "fuzz: $target: $runs runs, ${edges:-cov: 0}, nothing found"
    else
        failed+=("$target")
        echo "fuzz: $target: FOUND something, see $log:" >&2
        grep -E 'panicked|^assertion|SUMMARY|ERROR|Test unit written' -A 1 "$log" >&2 || tail -n 20 "$log" >&2
    fi
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz: failed: ${failed[*]}" >&2; exit 1; }
