say() {
    printf '%s\n' "$*"
    sleep 0.15
}
say "commit   $DEMO_COMMIT"
say "subject  $DEMO_SUBJECT"
say "files    $(find . -path ./.git -prune -o -type f -print | wc -l) in $(pwd), $(du -sh --exclude=.git . | cut -f1)"
say "machine  $(nproc) cores, $(sed -n 's/^MemTotal: *//p' /proc/meminfo) of memory, $(uname -s) $(uname -r)"
say "limits   512 MiB of memory, 60 s of time, $(df -h . | sed -n '2s/^[^ ]* *\([^ ]*\).*/\1/p') of scratch space"
say "user     $(id -un) ($(id -u)); network: $(sed -n 's/^ *\([^: ]*\):.*/\1/p' /proc/net/dev | tr '\n' ' ')only"
for part in 1 2 3; do
    say "working  part $part of 3"
done
{
    printf 'commit %s\n' "$DEMO_COMMIT"
    find . -path ./.git -prune -o -type f -print | LC_ALL=C sort
} >/tmp/report
mv /tmp/report report.txt
say "report   sha256 $(sha256sum report.txt)"
