#!/bin/bash
# The project's image. Where a registry is in reach, `docker build --build-arg BASE=python:3.11-slim` does as well.
# usage: deploy/build-image.sh [TAG]
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

tag=${1:-mk8s.local/minik8s}
base=${BASE:-mk8s.local/base}

[ "$base" != mk8s.local/base ] || deploy/build-base-image.sh "$base"

# Wheels are fetched here and not in the build, which then needs no network, proxy or certificates of this machine.
# They are for the Python of the base image, whichever one runs this script.
context=$(mktemp -d "${TMPDIR:-/var/tmp}/mk8s-image.XXXXXX")
trap 'rm -rf "$context"' EXIT
python=$(docker run --rm "$base" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
machine=$(uname -m)
platforms=()
for libc in 2_17 2_24 2_26 2_27 2_28 2_31 2_34; do platforms+=(--platform "manylinux_${libc}_$machine"); done
platforms+=(--platform "manylinux2014_$machine" --platform "manylinux1_$machine" --platform any)
./mk8s --help >/dev/null
requirements=$(.venv/bin/python - <<'PYTHON'
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print("\n".join([*project["dependencies"], *project["optional-dependencies"]["docker"]]))
PYTHON
)
printf '%s\nsetuptools>=68\n' "$requirements" >"$context/requirements.txt"
.venv/bin/python -m pip download --quiet --disable-pip-version-check --only-binary=:all: --python-version "$python" \
    "${platforms[@]}" --dest "$context/wheels" --requirement "$context/requirements.txt" >"$context/log" 2>&1 || {
    cat "$context/log" >&2
    exit 1
}
rm "$context/log"

# The files of the work tree that belong to the project, and nothing else.
git ls-files -z --cached --others --exclude-standard -- '*.py' '*.pyi' '*.json' '*.json.gz' '*.proto' pyproject.toml README.md LICENSE |
    grep -zv '^tests/' | tar --create --null --files-from - | tar --extract --directory "$context"
cp Dockerfile "$context"
docker build --quiet --force-rm --build-arg BASE="$base" --tag "$tag" "$context" >/dev/null
echo "built $tag"
