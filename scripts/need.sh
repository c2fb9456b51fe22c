#!/usr/bin/env bash
# Says which of the named programs are missing, and how Debian and Ubuntu install them.
#
#   scripts/need.sh cargo cc c++ make
#   scripts/need.sh java-17 mvn confluent-kafka     # a version of Java or newer; a module of Python's
set -euo pipefail

is_there() {
    case $1 in
    java-*) (($(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') >= ${1#java-})) 2>/dev/null ;;
    confluent-kafka) python3 -c 'import confluent_kafka' 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

missing=()
for program in "$@"; do
    is_there "$program" || missing+=("$program")
done
((${#missing[@]} == 0)) && exit 0

for program in "${missing[@]}"; do
    case $program in
    cargo) how="install Rust 1.90 or newer: https://rustup.rs" ;;
    cc | c++ | make) how="apt-get install build-essential (the tests build librdkafka, which is C and C++)" ;;
    kcat) how="apt-get install kcat" ;;
    java-*) how="apt-get install openjdk-${program#java-}-jre-headless, or a newer one" ;;
    mvn) how="apt-get install maven" ;;
    confluent-kafka) how="pip install confluent-kafka" ;;
    python3) how="apt-get install python3 python3-venv" ;;
    *) how="apt-get install $program" ;;
    esac
    echo "missing: $program; $how" >&2
done
exit 1
