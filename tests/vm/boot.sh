#!/bin/bash
# Boots this machine's own files in a virtual machine, with systemd as PID 1 and a TPM (swtpm), and runs
# a script there: tests/vm/boot.sh SCRIPT FILE…. The files are in $FILES in the machine. What it writes is
# lost. Exits with the script's exit code. Needs root, Debian 12 on x86-64, and swtpm.
#
# The emulator and a kernel are Debian's packages, which are unpacked below target/tools/vm. The machine runs
# without KVM, since a nested one hangs on some hosts: KVM=1 uses it.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
script=$1
shift
tools=$top/target/tools/vm
if [ ! -e "$tools/ready" ]; then
    rm -rf "$tools"
    mkdir -p "$tools/archives/partial"
    apt-get install -qq -y --no-install-recommends --download-only --reinstall \
        -o Dir::Cache::archives="$tools/archives" qemu-system-x86 linux-image-cloud-amd64 >/dev/null
    for package in "$tools"/archives/*.deb; do dpkg-deb --extract "$package" "$tools"; done
    rm -r "$tools/archives"
    touch "$tools/ready"
fi
export LD_LIBRARY_PATH="$tools/usr/lib/x86_64-linux-gnu:$tools/lib/x86_64-linux-gnu"
modules=$(echo "$tools"/lib/modules/*/kernel)
work=$(mktemp -d)
pids=
# shellcheck disable=SC2064,SC2154 # the directory as it is now, the processes as they are then
trap "for pid in \$pids; do kill \$pid 2>/dev/null || :; done; rm -rf '$work'" EXIT

# The first files of the machine: they mount this machine's own, and start systemd.
mkdir -p "$work/root/bin" "$work/root/modules" "$work/root/files"
cp "$(command -v busybox)" "$work/root/bin/busybox"
for module in drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev \
    drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci fs/fuse/fuse fs/fuse/virtiofs \
    fs/overlayfs/overlay; do cp "$modules/$module.ko" "$work/root/modules/"; done
install -m 0755 "$top/tests/vm/init" "$work/root/init"
install -m 0755 "$script" "$work/root/files/script"
for file; do cp "$file" "$work/root/files/"; done
printf '%s\n' "$top" >"$work/root/files/top"
(cd "$work/root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"

mkdir "$work/tpm"
swtpm socket --tpm2 --tpmstate "dir=$work/tpm" --ctrl "type=unixio,path=$work/tpm.sock" --terminate &
pids="$pids $!"
"$tools/usr/lib/qemu/virtiofsd" --socket-path="$work/files.sock" --rlimit-nofile="$(ulimit -Hn)" \
    -o source=/ -o sandbox=chroot -o cache=always -o no_posix_lock >"$work/virtiofsd" 2>&1 &
pids="$pids $!"
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -S "$work/files.sock" ] && [ -S "$work/tpm.sock" ] && break
    sleep 0.2
done
accelerator='-accel tcg,thread=multi -cpu max'
[ -z "${KVM:-}" ] || accelerator='-accel kvm -cpu host'
mask=
for unit in systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-udevd.service \
    systemd-udev-trigger.service systemd-sysusers.service systemd-binfmt.service \
    systemd-random-seed.service dev-hugepages.mount; do mask="$mask systemd.mask=$unit"; done
# shellcheck disable=SC2086 # lists of words
timeout "${SECONDS_AT_MOST:-600}" "$tools/usr/bin/qemu-system-x86_64" $accelerator -m 2048 -smp 2 \
    -nodefaults -nographic -no-reboot \
    -L "$tools/usr/share/qemu" -L "$tools/usr/share/seabios" -bios bios-256k.bin \
    -object memory-backend-memfd,id=memory,size=2048M,share=on -numa node,memdev=memory \
    -chardev "socket,id=files,path=$work/files.sock" -device vhost-user-fs-pci,chardev=files,tag=files \
    -chardev "socket,id=tpm,path=$work/tpm.sock" -tpmdev emulator,id=tpm,chardev=tpm \
    -device tpm-crb,tpmdev=tpm -serial stdio \
    -kernel "$(echo "$tools"/boot/vmlinuz-*)" -initrd "$work/initrd" \
    -append "console=ttyS0 loglevel=3 panic=-1 systemd.unit=keycell-vm.target systemd.show_status=0 $mask" \
    </dev/null | tr -d '\r' | tee "$work/console"
code=$(sed -n 's/^keycell-vm: exit code //p' "$work/console")
exit "${code:-1}"
