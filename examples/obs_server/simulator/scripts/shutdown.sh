#!/bin/sh
# Asks the backup server to stop, waits, and kills it when it does not.
home=$(cd "$(dirname "$0")/.." && pwd) || exit 1
jvm=$home/jvm/bin/obs-jvm
pid_file=${OBSR_PID:-$home/logs/obsr.pid}
pid=$(cat "$pid_file" 2>/dev/null)
limit=$("$jvm" get --home "$home" stop_wait_s 2>/dev/null)
limit=${limit:-120}

# Only a process that is this server: process ids are used again.
running() {
    [ -n "$1" ] && kill -0 "$1" 2>/dev/null || return 1
    grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null && return 1
    tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -q 'serve --home'
}

if ! running "$pid"; then
    "$jvm" stop --home "$home" && echo "Asked a server without a PID file to stop."
    rm -f "$pid_file"
    exit 0
fi

asked=no
end=$(($(date +%s) + limit))
while running "$pid"; do
    if [ "$asked" = no ]; then
        "$jvm" stop --home "$home" 2>/dev/null && asked=yes
    fi
    if [ "$(date +%s)" -ge "$end" ]; then
        echo "Process $pid did not stop within $limit seconds: killed."
        kill -9 "$pid"
        while running "$pid"; do sleep 1; done
        break
    fi
    sleep 0.2 2>/dev/null || sleep 1
done
rm -f "$pid_file"
exit 0
