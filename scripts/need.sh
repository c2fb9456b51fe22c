#!/usr/bin/env bash
# Says which of the named programs are missing, and how Debian and Ubuntu install them.
#
#   scripts/need.sh cargo cc c++ make
set -euo pipefail

missing=()
for program in "$@"; do
    command -v "$program" >/dev/null || missing+=("$program")
done
((${#missing[@]} == 0)) && exit 0

for program in "${missing[@]}"; do
    case $program in
    cargo) how="install Rust 1.90 or newer: https://rustup.rs" ;;
    cc | c++ | make) how="apt-get install build-essential (the tests build librdkafka, which is C and C++)" ;;
    kcat) how="apt-get install kcat" ;;
    python3) how="apt-get install python3 python3-venv" ;;
    *) how="apt-get install $program" ;;
    esac
    echo "missing: $program; $how" >&2
done
exit 1
