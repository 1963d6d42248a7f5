#!/usr/bin/env bash
# Turns the seeded bugs of common/base/mutants.def on, one at a time, and
# demands that each is found: the proof that the simulator can see.
#
# usage: test/sim/mutants.sh [--seeds N] [--jobs N] [--mutant NAME]...
#                            [--by fuzz|//TEST]... [--count K --rotate SEED]
#                            [--scripts] [--list]
#   --seeds N     a mutant that N seeds do not find has survived (5000)
#   --mutant NAME only this one; may be repeated
#   --by WHAT     that finds it, in place of what the list says; with --mutant
#   --count K --rotate SEED
#                 only K of them, which ones depends on SEED alone
#   --scripts     not the list, but the table of test/scenario/README.md: each
#                 mutant against each script that it turns red, that script alone
#   --jobs N      so many at a time (the number of cores)
#   --list        says what each does, and runs nothing
# A seed that fails with a mutant is run again without it: where it fails too,
# it has found nothing, and the search goes on behind it; it is a fault by
# itself, and the run has failed. So with one that hangs (HUNG, when it took a
# minute of a processor). A search ends after an hour: "slow" is not found. A
# test or seed that something else ended (no memory, a signal) is "broken".
# Exit: 0 all found, 1 one survived or a seed fails without a mutant, 2 nothing
# was proven.
set -euo pipefail
cd "$(dirname "$0")/../.."

list=common/base/mutants.def
seeds=5000
jobs=$(nproc)
count=0
rotate=
only=()
by=
list_only=false
scripts=false
readme=test/scenario/README.md
test_limit_s=1800  # a mutant may hang a test
search_limit_s=3600
seed_limit_s=60  # of a processor; a seed takes about one
while [ $# -gt 0 ]; do
  case "$1" in
    --seeds) seeds=$2; shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    --mutant) only+=("$2"); shift 2 ;;
    --by) by=$2; shift 2 ;;
    --count) count=$2; shift 2 ;;
    --rotate) rotate=$2; shift 2 ;;
    --scripts) scripts=true; shift ;;
    --list) list_only=true; shift ;;
    -h|--help) sed -n '2,24p' "$0" | cut -c3-; exit 0 ;;
    *) echo "mutants.sh: unknown argument $1; try --help" >&2; exit 2 ;;
  esac
done

work=$(mktemp -d /tmp/sluice-mutants.XXXXXX)
trap 'rm -rf "$work"' EXIT

# name|rule|found by|what
sed -nE 's/^SLUICE_MUTANT\((k[A-Za-z0-9]+), "([^"]*)", "(fuzz|\/\/[^"]*:[^"]*)", "([^"]*)"\)$/\1|\2|\3|\4/p' \
  "$list" >"$work/all"
if [ "$(wc -l <"$work/all")" -ne "$(grep -c '^SLUICE_MUTANT(' "$list")" ]; then
  echo "mutants.sh: a line of $list is not NAME, RULE, FOUND BY, WHAT" >&2
  exit 2
fi

# The rows of the table, a script each. "found by": //TEST#SCRIPT.
list_scripts() {
  local name names seen script file
  sed -n '/^## Scripts that a mutant turns red$/,/^## Scripts without/p' "$readme" |
    sed -nE 's/^\| `(k[A-Za-z0-9]+)` \| (`F[^|]*`) \| (.*) \|$/\1|\2|\3/p' |
    while IFS='|' read -r name names seen; do
      for script in $(tr -d '`,' <<<"$names"); do
        file=$(grep -lE "^TEST(_F|_P)?\([A-Za-z0-9]+,[[:space:]]*$script\)" \
          "${readme%/*}"/*_test.cc) ||
          { echo "mutants.sh: no test $script" >&2; exit 2; }
        echo "$name|$script|//${readme%/*}:$(basename "$file" .cc)#$script|$seen"
      done
    done
}
if $scripts; then
  list_scripts >"$work/all"
  [ -s "$work/all" ] || { echo "mutants.sh: no table in $readme" >&2; exit 2; }
fi

choose() {
  if [ ${#only[@]} -gt 0 ]; then
    for name in "${only[@]}"; do
      grep "^$name|" "$work/all" || { echo "mutants.sh: no mutant $name" >&2; exit 2; }
    done | awk -F'|' -v OFS='|' -v by="$by" '{ if (by != "") $3 = by; print }'
  elif [ "$count" -gt 0 ]; then
    while IFS= read -r line; do
      echo "$(echo "$rotate ${line%|*}" | sha256sum | cut -c1-16)|$line"
    done <"$work/all" | sort >"$work/shuffled"
    head -n "$count" "$work/shuffled" | cut -d'|' -f2-
  else
    cat "$work/all"
  fi
}
choose >"$work/chosen"

if $list_only; then
  while IFS='|' read -r name rule by what; do
    printf '%-28s %-5s %s [%s]\n' "$name" "$rule" "$what" "$by"
  done <"$work/chosen"
  exit 0
fi

# ---- One build for all of them ----

mapfile -t checks < <(cut -d'|' -f3 "$work/chosen" | grep '^//' | sort -u)
mapfile -t tests < <(printf '%s\n' "${checks[@]%%#*}" | grep . | sort -u)
wants_fuzz=$(cut -d'|' -f3 "$work/chosen" | grep -cx fuzz || true)
targets=("${tests[@]}")
[ "$wants_fuzz" -eq 0 ] || targets+=(//test/sim:fuzz)
bazel build --config=mutants "${targets[@]}" >"$work/build.log" 2>&1 ||
  { cat "$work/build.log"; exit 2; }
# Copies: another build may go on meanwhile.
mkdir "$work/bin" "$work/seeds"
bin=$(bazel info --config=mutants bazel-bin 2>/dev/null)
copy_of() {  # copy_of //PKG:NAME
  local label=${1#//}
  label=${label/:/\/}
  echo "$work/bin/${label//\//+}"
}
for target in "${targets[@]}"; do
  label=${target#//}
  cp "$bin/${label/://}" "$(copy_of "$target")"
done
fuzz=$(copy_of //test/sim:fuzz)

run_test() {  # run_test //PKG:NAME[#TEST]
  local one=()
  [ "${1#*#}" = "$1" ] || one=(--gtest_filter="*.${1#*#}:*.${1#*#}/*")
  TEST_TMPDIR=$work timeout "$test_limit_s" "$(copy_of "${1%%#*}")" "${one[@]}"
}
# Without a mutant a test is green, else "found" would say nothing.
for check in "${checks[@]}"; do
  if run_test "$check" >"$work/control" 2>&1; then
    # A filter that meets no test is green with every mutant.
    [ "${check#*#}" = "$check" ] || grep -q '^\[ RUN ' "$work/control" && continue
  fi
  tail -n 50 "$work/control"
  echo "mutants.sh: red without a mutant, or no test: $check" >&2
  exit 2
done

# ---- Each of them ----

# What saw it: a check's number or word, or the INVARIANT that a process died of.
seen_by() {
  local crash
  crash=$(grep -m 1 -oE 'INVARIANT.*' "$1" | grep -oE '\b(RA|RP|ST|MD|IP|GR)[0-9]+' | head -n 1) || true
  if [ -n "$crash" ]; then
    echo "$crash in the product"
  elif grep -qE '^seed [0-9]+ FAILED: ' "$1"; then
    grep -m 1 -E '^seed [0-9]+ FAILED: ' "$1" | sed -E 's/^[^:]*: ([^:]*).*/\1/' | cut -c1-40
  else
    grep -m 1 -oE '\[  FAILED  \] [A-Za-z0-9_.\/]+' "$1" | cut -c14- || true
  fi
}

# Exit codes of what found something by itself: a failed test, and one that died
# of abort, a wrong division or a wrong address. Not 137 and 143: those signals
# come from outside, as when the machine has no memory left.
is_find() {  # is_find STATUS
  case $1 in
    1 | 134 | 136 | 139) true ;;
    *) false ;;
  esac
}

# A seed's own process died: of the mutant, or of something from outside? Once
# more, as this process' child.
crashes() {  # crashes NAME SEED
  local status=0
  timeout "$test_limit_s" "$fuzz" --mutant="$1" --seed="$2" \
    >"$work/$1.crash" 2>&1 || status=$?
  is_find $status
}

# Whether a seed fails without a mutant, too. Remembered: most mutants are found
# by the same few seeds.
is_green() {  # is_green SEED
  local verdict=$work/seeds/$1
  if [ ! -e "$verdict" ]; then
    local said=green
    "$fuzz" --seeds="$1..$1" --jobs=1 --processor_seconds_max=$seed_limit_s \
      >"$work/seed.$BASHPID" 2>&1 || said=red
    echo $said >"$work/verdict.$BASHPID"
    mv "$work/verdict.$BASHPID" "$verdict"
  fi
  [ "$(cat "$verdict")" = green ]
}

# The first seed that fails with the mutant alone. Prints "found SEED",
# "survived -", "slow -", "broken -" or "broken SEED".
search() {  # search NAME LOG
  local first=1 status at left end=$((SECONDS + search_limit_s))
  while [ "$first" -le "$seeds" ]; do
    left=$((end - SECONDS))
    [ "$left" -gt 0 ] || { echo "slow -"; return; }
    status=0
    SLUICE_MUTANT_REACHED=$work/$1.reached timeout "$left" "$fuzz" \
      --mutant="$1" --seeds="$first..$seeds" --jobs=1 \
      --failures_max=1 --processor_seconds_max=$seed_limit_s \
      >"$2" 2>&1 || status=$?
    [ $status -ne 0 ] || break
    [ $status -ne 124 ] || { echo "slow -"; return; }
    at=$(grep -m 1 -oE '^seed [0-9]+ FAILED' "$2" | grep -oE '[0-9]+') ||
      { echo "broken -"; return; }  # usage: nothing was tried
    if grep -q "^seed $at FAILED: CRASHED" "$2" && ! crashes "$1" "$at"; then
      echo "broken $at"
      return
    fi
    if is_green "$at"; then echo "found $at"; return; fi
    first=$((at + 1))
  done
  echo "survived -"
}

try() {  # NAME|RULE|BY|WHAT -> $work/ID.result: found|name|seeds|seconds|seen by|by
  local name rule by what start status seconds seen at log saw id reached
  IFS='|' read -r name rule by what <<<"$1"
  id=$name
  if [ "${by#*#}" != "$by" ]; then
    id=$name.${by#*#}
    what="${by#*#}: $what"
  fi
  log=$work/$id.log
  reached=$work/$id.reached
  start=$EPOCHREALTIME
  if [ "$by" = fuzz ]; then
    read -r seen at < <(search "$name" "$log")
  else
    status=0 at=- seen=found
    SLUICE_MUTANT=$name SLUICE_MUTANT_REACHED=$reached \
      run_test "$by" >"$log" 2>&1 || status=$?
    # 2: no such mutant in that test; others: it never ran, or did not end by
    # itself.
    if [ $status -eq 0 ]; then
      seen=survived
    elif ! is_find $status; then
      seen=broken
      echo "exit $status" >>"$log"
    fi
  fi
  seconds=$(echo "$EPOCHREALTIME - $start" | bc)
  saw=$(seen_by "$log")
  # Of a survivor whose line never ran nothing is known.
  if [ "$seen" = survived ] && [ ! -e "$reached" ]; then
    saw="reached 0"
  fi
  printf '%s|%s|%s|%.1f|%s|%s\n' "$seen" "$name" "$at" "$seconds" "$saw" \
    "$by" >"$work/$id.result"
  printf '%-8s %-28s %5s seeds %7.1f s  %s (%s)\n' "$seen" "$name" "$at" \
    "$seconds" "${saw:-$by}" "$what"
  [ "$seen" = found ] || tail -n 3 "$log"
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
sed -nE 's/^found\|[^|]*\|([^|]*)\|.*\|fuzz$/\1/p' "$work/results" | sort -n \
  >"$work/at"
by_seeds=$(wc -l <"$work/at")
median=$(awk '{ at[NR] = $1 } END { print NR ? at[int((NR + 1) / 2)] : "-" }' \
  "$work/at")
most=$(tail -n 1 "$work/at")
red=$(cd "$work/seeds" && grep -lsx red ./* | cut -c3- | sort -n | paste -sd' ') || true
echo
echo "$found of $total mutants found, $((total - found)) survived;" \
  "$by_seeds by seeds: median $median, at most ${most:--}"
if [ -n "$red" ]; then
  echo "FAILED without a mutant too, which is a fault by itself: seeds $red"
  exit 1
fi
[ "$found" -eq "$total" ]
