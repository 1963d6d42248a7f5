#!/usr/bin/env bash
# mutants_test.sh MUTANTS_SH: what mutants.sh makes of how tests and seeds end.
# Its bazel, its list and what it runs are made here.
set -euo pipefail
tree=$TEST_TMPDIR/tree
mkdir -p "$tree/test/sim" "$tree/common/base" "$tree/bin/test/sim" "$tree/path"
cp "$1" "$tree/test/sim/mutants.sh"

cat >"$tree/path/bazel" <<END
#!/bin/sh
[ "\$1" = build ] || echo "$tree/bin"
END

# What a test does with a mutant is in the mutant's name; green without.
cat >"$tree/bin/a_test" <<'END'
#!/bin/bash
case ${SLUICE_MUTANT:-} in
  kFails) echo '[  FAILED  ] A.Test'; exit 1 ;;
  kAborts) kill -ABRT $$ ;;
  kFaults) kill -SEGV $$ ;;
  kKilled) kill -KILL $$ ;;
  kTerminated) kill -TERM $$ ;;
  kUnknown) exit 2 ;;
  kReached) : >"$SLUICE_MUTANT_REACHED" ;;
esac
END

# The same of scripts, each alone.
mkdir -p "$tree/test/scenario" "$tree/bin/test/scenario"
cat >"$tree/bin/test/scenario/a_scenarios_test" <<'END'
#!/bin/bash
case $1 in
  *F1Red:*) script=F1Red ;;
  *F2Green:*) script=F2Green ;;
  *) exit 0 ;;
esac
echo "[ RUN      ] A.$script"
[ "${SLUICE_MUTANT:-}" = kFails ] && [ $script = F1Red ] || exit 0
echo "[  FAILED  ] A.$script"
exit 1
END
cat >"$tree/test/scenario/a_scenarios_test.cc" <<'END'
TEST(A, F1Red) {
TEST_F(A, F2Green) {
#define TEST(A, B)
TEST(A, F3Absent) {
END
cat >"$tree/test/scenario/README.md" <<'END'
## Scripts that a mutant turns red

| Mutant | Script | Seen by |
|---|---|---|
| `kFails` | `F1Red`, `F2Green` | RP1 |
| `kOther` | `F3Absent` | RP2 |

## Scripts without a mutant
END

# Of seeds 1 to 9: a child that crashes with every mutant of this kind.
cat >"$tree/bin/test/sim/fuzz" <<'END'
#!/bin/bash
mutant= first=1 one=
for arg in "$@"; do
  case $arg in
    --mutant=*) mutant=${arg#*=} ;;
    --seeds=*) first=${arg#*=}; first=${first%%.*} ;;
    --seed=*) one=${arg#*=} ;;
  esac
done
if [ -n "$one" ]; then  # in this very process
  [ "$mutant" != kSeedAborts ] || kill -ABRT $$
  [ "$mutant" != kSeedKilled ] || kill -KILL $$
  exit 0
fi
case $mutant in
  kSeedFails) at=4 said='RP4 of seed 4' ;;
  kSeedAborts) at=3 said=CRASHED ;;
  kSeedKilled | kSeedLost) at=5 said=CRASHED ;;
  kSeedIsRed) at=2 said='RP1 of seed 2' ;;
  '') at=2 said='RP1 of seed 2' ;;
  *) at=0 ;;
esac
[ $at -ge "$first" ] || exit 0
[ -n "$mutant" ] || [ "$first" -eq $at ] || exit 0
echo "seed $at FAILED: $said"
exit 1
END
chmod +x "$tree"/path/* "$tree/bin/a_test" "$tree/bin/test/sim/fuzz" \
  "$tree/bin/test/scenario/a_scenarios_test"

failed=0
# expect MUTANT BY EXIT LINE [OPTION...]: of mutants.sh with that mutant alone.
expect() {
  local status=0 said
  echo "SLUICE_MUTANT($1, \"RP1\", \"$2\", \"what\")" \
    >"$tree/common/base/mutants.def"
  said=$(PATH=$tree/path:$PATH bash "$tree/test/sim/mutants.sh" --seeds 9 "${@:5}" 2>&1) ||
    status=$?
  if [ $status -ne "$3" ] || ! grep -qE "$4" <<<"$said"; then
    echo "$1: exit $status, not $3, or not '$4':"
    echo "$said"
    failed=1
  fi
}

by_test=//:a_test
expect kFails $by_test 0 '^found +kFails .*A\.Test'
expect kAborts $by_test 0 '^found +kAborts '
expect kFaults $by_test 0 '^found +kFaults '
expect kKilled $by_test 1 '^broken +kKilled '
expect kTerminated $by_test 1 '^broken +kTerminated '
expect kUnknown $by_test 1 '^broken +kUnknown '
expect kNotReached $by_test 1 '^survived +kNotReached .* reached 0 '
expect kReached $by_test 1 "^survived +kReached .* s  $by_test "

expect kSeedFails fuzz 0 '^found +kSeedFails +4 seeds .* RP4 of seed 4 '
expect kSeedAborts fuzz 0 '^found +kSeedAborts +3 seeds '
expect kSeedKilled fuzz 1 '^broken +kSeedKilled +5 seeds '
expect kSeedLost fuzz 1 '^broken +kSeedLost +5 seeds '
expect kSeedSurvives fuzz 1 '^survived +kSeedSurvives .* reached 0 '
expect kSeedIsRed fuzz 1 '^FAILED without a mutant too.* seeds 2$'

of=(--scripts --mutant kFails)
expect kFails fuzz 1 '^found +kFails .*A\.F1Red' "${of[@]}"
expect kFails fuzz 1 '^survived +kFails .*F2Green: RP1' "${of[@]}"
expect kFails fuzz 1 '^1 of 2 mutants found' "${of[@]}"
expect kOther fuzz 2 'no test: .*#F3Absent' --scripts --mutant kOther
exit $failed
