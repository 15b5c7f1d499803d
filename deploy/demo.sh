#!/usr/bin/env bash
# Shows Rhizome at work on a fresh Debian machine with Rust: installs what is missing, builds the release binary, searches a
# copy of the vault in fixtures/ while a note is written, and runs `rhizome demo`, from whatever directory it is started in.
# All arguments go to the demo; its exit code is the script's.
#
#   deploy/demo.sh [--repo PATH] [-- COMMAND...]
set -euo pipefail

HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export HOME
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if ! command -v cargo >/dev/null; then
    printf 'cargo was not found: install Rust first, with rustup\n' >&2
    exit 69
fi
"$repository/deploy/install.sh" build >&2

# the directory changes for cargo alone: it picks the pinned toolchain by it, and the demo shows the caller's repository
target=$(cd "$repository" && cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
if [ -x "$target/release/rhizome" ]; then
    printf 'building rhizome\n' >&2
else
    printf 'building rhizome (the first time about ten minutes on two cores)\n' >&2
fi
(cd "$repository" && cargo build --quiet --release --locked -p rhizome)
rhizome=$target/release/rhizome

# A node of its own with a copy of the vault: a search, a note that is saved, and how long it takes until it is found
show_search() {
    local began
    export RHIZOME_HOME=$site/home RAD_PASSPHRASE=
    cp -r "$repository/fixtures/vault" "$site/vault"
    "$rhizome" init --alias reader >/dev/null
    "$rhizome" up --vault "$site/vault" --set api.listen=127.0.0.1:0 --set node.listen=127.0.0.1:0 \
        >"$site/log" 2>&1 &
    daemon=$!
    until_says '^index +ready$' vault status
    printf 'a vault of %s files is searched for: harvest\n' "$(find "$site/vault" -type f | wc -l)"
    "$rhizome" search harvest --limit 2 | sed 's/^/    /'
    printf 'a note is saved that has the word axolotl, and searched for:\n'
    printf '# Visitors\n\nAn axolotl came to see the [[Garden]].\n' >"$site/vault/Visitors.md"
    began=$EPOCHREALTIME
    until_says 'Visitors.md' search axolotl
    "$rhizome" search axolotl | sed 's/^/    /'
    printf 'found %s ms after it was saved\n\n' \
        "$(awk -v from="$began" -v to="$found" 'BEGIN { printf "%.0f", (to - from) * 1000 }')"
}

# until_says PATTERN ARGUMENTS...: asks rhizome until its answer has the pattern, for 20 seconds at most; when is in $found
until_says() {
    local pattern=$1 end=$((EPOCHSECONDS + 20))
    shift
    until "$rhizome" "$@" 2>/dev/null | grep -E "$pattern" >/dev/null; do
        if [ "$EPOCHSECONDS" -ge "$end" ]; then
            printf 'rhizome %s never said %s; the end of the log:\n' "$*" "$pattern" >&2
            tail -n 12 "$site/log" >&2
            exit 1
        fi
    done
    found=$EPOCHREALTIME
}

site=$(mktemp -d)
daemon=
clear_up() {
    [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null && wait "$daemon" || true; }
    rm -rf "$site"
}
trap clear_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
show_search >&2
clear_up
trap - EXIT INT TERM
unset RHIZOME_HOME RAD_PASSPHRASE
exec "$rhizome" demo "$@"
