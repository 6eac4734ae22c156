#!/bin/sh
# Installs Keycell on the node that this runs on, as the pods of daemonset.yaml do, and takes it
# away again:
#
#   node.sh run        install, and then keep the node's keys as the Secret has them
#   node.sh install    programs, and the part of containerd's configuration that names them
#   node.sh sync       the keys, once
#   node.sh uninstall  all of it
#   node.sh gone       the same, and then wait: for uninstall.yaml
#
# HOST is where the node's root is mounted, SOURCE has the programs, KEYS the Secret. RESTART=no
# leaves containerd running with its old configuration.
set -eu

HOST=${HOST:-/host}
SOURCE=${SOURCE:-/opt/keycell/bin}
KEYS=${KEYS:-/keys}
RESTART=${RESTART:-yes}
SECONDS_BETWEEN=${SECONDS_BETWEEN:-10}

# On the node.
BIN=/opt/keycell/bin
NODE_KEYS=/etc/keycell/keys
RANCHER=/var/lib/rancher

# The first file of containerd's configuration, and the program that reads it. k3s and RKE2 have
# their own.
find_containerd() {
    for name in k3s rke2; do
        if [ -f "$HOST$RANCHER/$name/agent/etc/containerd/config.toml" ]; then
            config=$RANCHER/$name/agent/etc/containerd/config.toml
            for containerd in "$RANCHER/$name/data/current/bin/containerd" "$RANCHER/$name/bin/containerd"; do
                [ ! -x "$HOST$containerd" ] || return 0
            done
            containerd=containerd
            return 0
        fi
    done
    config=/etc/containerd/config.toml
    containerd=containerd
}

# What containerd would read: to see whether it has to be restarted.
state() {
    directory=$HOST${config%/*}
    [ ! -d "$directory" ] || find "$directory" -type f -name '*.toml*' -exec cksum {} +
}

on_node() {
    chroot "$HOST" "$@"
}

restart() {
    if [ "$RESTART" != yes ]; then
        echo "containerd has to be restarted"
        return 0
    fi
    for unit in k3s k3s-agent rke2-server rke2-agent containerd; do
        if nsenter --target 1 --mount -- systemctl --quiet is-active "$unit"; then
            echo "restarting $unit"
            nsenter --target 1 --mount -- systemctl restart "$unit"
            return 0
        fi
    done
    echo "containerd has to be restarted: no unit that does is known"
}

install_programs() {
    mkdir -p "$HOST$BIN"
    for program in ctd-decoder keycell-broker keycell; do
        # Renamed into place: a decoder that runs keeps its file.
        cp "$SOURCE/$program" "$HOST$BIN/.$program.new"
        chmod 0755 "$HOST$BIN/.$program.new"
        mv -f "$HOST$BIN/.$program.new" "$HOST$BIN/$program"
    done
}

install() {
    find_containerd
    install_programs
    before=$(state)
    on_node "$BIN/keycell" config containerd --write --config "$config" \
        --containerd "$containerd" --decoder "$BIN/ctd-decoder" --keys "$NODE_KEYS"
    [ "$before" = "$(state)" ] || restart
}

# The layout of a mounted Secret: links to `..data`, which is a link to a directory and changes in
# one step. Whoever decodes meanwhile finds the old keys or the new.
sync() {
    umask 077
    target=$HOST$NODE_KEYS
    mkdir -p "$target"
    new=$(mktemp -d "$target/..$(date -u +%Y%m%d%H%M%S).XXXXXX")
    new=${new##*/}
    for file in "$KEYS"/*; do
        [ ! -f "$file" ] || cp -L "$file" "$target/$new/"
    done
    if [ -e "$target/..data" ] && diff -r "$target/..data/" "$target/$new" >/dev/null; then
        rm -rf "${target:?}/$new"
        return 0
    fi
    ln -sfn "$new" "$target/..data_tmp"
    mv -fT "$target/..data_tmp" "$target/..data"
    for file in "$target/$new"/*; do
        name=${file##*/}
        [ ! -f "$file" ] || [ -L "$target/$name" ] || ln -s "..data/$name" "$target/$name"
    done
    for link in "$target"/*; do
        [ ! -L "$link" ] || [ -e "$link" ] || rm -f "$link"
    done
    # The former one, and what a pod has left that was ended on the way.
    for directory in "$target"/..2*; do
        [ "$directory" = "$target/$new" ] || rm -rf "$directory"
    done
    echo "the keys have changed"
}

uninstall() {
    find_containerd
    before=$(state)
    if [ -x "$HOST$BIN/keycell" ]; then
        on_node "$BIN/keycell" config containerd --remove --config "$config"
    fi
    [ "$before" = "$(state)" ] || restart
    rm -rf "${HOST:?}/opt/keycell" "$HOST$NODE_KEYS"
    rmdir "$HOST/etc/keycell" 2>/dev/null || true
}

# A pod does `$1` and then, every `$3` seconds, `$2`, until it gets a signal to stop. If the signal comes during `$1`, it
# ends that first, so that no node is left half way.
stay() {
    stopping=""
    pause=""
    trap 'stopping=yes' TERM INT
    "$1"
    trap '[ -z "$pause" ] || kill "$pause" 2>/dev/null || true; exit 0' TERM INT
    while [ -z "$stopping" ]; do
        "$2"
        sleep "$3" &
        pause=$!
        wait "$pause"
        pause=""
    done
}

case ${1:-} in
install | sync | uninstall) "$1" ;;
run) stay install sync "$SECONDS_BETWEEN" ;;
gone) stay uninstall : 3600 ;;
*)
    echo "usage: node.sh run|install|sync|uninstall|gone" >&2
    exit 2
    ;;
esac
