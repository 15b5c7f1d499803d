#!/usr/bin/env bash
# Installs what a Debian machine needs to run Rhizome: bubblewrap for the sandbox and git. With `build` also a C compiler,
# which some of the crates need; with `test` what the tests of real nodes and the model of the claim protocol need; with `vm`
# also QEMU, for the tests of the control groups. Does nothing where all is there; without root it prints the one command
# instead.
#
#   deploy/install.sh [build] [test] [vm]           installs what is missing
#   deploy/install.sh --check [build] [test] [vm]   only says what is missing, and fails if anything is
set -euo pipefail

check=no
missing=()

# need COMMAND PACKAGE...: the packages that bring the command
need() {
    command -v "$1" >/dev/null 2>&1 || missing+=("${@:2}")
}

need bwrap bubblewrap
need git git
for word in "$@"; do
    case $word in
    --check) check=yes ;;
    build) need cc gcc libc6-dev ;;
    test)
        need spin spin
        need gcc gcc libc6-dev
        need ip iproute2
        need strace strace
        python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
        # the vector stores that tests start come as Python packages
        python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
        compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || missing+=(libfaketime)
        ;;
    vm)
        need qemu-system-x86_64 qemu-system-x86 qemu-system-common seabios
        need busybox busybox-static
        need cpio cpio
        ;;
    *)
        printf 'usage: deploy/install.sh [--check] [build] [test] [vm]\n' >&2
        exit 64
        ;;
    esac
done

[ ${#missing[@]} -gt 0 ] || exit 0

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [ "$check" = yes ] || [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    printf 'missing: %s\ninstall with: sudo %s\n' "${missing[*]}" "${install[*]}" >&2
    exit 69
fi
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${apt[@]}" update && "${apt[@]}" "${install[@]:1}"; } </dev/null >"$log" 2>&1; then
    cat "$log" >&2
    exit 69
fi
printf 'installed: %s\n' "${missing[*]}"
