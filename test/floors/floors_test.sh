#!/usr/bin/env bash
# Checks the tree itself, not a copy: the walls stand or fall as a whole.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
python3 "$here/check_floors.py" "$here/../.."
python3 "$here/check_metrics.py" "$here/../.."
