#!/usr/bin/env bash
# Builds the guest again, from a copy of the sources in another folder, with another CARGO_HOME and
# another target directory: the bytes must be those of dist/decoder.wasm.
set -euo pipefail
cd "$(dirname "$0")/.."

built=dist/decoder.wasm
[ -e "$built" ] || { echo "reproduce: there is no \`$built\`: run \`make\` first" >&2; exit 1; }
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
copy=$elsewhere/another/place/for-it home=$elsewhere/cargo
mkdir -p "$copy" "$home/registry"
git ls-files -z | tar --create --null --files-from=- | tar --extract --directory "$copy"
# What was downloaded is the same whoever downloads it: Cargo.lock has its digests. It is unpacked
# anew, so that the sources too lie elsewhere.
ours=${CARGO_HOME:-$HOME/.cargo}
cp -a --reflink=auto "$ours/registry/cache" "$ours/registry/index" "$home/registry/"
[ ! -e "$ours/config.toml" ] || cp "$ours/config.toml" "$home/"

# As host/build.rs builds it.
separator=$'\x1f'
flags="-Ctarget-feature=+wide-arithmetic${separator}--remap-path-prefix=$copy=/keycell"
flags+="${separator}--remap-path-prefix=$home=/cargo"
for variable in $(compgen -e CARGO_PROFILE_ || true); do unset "$variable"; done
cd "$copy"
CARGO_HOME=$home CARGO_ENCODED_RUSTFLAGS=$flags cargo rustc --quiet --profile guest --locked \
    --package keycell-guest --lib --crate-type cdylib --target wasm32-wasip2 --target-dir "$elsewhere/built"
again=$elsewhere/built/wasm32-wasip2/guest/keycell_guest.wasm
cd "$OLDPWD"

sha256sum "$built" | cut -d ' ' -f 1 >"$elsewhere/ours"
sha256sum "$again" | cut -d ' ' -f 1 >"$elsewhere/theirs"
if ! cmp -s "$elsewhere/ours" "$elsewhere/theirs"; then
    echo "reproduce: \`$built\` is $(cat "$elsewhere/ours"), built again it is $(cat "$elsewhere/theirs")" >&2
    echo "hint: was it built from these sources, by the toolchain in rust-toolchain.toml?" >&2
    exit 1
fi
echo "reproduce: decoder.wasm is the same, built again elsewhere: sha256 $(cat "$elsewhere/ours")"
