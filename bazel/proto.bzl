"""C++ code from .proto files with Debian's protoc and grpc_cpp_plugin."""

# Debian's only package with google/rpc/*.proto (golang-github-gogo-googleapis-dev).
_GOOGLE_APIS = "/usr/share/gocode/src/github.com/gogo/googleapis"

def cc_protos(name, srcs, deps = [], grpc_srcs = [], grpc_deps = []):
    """A library NAME of messages and, with grpc_srcs, NAME_grpc of stubs.

    Paths in srcs are relative to proto/, and so are the C++ includes:
    "sluice/v1/log.pb.h".

    Args:
      name: the message library.
      srcs: every .proto file of the package.
      deps: other cc_protos libraries that these files import.
      grpc_srcs: those of srcs that declare services.
      grpc_deps: the stub libraries of deps.
    """
    messages = [s.replace(".proto", ext) for s in srcs for ext in (".pb.cc", ".pb.h")]
    native.genrule(
        name = name + "_gen",
        srcs = [":all_protos"],
        outs = messages,
        cmd = "protoc -Iproto --cpp_out=$(RULEDIR) " +
              " ".join(["proto/" + s for s in srcs]),
    )
    native.cc_library(
        name = name,
        srcs = [m for m in messages if m.endswith(".cc")],
        hdrs = [m for m in messages if m.endswith(".h")],
        strip_include_prefix = "/proto",
        deps = deps + ["@system//:protobuf"],
    )
    if grpc_srcs:
        stubs = [s.replace(".proto", ext) for s in grpc_srcs for ext in (".grpc.pb.cc", ".grpc.pb.h")]
        native.genrule(
            name = name + "_grpc_gen",
            srcs = [":all_protos"],
            outs = stubs,
            cmd = "protoc -Iproto --grpc_out=$(RULEDIR) " +
                  "--plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin " +
                  " ".join(["proto/" + s for s in grpc_srcs]),
        )
        native.cc_library(
            name = name + "_grpc",
            srcs = [m for m in stubs if m.endswith(".cc")],
            hdrs = [m for m in stubs if m.endswith(".h")],
            strip_include_prefix = "/proto",
            deps = [":" + name, "@system//:grpc"] + grpc_deps,
        )

def google_rpc_protos(name):
    """google/rpc/{status,error_details}.proto as a C++ library."""
    files = ["google/rpc/status", "google/rpc/error_details"]
    outs = [f + ext for f in files for ext in (".pb.cc", ".pb.h")]
    native.genrule(
        name = name + "_gen",
        outs = outs,
        cmd = "protoc -I%s -I/usr/include --cpp_out=$(RULEDIR) %s" % (
            _GOOGLE_APIS,
            " ".join([f + ".proto" for f in files]),
        ),
    )
    native.cc_library(
        name = name,
        srcs = [o for o in outs if o.endswith(".cc")],
        hdrs = [o for o in outs if o.endswith(".h")],
        strip_include_prefix = "/proto",
        deps = ["@system//:protobuf"],
    )
