#!/bin/sh
# Builds the image that tests run in Docker: mk8s.local/busybox, FROM scratch, offline.
# Needs Debian's busybox-static and a Docker engine that answers.
set -eu

tag=${1:-mk8s.local/busybox:latest}
busybox=$(command -v busybox) || { echo "error: busybox is not installed: apt-get install busybox-static" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/root" "$root/var" "$root/usr/bin"
chmod 1777 "$root/tmp"
cp "$busybox" "$root/bin/busybox"
"$root/bin/busybox" --list | while read -r applet; do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n' >"$root/etc/group"

tar -C "$root" --owner=0 --group=0 --numeric-owner -c . |
    docker import --change 'CMD ["/bin/sh"]' --change 'ENV PATH=/bin:/usr/bin' - "$tag" >/dev/null
echo "$tag"
