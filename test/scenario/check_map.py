#!/usr/bin/env python3
"""Holds README.md to the tree: every failure scenario F1-F78 is mapped, every
test it names exists where it says, every script here has its number and is
named, and every mutant that turns one red is in the list of mutants.

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
        elif not TEST.search(cells) and "waits for" not in cells:
            problems.append("F%d names no test and waits for nothing" % number)
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


def problems_of_mutants(root, scripts):
    """The table of scripts that a mutant turns red."""
    known = set(re.findall(r"^SLUICE_MUTANT\((k\w+)", read(root, MUTANTS), re.M))
    problems = []
    for mutant, names in RED.findall(read(root, MAP)):
        if mutant not in known:
            problems.append("%s is not in %s" % (mutant, MUTANTS))
        problems += ["%s: there is no script %s" % (mutant, name)
                     for name in re.findall(r"F\d+\w+", names)
                     if name not in scripts]
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
