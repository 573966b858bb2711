#!/bin/bash
# A base image from Debian packages alone, for machines that reach a Debian mirror but no container registry.
# usage: deploy/build-base-image.sh [TAG]      needs root, debootstrap and a Docker engine
set -euo pipefail

tag=${1:-mk8s.local/base}
suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
# What a node needs besides Python: routes and packet filter for the pod network, CA certificates for registries.
packages=python3,python3-venv,iproute2,iptables,conntrack,ca-certificates,busybox-static

if docker image inspect "$tag" >/dev/null 2>&1; then
    echo "$tag exists; docker rmi $tag to build it anew"
    exit 0
fi
[ "$(id -u)" = 0 ] || { echo "error: debootstrap needs root" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "error: debootstrap is missing: apt install debootstrap" >&2; exit 1; }

root=$(mktemp -d "${TMPDIR:-/var/tmp}/mk8s-base.XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT
debootstrap --variant=minbase --include="$packages" "$suite" "$root" "$mirror" >"$root.log" 2>&1 || {
    tail -n 20 "$root.log" >&2
    exit 1
}
rm -f "$root.log"
# Documentation, translations and package lists are a third of it and no use in a container.
rm -rf "$root"/usr/share/{doc,man,info,locale,zoneinfo} "$root"/var/{cache/apt,lib/apt/lists,log}/*
tar --create --directory "$root" --one-file-system . | docker import --change 'CMD ["/bin/sh"]' - "$tag" >/dev/null
echo "built $tag"
