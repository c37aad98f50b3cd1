#!/bin/sh
# Starts the backup server in the background and returns at once.
home=$(cd "$(dirname "$0")/.." && pwd) || exit 1
jvm=$home/jvm/bin/obs-jvm
out=$home/logs/catalina.out
OBSR_PID=${OBSR_PID:-$home/logs/obsr.pid}
export OBSR_PID

# A zombie answers kill -0, so its state is looked at too.
running() {
    [ -n "$1" ] && kill -0 "$1" 2>/dev/null && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

mkdir -p "$home/logs" || exit 1
[ -f "$out.2" ] && mv -f "$out.2" "$out.3"
[ -f "$out.1" ] && mv -f "$out.1" "$out.2"
[ -f "$out" ] && mv -f "$out" "$out.1"

if [ "$("$jvm" get --home "$home" stop_hangs 2>/dev/null)" = true ]; then
    trap '' TERM
fi
nohup "$jvm" serve --home "$home" >>"$out" 2>&1 </dev/null &
pid=$!
running "$(cat "$OBSR_PID" 2>/dev/null)" || echo "$pid" >"$OBSR_PID"
echo "Using OBSR_HOME: $home"
echo "Using OBSR_PID:  $OBSR_PID"
exit 0
