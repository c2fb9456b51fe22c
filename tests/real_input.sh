#!/usr/bin/env bash
# Debian's package index through a three-node cluster, checked to the last byte:
#   - one record per package, keyed by its name, produced by kcat at acks=all into 6 partitions × 3
#     replicas;
#   - three confluent-kafka members of one group see every record exactly once, in the order in which
#     it was produced; one of them is restarted in between;
#   - a second group sees everything again, from offset 0 of every partition and without a gap;
#   - a restarted member of a third group continues at its committed offset.
#
#   tests/real_input.sh                  with a cluster of its own
#   JACKDAW_BOOTSTRAP=… JACKDAW_BIN=… tests/real_input.sh      with one that runs
#
# Needs apt-cache with package lists, kcat and python3; confluent-kafka is installed from PyPI into
# target/real-input/venv. Exit code 0 only if everything held.
set -euo pipefail
cd "$(dirname "$0")/.."

missing() {
    echo "real_input: $1 is missing: $2" >&2
    exit 2
}
command -v kcat >/dev/null || missing kcat "apt-get install kcat"
command -v python3 >/dev/null || missing python3 "apt-get install python3 python3-venv"
command -v apt-cache >/dev/null || missing apt-cache "this test needs a Debian or Ubuntu system"

if [ -z "${JACKDAW_BOOTSTRAP:-}" ]; then
    cargo build --quiet --workspace --bins
    target="${CARGO_TARGET_DIR:-target}"
    exec "$target/debug/jackdaw-chaos" run --nodes 3 -- "$PWD/tests/real_input.sh" "$@"
fi
: "${JACKDAW_BIN:?name the jackdaw binary}"

work="$PWD/target/real-input"
mkdir -p "$work"
if ! "$work/venv/bin/python" -c 'import confluent_kafka' 2>/dev/null; then
    echo "installing confluent-kafka into $work/venv"
    python3 -m venv "$work/venv" || missing python3-venv "apt-get install python3-venv"
    "$work/venv/bin/pip" install --quiet confluent-kafka
fi
helper=("$work/venv/bin/python" "$PWD/tests/real_input.py")

run="$(mktemp -d "$work/run-XXXXXX")"
members=()
stop_members() {
    for member in "${members[@]}"; do kill "$member" 2>/dev/null || true; done
}
trap stop_members EXIT

apt-cache dumpavail > "$run/source.txt"
test -s "$run/source.txt" || missing "a package list" "apt-get update"
# Records end with 0x1e and keys with 0x1f, which occur in no package index (the helper checks).
count=$("${helper[@]}" split "$run/source.txt" "$run/records.bin")
echo "source: $count records, $(stat -c %s "$run/records.bin") bytes"

topic="packages-$$"
"$JACKDAW_BIN" topic create "$topic" --partitions 6 --replication-factor 3 \
    --bootstrap "$JACKDAW_BOOTSTRAP"
# Idempotence keeps the order over retries; zstd has the batches stored as the client packed them.
begin=$(date +%s%N)
kcat -P -b "$JACKDAW_BOOTSTRAP" -t "$topic" -X acks=all -X enable.idempotence=true -z zstd \
    -K '\x1f' -D '\x1e' -l "$run/records.bin"
echo "produced in $((($(date +%s%N) - begin) / 1000000)) ms"

consume() { # group, member, further arguments
    local group=$1 member=$2
    shift 2
    "${helper[@]}" consume --bootstrap "$JACKDAW_BOOTSTRAP" --topic "$topic" \
        --group "$topic-$group" --out "$run/$group.$member" "$@" &
    members+=($!) # the member itself, not a shell around it: it is told to stop by a signal
}
consume_wait() {
    consume "$@"
    wait "${members[-1]}"
    unset 'members[-1]'
}

echo "group a: three members, the third restarted after 5000 records"
consume a 1 --share 2
consume a 2 --share 2
consume_wait a 3 --share 2 --stop-after 5000
consume a 3b
"${helper[@]}" await --count "$count" "$run"/a.1 "$run"/a.2 "$run"/a.3 "$run"/a.3b
for member in "${members[@]}"; do kill -TERM "$member"; done
for member in "${members[@]}"; do wait "$member"; done
members=()
"${helper[@]}" check --records "$run/records.bin" --partitions 6 --min-members 3 "$run"/a.*

echo "group b: one member sees everything again"
consume_wait b 1 --stop-after "$count"
"${helper[@]}" check --records "$run/records.bin" --partitions 6 "$run"/b.1

echo "group c: a member stops in the middle and continues at its committed offset"
consume_wait c 1 --stop-after $((count / 3))
consume_wait c 1b --stop-after $((count - count / 3))
"${helper[@]}" continues "$run"/c.1 "$run"/c.1b
"${helper[@]}" check --records "$run/records.bin" --partitions 6 "$run"/c.1 "$run"/c.1b

rm -r "$run"
echo "real input: everything holds"
