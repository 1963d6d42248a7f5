#!/usr/bin/env bash
# Turns the seeded bugs of common/base/mutants.def on, one at a time, and
# demands that each is found: the proof that the simulator can see.
#
# usage: test/sim/mutants.sh [--seeds N] [--jobs N] [--mutant NAME]...
#                            [--count K --rotate SEED] [--list]
#   --seeds N     a mutant that N seeds do not find has survived (5000)
#   --mutant NAME only this one; may be repeated
#   --count K --rotate SEED
#                 only K of them, which ones depends on SEED alone
#   --jobs N      so many at a time (the number of cores)
#   --open        only the holes: those that nothing has found yet, by fuzz
#   --list        says what each does, and runs nothing
# Exit: 0 all found, 1 one survived, 2 nothing was proven.
set -euo pipefail
cd "$(dirname "$0")/../.."

list=common/base/mutants.def
seeds=5000
jobs=$(nproc)
count=0
rotate=
only=()
list_only=false
holes=false
while [ $# -gt 0 ]; do
  case "$1" in
    --seeds) seeds=$2; shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    --mutant) only+=("$2"); shift 2 ;;
    --count) count=$2; shift 2 ;;
    --rotate) rotate=$2; shift 2 ;;
    --open) holes=true; shift ;;
    --list) list_only=true; shift ;;
    -h|--help) sed -n '2,15p' "$0" | cut -c3-; exit 0 ;;
    *) echo "mutants.sh: unknown argument $1; try --help" >&2; exit 2 ;;
  esac
done

work=$(mktemp -d /tmp/sluice-mutants.XXXXXX)
trap 'rm -rf "$work"' EXIT

# name|rule|found by|what
sed -nE 's/^SLUICE_MUTANT\((k[A-Za-z0-9]+), "([^"]*)", "([^"]*)", "([^"]*)"\)$/\1|\2|\3|\4/p' \
  "$list" >"$work/all"
if [ "$(wc -l <"$work/all")" -ne "$(grep -c '^SLUICE_MUTANT(' "$list")" ]; then
  echo "mutants.sh: a line of $list is not NAME, RULE, FOUND BY, WHAT" >&2
  exit 2
fi

grep '|open|' "$work/all" | sed 's/|open|/|fuzz|/' >"$work/open" || true
if $holes; then cp "$work/open" "$work/all"; fi

choose() {
  if [ ${#only[@]} -gt 0 ]; then
    for name in "${only[@]}"; do
      grep "^$name|" "$work/all" || { echo "mutants.sh: no mutant $name" >&2; exit 2; }
    done
  elif [ "$count" -gt 0 ]; then
    grep -v '|open|' "$work/all" | while IFS= read -r line; do
      echo "$(echo "$rotate ${line%%|*}" | sha256sum | cut -c1-16)|$line"
    done | sort >"$work/shuffled"
    head -n "$count" "$work/shuffled" | cut -d'|' -f2-
  elif $list_only; then
    cat "$work/all"
  else
    grep -v '|open|' "$work/all"
  fi
}
choose | { if $list_only; then cat; else sed 's/|open|/|fuzz|/'; fi; } >"$work/chosen"

if $list_only; then
  while IFS='|' read -r name rule by what; do
    printf '%-28s %-5s %s [%s]\n' "$name" "$rule" "$what" "$by"
  done <"$work/chosen"
  exit 0
fi

# ---- One build for all of them ----

mapfile -t tests < <(cut -d'|' -f3 "$work/chosen" | grep '^//' | sort -u)
wants_fuzz=$(cut -d'|' -f3 "$work/chosen" | grep -cx fuzz || true)
targets=("${tests[@]}")
[ "$wants_fuzz" -eq 0 ] || targets+=(//test/sim:fuzz)
bazel build --config=mutants "${targets[@]}" >"$work/build.log" 2>&1 ||
  { cat "$work/build.log"; exit 2; }
# Copies: another build may go on meanwhile.
mkdir "$work/bin"
bin=$(bazel info --config=mutants bazel-bin 2>/dev/null)
for target in "${targets[@]}"; do
  label=${target#//}
  cp "$bin/${label/://}" "$work/bin/"
done

# Without a mutant all is green, else "found" would say nothing.
green() {  # green COMMAND...
  TEST_TMPDIR=$work "$@" >"$work/control" 2>&1 && return
  tail -n 50 "$work/control"
  echo "mutants.sh: red without a mutant: $*" >&2
  exit 2
}
[ "$wants_fuzz" -eq 0 ] || green "$work/bin/fuzz" --seeds=1..50 --jobs="$jobs"
for test in "${tests[@]}"; do green "$work/bin/${test##*:}"; done

# ---- Each of them ----

# What saw it: a check's number or word, or the INVARIANT that a process died of.
seen_by() {
  local crash
  crash=$(grep -m 1 -oE 'INVARIANT.*' "$1" | grep -oE '\b(RA|RP|ST|MD)[0-9]+' | head -n 1) || true
  if [ -n "$crash" ]; then
    echo "$crash in the product"
  elif grep -qE '^seed [0-9]+ FAILED: ' "$1"; then
    grep -m 1 -E '^seed [0-9]+ FAILED: ' "$1" | sed -E 's/^[^:]*: ([^:]*).*/\1/' | cut -c1-40
  else
    grep -m 1 -oE '\[  FAILED  \] [A-Za-z0-9_.\/]+' "$1" | cut -c14- || true
  fi
}

try() {  # NAME|RULE|BY|WHAT -> $work/NAME.result: found|name|seeds|seconds|by|rule
  local name rule by what start status log
  IFS='|' read -r name rule by what <<<"$1"
  log=$work/$name.log
  start=$EPOCHREALTIME
  status=0
  if [ "$by" = fuzz ]; then
    "$work/bin/fuzz" --mutant="$name" --seeds=1.."$seeds" --jobs=1 \
      --failures_max=1 >"$log" 2>&1 || status=$?
  else
    SLUICE_MUTANT=$name TEST_TMPDIR=$work "$work/bin/${by##*:}" \
      >"$log" 2>&1 || status=$?
  fi
  local seconds seen=survived at=-
  seconds=$(echo "$EPOCHREALTIME - $start" | bc)
  [ "$status" -eq 0 ] || seen=found
  [ "$status" -ne 2 ] || seen=broken  # usage: nothing was tried
  if [ "$by" = fuzz ] && [ $seen = found ]; then
    at=$(grep -m 1 -oE '^seed [0-9]+ FAILED' "$log" | grep -oE '[0-9]+') || at='?'
  fi
  printf '%s|%s|%s|%.1f|%s|%s\n' "$seen" "$name" "$at" "$seconds" \
    "$(seen_by "$log")" "$by" >"$work/$name.result"
  printf '%-8s %-28s %5s seeds %7.1f s  %s (%s)\n' "$seen" "$name" "$at" \
    "$seconds" "$(seen_by "$log")" "$what"
  [ $seen = found ] || tail -n 3 "$log"
}

while IFS= read -r line; do
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
  try "$line" &
done <"$work/chosen"
wait

# ---- Summary ----

cat "$work"/*.result >"$work/results"
found=$(grep -c '^found|' "$work/results" || true)
total=$(wc -l <"$work/chosen")
median=$(grep '^found|.*|fuzz$' "$work/results" | cut -d'|' -f3 | sort -n |
  awk '{ at[NR] = $1 } END { print NR ? at[int((NR + 1) / 2)] : "-" }')
echo
echo "$found of $total mutants found, $((total - found)) survived; median $median seeds"
[ ${#only[@]} -gt 0 ] || [ ! -s "$work/open" ] || $holes ||
  echo "$(wc -l <"$work/open") more are open, nothing has found them yet: $(cut -d'|' -f1 "$work/open" | paste -sd' ')"
[ "$found" -eq "$total" ]
