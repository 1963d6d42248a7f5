#!/usr/bin/env bash
# no_mutants_test.sh mutants.def BINARY...: no name of a mutant, and nothing of
# the code that chooses one, is in a binary that is shipped.
set -euo pipefail
list=$1
shift
names=$(mktemp "$TEST_TMPDIR/names.XXXXXX")
sed -nE 's/^SLUICE_MUTANT\((k[A-Za-z0-9]+),.*/\1/p' "$list" >"$names"
count=$(wc -l <"$names")
[ "$count" -ge 36 ] || { echo "only $count mutants in $list"; exit 1; }
# Names alone, whatever stands around them; the second half is mutant.cc's own.
printf '%s\n' ChooseMutant MutantReached SLUICE_MUTANT >>"$names"

for binary in "$@"; do
  # Not stripped: names would be seen.
  grep -qaF InvariantFailed "$binary" || { echo "$binary has no names"; exit 1; }
  if found=$(grep -aoF -m 3 -f "$names" "$binary"); then
    echo "$binary has seeded bugs:"
    echo "$found"
    exit 1
  fi
done
echo "$count mutants, none of them in $*"
