#!/usr/bin/env python3
"""The simulator runs what sluiced is made of.

usage: simulated_parts.py SLUICED_LIBRARIES SIMULATED_LIBRARIES

Each file lists cc_library labels, as `bazel query` prints them. Of our own,
only those below may be on one side alone. (The edge's codecs are in both: they
carry every simulated message.)
"""
import re
import sys

# In sluiced, and not simulated.
REAL_ONLY = [
    (r"//[a-z/]*rpc(/async)?:", "the gRPC edge"),
    (r"//client/grpc_peers:", "the gRPC edge"),
    (r"//proto:.*_grpc", "generated for the gRPC edge"),
    (r"//proto:google_rpc", "errors on gRPC's wire"),
    (r"//common/env:(posix|real)$", "the real env"),
    (r"//common/obs:", "metrics: pages, their HTTP server, /proc"),
    (r"//storage:rocks_kv_store$", "RocksDB's adapter"),
    (r"//broker/process:(system|node|node_edges)$", "what main is made of"),
]
# Simulated, and not in sluiced.
SIMULATED_ONLY = [
    (r"//test/", "the simulator and its checks"),
    (r"//common/env:(mem_file_system|sim_world)$", "the simulated env"),
    (r"//storage:mem_kv_store$", "the simulated store of the Raft log"),
    (r"//client:client$", "the library of the programs that use sluiced"),
]


def read(path):
    with open(path) as lines:
        return {line.strip() for line in lines if line.startswith("//")}


def unexplained(labels, reasons):
    return sorted(label for label in labels
                  if not any(re.match(r, label) for r, _ in reasons))


def main():
    real, simulated = read(sys.argv[1]), read(sys.argv[2])
    if len(real & simulated) < 30:
        print("hardly anything is in both: is that the query's output?")
        return 1
    failed = 0
    for name, labels, reasons in (
            ("sluiced", real - simulated, REAL_ONLY),
            ("the simulator", simulated - real, SIMULATED_ONLY)):
        for label in unexplained(labels, reasons):
            print(f"{label} is in {name} alone")
            failed += 1
    print(f"{len(real & simulated)} libraries are in both, "
          f"{len(real - simulated)} in sluiced alone, "
          f"{len(simulated - real)} in the simulator alone, {failed} of them "
          "without a reason")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
