#!/usr/bin/python3
"""Runs chaos cases; run.sh is the way in."""
import argparse
import hashlib
import inspect
import os
import sys
import textwrap
import time
import traceback

from cases import CASES
from combined import combined, combined_proxied
from machines import Loopback, Namespaces
from rig import Rig
from verdict import counts

CASES["combined"] = (combined, {})
CASES["combined_proxied"] = (combined_proxied, {"proxied": True})


def parse():
    parser = argparse.ArgumentParser(prog="test/chaos/run.sh")
    parser.add_argument("--case", action="append", default=[], metavar="NAME",
                        help="only these; repeatable")
    parser.add_argument("--draw", metavar="TEXT",
                        help="the one case that TEXT names, of those that can run here, "
                             "take minutes and leave the cluster at work")
    parser.add_argument("--list", action="store_true", help="names of the cases")
    parser.add_argument("--seconds", type=int, default=5,
                        help="each fault lasts at least that long (5)")
    parser.add_argument("--rounds", type=int, default=8,
                        help="so many faults, or pairs of them, in a combined case (8)")
    parser.add_argument("--seed", type=int, action="append", default=[],
                        help="of all choices (1); repeatable: every case with each")
    parser.add_argument("--keep", action="store_true",
                        help="leave logs, data and histories behind")
    parser.add_argument("--namespaces", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = [name for name in args.case if name not in CASES]
    if unknown:
        parser.error("no case %s; see --list" % ", ".join(unknown))
    if args.draw is not None and args.case:
        parser.error("--draw or --case, not both")
    args.seed = args.seed or [1]
    return args


def drawn(text, namespaces):
    """Each commit's text names another case."""
    fit = sorted(name for name, (_, options) in CASES.items()
                 if not options.get("down") and not options.get("long")
                 and (namespaces or not options.get("cuts")))
    return fit[int(hashlib.sha256(text.encode()).hexdigest(), 16) % len(fit)]


def first_line(body):
    return (inspect.getdoc(body) or "").split("\n\n")[0].replace("\n", " ")


def print_counts(verdict):
    """The checker's table on few lines."""
    text = ", ".join("%s %d" % count for count in counts(verdict).items())
    print(textwrap.indent(textwrap.fill(text, 100), "       "), flush=True)


def run_case(name, seed, args):
    body, options = CASES[name]
    machines = Namespaces() if args.namespaces else Loopback()
    try:
        with Rig(machines, seed, options.get("partitions", 6),
                 options.get("proxied", False), args.seconds, args.rounds) as rig:
            marks = [time.monotonic()]
            for step in (rig.start, lambda: body(rig), rig.whole_again, rig.judge):
                step()
                marks.append(time.monotonic())
            print("ok   %-36s seed %d, start %.0f s, fault %.0f s, whole again %.0f s, "
                  "judged %.0f s" % (name, seed, *(b - a for a, b in zip(marks, marks[1:]))))
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
    cases = args.case or list(CASES)
    if args.draw is not None:
        cases = [drawn(args.draw, args.namespaces)]
    print("chaos on %s" % (
        "network namespaces" if args.namespaces else "loopback"), flush=True)
    left_out = [name for name in cases
                if CASES[name][1].get("cuts") and not args.namespaces]
    passed, failed = 0, []
    for name, seed in ((n, s) for n in cases if n not in left_out for s in args.seed):
        began = time.monotonic()
        try:
            run_case(name, seed, args)
        except Exception:  # the next case still tells something
            traceback.print_exc()
            print("FAIL %s (%.0f s), seed %d" % (name, time.monotonic() - began, seed),
                  flush=True)
            failed.append("%s, seed %d" % (name, seed))
            continue
        passed += 1
    if left_out:
        print("left out, for they need network namespaces: " + " ".join(left_out))
    if failed:
        print("failed: " + "; ".join(failed))
    print("%d passed, %d failed, %d left out" % (passed, len(failed), len(left_out)))
    if not passed and not failed:
        return 2  # nothing was shown
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
