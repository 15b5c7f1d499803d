#!/usr/bin/env bash
# Shows Rhizome at work on a fresh Debian machine with Rust: installs what is missing, builds the release binary and runs
# `rhizome demo`, from whatever directory it is started in. All arguments go to the demo; its exit code is the script's.
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
exec "$target/release/rhizome" demo "$@"
