"""One cc_library per Debian library, linked the way pkg-config says.

A word starting with -l is passed as it is (for libraries that ship no .pc
file) and comes before what pkg-config prints.
"""

def _impl(ctx):
    stanzas = ['package(default_visibility = ["//visibility:public"])\n']
    for name, words in ctx.attr.packages.items():
        raw = [w for w in words.split(" ") if w.startswith("-l")]
        modules = [w for w in words.split(" ") if not w.startswith("-l")]
        flags = []
        if modules:
            found = ctx.execute(["pkg-config", "--libs"] + modules)
            if found.return_code != 0:
                fail("pkg-config %s: %s (run deploy/install-deps.sh)" % (modules, found.stderr))
            flags = [f for f in found.stdout.strip().split(" ") if f]
        stanzas.append('cc_library(name = "%s", linkopts = %s)\n' % (name, repr(raw + flags)))
    ctx.file("WORKSPACE", "")
    ctx.file("BUILD.bazel", "".join(stanzas))

system_libraries = repository_rule(
    implementation = _impl,
    attrs = {"packages": attr.string_dict()},
    local = True,
)
