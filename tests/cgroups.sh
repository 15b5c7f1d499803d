#!/usr/bin/env bash
# Runs the tests of the sandbox runner under each layout of control groups, whatever this machine has: in a virtual machine
# that sees this machine's files, read-only. Installs QEMU as root; a kernel comes from Debian into the cache.
#
#   tests/cgroups.sh [one|hybrid|two...]    all three without
set -euo pipefail

# Emulated, so slow: every layout takes one to two minutes.
VM_SECONDS_MAX=900
MEMORY=2048M
# All but what a start costs, which emulation changes.
TESTS='outcomes:: deadlines:: supervisors:: escapes:: logs:: artifacts:: inputs:: unprivileged::'
MODULES='drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev
    drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci fs/fuse/fuse fs/fuse/virtiofs'
VIRTIOFSD=/usr/lib/qemu/virtiofsd

cd "$(dirname "${BASH_SOURCE[0]}")/.."
HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export HOME
cache=${RHIZOME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhizome}

if [ "$(uname -m)" != x86_64 ] || [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    printf 'needs root on Debian, on x86_64\n' >&2
    exit 69
fi
deploy/install.sh build vm
if [ ! -x "$VIRTIOFSD" ]; then
    printf 'QEMU of this Debian brings no virtiofsd at %s\n' "$VIRTIOFSD" >&2
    exit 69
fi

# the newest kernel for virtual machines that this Debian has, unpacked once
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
kernel=$cache/$package
if [ ! -d "$kernel" ]; then
    mkdir -p "$cache"
    # beside its place, so that it is there whole or not at all
    building=$(mktemp -d "$cache/kernel.XXXXXX")
    trap 'rm -rf "$building"' EXIT
    (cd "$building" && apt-get -qq download "$package" 2>/dev/null && dpkg-deb -x "$package"_*.deb kernel)
    mv "$building/kernel" "$kernel"
fi
version=$(ls "$kernel/lib/modules")

runner=$(cargo test --quiet --locked -p rhizome-scheduler --test runner --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*runner-[^"]*\)".*/\1/p' | tail -n 1)

work=$(mktemp -d)
files=
trap '[ -z "$files" ] || kill "$files" 2>/dev/null; rm -rf "$work" "${building:-$work}"' EXIT

# initrd LAYOUT: the first file system of the machine, whose only program makes the layout and runs the tests
initrd() {
    local root=$work/$1 number=10 module
    mkdir -p "$root"/{bin,modules,newroot,proc,sys,dev}
    cp "$(command -v busybox)" "$root/bin/busybox"
    for module in $MODULES; do
        cp "$kernel/lib/modules/$version/kernel/$module.ko" "$root/modules/$number.ko"
        number=$((number + 1))
    done
    cat >"$root/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in /modules/*.ko; do $b insmod "$module"; done
$b mount -t virtiofs -o ro host /newroot
for place in proc sys dev; do $b mount --move /$place /newroot/$place; done
for place in tmp run mnt; do $b mount -t tmpfs tmp /newroot/$place; done
groups=/newroot/sys/fs/cgroup
if [ LAYOUT = two ]; then
    $b mount -t cgroup2 cgroup2 $groups
else
    $b mount -t tmpfs groups $groups
    for controller in memory cpu pids freezer; do
        $b mkdir $groups/$controller
        $b mount -t cgroup -o $controller cgroup $groups/$controller
    done
fi
if [ LAYOUT = hybrid ]; then
    $b mkdir $groups/unified
    $b mount -t cgroup2 cgroup2 $groups/unified
fi
$b cp /tests /newroot/tmp/tests
# a process in a changed root may make no user namespace, so this becomes the root
exec $b switch_root /newroot /tmp/tests
INIT
    sed -i "s/LAYOUT/$1/g" "$root/init"
    cat >"$root/tests" <<RUN
#!/bin/sh
cd /tmp
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TMPDIR=/tmp LANG=C.UTF-8 $runner $TESTS
echo "ended with \$?"
busybox poweroff -f
RUN
    chmod +x "$root/init" "$root/tests"
    (cd "$root" && find . | cpio -o -H newc 2>/dev/null) >"$work/$1.initrd"
}

# boot LAYOUT: true when all tests passed in it
boot() {
    local socket=$work/$1.socket log=$work/$1.log tries=100
    initrd "$1"
    "$VIRTIOFSD" --socket-path="$socket" -o source=/ -o sandbox=chroot -o cache=always >"$work/files.log" 2>&1 &
    files=$!
    until [ -S "$socket" ] || [ $((tries -= 1)) -eq 0 ]; do sleep 0.1; done
    timeout "$VM_SECONDS_MAX" qemu-system-x86_64 -accel tcg,thread=multi -M q35 -cpu max -smp 2 -m "$MEMORY" \
        -object memory-backend-memfd,id=memory,size="$MEMORY",share=on -machine memory-backend=memory \
        -chardev socket,id=files,path="$socket" -device vhost-user-fs-pci,chardev=files,tag=host \
        -nodefaults -no-user-config -display none -no-reboot -nic none -serial stdio \
        -kernel "$kernel/boot/vmlinuz-$version" -initrd "$work/$1.initrd" \
        -append 'console=ttyS0 panic=-1 quiet loglevel=3' </dev/null 2>&1 | tr -d '\r' >"$log"
    wait "$files" || true
    files=
    grep -E '^[0-9]+ tests, ' "$log" | sed "s/^/$1: /"
    grep -q '^ended with 0$' "$log" || { cat "$log" && return 1; }
}

layouts=("$@")
[ $# -gt 0 ] || layouts=(one hybrid two)
for layout in "${layouts[@]}"; do
    case $layout in
    one | hybrid | two) boot "$layout" ;;
    *) sed -n '2,5s/^# \{0,1\}//p' tests/cgroups.sh >&2 && exit 64 ;;
    esac
done
