"""A fuzz target: a test that replays its corpus, or a libFuzzer program."""

def fuzz_target(name, mutations, deps):
    """Declares //test/fuzz:NAME of NAME.cc, corpus/NAME/ and NAME.dict.

    By default a test: every committed input, then `mutations` seeded changes
    of them (replay_main.cc). With --config=fuzz the same rule builds the
    libFuzzer program that test/fuzz/run.sh runs.

    Args:
      name: ends in _fuzz.
      mutations: how many the test tries; a second or two.
      deps: what it exercises.
    """
    native.cc_test(
        name = name,
        size = "small",
        srcs = [name + ".cc"],
        args = [
            "--mutations=%d" % mutations,
            "--dictionary=test/fuzz/dictionary/%s.dict" % name,
            "test/fuzz/corpus/%s" % name,
        ],
        # Data that run.sh adds to, not sources: listed by what is there.
        data = native.glob(["corpus/%s/*" % name]) +
               ["dictionary/%s.dict" % name],
        linkopts = select({
            ":libfuzzer": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        deps = deps + select({
            ":libfuzzer": [],
            "//conditions:default": [":replay_main"],
        }),
    )
