# The first process of a node's namespaces: `unshare --mount --pid --fork sh node.sh DIR ROOT ARGUMENTS…`, where
# ROOT is the directory of containerd's data, and the arguments are containerd's.
#
# Builds a root in which containerd finds what it expects at the paths that its users expect, and
# in which the machine's own directories cannot be written to. Runs containerd there until stdin
# closes. When this process ends, the kernel ends every other one of the namespace.
set -eu

dir=$1
data=$2
shift 2
root=/mnt

# The number that the machine knows this process by: /proc is still the machine's.
read -r pid _ </proc/self/stat
echo "$pid" >"$dir/init.pid"

mount -t tmpfs -o mode=0755 keycell-node "$root"
for entry in /*; do
    name=${entry#/}
    if [ -L "$entry" ]; then
        cp -P "$entry" "$root/"
        continue
    elif [ ! -d "$entry" ]; then
        continue
    fi
    mkdir "$root/$name"
    case $name in
    etc) cp -a /etc/. "$root/etc/" ;;
    # Empty in the node, whatever the machine has there. containerd keeps shims' sockets in /run.
    keys | mnt | opt | proc | run) ;;
    dev | sys | tmp) mount --rbind "$entry" "$root/$name" ;;
    *)
        mount --rbind "$entry" "$root/$name"
        mount -o remount,bind,ro "$root/$name"
        ;;
    esac
done
mount -t tmpfs -o mode=0755 keycell-node "$root/usr/local/bin"
mount -t proc proc "$root/proc"
# containerd's root: the decoder has to find it by itself.
mkdir -p "$dir/root"
mount -t tmpfs -o mode=0755 keycell-node "$root/var/lib"
mkdir -p "$root$data"
mount --bind "$dir/root" "$root$data"
# Writable also where the machine keeps temporary files elsewhere than in /tmp.
mount --bind "$dir" "$root$dir"
rm -rf "$root/etc/containerd" "$root/etc/cni"
cd "$dir/files"
find . -type f | while read -r file; do
    mkdir -p "$root/${file%/*}"
    cp -p "$file" "$root/$file"
done

cd "$root"
pivot_root . mnt
cd /
umount -l /mnt

sh -eu "$dir/before.sh"
containerd "$@" &
cat >/dev/null
