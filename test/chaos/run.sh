#!/usr/bin/env bash
# Harms a cluster of real processes and judges what its clients saw.
#   test/chaos/run.sh [--case NAME]... [--draw TEXT] [--list] [--seconds N]
#                     [--rounds N] [--seed N]... [--keep]
# Each node has a network namespace of its own; where that is not allowed all
# share loopback and the cases that need it are left out (README.md).
# Ends with "N passed, N failed, N left out"; exit 1 when one failed, 2 when
# nothing ran.
set -euo pipefail
cd "$(dirname "$0")/../.."

case "${1:-}" in
  -h|--help) sed -n '2,8p' "$0" | cut -c3-; exit 0 ;;
  --list) exec /usr/bin/python3 test/chaos/chaos.py --list ;;
esac

if [ -z "${SLUICE_BIN:-}" ]; then
  bazel build //broker:sluiced //tools:sluice //test/chaos:workload \
    //test/chaos:libsync_fault.so //test/check:check_history
fi

# A PID namespace too: when the rig ends, however it ends, the kernel ends all
# that it started, and namespaces without names and processes are gone.
own=(unshare --net --pid --fork --kill-child --mount-proc)
[ "$(id -u)" -eq 0 ] || own=(unshare --user --map-root-user "${own[@]:1}")
if why=$("${own[@]}" sh -c 'ip link set lo up && ip link add br0 type bridge' 2>&1); then
  exec "${own[@]}" /usr/bin/python3 test/chaos/chaos.py --namespaces "$@"
fi
echo "test/chaos: FALLBACK to loopback, no network namespaces here: ${why}"
exec /usr/bin/python3 test/chaos/chaos.py "$@"
