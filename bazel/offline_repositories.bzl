"""The repositories Bazel 4.2 itself asks for, without a network.

Bazel wants rules_cc, remote_coverage_tools, rules_java and rules_proto even
for a C++-only tree. The first two become stubs (Debian's rules_cc is too new
for 4.2.3; re-exporting the native rules is all that is used), the others come
from the packages bazel-rules-java and bazel-rules-proto.
"""

_NATIVE_CC_RULES = [
    "cc_binary",
    "cc_import",
    "cc_library",
    "cc_proto_library",
    "cc_test",
    "cc_toolchain",
    "cc_toolchain_suite",
    "fdo_prefetch_hints",
    "fdo_profile",
    "objc_import",
    "objc_library",
]

def _stub_impl(ctx):
    ctx.file("WORKSPACE", "")
    for path, content in ctx.attr.files.items():
        ctx.file(path, content)

_stub = repository_rule(
    implementation = _stub_impl,
    attrs = {"files": attr.string_dict()},
)

def offline_repositories():
    """Declares the stub and system repositories."""
    _stub(
        name = "rules_cc",
        files = {
            "cc/BUILD.bazel": "",
            "cc/defs.bzl": "".join(
                ["%s = native.%s\n" % (rule, rule) for rule in _NATIVE_CC_RULES],
            ),
        },
    )
    _stub(
        name = "remote_coverage_tools",
        files = {
            "BUILD.bazel": 'filegroup(name = "coverage_report_generator", visibility = ["//visibility:public"])\n',
        },
    )
    native.local_repository(name = "rules_java", path = "/usr/share/bazel/rules/java")
    native.local_repository(name = "rules_proto", path = "/usr/share/bazel/rules/proto")
