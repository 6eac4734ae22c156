#!/bin/sh
# Unpacks packages of newer Debian releases, each into the folder target/tools/PACKAGE-SUITE. Nothing is installed,
# and the state of the machine's apt stays as it is. tests/newer-packages.txt pins each package by version and
# SHA-256; the mirror is the one from which this machine installs its own packages.
#
#   tests/newer-packages.sh        unpacks what is missing; without a network connection if nothing is
#   tests/newer-packages.sh pin    prints tests/newer-packages.txt anew, with what the suites have today
set -eu

cd "$(dirname "$0")/.."
pins=tests/newer-packages.txt
tools=target/tools

# The mirrors that apt is configured with for this Debian, as it would ask them.
mirrors() {
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    apt-get --print-uris update |
        sed -nE "s,^'([^']+)/dists/($codename|stable|oldstable)/InRelease'.*,\1,p" | while read -r uri; do
        # A list of mirrors can stand in a file, one with its options on each line.
        case $uri in
        mirror+file:*) sed -nE 's/^([^#[:space:]]+).*/\1/p' "${uri#mirror+file:}" ;;
        *) echo "$uri" ;;
        esac
    done
}

# What is pinned for this machine: the machine's architecture is in the name of each package.
pinned() {
    grep -v '^#' "$pins" | grep "_$(dpkg --print-architecture)\.deb\$" || true
}

# unpack SUITE SHA256 PATH
unpack() {
    name=${3##*/}
    target=$tools/${name%%_*}-$1
    [ "$(cat "$target/.unpacked" 2>/dev/null)" != "$2" ] || return 0
    new=$target.new
    rm -rf "$new"
    mkdir -p "$new"
    for mirror in $(mirrors); do
        # apt knows proxies, credentials and transports, and compares the digest.
        if /usr/lib/apt/apt-helper -qq -o APT::Sandbox::User=root download-file "$mirror/$3" "$new/package.deb" \
            "SHA256:$2" 2>"$new/errors"; then
            dpkg-deb -x "$new/package.deb" "$new"
            rm "$new/package.deb" "$new/errors"
            echo "$2" >"$new/.unpacked"
            rm -rf "$target"
            mv "$new" "$target"
            return 0
        fi
        cat "$new/errors" >&2
    done
    rm -rf "$new"
    cat >&2 <<END
error: \`$name\` cannot be fetched from a mirror that apt is configured with for this Debian
hint: if its suite has a newer version by now, run \`tests/newer-packages.sh pin >new && mv new $pins\`, and the tests
END
    return 1
}

# Prints the pins of today. The indexes of the suites go into a directory of their own.
pin() {
    state=$(mktemp -d)
    trap 'rm -rf "$state"' EXIT
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(mirrors | head -n 1)
    grep -v '^#' "$pins" | cut -d ' ' -f 1 | sort -u | while read -r suite; do
        echo "deb [signed-by=$keyring] $mirror $suite main"
    done >"$state/sources.list"
    architectures=$(grep -v '^#' "$pins" | sed -E 's/.*_([a-z0-9]+)\.deb$/\1/' | sort -u | paste -s -d ,)
    cat >"$state/apt.conf" <<END
Dir::State::lists "$state/lists";
Dir::Cache "$state/cache";
Dir::Etc::sourceparts "-";
Dir::Etc::sourcelist "$state/sources.list";
APT::Architectures "$architectures";
APT::Sandbox::User "root";
END
    apt-get -qq -c "$state/apt.conf" update >&2
    grep '^#' "$pins"
    grep -v '^#' "$pins" | while read -r suite _ path; do
        name=${path##*/}
        architecture=${name##*_}
        apt-cache -c "$state/apt.conf" show "${name%%_*}:${architecture%.deb}/$suite" |
            awk -v suite="$suite" '/^Filename: /{path=$2} /^SHA256: /{sha256=$2} END{print suite, sha256, path}'
    done
}

case ${1:-} in
pin) pin ;;
'') pinned | while read -r suite sha256 path; do unpack "$suite" "$sha256" "$path"; done ;;
*) echo "usage: tests/newer-packages.sh [pin]" >&2 && exit 2 ;;
esac
