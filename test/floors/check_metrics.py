#!/usr/bin/env python3
"""Holds docs/metrics.md against the code: every metric that is exported has its row,
every row its metric.

usage: check_metrics.py ROOT
"""
import os
import re
import sys

# What ships; tests make up metrics of their own.
FOLDERS = ("broker", "client", "common", "controller", "storage", "tools")
LITERAL = re.compile(r'"(sluice_[a-z0-9_]+)"')
ROW = re.compile(r"^\| (`sluice_.*?) \|", re.M)
NAME = re.compile(r"`(sluice_[a-z0-9_]+)`")


def exported(root):
    """{name: file}"""
    found = {}
    for folder in FOLDERS:
        for path, _, files in os.walk(os.path.join(root, folder)):
            for name in files:
                if not name.endswith((".cc", ".h")) or re.search(r"_test(ing)?\.", name):
                    continue
                with open(os.path.join(path, name), encoding="utf-8") as source:
                    for metric in LITERAL.findall(source.read()):
                        found.setdefault(metric, os.path.relpath(os.path.join(path, name), root))
    return found


def documented(root):
    """Names in the first columns of the tables; one may be there twice."""
    with open(os.path.join(root, "docs", "metrics.md"), encoding="utf-8") as page:
        rows = ROW.findall(page.read())
    return [name for row in rows for name in NAME.findall(row)]


def problems(root):
    code, docs = exported(root), documented(root)
    assert len(code) > 40 and len(docs) > 40, "read too little: %d, %d" % (len(code), len(docs))
    for name in sorted(set(code) - set(docs)):
        yield "%s: %s has no row in docs/metrics.md" % (code[name], name)
    for name in sorted(set(docs) - set(code)):
        yield "docs/metrics.md: %s is exported nowhere" % name
    for name in sorted({name for name in docs if docs.count(name) > 1}):
        yield "docs/metrics.md: %s has two rows" % name


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = list(problems(sys.argv[1]))
    print("\n".join(found) if found else "check_metrics: each metric has its row")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
