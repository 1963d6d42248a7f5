#!/usr/bin/env bash
# Every test: test/run.sh [--long]. Ends with "N passed, N failed".
#   build + unit tests, fuzz corpora, floors          bazel test //...
#   end to end            test/e2e/*_e2e.py on real processes
#   simulation            seeds of whole clusters
#   mutants               six seeded bugs, other ones for each commit; and six
#                         pairs of a bug and the script that it turns red
#   chaos                 one case on processes in network namespaces, another
#                         one for each commit
#   one sanitizer lane    cores and storage under ASan + UBSan
# --long: 20,000 seeds, every mutant, every chaos case and the combined ones with
# four seeds more, 10 minutes a fuzzer, everything and 300 seeds under ASan +
# UBSan, threads under TSan, the e2e tests three times more.
set -uo pipefail
cd "$(dirname "$0")/.."

long=0
for arg in "$@"; do
  case "$arg" in
    --long) long=1 ;;
    -h|--help) sed -n '2,12p' "$0" | cut -c3-; exit 0 ;;
    *) echo "test/run.sh: unknown argument $arg; try --help" >&2; exit 2 ;;
  esac
done

passed=0
failed=0
timings=()
work=$(mktemp -d /tmp/sluice-test.XXXXXX)
trap 'rm -rf "$work"' EXIT

# step NAME COMMAND...: runs it, counts one pass or failure unless it is bazel
# (whose tests are counted one by one by bazel_tests).
timed() {
  local name=$1 start=$SECONDS
  shift
  "$@"
  local status=$?
  timings+=("$(printf '%5d s  %s' $((SECONDS - start)) "$name")")
  return $status
}

count() {  # count NAME STATUS
  if [ "$2" -eq 0 ]; then
    passed=$((passed + 1)); echo "PASS $1"
  else
    failed=$((failed + 1)); echo "FAIL $1"
  fi
}

bazel_tests() {  # bazel_tests NAME ARGS...
  local name=$1 log="$work/$1.log"
  shift
  timed "$name" bazel test --keep_going "$@" >"$log" 2>&1
  local status=$?
  local ok bad
  ok=$(grep -cE '^//.* PASSED in ' "$log")  # "(cached) PASSED in" as well
  bad=$(grep -cE '^//.* (FAILED|TIMEOUT|NO STATUS|FLAKY)' "$log")
  if [ $status -ne 0 ]; then
    [ "$bad" -gt 0 ] || bad=1
    cat "$log"
  else
    grep -E '^//.* PASSED' "$log"
  fi
  passed=$((passed + ok))
  failed=$((failed + bad))
}

# run NAME COMMAND...: one pass or failure; its last lines, all when it failed.
run() {
  local name=$1 log="$work/step.log" status
  shift
  timed "$name" "$@" >"$log" 2>&1
  status=$?
  if [ $status -ne 0 ]; then tail -n 300 "$log"; else tail -n 20 "$log"; fi
  count "$name" $status
}

timed "build" bazel build //... >"$work/build.log" 2>&1
status=$?
[ $status -eq 0 ] || cat "$work/build.log"
count "build //..." $status

if [ $status -eq 0 ]; then
  bazel_tests unit //...

  for test in test/e2e/*_e2e.py; do
    run "$(basename "$test" .py)" /usr/bin/python3 "$test"
  done

  # Fifty that every commit runs, and 150 that this one draws: each commit looks
  # somewhere else. A red one is a bug of the product or of the simulator; its
  # number is printed, and it fails again.
  commit=$(git rev-parse HEAD 2>/dev/null || echo 00000000)
  drawn=$((16#${commit:0:8} % 1000000 + 1000))
  seeds=1..50,$drawn..$((drawn + 149))
  chaos=(--draw "$commit" --seed "$drawn")
  mutants=(--count 6 --rotate "$commit" --seeds 1000)
  scripts=(--scripts --count 6 --rotate "$commit")
  if [ $long -eq 1 ]; then
    seeds=1..20000
    chaos=(--seed "$drawn")
    mutants=()
    scripts=(--scripts)
  fi
  run "simulation $seeds" bazel run //test/sim:fuzz -- \
    "--seeds=$seeds" --require_all
  run "mutants" test/sim/mutants.sh "${mutants[@]}"
  # Of the same build; six pairs are a link or so each, and seconds.
  run "scripts that mutants turn red" test/sim/mutants.sh "${scripts[@]}"
  run "chaos" test/chaos/run.sh "${chaos[@]}"

  if [ $long -eq 1 ]; then
    run "chaos, combined" test/chaos/run.sh --case combined \
      --case combined_proxied --seed $((drawn + 1)) --seed $((drawn + 2)) \
      --seed $((drawn + 3)) --seed $((drawn + 4))
    run "fuzzers" test/fuzz/run.sh --seconds=600
    bazel_tests asan --config=asan //...
    run "simulation 1..300 under ASan" bazel run --config=asan \
      //test/sim:fuzz -- --seeds=1..300
    # Executors, the shared holders, storage's sync threads, handlers whose
    # broker has threads: all over fake transports, for gRPC and abseil are
    # Debian's and not instrumented.
    bazel_tests tsan --config=tsan //common/env:all //storage:group_commit_test \
      //broker/handlers:handlers_threads_test
    for round in 1 2 3; do
      for test in test/e2e/*_e2e.py; do
        run "$(basename "$test" .py) round $round" /usr/bin/python3 "$test"
      done
    done
  else
    bazel_tests asan --config=asan //common/base/... //storage/... \
      //broker/replica/... //controller/raft/... //controller/metadata/...
  fi
fi

echo
echo "Time by step:"
printf '%s\n' "${timings[@]}"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
