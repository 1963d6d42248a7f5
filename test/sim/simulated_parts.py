#!/usr/bin/env python3
"""The simulator runs what sluiced is made of.

usage: simulated_parts.py SLUICED_LIBRARIES SIMULATED_LIBRARIES

Each file lists cc_library labels, as `bazel query` prints them. Only those below
may be on one side alone, each by its own name: a library is new here when
somebody has looked at it. A name that no longer needs to be here has to go.
(The edge's codecs are in both: they carry every simulated message.)
"""
import sys

# In sluiced, and not simulated.
REAL_ONLY = {
    "the gRPC edge": [
        "//broker/rpc:public_edge",
        "//broker/rpc:replication_service",
        "//client/grpc_peers:frame_call",
        "//client/grpc_peers:grpc_broker_connector",
        "//client/grpc_peers:grpc_broker_peer",
        "//client/grpc_peers:grpc_controller_peer",
        "//client/grpc_peers:grpc_group_connector",
        "//client/grpc_peers:grpc_group_peer",
        "//client/grpc_peers:grpc_replication_connector",
        "//client/grpc_peers:peer_streams",
        "//client/grpc_peers:tcp_dialer",
        "//common/rpc/async:completion_calls",
        "//common/rpc/async:message_stream",
        "//common/rpc:accept_loop",
        "//common/rpc:channels",
        "//common/rpc:client_calls",
        "//common/rpc:gate",
        "//common/rpc:keep_awake",
        "//common/rpc:reactors",
        "//common/rpc:server",
        "//controller/rpc:controller_service",
        "//controller/rpc:grpc_raft_transport",
        "//proto:group_grpc",
        "//proto:internal_grpc",
        "//proto:public_grpc",
    ],
    "the HTTP edge: metrics' server, which only reads": [
        "//common/obs:metrics_server",
        "@system//:httplib",
    ],
    "the real env": [
        "//common/env:posix",
        "//common/env:real",
        "//common/env:thread_priority",
        "//common/env:thread_slice",
    ],
    "RocksDB's adapter": ["//storage:rocks_kv_store", "@system//:rocksdb"],
    "what a main allocates from: the simulator's too, which is not asked here": [
        "//bazel:allocator",
        "@system//:jemalloc",
    ],
    "what main is made of": [
        "//broker/process:broker_metrics",
        "//broker/process:node",
        "//broker/process:node_edges",
        "//broker/process:system",
        "//broker/process:view_files",
        "@system//:gflags",
    ],
}
# Simulated, and not in sluiced.
SIMULATED_ONLY = {
    "the simulator and its checks": [
        "//test/check:checker",
        "//test/check:history",
        "//test/check:invariants",
        "//test/sim:cluster_checks",
        "//test/sim:fuzz_run",
        "//test/sim:mutant_refusal",
        "//test/sim:sim_cluster",
    ],
    "the simulated env": [
        "//common/env:mem_file_system",
        "//common/env:sim_world",
    ],
    "the simulated store of the Raft log": ["//storage:mem_kv_store"],
    "the library of the programs that use sluiced": [
        "//client/group:group",
        "//client:client",
        "@system//:re2",
    ],
}


def read(path):
    with open(path) as lines:
        return {line.strip() for line in lines if line.strip()}


def problems(name, alone, reasons):
    """`alone`: the labels that only `name` has."""
    known = {label for labels in reasons.values() for label in labels}
    return ([f"{label} is in {name} alone; if it may be, it has to be named here"
             for label in sorted(alone - known)] +
            [f"{label} is not in {name} alone any more: its line has to go"
             for label in sorted(known - alone)])


def main():
    real, simulated = read(sys.argv[1]), read(sys.argv[2])
    if len(real & simulated) < 30:
        print("hardly anything is in both: is that the query's output?")
        return 1
    found = (problems("sluiced", real - simulated, REAL_ONLY) +
             problems("the simulator", simulated - real, SIMULATED_ONLY))
    for problem in found:
        print(problem)
    print(f"{len(real & simulated)} libraries are in both, "
          f"{len(real - simulated)} in sluiced alone, "
          f"{len(simulated - real)} in the simulator alone, {len(found)} of them "
          "without a reason, or reasons without them")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
