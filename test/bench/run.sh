#!/usr/bin/env bash
# Takes the figures that issues ask for, on clusters of real processes here:
#   test/bench/run.sh [--list] [--figure NAME]... [--scale N] [--realtime N]
# Prints JSON on stdout, what it does on stderr. It measures and never judges:
# exit 1 only when a figure could not be taken, 2 for a wrong command line.
set -euo pipefail
cd "$(dirname "$0")/../.."

case "${1:-}" in
  -h|--help) sed -n '2,5p' "$0" | cut -c3-; exit 0 ;;
  --list) exec /usr/bin/python3 test/bench/figures.py --list ;;
esac

if [ -z "${SLUICE_BIN:-}" ]; then
  bazel build //broker:sluiced //tools:sluice //test/bench:group_bench \
    //test/chaos:workload //test/chaos:libsync_fault.so //test/check:check_history >&2
fi
exec /usr/bin/python3 test/bench/figures.py "$@"
