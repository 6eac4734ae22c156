#!/bin/busybox sh
# shellcheck shell=dash
# Stands for a node's systemctl: notes when containerd was restarted, and whether it runs. Where /breaks exists,
# containerd does not start while its configuration names a decoder; while /hangs exists, a restart does not end.
# Where /containerd-config exists, it names the configuration file of a real containerd.
now() {
    read -r up _ </proc/uptime
    echo "$up"
}

case $* in
--version) echo "systemd 252" ;;
"--quiet is-active containerd")
    [ ! -e /stopped ] || exit 3
    [ ! -e /containerd-pid ] || kill -0 "$(/bin/busybox cat /containerd-pid)"
    ;;
"restart containerd")
    if [ -e /hangs ]; then
        echo >/restarting
        while [ -e /hangs ]; do /bin/busybox sleep 0.1; done
        exit 1
    fi
    start=$(now)
    /bin/busybox sleep 0.3
    /bin/busybox rm -f /stopped
    if [ -e /containerd-config ]; then
        read -r file </containerd-config
        [ ! -e /containerd-pid ] || kill "$(/bin/busybox cat /containerd-pid)"
        /usr/bin/containerd --config "$file" >/containerd-log 2>&1 </dev/null &
        echo "$!" >/containerd-pid
    fi
    if [ -e /breaks ] && /bin/busybox grep -rq ctd-decoder /etc/containerd; then
        echo >/stopped
    fi
    echo "$start $(now)" >>/restarts
    [ ! -e /stopped ]
    ;;
*) exit 3 ;;
esac
