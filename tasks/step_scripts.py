"""The POSIX sh that runs a step once on a host. It needs a Linux /proc, coreutils and setsid.

Below the store there is one directory a step id, which holds:
  digest   of the command, to tell a re-attach from another use of the id
  argv     the command, one argument a line, for people
  pid      "PID STARTTIME BOOT_ID" of the leader of the step's own session and process group;
           the start time tells a reused pid, the boot id a rebooted host
  out      what the command wrote; grows while it runs
  rc       its exit code; renamed into place, so it is whole or not there. Its block is taken
           before the command starts: a disk that the command fills must not hide how it ended
  stopped  there if it was stopped, as its run was cancelled; then it does not begin either

`mkdir` is the claim: of two that start the same step one wins. Each file that a decision hangs
on is renamed into place and written with dd's conv=fsync, as `sync FILE` is not known before
coreutils 8.24. There is no `--` in `kill -TERM -PGID`, as dash does not take it.
"""

COMMON = r"""
PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin; export PATH; LC_ALL=C; export LC_ALL
# A process that has ended and was not yet waited for (Z) does nothing any more.
started() { sed -n 's/.*) //; /^[ZX]/!p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
grouped() {
    kill -0 "-$1" 2>/dev/null &&
        cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | grep -q "^[^ZX] [0-9]* $1 "
}
boot() { cat /proc/sys/kernel/random/boot_id; }
alive() {
    read -r p s b <"$d/pid" 2>/dev/null || return 1
    [ "$b" = "$(boot)" ] || return 1
    now=$(started "$p")
    # The leader was killed, but what it started still runs.
    if [ -z "$now" ]; then grouped "$p"; else [ "$now" = "$s" ]; fi
}
"""

# store id digest within argv...  -> started | attached | other
# Whoever asks takes a step for lost that has no pid file after a while. So one that was held up
# for longer than `within` seconds, by a disk say, does not begin any more.
START = (
    COMMON
    + r"""
umask 077; store=$1; d=$1/$2; digest=$3; within=$4; shift 4
read -r now _ </proc/uptime
mkdir -p "$store" || exit 73
if mkdir "$d" 2>/dev/null; then
    printf '%s\n' "$@" >"$d/argv" &&
    echo "    " | dd of="$d/r" conv=fsync 2>/dev/null &&
    printf '%s\n' "$digest" | dd of="$d/t" conv=fsync 2>/dev/null && mv "$d/t" "$d/digest" &&
    [ "$(cat "$d/digest")" = "$digest" ] || { rm -rf "$d"; echo "cannot write $d" >&2; exit 74; }
    setsid sh -c '
        d=$0; until=$1; shift; s=$(sed "s/.*) //" "/proc/$$/stat" | cut -d" " -f20)
        echo "$$ $s $(cat /proc/sys/kernel/random/boot_id)" | dd of="$d/t" conv=fsync || exit 1
        mv "$d/t" "$d/pid" || exit 1
        [ -e "$d/stopped" ] && exit 1
        read -r now _ </proc/uptime
        [ "${now%%.*}" -le "$until" ] || { echo "came too late: not begun" >"$d/out"; exit 1; }
        "$@" >"$d/out" 2>&1 </dev/null
        printf "%-4s" $? | dd of="$d/r" conv=notrunc,fsync && mv "$d/r" "$d/rc"
    ' "$d" "$((${now%%.*} + within))" "$@" >/dev/null 2>&1 </dev/null &
    echo started
elif [ ! -d "$d" ]; then
    echo "cannot make $d" >&2; exit 73
elif [ -f "$d/digest" ] && [ "$(cat "$d/digest")" != "$digest" ]; then
    echo other
else
    echo attached
fi
"""
)

# store id offset max_bytes tries -> "STATE rc size next sha256", then the output from offset on
POLL = (
    COMMON
    + r"""
d=$1/$2; offset=$3; max=$4; tries=$5; rc=-; sha=-
[ -d "$d" ] || { echo "NONE - 0 $offset -"; exit 0; }
size() { if [ -f "$d/out" ]; then wc -c <"$d/out"; else echo 0; fi; }
while :; do
    if [ -f "$d/rc" ]; then state=ENDED; break; fi
    if alive; then
        state=RUNNING
        if [ "$(size)" -gt "$offset" ]; then break; fi
    elif [ -f "$d/pid" ]; then
        # It may have ended between the looks, or have only now said its pid.
        if alive; then state=RUNNING; continue; fi
        if [ -f "$d/rc" ]; then state=ENDED; elif [ -f "$d/stopped" ]; then state=STOPPED
        else state=LOST; fi
        break
    elif [ -f "$d/stopped" ]; then
        state=STOPPED; break
    else
        state=CLAIMED
    fi
    tries=$((tries - 1)); if [ "$tries" -le 0 ]; then break; fi
    sleep 0.2
done
size=$(size); next=$((offset + max)); if [ "$next" -gt "$size" ]; then next=$size; fi
if [ "$state" = ENDED ]; then
    rc=$(cat "$d/rc"); if [ -f "$d/out" ]; then sha=$(sha256sum <"$d/out" | cut -d' ' -f1); fi
fi
echo "$state $rc $size $next $sha"
if [ "$next" -gt "$offset" ]; then
    tail -c "+$((offset + 1))" "$d/out" | head -c "$((next - offset))"
fi
"""
)

# store id -> what there is of a step, for people
LOOK = (
    COMMON
    + r"""
d=$1/$2
for f in argv pid stopped; do
    if [ -f "$d/$f" ]; then echo "$f: $(head -c 2000 "$d/$f" | tr '\n' ' ')"; fi
done
echo "(pid: process, its start in clock ticks, and the id of the boot)"
echo "boot now: $(boot)"
if alive; then echo "it runs"; else echo "it does not run"; fi
if [ -f "$d/out" ]; then echo "output so far:"; tail -c 3000 "$d/out"; else echo "no output"; fi
"""
)

# store days most -> how many steps were forgotten, of those that have ended that long ago
CLEAN = (
    COMMON
    + r"""
n=0
find "$1" -mindepth 2 -maxdepth 2 \( -name rc -o -name stopped \) -mtime "+$2" 2>/dev/null |
    head -n "$3" |
    { while read -r f; do rm -rf "${f%/*}" && n=$((n + 1)); done; echo "$n"; }
"""
)

# store id tries -> stopped | ended | lost | none: it has not begun, and will not
STOP = (
    COMMON
    + r"""
umask 077; d=$1/$2; tries=$3
mkdir -p "$1" || exit 73
# The claim of one that has not come yet, and a word to one that is about to begin.
mkdir "$d" 2>/dev/null
[ -f "$d/rc" ] && { echo ended; exit 0; }
: >"$d/stopped" || exit 74
if ! alive; then
    if [ -f "$d/rc" ]; then echo ended; elif [ -f "$d/pid" ]; then echo lost; else echo none; fi
    exit 0
fi
kill -TERM "-$p" 2>/dev/null
while grouped "$p"; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then kill -KILL "-$p" 2>/dev/null; fi
    # One that hangs in the kernel, on its storage, cannot be killed.
    if [ "$tries" -lt -25 ]; then echo "$d: process group $p cannot be killed" >&2; exit 75; fi
    sleep 0.2
done
if [ -f "$d/rc" ]; then echo ended; else echo stopped; fi
"""
)
