"""C++ code from .proto files with Debian's protoc and grpc_cpp_plugin."""

_GOOGLE_RPC = "/usr/share/gocode/src/github.com/gogo/googleapis"

def cc_protos(name, srcs, deps = [], grpc_srcs = [], visibility = None):
    """A library NAME of messages and, with grpc_srcs, NAME_grpc of stubs.

    Args:
      name: the message library; includes read "proto/..." from the root.
      srcs: every .proto file of the package.
      deps: other cc_protos libraries that these files import.
      grpc_srcs: those of srcs that declare services.
      visibility: of both libraries.
    """
    messages = [s.replace(".proto", ext) for s in srcs for ext in (".pb.cc", ".pb.h")]
    native.genrule(
        name = name + "_gen",
        srcs = srcs + ["//proto:all_protos"],
        outs = messages,
        cmd = "protoc -I. --cpp_out=$(GENDIR) " + " ".join(["$(location %s)" % s for s in srcs]),
    )
    native.cc_library(
        name = name,
        srcs = [m for m in messages if m.endswith(".cc")],
        hdrs = [m for m in messages if m.endswith(".h")],
        visibility = visibility,
        deps = deps + ["@system//:protobuf"],
    )
    if grpc_srcs:
        stubs = [s.replace(".proto", ext) for s in grpc_srcs for ext in (".grpc.pb.cc", ".grpc.pb.h")]
        native.genrule(
            name = name + "_grpc_gen",
            srcs = srcs + ["//proto:all_protos"],
            outs = stubs,
            cmd = "protoc -I. --grpc_out=$(GENDIR) --plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin " +
                  " ".join(["$(location %s)" % s for s in grpc_srcs]),
        )
        native.cc_library(
            name = name + "_grpc",
            srcs = [m for m in stubs if m.endswith(".cc")],
            hdrs = [m for m in stubs if m.endswith(".h")],
            visibility = visibility,
            deps = [":" + name, "@system//:grpc"],
        )
