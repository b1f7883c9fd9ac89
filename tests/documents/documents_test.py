#!/usr/bin/env python3
"""The documents say what is: every command block runs, shown output is printed, flags, files and links exist.

    tests/documents/documents_test.py build/cli/scute [--whole] [DOCUMENT…]

A block that is not run says why, in a marker (markdown.py lists them); how many do is printed. --whole: with the texts
of examples/ in full, and the blocks that want them (test.sh --all). Examples in Python are run by python/tests.
"""

from __future__ import annotations

import collections
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from commands import Outcome, run_document
from markdown import anchors, blocks, code_spans, documents, links

TOP = Path(__file__).resolve().parents[2]
# What is said of other tools (cli_coming_from_test has the table), and of the past.
_NOT_OUR_FLAGS = ("docs/coming-from.md", "CHANGELOG.md", "docs/decisions/", "docs/faults.md", "docs/compares.md")


def known_flags(program: Path) -> dict[str, set[str]]:
    """verb -> its flags, of all kinds of models, as the completions have them."""
    script = subprocess.run([program, "--completion", "bash"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^    ([a-z]+)\) flags='([^']*)' ;;$", script, re.MULTILINE)
    return {verb: set(flags.split()) for verb, flags in found}


def wrong_flags(name: str, text: str, flags: dict[str, set[str]]) -> list[str]:
    """Commands in running text, `scute VERB … --flag`, that name a verb or a flag that is not there."""
    if name.startswith(_NOT_OUR_FLAGS):
        return []
    wrong = []
    for line, span in code_spans(text):
        words = span.split()
        if len(words) < 2 or words[0] != "scute" or not words[1].islower() or not words[1].isalpha():
            continue
        if words[1] not in flags:
            wrong.append(f"{name}:{line}: expected a verb of scute, found `{span}`")
            continue
        for word in words[2:]:
            flag = word.partition("=")[0].rstrip(",;")
            if flag.startswith("--") and flag not in flags[words[1]]:
                wrong.append(f"{name}:{line}: expected a flag of scute {words[1]}, found {flag}")
    return wrong


def wrong_paths(path: Path, text: str) -> list[str]:
    """Source files that running text names, from the top or below scute/, and that are not there."""
    name = str(path.relative_to(TOP))
    if name.startswith(_NOT_OUR_FLAGS):
        return []
    roots = {folder.name for folder in [*TOP.iterdir(), *(TOP / "scute").iterdir()] if folder.is_dir()}
    wrong = []
    for line, span in code_spans(text):
        if re.fullmatch(r"[a-z][\w-]*(/[\w-]+)+\.(cc|h|py|sh|cmake)", span) and span.partition("/")[0] in roots:
            places = (TOP, TOP / "scute", path.parent)
            # NAME in a path is the reader's to fill in.
            if not re.search(r"[A-Z]{3}", span) and not any((place / span).exists() for place in places):
                wrong.append(f"{name}:{line}: expected a file of the repository, found none at {span}")
    return wrong


def wrong_links(path: Path, text: str) -> list[str]:
    """Links to files or headings of the repository that are not there."""
    wrong = []
    for line, target in links(text):
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists():
            wrong.append(f"{path.relative_to(TOP)}:{line}: expected a file, found none at {target}")
        elif anchor and there.suffix == ".md" and anchor not in anchors(there.read_text(encoding="utf-8")):
            wrong.append(f"{path.relative_to(TOP)}:{line}: expected a heading, found none at {target}")
    return wrong


def run_all(paths: list[Path], program: Path, whole: bool) -> list[tuple[Path, Outcome]]:
    """The documents with commands, one on each processor."""
    # Its commands are those of README.md (tools_test.py): what takes time is run once.
    paths = [path for path in paths if whole or path.name != "README.zh-CN.md"]
    busy = [path for path in paths if any(b.language == "sh" or "output of" in b.markers
                                          for b in blocks(path.read_text(encoding="utf-8")))]
    with tempfile.TemporaryDirectory(prefix="scute-documents-") as folder:
        shared = TOP.parent / "shared"
        if shared.exists():
            (Path(folder) / "shared").symlink_to(shared)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            names = [Path(folder) / str(number) for number in range(len(busy))]
            return list(zip(busy, pool.map(lambda path, place: run_document(path, TOP, place, program, whole),
                                           busy, names), strict=True))


def main(arguments: list[str]) -> int:
    whole = "--whole" in arguments
    arguments = [word for word in arguments if word != "--whole"]
    program = Path(arguments[0]).resolve()
    paths = [Path(word).resolve() for word in arguments[1:]] or documents(TOP)
    flags = known_flags(program)
    wrong: list[str] = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        wrong += wrong_flags(str(path.relative_to(TOP)), text, flags) + wrong_links(path, text)
        wrong += wrong_paths(path, text)
    ran = compared = 0
    left: collections.Counter[str] = collections.Counter()
    for _, outcome in run_all(paths, program, whole):
        ran, compared = ran + outcome.ran, compared + outcome.compared
        left.update(outcome.left)
        wrong += outcome.wrong
    for reason, count in left.most_common():
        print(f"not run here: {reason} (blocks: {count})")
    print(f"{len(paths)} documents: {ran} blocks of commands ran, {compared} outputs compared, "
          f"{sum(left.values())} not run")
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
