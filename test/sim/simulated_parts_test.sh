#!/bin/sh
# usage: simulated_parts_test.sh SCRIPT SLUICED_LIBRARIES SIMULATED_LIBRARIES
exec python3 "$@"
