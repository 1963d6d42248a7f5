#!/usr/bin/env bash
# Every test: test/run.sh [--long]. Ends with "N passed, N failed".
#   build + unit tests + floor checks   bazel test //...
#   end to end                          test/e2e/*_e2e.py on real processes
#   one sanitizer lane                  cores and storage under ASan + UBSan
# --long adds the sanitizer lane for everything and repeats the e2e tests.
set -uo pipefail
cd "$(dirname "$0")/.."

long=0
for arg in "$@"; do
  case "$arg" in
    --long) long=1 ;;
    -h|--help) sed -n '2,7p' "$0" | cut -c3-; exit 0 ;;
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
  ok=$(grep -cE '^//.* PASSED in ' "$log")
  ok=$((ok + $(grep -cE '^//.* \(cached\) PASSED' "$log")))
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

timed "build" bazel build //... >"$work/build.log" 2>&1
status=$?
[ $status -eq 0 ] || cat "$work/build.log"
count "build //..." $status

if [ $status -eq 0 ]; then
  bazel_tests unit //...

  for test in test/e2e/*_e2e.py; do
    name=$(basename "$test" .py)
    timed "$name" /usr/bin/python3 "$test" >"$work/$name.log" 2>&1
    status=$?
    if [ $status -ne 0 ]; then tail -n 200 "$work/$name.log"; else tail -n 20 "$work/$name.log"; fi
    count "$name" $status
  done

  if [ $long -eq 1 ]; then
    bazel_tests asan --config=asan //...
    for round in 1 2 3; do
      for test in test/e2e/*_e2e.py; do
        name=$(basename "$test" .py)
        timed "$name round $round" /usr/bin/python3 "$test" >"$work/$name.log" 2>&1
        status=$?
        [ $status -eq 0 ] || tail -n 200 "$work/$name.log"
        count "$name round $round" $status
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
