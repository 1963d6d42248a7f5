#!/usr/bin/env python3
"""Holds README.md to the tree: every failure scenario F1-F78 is mapped, every
test it names exists where it says, every script here has its number and is
named, no row waits for what is there, and every script is turned red by a
mutant of the list, or it says why none can.

usage: check_map.py ROOT
"""
import os
import re
import sys

FIRST, LAST = 1, 78
MAP = "test/scenario/README.md"
MUTANTS = "common/base/mutants.def"
ROW = re.compile(r"^\| F(\d+) \|(.*)\|\s*$")
TEST = re.compile(r"`([\w./]+):(\w+)`")
RED = re.compile(r"^\| `(k\w+)` \| ((?:`F\d+\w+`(?:, )?)+) \|", re.M)
# No reason why no mutant turns a script red.
UNTRIED = re.compile(r"\b(untried|not tried|yet|later)\b", re.I)
NOT_RED = re.compile(r"^\| `(F\d+\w+)` \| (\S.*) \|$", re.M)
FEATURE = re.compile(r"^\| ([^|`]+) \| (?:`([\w.]+)`|-) \|$", re.M)
WAITS = re.compile(r"waits for ([^;,|(]+)")
# What does not exist yet, and nothing else may be waited for: the table of the
# README has these. The text of the sources that is there as long as a feature
# without a word of its own is not.
NOT_THERE = {
    "reassignment": None,
    "AddVoter and RemoveVoter": None,
    "RemoveVoter": None,
    "metadata snapshots": None,
    "moves between directories": None,
    "retention": None,
    "directories that fail alone": ("broker/log_directory.h", "is fatal (ST4)"),
    "message.timestamp.after.max.ms": None,
    "quotas": None,
    "connection limits": None,
    "transactions": None,
    "a second feature level": ("controller/metadata/image.h", "kFeatureLevelMax = 1;"),
    "a count of deaths": ("storage/FORMAT.md", "bytes (at most 64). Voids the clean marker"),
}
# Nothing of these can be tested without what they wait for; every other row
# names a test of the half that is there.
WHOLLY_WAITING = {
    29: "reassignment",
    39: "AddVoter and RemoveVoter",
    43: "metadata snapshots",
    57: "directories that fail alone",
    68: "transactions",
    69: "transactions",
}
PRODUCT = ("common", "controller", "broker", "storage", "client", "proto", "tools")
SOURCES = (".cc", ".h", ".proto")
SCRIPT = re.compile(r"^TEST(?:_F|_P)?\(\w+,\s*(\w+)\)", re.M)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def names_test(text, name):
    """A C++ test's or a Python function's definition, not a mention."""
    return re.search(r"TEST(?:_F|_P)?\(\s*\w+,\s*%s\)" % name, text) or re.search(
        r"^(?:\s*)def %s\(" % name, text, re.M)


def problems_of(root):
    problems = []
    rows = {}
    for line in read(root, MAP).splitlines():
        row = ROW.match(line)
        if row is None:
            continue
        number = int(row.group(1))
        if number in rows:
            problems.append("F%d has two rows" % number)
        rows[number] = row.group(2)
    for number in range(FIRST, LAST + 1):
        cells = rows.get(number)
        if cells is None:
            problems.append("F%d is not mapped" % number)
        elif not TEST.search(cells) and number not in WHOLLY_WAITING:
            problems.append("F%d names no test: what is there of it is to be "
                            "tested, what is not waits" % number)
        elif number in WHOLLY_WAITING and not cells.endswith(
                "| waits for %s " % WHOLLY_WAITING[number]):
            problems.append("F%d waits for %s alone, and for nothing else" %
                            (number, WHOLLY_WAITING[number]))
    problems += problems_of_waits(root, rows)
    named = set()
    for number, cells in sorted(rows.items()):
        for path, name in TEST.findall(cells):
            named.add(name)
            if not os.path.exists(os.path.join(root, path)):
                problems.append("F%d: there is no %s" % (number, path))
            elif not names_test(read(root, path), name):
                problems.append("F%d: %s has no test %s" % (number, path, name))
    here = os.path.dirname(MAP)
    scripts = set()
    for entry in sorted(os.listdir(os.path.join(root, here))):
        if not entry.endswith("_test.cc"):
            continue
        for name in SCRIPT.findall(read(root, os.path.join(here, entry))):
            scripts.add(name)
            if not re.match(r"F\d+[A-Z]", name):
                problems.append("%s: %s names no F-number" % (entry, name))
            elif name not in named:
                problems.append("%s: %s is not in the map" % (entry, name))
    return problems + problems_of_mutants(root, scripts)


def files(root, folders, endings):
    for folder in folders:
        for base, _, names in os.walk(os.path.join(root, folder)):
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.relpath(os.path.join(base, name), root)


def part(text, heading):
    """What stands below a heading of the README."""
    return text.split("\n## %s\n" % heading)[1].split("\n## ")[0]


def carried(root):
    """F-number -> a test that carries it, by its name or by a comment."""
    tests = {}
    for path in files(root, PRODUCT + ("test",), ("_test.cc", "_e2e.py")):
        for number in re.findall(r"\bF(\d+)(?:[A-Z]\w+\)|\b)", read(root, path)):
            tests.setdefault(int(number), path)
    return tests


def problems_of_waits(root, rows):
    """A row waits for a feature of the table, and that is not there yet."""
    features = dict(FEATURE.findall(part(read(root, MAP), "What is waited for")))
    problems, waited = [], set()
    tests = carried(root)
    for number, cells in sorted(rows.items()):
        if "waits for" in cells and not TEST.search(cells) and number in tests:
            problems.append("F%d waits and names no test, and %s carries it" %
                            (number, tests[number]))
        for text in WAITS.findall(cells):
            # "a and b" may be two features or one.
            found = [f for f in features if text.strip() == f]
            found = found or [f for f in features if text.startswith(f)]
            waited.update(found)
            if not found:
                problems.append("F%d waits for %s, which the table does not know" %
                                (number, text.strip()))
    problems += ["nothing waits for %s" % f for f in sorted(set(features) - waited)
                 if f != "Feature"]
    problems += ["%s is waited for, and check_map.py does not know that it is "
                 "not there" % f for f in sorted(set(features) - set(NOT_THERE))
                 if f != "Feature"]
    problems += ["%s is in check_map.py, and not in the table" % f
                 for f in sorted(set(NOT_THERE) - set(features))]
    problems += ["%s has no word, and check_map.py no text that is there without "
                 "it" % f for f, word in sorted(features.items())
                 if f in NOT_THERE and not word and NOT_THERE[f] is None]
    problems += ["%s lacks \"%s\": who waits for %s?" % (*there, feature)
                 for feature, there in NOT_THERE.items()
                 if there is not None and there[1] not in read(root, there[0])]
    words = {word: feature for feature, word in features.items() if word}
    for path in files(root, PRODUCT, SOURCES):
        text = read(root, path)
        problems += ["%s has %s: who waits for %s?" % (path, word, feature)
                     for word, feature in words.items() if word in text]
    return problems


def problems_of_mutants(root, scripts):
    """Each script is turned red by some mutant, or says why by none."""
    known = set(re.findall(r"^SLUICE_MUTANT\((k\w+)", read(root, MUTANTS), re.M))
    problems, red = [], set()
    text = part(read(root, MAP), "Scripts that a mutant turns red")
    for mutant, names in RED.findall(text):
        if mutant not in known:
            problems.append("%s is not in %s" % (mutant, MUTANTS))
        names = re.findall(r"F\d+\w+", names)
        red.update(names)
        problems += ["%s: there is no script %s" % (mutant, name)
                     for name in names if name not in scripts]
    excepted = dict(NOT_RED.findall(part(read(root, MAP), "Scripts without a mutant")))
    problems += ["%s: \"%s\" is no reason: find, or seed, a mutant that turns it "
                 "red" % (name, why)
                 for name, why in sorted(excepted.items()) if UNTRIED.search(why)]
    problems += ["there is no script %s, which no mutant turns red" % name
                 for name in sorted(set(excepted) - scripts)]
    problems += ["%s is turned red by no mutant, and nothing says why" % name
                 for name in sorted(scripts - red - set(excepted))]
    problems += ["%s is turned red by a mutant, and something says why not" % name
                 for name in sorted(red & set(excepted))]
    return problems


def main():
    problems = problems_of(sys.argv[1])
    for problem in problems:
        print("%s: %s" % (MAP, problem))
    print("F%d-F%d: %s" % (FIRST, LAST, "mapped" if not problems
                           else "%d problems" % len(problems)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
