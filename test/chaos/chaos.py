#!/usr/bin/python3
"""Runs chaos cases; run.sh is the way in."""
import argparse
import inspect
import os
import sys
import textwrap
import time
import traceback

from cases import CASES
from combined import combined
from machines import Loopback, Namespaces
from rig import Rig

CASES["combined"] = (combined, {"partitions": 6, "proxied": None})


def parse():
    parser = argparse.ArgumentParser(prog="test/chaos/run.sh")
    parser.add_argument("--case", action="append", default=[], metavar="NAME",
                        help="only these; repeatable")
    parser.add_argument("--list", action="store_true", help="names of the cases")
    parser.add_argument("--seconds", type=int, default=5,
                        help="each fault lasts at least that long (5); the combined "
                             "case goes on for eight times as long")
    parser.add_argument("--seed", type=int, default=1,
                        help="of all choices (1)")
    parser.add_argument("--keep", action="store_true",
                        help="leave logs, data and histories behind")
    parser.add_argument("--namespaces", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = [name for name in args.case if name not in CASES]
    if unknown:
        parser.error("no case %s; see --list" % ", ".join(unknown))
    return args


def first_line(body):
    return (inspect.getdoc(body) or "").split("\n\n")[0].replace("\n", " ")


def print_counts(verdict):
    """The checker's table on few lines."""
    counts = [line.rsplit(None, 1) for line in verdict.splitlines() if line[-1:].isdigit()]
    text = ", ".join("%s %s" % (name.strip(), number) for name, number in counts)
    print(textwrap.indent(textwrap.fill(text, 100), "       "), flush=True)


def run_case(name, args):
    body, options = CASES[name]
    machines = Namespaces() if args.namespaces else Loopback()
    proxied = options.get("proxied", False)
    if proxied is None:  # the seed's choice; without namespaces it is all there is
        proxied = args.seed % 2 == 0 or not machines.can_cut
    try:
        with Rig(machines, args.seed, options.get("partitions", 6), proxied,
                 args.seconds) as rig:
            marks = [time.monotonic()]
            for step in (rig.start, lambda: body(rig), rig.whole_again, rig.judge):
                step()
                marks.append(time.monotonic())
            print("ok   %-36s start %.0f s, fault %.0f s, whole again %.0f s, judged %.0f s" % (
                name, *(b - a for a, b in zip(marks, marks[1:]))))
            print_counts(rig.verdict)
    finally:
        machines.close()


def main():
    args = parse()
    if args.list:
        for name, (body, options) in CASES.items():
            print("%-36s %s" % (name, first_line(body)))
        return 0
    if args.keep:
        os.environ["SLUICE_KEEP"] = "1"
    print("chaos on %s, seed %d" % (
        "network namespaces" if args.namespaces else "loopback", args.seed), flush=True)
    passed, failed, left_out = 0, [], []
    for name in args.case or CASES:
        if CASES[name][1].get("cuts") and not args.namespaces:
            left_out.append(name)
            continue
        began = time.monotonic()
        try:
            run_case(name, args)
        except Exception:  # the next case still tells something
            traceback.print_exc()
            print("FAIL %s (%.0f s), seed %d" % (name, time.monotonic() - began, args.seed),
                  flush=True)
            failed.append(name)
            continue
        passed += 1
    if left_out:
        print("left out, for they need network namespaces: " + " ".join(left_out))
    if failed:
        print("failed: " + " ".join(failed))
    print("%d passed, %d failed, %d left out" % (passed, len(failed), len(left_out)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
