#!/bin/bash
# What a composed cluster leaves behind once its kubelets are gone: the containers of its pods in the Docker engine, and
# the kubelets' folders in /var/lib/mk8s-compose.
set -euo pipefail

folder=/var/lib/mk8s-compose
for node in "$folder"/*/; do
    [ -d "$node" ] || continue
    docker ps --all --quiet --filter "label=minik8s.io/root-dir=${node%/}" |
        xargs --no-run-if-empty docker rm --force --volumes >/dev/null
done
# Volumes in memory may still be mounted.
awk -v folder="$folder/" 'index($5, folder) == 1 { print $5 }' /proc/self/mountinfo | sort --reverse |
    xargs --no-run-if-empty umount --lazy
rm -rf --one-file-system "$folder"
