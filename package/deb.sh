#!/bin/sh
# Makes a Debian package of what `make` left in dist/: package/deb.sh DIST. It consists of what `make
# install` copies; its maintainer scripts do not touch containerd's configuration.
set -eu

dist=$1
here=$(cd "$(dirname "$0")" && pwd)
# Whoever builds it maintains it: the variables are those of Debian's own tools.
maintainer="${DEBFULLNAME:-The Keycell authors} <${DEBEMAIL:-keycell@example.org}>"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$here/../Cargo.toml" | head -n 1)
architecture=$(dpkg --print-architecture)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"
umask 022

make --no-print-directory -C "$here/.." install-built DIST="$(cd "$dist" && pwd)" \
    DESTDIR="$root" PREFIX=/usr >/dev/null
# Debian's own place for zsh, and its manual pages are compressed.
mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
find "$root/usr/share/man" -type f -exec gzip -9n {} +

doc=$root/usr/share/doc/keycell
install -D -m 0644 "$here/copyright" "$doc/copyright"
install -m 0644 "$here/config.toml" "$doc/config.toml.example"
install -m 0644 "$here/alerts.yml" "$doc/alerts.yml"
gzip -9nc "$here/../CHANGELOG.md" >"$doc/CHANGELOG.md.gz"
date=$(date -u -R -d "@${SOURCE_DATE_EPOCH:-$(stat -c %Y "$here/../CHANGELOG.md")}")
printf 'keycell (%s) unstable; urgency=medium\n\n  * What changed is in CHANGELOG.md.gz.\n\n -- %s  %s\n' \
    "$version" "$maintainer" "$date" | gzip -9n >"$doc/changelog.gz"
install -D -m 0644 "$here/lintian-overrides" "$root/usr/share/lintian/overrides/keycell"

# What docs/write-a-guest.md needs: the contract, and the examples with the script that wraps keys.
install -D -m 0644 "$here/../docs/write-a-guest.md" "$doc/write-a-guest.md"
for file in "$here"/../wit/*.wit "$here"/../wit/deps/*.wit "$here"/../examples/c/* "$here"/../examples/go/*; do
    install -D -m 0644 "$file" "$doc/${file#"$here"/../}"
done
chmod 0755 "$doc/examples/c/wrap.py"

# The glibc that the programs were linked with, as far as they need it.
glibc=$(grep -aoh 'GLIBC_2\.[0-9]*' "$root"/usr/bin/* | sort -uV | tail -n 1)
mkdir "$root/DEBIAN"
sed -e "s/@VERSION@/$version/" -e "s/@MAINTAINER@/$maintainer/" -e "s/@ARCHITECTURE@/$architecture/" \
    -e "s/@GLIBC@/${glibc#GLIBC_}/" -e "s/@SIZE@/$(du -sk "$root/usr" | cut -f 1)/" \
    "$here/control" >"$root/DEBIAN/control"
for script in postinst prerm postrm; do
    install -m 0755 "$here/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find usr -type f -exec md5sum {} + >DEBIAN/md5sums)

package=$dist/keycell_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
echo "$package"
