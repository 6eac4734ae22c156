#!/bin/sh
# Makes a key and an encrypted image, and has tests/vm/credentials.sh decrypt it in a virtual machine.
set -eu

cd "$(dirname "$0")/../.."
export PATH="$PWD/dist:$PATH"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/node.pem" 2>/dev/null
openssl pkey -in "$work/node.pem" -pubout -out "$work/node.pub"
printf secret >"$work/password"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass "file:$work/password" \
    -out "$work/locked" 2>/dev/null
mkdir "$work/files"
echo hello >"$work/files/hello"
umoci init --layout "$work/plain"
umoci new --image "$work/plain:app"
umoci insert --image "$work/plain:app" "$work/files" / >/dev/null
keycell encrypt "oci:$work/plain:app" "oci-archive:$work/image.tar:app:encrypted" \
    --recipient "jwe:$work/node.pub" >/dev/null 2>&1
tests/vm/boot.sh tests/vm/credentials.sh "$work/image.tar" "$work/node.pem" "$work/locked" "$work/password"
