#!/usr/bin/env python3
"""Every table of figures says when, where and how it was measured, and docs/what_moved.md lists them all.

    tests/documents/figures_test.py           checks
    tests/documents/figures_test.py --write   writes the list anew
"""

import re
import sys
from pathlib import Path

from figures import DOCUMENT, read_all, with_table

TOP = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    measured, wrong = read_all(TOP)
    document = TOP / DOCUMENT
    text = document.read_text(encoding="utf-8")
    described = set(re.findall(r"^\| \*\*([\w-]+)\*\* \|", text, re.MULTILINE))
    for one in measured:
        if one.machine not in described:
            wrong.append(f"{one.document}: expected a machine that {DOCUMENT} describes, found {one.machine}")
    if arguments == ["--write"]:
        document.write_text(with_table(text, measured), encoding="utf-8")
    elif with_table(text, measured) != text:
        wrong.append(f"{DOCUMENT}: expected the markers of all documents, found others: "
                     "tests/documents/figures_test.py --write")
    print(f"{len(measured)} sets of figures, {sum(one.rows for one in measured)} rows in tables")
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
