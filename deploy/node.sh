#!/bin/sh
# Installs Keycell on a node, keeps the node's keys as a Secret has them, and uninstalls Keycell. The
# containers of daemonset.yaml and uninstall.yaml run this script; docs/kubernetes.md describes it.
#
#   node.sh install    installs the programs, configures containerd, and restarts it if that is needed
#   node.sh sync       copies the keys, once
#   node.sh watch      copies the keys whenever the Secret changes, until SIGTERM
#   node.sh ready      succeeds if the node has the keys of the Secret
#   node.sh mark       labels the node as ready, and removes its startup taint
#   node.sh uninstall  removes the configuration, the programs and the keys
#   node.sh unmark     removes the label
#   node.sh idle       waits for SIGTERM
#
# HOST is where the root of the node is mounted, SOURCE has the programs, KEYS is the Secret. BIN is the
# directory for the programs on the node. CONFIG, CONTAINERD and UNIT name containerd's configuration file,
# its program and its systemd unit, where they are not found. RESTART=no leaves the restart to the operator.
# LEASE names the Lease that the restart waits for; without it, the restart waits for nothing.
set -eu

HOST=${HOST:-/host}
SOURCE=${SOURCE:-/opt/keycell/bin}
KEYS=${KEYS:-/keys}
BIN=${BIN:-/opt/keycell/bin}
CONFIG=${CONFIG:-}
CONTAINERD=${CONTAINERD:-}
UNIT=${UNIT:-}
RESTART=${RESTART:-yes}
LEASE=${LEASE:-}
SECONDS_BETWEEN=${SECONDS_BETWEEN:-10}
# A restart that takes longer than this has failed; an RKE2 server takes minutes. The unit has to be active
# SETTLE_SECONDS later.
RESTART_SECONDS=${RESTART_SECONDS:-240}
SETTLE_SECONDS=${SETTLE_SECONDS:-5}

PROGRAMS="ctd-decoder keycell-broker keycell"
NODE_KEYS=/etc/keycell/keys
# There while containerd may run with another configuration than its files have. A reboot starts containerd, and
# empties /run.
PENDING=$HOST/run/keycell/restart
# The digests of what the last installation has configured. As long as they are right, nothing needs the Lease.
DONE=$HOST$BIN/.installed

# shellcheck source-path=SCRIPTDIR source=kubernetes.sh
. "$(dirname "$0")/kubernetes.sh"

# fail MESSAGE [HINT]
fail() {
    echo "node.sh: error: $1" >&2
    [ -z "${2:-}" ] || echo "hint: $2" >&2
    exit 1
}

# In the mount namespace of the node's first process, where systemd's sockets are and `keycell` finds the containerd
# that runs. The node's /proc shows that process, so the pod does not need to share the node's process IDs.
in_node_namespace() {
    nsenter --mount="$HOST/proc/1/ns/mnt" -- "$@"
}

# The same, or in a root file system where nothing runs, as when an image for nodes is made.
on_node() {
    if [ -e "$HOST/proc/1/ns/mnt" ]; then
        in_node_namespace "$@"
    else
        chroot "$HOST" "$@"
    fi
}

# Changes containerd's configuration, and says how. Sets `changed`, and `files`: those that make up the configuration.
# Where this fails, it has changed nothing.
configure() {
    answer=$(on_node "$BIN/keycell" config containerd --json "$@" ${CONFIG:+--config "$CONFIG"} \
        ${CONTAINERD:+--containerd "$CONTAINERD"} </dev/null) || return 1
    printf '%s' "$answer" | jq --raw-output '.changes[]'
    changed=$(printf '%s' "$answer" | jq .changed)
    files=$(printf '%s' "$answer" | jq --raw-output '.files[]')
}

# `keycell` finds the containerd that runs. In a root file system where nothing runs, k3s and RKE2 have one of their own.
find_containerd() {
    [ -z "$CONFIG" ] && [ ! -e "$HOST/proc/1/ns/mnt" ] || return 0
    for name in k3s rke2; do
        directory=/var/lib/rancher/$name
        [ -f "$HOST$directory/agent/etc/containerd/config.toml" ] || continue
        CONFIG=$directory/agent/etc/containerd/config.toml
        for program in "$directory/data/current/bin/containerd" "$directory/bin/containerd"; do
            [ ! -x "$HOST$program" ] || CONTAINERD=$program
        done
        return 0
    done
}

# What is checked before anything on the node changes.
check_node() {
    [ -e "$HOST/sys/fs/cgroup/cgroup.controllers" ] || [ ! -d "$HOST/sys/fs/cgroup" ] ||
        echo "note: this node has cgroups v1, which Kubernetes gives up; Keycell does not need cgroups"
    [ "$RESTART" = yes ] || return 0
    by_hand="restart it yourself: RESTART=no (in the chart, restart.enabled=false) leaves it running"
    [ -d "$HOST/run/systemd/system" ] ||
        fail "this node does not run systemd, so containerd cannot be restarted from here" "$by_hand"
    refusal=$(in_node_namespace systemctl --version 2>&1 >/dev/null) ||
        fail "systemctl cannot be called on this node: $refusal" "$by_hand"
    [ -n "$UNIT" ] || UNIT=$(find_unit) ||
        fail "no systemd unit is active that is known to run containerd" \
            "name the unit: UNIT (in the chart, containerd.unit)"
}

find_unit() {
    for unit in k3s k3s-agent rke2-server rke2-agent k0scontroller k0sworker \
        snap.microk8s.daemon-containerd containerd; do
        if in_node_namespace systemctl --quiet is-active "$unit"; then
            echo "$unit"
            return 0
        fi
    done
    return 1
}

# All programs are copied, and each has run on the node, before any takes the place of an old one. A decoder
# that runs keeps its file.
install_programs() {
    new=$BIN/.new
    choose="choose another directory: BIN (in the chart, binDirectory); docs/kubernetes.md has one for each system"
    for program in $PROGRAMS; do
        if ! refusal=$({ mkdir -p "$HOST$new" && cp "$SOURCE/$program" "$HOST$new/" &&
            chmod 0755 "$HOST$new/$program"; } 2>&1); then
            remove_new_programs
            fail "cannot write programs to \`$BIN\` on this node: $refusal" "$choose"
        fi
    done
    for program in $PROGRAMS; do
        status=0
        refusal=$(on_node "$new/$program" --version 2>&1 >/dev/null </dev/null) || status=$?
        [ "$status" -ne 0 ] || continue
        remove_new_programs
        # 126: the kernel refuses to execute the file. `ctd-decoder` needs nothing of the node but its kernel.
        if [ "$status" -eq 126 ]; then
            hint="programs cannot be executed there, as in a file system that is mounted with \`noexec\`: $choose"
        elif [ "$program" = ctd-decoder ]; then
            hint="run \`ctd-decoder --version\` on the node to see why"
        else
            hint="it needs glibc 2.34 or newer on the node (Debian 12, Ubuntu 22.04, RHEL 9, Amazon Linux 2023): \
exclude this node (in the chart, nodeSelector)"
        fi
        fail "\`$program\` does not run on this node, which is left as it was: $refusal" "$hint"
    done
    for program in $PROGRAMS; do
        mv -f "$HOST$new/$program" "$HOST$BIN/$program"
    done
    rmdir "$HOST$new"
}

remove_new_programs() {
    rm -rf "${HOST:?}$BIN/.new" 2>/dev/null || true
    remove_empty_directories
}

# The directory for the programs, and the one above it if it is Keycell's as well.
remove_empty_directories() {
    rmdir "$HOST$BIN" 2>/dev/null || return 0
    parent=${BIN%/*}
    [ "${parent##*/}" != keycell ] || rmdir "$HOST$parent" 2>/dev/null || true
}

restart_unit() {
    echo "restarting $UNIT"
    timeout --kill-after=5 "$RESTART_SECONDS" \
        nsenter --mount="$HOST/proc/1/ns/mnt" -- systemctl restart "$UNIT" || return 1
    sleep "$SETTLE_SECONDS"
    in_node_namespace systemctl --quiet is-active "$UNIT"
}

install() {
    find_containerd
    check_node
    [ ! -e "$HOST$BIN/keycell" ] || had_programs=yes
    install_programs
    [ -e "$PENDING" ] || ! is_as_installed || return 0
    # Before the configuration changes: a node that reboots while it waits starts containerd as it was.
    take_lease
    begin_change
    if ! configure --write --decoder "$BIN/ctd-decoder" --keys "$NODE_KEYS"; then
        abandon_change
        [ -n "${had_programs:-}" ] || remove_programs
        fail "containerd is not configured on this node"
    fi
    end_change roll_back
    note_installed
}

# Before the configuration changes. A pod that ends before the restart leaves the file, and the next one restarts.
begin_change() {
    [ ! -e "$PENDING" ] || return 0
    mkdir -p "${PENDING%/*}"
    echo >"$PENDING"
    is_new=yes
}

abandon_change() {
    [ -z "${is_new:-}" ] || forget_pending
    release_lease
}

# end_change WHAT: restarts containerd, if that is needed, or does WHAT and fails.
end_change() {
    if [ "$changed" = false ] && [ -n "${is_new:-}" ]; then
        forget_pending
    else
        restart_or "$1"
    fi
    release_lease
}

forget_pending() {
    rm -f "$PENDING"
    rmdir "${PENDING%/*}" 2>/dev/null || true
}

# Which containerd was configured, with which program, and the files that make up the configuration: containerd may
# have written some of them at its start.
note_installed() {
    {
        echo "# $CONFIG $CONTAINERD $UNIT"
        printf '%s\n' "$BIN/keycell" "$files" | while read -r file; do
            [ ! -f "$HOST$file" ] || sha256sum "$HOST$file"
        done
    } >"$DONE"
}

is_as_installed() {
    [ "$(sed 1q "$DONE" 2>/dev/null)" = "# $CONFIG $CONTAINERD $UNIT" ] &&
        sha256sum --check --status "$DONE" 2>/dev/null
}

# restart_or WHAT: what to do if it fails. It does not return then.
restart_or() {
    if [ "$RESTART" != yes ]; then
        echo "containerd has to be restarted"
    elif ! restart_unit; then
        "$1"
        forget_pending
        stop_rollout "$outcome"
        fail "$outcome" "\`journalctl --unit $UNIT\` on the node says why"
    fi
    forget_pending
}

roll_back() {
    echo "node.sh: $UNIT does not run with Keycell's configuration, which is removed again" >&2
    configure --remove || true
    outcome="$UNIT did not start with Keycell's configuration; it runs again without it"
    restart_unit || outcome="$UNIT did not start with Keycell's configuration, nor after that was removed"
}

# The layout of a mounted Secret: links to `..data`, which is a link to a directory and changes in
# one step. A decoder that runs meanwhile finds the old keys or the new ones.
sync() {
    umask 077
    target=$HOST$NODE_KEYS
    mkdir -p "$target"
    ! is_synced || return 0
    new=$(mktemp -d "$target/..$(date -u +%Y%m%d%H%M%S).XXXXXX")
    new=${new##*/}
    for file in "$KEYS"/*; do
        [ ! -f "$file" ] || cp -L "$file" "$target/$new/"
    done
    ln -sfn "$new" "$target/..data_tmp"
    mv -fT "$target/..data_tmp" "$target/..data"
    for file in "$target/$new"/*; do
        name=${file##*/}
        [ ! -f "$file" ] || [ -L "$target/$name" ] || ln -s "..data/$name" "$target/$name"
    done
    for link in "$target"/*; do
        [ ! -L "$link" ] || [ -e "$link" ] || rm -f "$link"
    done
    # The former one, and what a pod has left that ended too early.
    for directory in "$target"/..2*; do
        [ "$directory" = "$target/$new" ] || rm -rf "$directory"
    done
    echo "the keys have changed"
}

# Whether the node's keys are the files of the Secret.
is_synced() {
    [ -e "$HOST$NODE_KEYS/..data" ] || return 1
    for file in "$KEYS"/*; do
        [ ! -f "$file" ] || cmp -s "$file" "$HOST$NODE_KEYS/${file##*/}" || return 1
    done
    for link in "$HOST$NODE_KEYS"/*; do
        [ ! -L "$link" ] || [ -f "$KEYS/${link##*/}" ] || return 1
    done
}

ready() {
    is_synced || fail "the keys of the Secret are not on the node yet"
}

uninstall() {
    find_containerd
    check_node
    if [ -x "$HOST$BIN/keycell" ]; then
        take_lease
        begin_change
        if ! configure --remove; then
            abandon_change
            fail "containerd's configuration still names Keycell, so its programs stay"
        fi
        end_change stay_without
    fi
    remove_programs
    rm -rf "${HOST:?}$NODE_KEYS"
    rmdir "$HOST/etc/keycell" 2>/dev/null || true
}

stay_without() {
    outcome="$UNIT did not start after Keycell's configuration was removed"
}

remove_programs() {
    for program in $PROGRAMS; do
        rm -f "${HOST:?}$BIN/$program"
    done
    rm -f "$DONE"
    remove_empty_directories
}

# Does $1 every $2 seconds, until a signal comes.
until_stopped() {
    trap '[ -z "$pause" ] || kill "$pause" 2>/dev/null || true; exit 0' TERM INT
    pause=""
    while :; do
        "$1"
        sleep "$2" &
        pause=$!
        wait "$pause"
        pause=""
    done
}

# A signal that comes during an installation ends it only while it waits for the Lease, so that no node is left
# half installed.
stopping=""
trap 'stopping=yes' TERM INT
case ${1:-} in
install | sync | ready | mark | uninstall | unmark) "$1" ;;
watch) until_stopped sync "$SECONDS_BETWEEN" ;;
idle) until_stopped : 3600 ;;
*)
    echo "usage: node.sh install|sync|watch|ready|mark|uninstall|unmark|idle" >&2
    exit 2
    ;;
esac
