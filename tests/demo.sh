#!/bin/sh
# `make demo`: a key, an image that skopeo encrypts for it, and the layer decrypted exactly as
# containerd would. Then what the sandbox lends, and what it refuses to a guest that tries.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
PATH=$root/dist:$PATH:/usr/sbin:/sbin
work=$root/target/demo # stays, for the example in docs/guests.md
rm -rf "$work"
mkdir -p "$work"
cd "$work"

step() {
    printf '\n== %s\n' "$*"
}

step "a plain image with busybox in it (umoci)"
umoci init --layout plain
umoci new --image plain:demo
umoci unpack --image plain:demo bundle >/dev/null 2>&1
mkdir bundle/rootfs/bin
cp "$(command -v busybox)" bundle/rootfs/bin/
umoci repack --image plain:demo bundle >/dev/null 2>&1
rm -rf bundle
keycell inspect oci:plain:demo

step "a key, and the image encrypted for it (openssl, skopeo)"
mkdir keys
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out keys/demo.pem 2>/dev/null ||
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out keys/demo.pem 2>/dev/null
openssl pkey -in keys/demo.pem -pubout -out public.pem
skopeo copy -q --encryption-key jwe:public.pem oci:plain:demo oci:encrypted:demo
keycell inspect oci:encrypted:demo
keycell keys keys/demo.pem

step "the layer decrypted as containerd does: payload on 3, layer on 0, plain layer from 1"
plain=$(keycell payload oci:plain:demo --output /dev/null)
cp "$(keycell payload oci:encrypted:demo --output payload)" layer
echo '$ ctd-decoder --decryption-keys-path keys --explain 3<payload <layer >decrypted'
ctd-decoder --decryption-keys-path keys --explain 3<payload <layer >decrypted
cmp decrypted "$plain"
echo "the decrypted layer is the plain one, byte for byte: $(wc -c <decrypted) bytes"

step "the same layer with a key that does not fit"
mkdir other
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other/wrong.pem
if ctd-decoder --decryption-keys-path other 3<payload <layer >refused; then
    echo "it was decrypted, which must not be" && exit 1
fi
echo "exit code 1, $(wc -c <refused) bytes written"

step "the same layer with one bit flipped"
cp layer flipped
printf '\377' | dd of=flipped bs=1 seek=1000 conv=notrunc status=none
if ctd-decoder --decryption-keys-path keys 3<payload <flipped >refused; then
    echo "it was accepted, which must not be" && exit 1
fi
echo "exit code 1, $(wc -c <refused) of $(wc -c <decrypted) bytes written"

step "a hostile guest tries what it was not granted"
"$root/target/release/probe"
