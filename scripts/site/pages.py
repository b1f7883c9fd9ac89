"""The repository's Markdown as pages for mkdocs: what Python-Markdown reads differently from GitHub, and links."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

_LIST = re.compile(r"^ *(\*|-|\d+\.) ")


def for_mkdocs(text: str) -> str:
    """The same text where lists may follow a paragraph at once, are nested by four spaces, and cells hold `\\|`."""
    out: list[str] = []
    fence, inside_list = False, False
    for line in text.splitlines():
        if line.startswith("```"):
            fence = not fence
            line = line.split()[0]  # Python-Markdown knows one word behind a fence
        if fence or line.startswith("```"):
            out.append(line)
            continue
        is_item = bool(_LIST.match(line))
        before = out[-1] if out else ""
        if is_item and before.strip() and not inside_list and not line.startswith(" "):
            out.append("")
        if line.strip():
            inside_list = is_item or (inside_list and line.startswith("  "))
        indent = len(line) - len(line.lstrip(" "))
        if inside_list and 2 <= indent < 4:
            line = "    " + line.lstrip(" ")
        if line.startswith("|"):
            line = re.sub(r"`[^`]*`", lambda span: span[0].replace("\\|", "|"), line)
        out.append(line)
    return "\n".join(out) + "\n"


def link_rewriter(top: Path, pages: Path, page: Path) -> Callable[[re.Match[str]], str]:
    """Links of `page`, a path below `top`: files that are no pages are copied, folders become pages of their own."""

    def rewritten(found: re.Match[str]) -> str:
        target, _, anchor = found[1].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return found[0]
        there = (top / page.parent / target).resolve()
        place = there.relative_to(top.resolve())
        if there.is_dir():
            listing(top, pages, place)
            target = f"{target.rstrip('/')}/{'README' if (there / 'README.md').exists() else 'index'}.md"
        elif there.suffix != ".md":
            (pages / place.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy2(there, pages / place)
        return f"]({target}{'#' + anchor if anchor else ''})"

    return rewritten


def listing(top: Path, pages: Path, folder: Path) -> None:
    """A page that lists a folder of the repository, unless it has a README."""
    if (top / folder / "README.md").exists():
        return
    lines = [f"# {folder}", ""]
    for entry in sorted((top / folder).iterdir()):
        if entry.name.startswith((".", "__")):
            continue
        title = entry.name
        if entry.suffix == ".md":
            title = entry.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        elif entry.is_file():
            (pages / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy2(entry, pages / folder / entry.name)
        lines.append(f"* [{title}]({entry.name})" if entry.is_file() else f"* {entry.name}/")
    (pages / folder).mkdir(parents=True, exist_ok=True)
    (pages / folder / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_page(top: Path, pages: Path, page: Path) -> None:
    """Writes the page of `page`, a Markdown file below `top`."""
    text = for_mkdocs((top / page).read_text(encoding="utf-8"))
    parts = re.split(r"(^```.*?^```$|`[^`\n]*`)", text, flags=re.MULTILINE | re.DOTALL)
    rewritten = link_rewriter(top, pages, page)
    for number in range(0, len(parts), 2):
        parts[number] = re.sub(r"\]\(([^()\s]+)\)", rewritten, parts[number])
    (pages / page).parent.mkdir(parents=True, exist_ok=True)
    (pages / page).write_text("".join(parts), encoding="utf-8")
