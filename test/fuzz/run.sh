#!/usr/bin/env bash
# Runs fuzz targets: test/fuzz/run.sh [OPTION]... [TARGET]...
#   --seconds=N   of each target (default 60)
#   --seed=N      of the first inputs' order (default: from the clock, printed)
#   --keep        adds what reached new code to test/fuzz/corpus
#   --seeds       writes the corpus' first inputs anew, from the encoders; runs
#                 nothing
#   --list        names the targets
# With clang-14 and its runtime (deploy/install-deps.sh --fuzz) targets are
# libFuzzer programs under ASan and UBSan. Without, the ordinary tests change
# committed inputs at random: it says so, and --keep has nothing to keep.
# A failing input is left in test/fuzz/artifacts/. Ends with "N passed, N
# failed".
set -uo pipefail
cd "$(dirname "$0")/../.."

corpus=test/fuzz/corpus
dictionaries=test/fuzz/dictionary
artifacts=test/fuzz/artifacts
input_bytes_max=4096  # kInputBytesMax of mutation.h
# What --keep may make of a target's corpus, in files and bytes; 16 targets stay
# below 340 files and 440 KiB in all. What steps a whole core has more to reach
# than what reads one format.
corpus_limits() {  # corpus_limits TARGET
  case $1 in
    raft_step_fuzz | metadata_replay_fuzz) echo 60 60000 ;;
    *) echo 15 23000 ;;
  esac
}

seconds=60
seed=$(date +%s)
keep=0
targets=()
all=$(sed -n 's/^    name = "\(.*_fuzz\)",$/\1/p' test/fuzz/BUILD.bazel)
for arg in "$@"; do
  case "$arg" in
    --seconds=*) seconds=${arg#*=} ;;
    --seed=*) seed=${arg#*=} ;;
    --keep) keep=1 ;;
    --seeds) exec bazel run -- //test/fuzz:write_seeds "$PWD/$corpus" ;;
    --list) echo "$all"; exit 0 ;;
    -h|--help) sed -n '2,13p' "$0" | cut -c3-; exit 0 ;;
    *)
      if ! grep -qx -- "$arg" <<<"$all"; then
        echo "test/fuzz/run.sh: no target or option $arg; try --list" >&2
        exit 2
      fi
      targets+=("$arg") ;;
  esac
done
[ ${#targets[@]} -gt 0 ] || mapfile -t targets <<<"$all"

work=$(mktemp -d /tmp/sluice-fuzz.XXXXXX)
trap 'rm -rf "$work"' EXIT

has_libfuzzer() {
  printf '#include <cstddef>\n#include <cstdint>\nextern "C" int %s\n' \
    'LLVMFuzzerTestOneInput(const uint8_t*, size_t) { return 0; }' \
    >"$work/probe.cc"
  clang++-14 -fsanitize=fuzzer,address "$work/probe.cc" -o "$work/probe" \
    >/dev/null 2>&1
}

# An output base of its own: the ordinary build keeps its analysis and objects.
bazel_command=(bazel)
bazel_config=()
if has_libfuzzer; then
  engine=libfuzzer
  name=$(pwd -P | md5sum | cut -c1-12)
  bazel_command+=("--output_base=$HOME/.cache/sluice-fuzz/$name")
  bazel_config=(--config=fuzz --symlink_prefix=/)
  mkdir -p "$HOME/.cache/sluice-fuzz"
else
  engine=replay
  echo "test/fuzz/run.sh: FALLBACK: no clang-14 with libFuzzer here" \
       "(deploy/install-deps.sh --fuzz); random changes of the corpus instead"
fi
echo "test/fuzz/run.sh: $engine, ${#targets[@]} targets of $seconds s, seed $seed"

if ! "${bazel_command[@]}" build "${bazel_config[@]}" \
    "${targets[@]/#///test/fuzz:}" >"$work/build.log" 2>&1; then
  cat "$work/build.log"
  echo "0 passed, ${#targets[@]} failed"
  exit 1
fi
bin=$("${bazel_command[@]}" info "${bazel_config[@]}" bazel-bin 2>/dev/null)

run_libfuzzer() {  # run_libfuzzer TARGET
  mkdir -p "$work/$1"
  # 3 GiB with ASan's shadow; one allocation may be what a decompression of
  # the greatest batch takes, and its copy.
  "$bin/test/fuzz/$1" -max_total_time="$seconds" -seed="$seed" \
    -max_len=$input_bytes_max -timeout=25 -rss_limit_mb=3072 \
    -malloc_limit_mb=256 -print_final_stats=1 -verbosity=1 \
    -dict="$dictionaries/$1.dict" -artifact_prefix="$artifacts/$1-" \
    "$work/$1" "$corpus/$1"
}

run_replay() {  # run_replay TARGET
  "$bin/test/fuzz/$1" --seconds="$seconds" --seed="$seed" \
    --dictionary="$dictionaries/$1.dict" --artifacts="$artifacts" \
    "$corpus/$1"
}

# New code's smallest inputs, while there is room; none of the old ones goes.
keep_new() {  # keep_new TARGET
  mkdir -p "$work/merged-$1" "$work/rest-$1"
  "$bin/test/fuzz/$1" -merge=1 -max_len=$input_bytes_max "$work/merged-$1" \
    "$corpus/$1" "$work/$1" >"$work/merge.log" 2>&1 || {
    cat "$work/merge.log"
    return 1
  }
  local old file bytes added=0 count total files_max corpus_bytes_max
  read -r files_max corpus_bytes_max < <(corpus_limits "$1")
  old=$(md5sum "$corpus/$1"/* | cut -d' ' -f1)
  count=$(ls "$corpus/$1" | wc -l)
  total=$(cat "$corpus/$1"/* | wc -c)
  for file in $(ls -Sr "$work/merged-$1"); do
    grep -q "$(md5sum <"$work/merged-$1/$file" | cut -d' ' -f1)" <<<"$old" && continue
    bytes=$(wc -c <"$work/merged-$1/$file")
    [ $count -lt $files_max ] && [ $((total + bytes)) -le $corpus_bytes_max ] || break
    cp "$work/merged-$1/$file" "$corpus/$1/found-${file:0:12}"
    count=$((count + 1)); total=$((total + bytes)); added=$((added + 1))
  done
  echo "  $added inputs kept, $count files of $total bytes"
}

passed=0
failed=0
mkdir -p "$artifacts"
for target in "${targets[@]}"; do
  if "run_$engine" "$target" >"$work/$target.log" 2>&1; then
    passed=$((passed + 1))
    echo "PASS $target: $(grep -E 'number_of_executed_units|mutations' \
      "$work/$target.log" | tail -1 | tr -s ' ')"
    if [ $keep -eq 1 ] && [ "$engine" = libfuzzer ]; then
      keep_new "$target" || failed=$((failed + 1))
    fi
  else
    failed=$((failed + 1))
    tail -n 60 "$work/$target.log"
    echo "FAIL $target; its input is in $artifacts"
  fi
done
rmdir "$artifacts" 2>/dev/null
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
