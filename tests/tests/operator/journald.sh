#!/bin/sh
# journald where a system has it, and decoders that log to it: sh journald.sh DIR DECODER JOURNALD KEYCELL.
# Prints what the journal has of them, in JSON. DIR/metrics.1 and DIR/metrics.2 have the metrics before and
# after the failure.
set -eu

dir=$1 decoder=$2 journald=$3 keycell=$4
mkdir "$dir/dev"
for name in null urandom kmsg; do
    touch "$dir/dev/$name"
    mount --bind "/dev/$name" "$dir/dev/$name" 2>/dev/null || mount --bind /dev/null "$dir/dev/$name"
done
ln -s /run/systemd/journal/dev-log "$dir/dev/log"
mount --rbind "$dir/dev" /dev
mount -t tmpfs keycell /run
mkdir -p /run/systemd/journal
if [ ! -s /etc/machine-id ]; then
    echo 0123456789abcdef0123456789abcdef >"$dir/machine-id"
    mount --bind "$dir/machine-id" /etc/machine-id
fi

"$journald" >"$dir/journald.log" 2>&1 &
pid=$!
trap 'kill $pid' EXIT
tries=0
until [ -S /run/systemd/journal/socket ] && [ -S /run/systemd/journal/dev-log ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { cat "$dir/journald.log" >&2; exit 1; }
    sleep 0.05
done

decode() {
    "$decoder" --decryption-keys-path "$dir/keys" "$@" <"$dir/layer" >"$dir/plain"
}
decode 3<"$dir/payload"
decode --log journal 3<"$dir/payload"
decode --log syslog 3<"$dir/payload"
decode --log off 3<"$dir/payload"
# Everyone can write to the journal, under any name.
forged='{"time":"t","event":"layer","verdict":"failed"}'
setpriv --reuid 65534 --regid 65534 --clear-groups logger --socket /dev/log --tag ctd-decoder "$forged"
measure() {
    journalctl --sync
    "$keycell" metrics --log journal --state "$dir/state.json" --output "$1"
}
measure "$dir/metrics.1"
rm "$dir/keys/node.pem"
if decode 3<"$dir/payload" 2>/dev/null; then exit 1; fi
measure "$dir/metrics.2"
journalctl --directory /run/log/journal --identifier ctd-decoder --output json --quiet
