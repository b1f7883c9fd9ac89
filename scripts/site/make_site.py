#!/usr/bin/env python3
"""Builds the documents' site: every page, the references of C++ and Python, a search; and follows every link in it.

    scripts/site/make_site.py build build/site     then: python3 -m http.server -d build/site

The first folder is a finished build, whose headers are installed for Doxygen. Needs mkdocs and doxygen
(scripts/setup_debian.sh --all). Exit code 1, with a line for each, when a page is in no part of the site, a header is
not documented, mkdocs warns or a link leads nowhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from check_site import wrong_links
from cpp_reference import make as make_cpp
from pages import listing, write_page
from python_reference import reference as python_reference

TOP = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).resolve().parent
# The parts of the site, in order. A page of docs/ that is in none is an error.
_PARTS: dict[str, list[str]] = {
    "Start": ["README.md", "README.zh-CN.md", "docs/install.md", "docs/getting_models.md", "docs/vocabulary.md",
              "examples/README.md", "examples/text/README.md"],
    "Guides": ["docs/python.md", "docs/cobra.md", "docs/regressor.md", "docs/regressor_export.md",
               "docs/experiments.md", "docs/cluster.md", "cluster/parallel.md", "cluster/mpi.md",
               "docs/coming-from.md"],
    "Facts": ["docs/families.md", "docs/formats.md", "docs/numerics.md", "docs/performance.md", "docs/quality.md",
              "docs/what_moved.md", "docs/compares.md", "docs/faults.md", "docs/versions.md", "CHANGELOG.md"],
    "Reference": ["reference/python.md", "reference/cpp.md"],
    "Inside": ["docs/architecture.md", "CONTRIBUTING.md", "docs/decisions/index.md", "cli/README.md",
               "python/README.md", "tests/fuzz/README.md"],
}  # fmt: skip
_CPP = """# C++ reference

The headers that `cmake --install` puts in place, by Doxygen: [types](cpp/annotated.html) · [files](cpp/files.html) ·
[functions](cpp/namespacemembers_func.html). A program begins with the headers of its product:

| product | headers |
|---|---|
| language models | `scute/language/collect.h` `quantize.h` `scoring.h` `model_folder.h` |
| Cobra | `scute/cobra/collect.h` `quantize.h` `compare.h` `generate.h` |
| regressor | `scute/regressor/collect.h` `decide.h` `quantize.h` `evaluation.h` |
| deciding, and files | `scute/decide/policy.h` `scute/observe/statistics_file.h` `scute/recipe/statistics_io.h` |

What may change from version to version: [versions](../docs/versions.md). A whole program: [main.cc](../tests/install/main.cc).
"""


def write_pages(pages: Path) -> list[str]:
    """Every Markdown file of the repository as a page; the parts of the site, as mkdocs' nav."""
    nav = [page for part in _PARTS.values() for page in part]
    layers = [str(path.relative_to(TOP)) for path in sorted((TOP / "scute").rglob("README.md"))]
    (pages / "reference").mkdir(parents=True)
    (pages / "reference/python.md").write_text(python_reference(TOP / "python/src/scute"), encoding="utf-8")
    (pages / "reference/cpp.md").write_text(_CPP, encoding="utf-8")
    shutil.copytree(TOP / "tests/install", pages / "tests/install", ignore=shutil.ignore_patterns("*.sh", "CMake*"))
    decisions = [f"docs/decisions/{path.name}" for path in sorted((TOP / "docs/decisions").glob("*.md"))]
    docs = {f"docs/{path.name}" for path in (TOP / "docs").glob("*.md")}
    lost = docs - set(nav)
    if lost:
        raise RuntimeError(f"expected a part of the site for {', '.join(sorted(lost))}: _PARTS in {__file__}")
    for page in [*nav, *layers, *decisions]:
        if not page.startswith("reference/") and not page.endswith("/index.md"):
            write_page(TOP, pages, Path(page))
    listing(TOP, pages, Path("docs/decisions"))
    for picture in (TOP / "docs").glob("*.svg"):
        shutil.copy2(picture, pages / "docs")
    lines = []
    for part, inside in _PARTS.items():
        lines.append(f"  - {part}:")
        lines += [f"      - {page}" for page in inside]
        if part == "Inside":
            lines += ["      - Decisions:", *[f"          - {page}" for page in decisions]]
            lines += ["      - Layers:", *[f"          - {page}" for page in layers]]
    return lines


def make(build: Path, out: Path) -> None:
    """Writes the site into `out`, which is made anew. RuntimeError with what is wrong."""
    with tempfile.TemporaryDirectory(prefix="scute-site-") as name:
        folder = Path(name)
        pages = folder / "pages"
        pages.mkdir()
        nav = write_pages(pages)
        make_cpp(build, folder / "doxygen")
        shutil.copytree(folder / "doxygen/html", pages / "reference/cpp")
        config = (_HERE / "mkdocs.yml").read_text(encoding="utf-8")
        config += f"theme: {{name: null, custom_dir: {_HERE / 'theme'}}}\n"
        config += f"docs_dir: {pages}\nsite_dir: {out.resolve()}\nnav:\n" + "\n".join(nav) + "\n"
        (folder / "mkdocs.yml").write_text(config, encoding="utf-8")
        ended = subprocess.run(["mkdocs", "build", "--clean", "--config-file", str(folder / "mkdocs.yml")],
                               capture_output=True, text=True, check=False,
                               env={**os.environ, "PYTHONPATH": str(_HERE)})  # fmt: skip
        if ended.returncode != 0:
            raise RuntimeError(f"expected mkdocs to build without a warning, found\n{ended.stdout}{ended.stderr}")


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    build, out = Path(arguments[0]), Path(arguments[1])
    try:
        make(build, out)
    except (RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    wrong, pages, links = wrong_links(out)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
    print(f"{out}: {pages} pages, {links} links inside followed, {len(wrong)} lead nowhere")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
