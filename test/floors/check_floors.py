#!/usr/bin/env python3
"""Holds the walls of ARCHITECTURE.md: who may include what, and that no file
grows past what one can read.

Bazel's visibility and sandbox stop an undeclared header of ours; they cannot
see system headers, and g++ ignores layering_check. This reads every #include.

usage: check_floors.py ROOT
"""
import os
import re
import sys

# Longest prefix wins. floor, then what the files there are.
FLOORS = [
    ("common/base/", 0),
    ("common/api/", 0),
    ("common/consumer/", 0),
    ("proto/", 0),
    ("sluice/", 0),  # generated from proto/
    ("google/rpc/", 0),  # generated
    ("controller/raft/", 1),
    ("controller/metadata/", 1),
    ("broker/replica/", 1),
    ("broker/consume/", 1),
    ("broker/group/", 1),
    ("broker/offsets/", 1),
    ("common/env/", 1),
    ("common/obs/", 1),
    ("common/obs/metric_collector", 2),
    ("common/obs/metrics_pages", 2),
    ("common/obs/metrics_server", 4),
    ("common/obs/process_metrics", 2),
    ("common/env/posix_file_system", 2),
    ("common/env/mem_file_system", 2),
    ("common/env/thread_executor", 2),
    ("common/env/thread_slice", 2),
    ("common/env/thread_priority", 2),
    ("common/env/real_clock", 2),
    ("common/env/sim_world", 2),
    ("storage/", 2),
    ("client/peers/", 2),
    ("controller/", 3),
    ("broker/", 3),
    ("client/", 3),
    # The membership's machine, which broker/consume shares.
    ("client/backoff", 1),
    ("client/status_kinds", 1),
    ("client/group/group_membership", 1),
    ("client/group/membership_", 1),
    ("common/rpc/", 4),
    ("controller/rpc/", 4),
    ("broker/rpc/", 4),
    ("client/grpc_peers/", 4),
    ("broker/process/", 5),
    ("tools/", 5),
    ("test/", 5),
    ("examples/", 5),
]
MAINS = {"broker/sluiced_main.cc"}

# Cores never look sideways at each other.
CORES = ("controller/raft/", "controller/metadata/", "broker/replica/",
         "broker/consume/", "broker/group/", "broker/offsets/")

# System header -> the only places that may include it.
FENCED = [
    (r"<grpc(pp)?/", ("common/rpc/", "controller/rpc/", "broker/rpc/",
                      "client/grpc_peers/", "tools/", "test/", "MAIN")),
    (r"<rocksdb/", ("storage/rocks_kv_store",)),
    (r"<(gflags)/", ("MAIN",)),
    (r"<(glog)/", ("FLOOR3+",)),
    (r"<(prometheus|httplib)", ("common/obs/", "common/rpc/")),
    (r"<(thread|mutex|shared_mutex|condition_variable|future|atomic)>",
     ("common/env/thread_executor", "common/env/posix_file_system",
      "common/env/mem_file_system", "storage/offset_index",
      "common/env/published", "common/env/budget",
      "broker/handlers/handlers_threads_test.cc",
      "common/env/env_test.cc", "common/env/thread_slice_test.cc",
      "common/env/thread_priority_test.cc",
      "common/obs/", "FLOOR4+", "storage/group_commit",
      "storage/room_watch", "storage/sync_watch",
      "client/blocking_client", "storage/rocks_kv_store")),
    (r"<(pthread|signal|sys/.*|unistd|fcntl|netdb|arpa/.*|netinet/.*)\.h>",
     ("common/env/posix_file_system", "common/env/thread_executor",
      "common/env/thread_slice", "common/env/thread_priority",
      "common/env/real_clock",
      "storage/rocks_kv_store",
      "common/obs/process_metrics", "FLOOR4+")),
    (r"<chrono>", ("common/env/thread_executor", "common/env/real_clock",
                   "FLOOR4+", "common/obs/", "client/blocking_client", "TESTS")),
    (r"<(random)>", ()),
]

# testing.md's critical branches. A seeded bug inside each is the mark that a
# test goes there: test/sim/mutants.sh demands more of a test than to go there.
MARKS = [
    ("an election out of the ELR", "controller/metadata/partition_change.cc",
     ("kElrForgotten", "kDeadLeaderElected")),
    ("an unclean election", "controller/metadata/partition_change.cc",
     ("kUncleanElectionUnmarked",)),
    ("a divergence at its leader", "broker/replica/step_leader.cc",
     ("kOneEpochRound",)),
    ("a divergence at its follower", "broker/replica/step_follower.cc",
     ("kCutAtLeaderEnd",)),
    ("a quarantine", "storage/log_recovery.cc", ("kDamageCut",)),
]

# A file is one noun. Those that were longer when the limit came may shrink.
LINES_MAX = 500
LONGER = {}


def floor_of(path):
    if path in MAINS:
        return 5
    best, floor = "", None
    for prefix, number in FLOORS:
        if path.startswith(prefix) and len(prefix) > len(best):
            best, floor = prefix, number
    return floor


def allowed(path, places):
    is_test = path.endswith("_test.cc") or "testing" in path
    for place in places:
        if place == "MAIN" and floor_of(path) == 5:
            return True
        if place == "TESTS" and is_test:
            return True
        if place.startswith("FLOOR") and floor_of(path) >= int(place[5]):
            return True
        if path.startswith(place):
            return True
    return False


def check(path, text):
    wrong = []
    floor = floor_of(path)
    if floor is None:
        return ["%s: no floor is known for it (test/floors/check_floors.py)" % path]
    is_test = path.endswith("_test.cc")
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r'\s*#\s*include\s+(["<][^">]+[">])', line)
        if not found:
            continue
        what = found.group(1)
        where = "%s:%d" % (path, number)
        if re.match(r'"(absl/|google/protobuf/|httplib|grpc|rocksdb/|gtest/|gmock/)', what):
            what = "<%s>" % what[1:-1]
        if what[0] == '"':
            target = what[1:-1]
            other = floor_of(target)
            if other is None:
                wrong.append("%s: %s is on no floor" % (where, what))
            elif other > floor and not is_test:
                wrong.append("%s: %s points up (floor %d -> %d)" %
                             (where, what, floor, other))
            for core in CORES:
                if (target.startswith(core) and floor == 1 and
                        not path.startswith(core)):
                    wrong.append("%s: %s points sideways into a core" % (where, what))
        else:
            for pattern, places in FENCED:
                if re.match(pattern, what) and not allowed(path, places):
                    wrong.append("%s: %s is fenced off from here" % (where, what))
    if path.startswith(CORES) and not is_test:
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(r"\b(flat_hash_map|unordered_map|unordered_set|flat_hash_set)\b", line):
                wrong.append("%s:%d: cores iterate ordered containers only" % (path, number))
    return wrong


def mutant_files(bazelrc):
    """What --config=mutants builds with -DSLUICE_MUTANTS."""
    return [re.compile(found) for found in re.findall(
        r"^build:mutants --per_file_copt=(\S+)@-DSLUICE_MUTANTS$", bazelrc, re.M)]


def check_mutants(path, text, built):
    """A seeded bug that is compiled away everywhere would never be found."""
    if path == "common/base/mutant.h" or not re.search(r"\bMUTANT\(", text):
        return []
    if path.endswith(".h"):
        return ["%s: a mutant in a header; put it into a .cc" % path]
    if not any(pattern.search(path) for pattern in built):
        return ["%s: has a mutant, but --config=mutants in .bazelrc does not "
                "build it with one" % path]
    return []


def mutants_listed(mutants):
    return set(re.findall(r"^SLUICE_MUTANT\((k\w+),", mutants, re.M))


def check_mutants_used(listed, used):
    """A name is only text where it is used: a misspelt one would never be on."""
    return (["MUTANT(%s) is not in common/base/mutants.def" % name
             for name in sorted(used - listed)] +
            ["common/base/mutants.def has %s, which no line uses" % name
             for name in sorted(listed - used)])


def check_marks(path, text):
    return ["%s: no MUTANT(%s) in it marks the branch of %s (testing.md)" %
            (path, name, branch)
            for branch, where, names in MARKS if where == path
            for name in names if "MUTANT(%s)" % name not in text]


def check_mutant_names(listed, readme):
    """The README of the rules names every mutant, and nothing else for one."""
    named = set(re.findall(r"`(k[A-Z]\w*)`", readme))
    return (["test/check/README.md names %s, which is no mutant" % name
             for name in sorted(named - listed)] +
            ["test/check/README.md lacks the mutant %s" % name
             for name in sorted(listed - named)])


def check_lines(path, text, longer):
    lines, most = text.count("\n"), longer.get(path, LINES_MAX)
    if lines > most:
        return ["%s: %d lines, at most %d: split it by noun" %
                (path, lines, most)]
    if path in longer and lines <= LINES_MAX:
        return ["%s: %d lines: it needs no exception any more "
                "(test/floors/check_floors.py)" % (path, lines)]
    return []


def sources(root):
    for folder in ("common", "controller", "broker", "storage", "client", "tools", "test",
                   "examples/cpp"):
        for base, _, names in os.walk(os.path.join(root, folder)):
            for name in sorted(names):
                if name.endswith((".cc", ".h")):
                    yield os.path.relpath(os.path.join(base, name), root)


def self_test():
    """A checker that cannot fail would be worth nothing."""
    bad = [
        ("controller/raft/x.cc", "#include <grpcpp/grpcpp.h>"),
        ("controller/raft/x.cc", "#include <thread>"),
        ("broker/replica/x.h", '#include "storage/log.h"'),
        ("broker/replica/x.h", '#include "controller/raft/types.h"'),
        ("broker/group/x.h", '#include "broker/offsets/lag_state.h"'),
        ("storage/log.cc", "#include <rocksdb/db.h>"),
        ("storage/log.cc", '#include "broker/shard.h"'),
        ("broker/shard.cc", "#include <grpcpp/grpcpp.h>"),
        ("common/base/ids.h", '#include "common/env/clock.h"'),
        ("controller/metadata/image.h", "std::unordered_map<int, int> m;"),
        ("nowhere/x.h", ""),
    ]
    for path, text in bad:
        assert check(path, text), "not caught: %s: %s" % (path, text)
    built = mutant_files("build:mutants --per_file_copt=^a/b\\.cc$@-DSLUICE_MUTANTS")
    assert check_mutants("a/c.cc", "if (MUTANT(kX)) {", built)
    assert check_mutants("a/b.h", "if (MUTANT(kX)) {", built)
    assert not check_mutants("a/b.cc", "if (MUTANT(kX)) {", built)
    one = 'SLUICE_MUTANT(kX, "RP1", "fuzz", "does wrong")'
    listed = mutants_listed(one)
    assert check_mutant_names(listed, "") and check_mutant_names(set(), "`kX`")
    assert not check_mutant_names(listed, "RP1 `kX`")
    assert check_mutants_used(listed, set()) and check_mutants_used(set(), listed)
    assert not check_mutants_used(listed, {"kX"})
    assert check_marks("storage/log_recovery.cc", "MUTANT(kOther)")
    assert not check_marks("storage/log_recovery.cc", "if (MUTANT(kDamageCut))")
    assert check_lines("a.cc", "\n" * 501, {}) and check_lines("a.cc", "\n" * 7, {"a.cc": 502})
    assert check_lines("a.cc", "\n" * 503, {"a.cc": 502})
    assert not check_lines("a.cc", "\n" * 500, {})
    assert not check_lines("a.cc", "\n" * 502, {"a.cc": 502})
    assert not check("broker/rpc/log_service.cc", "#include <grpcpp/grpcpp.h>")
    assert not check("storage/rocks_kv_store.cc", "#include <rocksdb/db.h>")
    assert not check("broker/shard.cc", '#include "storage/log.h"')


def main():
    self_test()
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    wrong, seen, mutants_used, paths = [], 0, set(), set()
    with open(os.path.join(root, ".bazelrc"), encoding="utf-8") as bazelrc:
        built = mutant_files(bazelrc.read())
    for path in sources(root):
        seen += 1
        paths.add(path)
        with open(os.path.join(root, path), encoding="utf-8") as source:
            text = source.read()
        wrong += check(path, text) + check_mutants(path, text, built)
        wrong += check_lines(path, text, LONGER) + check_marks(path, text)
        if path != "common/base/mutant.h":
            mutants_used.update(re.findall(r"\bMUTANT\((\w+)\)", text))
    wrong += ["%s is gone, which had the branch of %s" % (path, branch)
              for branch, path, _ in MARKS if path not in paths]
    with open(os.path.join(root, "common/base/mutants.def"), encoding="utf-8") as listed, \
            open(os.path.join(root, "test/check/README.md"), encoding="utf-8") as readme:
        names = mutants_listed(listed.read())
        wrong += check_mutant_names(names, readme.read())
        wrong += check_mutants_used(names, mutants_used)
    print("\n".join(wrong))
    print("%d files, %d walls broken" % (seen, len(wrong)))
    if seen < 20:
        print("too few files seen: wrong root?")
        return 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
