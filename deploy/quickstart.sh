#!/usr/bin/env bash
# Sluice on real data in one command.
#
# usage: deploy/quickstart.sh [FILE] [--keep]
#
#   FILE    its lines are the records; default: the text of every header in the
#           system's include directories, over a million lines
#   --keep  leave the cluster up and print what to try next
#
# Installs what is missing (deploy/install-deps.sh), builds, starts three nodes
# in a temporary directory, produces every line with its number as the key and
# an idempotent producer, kills the leader of partition 0 with SIGKILL at half of the
# acknowledgements while requests are in flight (a follower is held still for
# 100 ms before, so that some are stored but not answered: they are sent again
# and deduplicated), reads everything back and
# compares by line number (definitions: tools/run_verifier.h). Then it starts
# the killed node again and waits until it is back in every ISR.
#
# Results on stdout, one `name: value` a line: sent, acknowledged, read, lost,
# duplicated, reordered, phantom, retried, deduplicated (batches), ack_gap_ms,
# produce_mb_s, consume_mb_s. Everything else on stderr. Exit code 0 only if
# acknowledged = sent, lost, duplicated, reordered and phantom are 0 and every ISR
# is full; 2 for a wrong command line.
# Nothing outside the temporary directory is touched, but for what installing
# and building leave where they always do.
set -euo pipefail

say() { echo "quickstart: $*" >&2; }
die() { echo "quickstart: $*" >&2; exit "${code:-1}"; }

keep=0
file=""
for arg in "$@"; do
  case "$arg" in
    --keep) keep=1 ;;
    -h|--help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    -*) code=2 die "unknown option $arg; try --help" ;;
    *)
      [ -z "$file" ] || code=2 die "one FILE, not both $file and $arg"
      [ -n "$arg" ] || code=2 die "FILE is empty; leave it out for the default"
      file=$arg ;;
  esac
done
if [ -n "$file" ]; then
  [ -e "$file" ] || die "$file does not exist; name a file, or none for the default"
  [ ! -d "$file" ] || die "$file is a directory; name a file"
  [ -f "$file" ] || die "$file is no regular file; it is read more than once"
  [ -r "$file" ] || die "$file cannot be read"
  file=$(readlink -f -- "$file")
fi
cd "$(dirname "$(readlink -f -- "$0")")/.."

topic=quickstart
partitions=6
lines_min=1000000
healthy_within_s=120

dir=""
dev_pid=""
child=""

# Runs a command such that a signal to this script is acted on at once, not
# when the command ends.
run() {
  "$@" &
  child=$!
  local status=0
  wait "$child" || status=$?
  child=""
  return "$status"
}

finish() {
  local status=$?
  trap - EXIT
  if [ -n "$child" ]; then
    kill -TERM "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  fi
  if [ -n "$dev_pid" ]; then
    kill -TERM "$dev_pid" 2>/dev/null || true
    wait "$dev_pid" 2>/dev/null || true
  fi
  [ -z "$dir" ] || rm -rf -- "$dir"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say "installing what is missing"
run deploy/install-deps.sh >&2
say "building (the first time takes a while)"
run bazel build //broker:sluiced //tools:sluice >&2 || die "the build failed, see above"
sluice=$PWD/bazel-bin/tools/sluice
export SLUICED=$PWD/bazel-bin/broker/sluiced

dir=$(mktemp -d "${TMPDIR:-/tmp}/sluice-quickstart.XXXXXX")
cluster=$dir/cluster

if [ -z "$file" ]; then
  # gcc's own headers too: a bare machine has just under a million lines in
  # /usr/include.
  file=$dir/lines.txt
  headers() {
    find /usr/include /usr/lib/gcc/*/*/include -type f -print0 2>/dev/null |
      LC_ALL=C sort -z | xargs -0 -r cat --
  }
  headers >"$file"
  [ -s "$file" ] || die "no headers in /usr/include; name a FILE"
  while [ "$(wc -l <"$file")" -le "$lines_min" ]; do headers >>"$file"; done
  say "the text of all system headers: $(wc -l <"$file") lines, $(wc -c <"$file") bytes"
fi

say "starting three nodes in $cluster"
# A session of its own: Ctrl-C reaches this script, which stops it in order.
setsid "$sluice" dev --nodes 3 --dir "$cluster" --port-base 0 >"$dir/bootstrap" 2>"$dir/dev.log" &
dev_pid=$!
deadline=$((SECONDS + healthy_within_s))
until grep -q '^SLUICE_BOOTSTRAP=' "$dir/bootstrap" 2>/dev/null; do
  if ! kill -0 "$dev_pid" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
    cat "$dir/dev.log" >&2
    die "the cluster did not become healthy, see above"
  fi
  sleep 0.1
done
SLUICE_BOOTSTRAP=$(sed -n 's/^SLUICE_BOOTSTRAP=//p' "$dir/bootstrap")
export SLUICE_BOOTSTRAP
say "$(head -n 1 "$dir/dev.log")"

"$sluice" topic create "$topic" --partitions "$partitions" --replication-factor 3 \
  --config min.insync.replicas=2 >&2

say "producing, killing a leader half way, reading back"
status=0
run "$sluice" verify-run "$topic" "$file" --dev-dir "$cluster" || status=$?

for node in node-1 node-2 node-3; do
  [ -e "$cluster/$node/sluiced.pid" ] && continue
  say "starting $node again"
  "$sluice" dev start "$node" --dir "$cluster" >&2 || status=1
done
say "waiting until every ISR is full"
if ! run timeout "$healthy_within_s" "$sluice" cluster health --exit-when-healthy >&2; then
  say "not healthy after $healthy_within_s s"
  "$sluice" cluster health >&2 || true
  status=1
fi
"$sluice" topic describe "$topic" >&2 || status=1
left=$("$sluice" topic describe "$topic" --under-replicated) || status=1
if [ -n "$left" ]; then
  say "not every ISR is full"
  status=1
fi

if [ "$status" -eq 0 ]; then
  say "nothing acknowledged was lost, nothing is there twice"
else
  say "FAILED, exit code $status; the logs:"
  tail -n 20 "$cluster"/*/sluiced.log >&2 || true
fi

if [ "$keep" -eq 1 ]; then
  kept_pid=$dev_pid
  kept_dir=$dir
  dev_pid=""
  dir=""
  cat >&2 <<END

The cluster stays up, in $kept_dir. Next:
  export SLUICE_BOOTSTRAP=$SLUICE_BOOTSTRAP PATH=$PWD/bazel-bin/tools:\$PATH
  sluice cluster info
  sluice topic describe $topic
  sluice consume $topic --from earliest -n 10 --format '%p %o %k %v\\n'
  sluice bench failover --dev-dir $cluster
  kill $kept_pid && rm -r $kept_dir        # stops it and removes everything
END
fi
exit "$status"
