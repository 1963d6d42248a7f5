#!/usr/bin/env bash
# Holds README.md to the tree itself, not to a copy.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
exec python3 "$here/check_map.py" "$here/../.."
