#!/bin/bash
# What a composed cluster leaves in the Docker engine when its kubelets are gone: the containers of its pods, and the
# kubelets' folders. Takes only what lies in, or was mounted from, /var/lib/mk8s-compose.
set -euo pipefail

folder=/var/lib/mk8s-compose
for node in node-1 node-2; do
    docker ps --all --quiet --filter "label=io.minik8s.node=$node" --filter "label=io.minik8s.root=$folder/$node" |
        xargs --no-run-if-empty docker rm --force --volumes >/dev/null
done
if [ -d "$folder" ]; then
    # Volumes in memory may still be mounted.
    grep --only-matching " $folder/[^ ]*" /proc/self/mountinfo | sort --reverse | xargs --no-run-if-empty umount --lazy || true
    rm -rf --one-file-system "$folder"
fi
