#!/usr/bin/env bash
# The example cluster: three nodes on 127.0.0.1, configured by config/three-node/.
#
#   scripts/cluster.sh up BINARY    start what is not running; return when all nodes are ready
#   scripts/cluster.sh stop         stop what is running (SIGTERM), wait until it is gone
#   scripts/cluster.sh clean        stop, then remove target/cluster
#
# Each node has target/cluster/nodeN/ with jackdaw.pid, jackdaw.log and data/. Only a process whose
# command line is `… serve --config config/three-node/nodeN.toml` is ever signalled: a pid file that
# names another process is stale.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly NODES="1 2 3"
readonly RUN=target/cluster
readonly PATIENCE_S=30

config() { echo "config/three-node/node$1.toml"; }

# The node's pid, if its process runs.
pid_of() {
    local pid
    pid=$(cat "$RUN/node$1/jackdaw.pid" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ ]] || return 1
    # A zombie has an empty command line.
    { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF " serve --config $(config "$1") " || return 1
    echo "$pid"
}

# The HTTP status of /health/ready, or nothing while nobody listens.
health() {
    local port=$((8091 + $1)) status
    {
        exec 3<>"/dev/tcp/127.0.0.1/$port" || return 0
        printf 'GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3
        IFS=' ' read -r -t 2 _ status _ <&3 || true
        exec 3<&- 3>&-
    } 2>/dev/null
    echo "${status:-}"
}

fail() {
    echo "node $1: $2" >&2
    echo "the end of $RUN/node$1/jackdaw.log:" >&2
    tail -n 15 "$RUN/node$1/jackdaw.log" >&2 || true
    exit 1
}

up() {
    local binary=$1 started=$SECONDS begun n pid
    [[ -x $binary ]] || { echo "$binary is not there; run \`make build\`" >&2; exit 1; }
    begun=$(date +%s%N)
    for n in $NODES; do
        mkdir -p "$RUN/node$n"
        if pid=$(pid_of "$n"); then
            echo "node $n runs already (pid $pid)"
            continue
        fi
        if [[ -n $(health "$n") ]]; then
            echo "node $n cannot start: another process answers on 127.0.0.1:$((8091 + n)); stop it first" >&2
            exit 1
        fi
        setsid "$binary" serve --config "$(config "$n")" </dev/null >>"$RUN/node$n/jackdaw.log" 2>&1 &
        echo $! >"$RUN/node$n/jackdaw.pid"
        echo "node $n started (pid $!)"
    done
    for n in $NODES; do
        until [[ $(health "$n") == 200 ]]; do
            kill -0 "$(cat "$RUN/node$n/jackdaw.pid")" 2>/dev/null || fail "$n" "has ended"
            ((SECONDS - started < PATIENCE_S)) || fail "$n" "not ready after $PATIENCE_S s"
            sleep 0.05
        done
    done
    echo "ready after $((($(date +%s%N) - begun) / 1000000)) ms; Kafka on 127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094"
}

stop() {
    local n pid started=$SECONDS
    for n in $NODES; do
        if pid=$(pid_of "$n"); then kill -TERM "$pid"; fi
    done
    for n in $NODES; do
        while pid=$(pid_of "$n"); do
            if ((SECONDS - started >= PATIENCE_S)); then
                echo "node $n (pid $pid) does not stop; kill -9 $pid ends it, no acknowledged record is lost" >&2
                exit 1
            fi
            sleep 0.05
        done
        rm -f "$RUN/node$n/jackdaw.pid"
    done
    echo "all nodes are stopped"
}

case "${1:-}" in
up) up "${2:?the path of the jackdaw program is missing}" ;;
stop) stop ;;
clean)
    stop
    rm -rf "$RUN"
    echo "$RUN is removed"
    ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
