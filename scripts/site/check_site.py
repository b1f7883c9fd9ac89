"""Follows every link inside a site; nothing is fetched."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """What a page links to, loads from elsewhere, and has for others to link to."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.loads: list[str] = []
        self.names: set[str] = {"", "top"}
        self.unread: list[str] = []  # marks of Markdown that nothing took for a mark

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for key, value in attributes:
            if value is None:
                continue
            if key in ("id", "name"):
                self.names.add(value)
            elif key in ("href", "src") and (tag in ("a", "img", "script", "link", "iframe")):
                (self.links if tag == "a" else self.loads).append(value)

    def handle_data(self, data: str) -> None:
        if "```" in data:
            self.unread.append(data.strip()[:60])


_DOXYGEN = "reference/cpp"  # its own links inside its pages are not ours to mend


def wrong_links(site: Path) -> tuple[list[str], int, int]:
    """(links that lead nowhere and what is loaded from other hosts, number of pages, number of links)."""
    pages: dict[Path, _Page] = {}
    for path in sorted(site.rglob("*.html")):
        page = _Page()
        page.feed(path.read_text(encoding="utf-8", errors="replace"))
        pages[path.resolve()] = page
    wrong, followed = [], 0
    for path, page in pages.items():
        where = path.relative_to(site.resolve())
        wrong += [f"{where}: expected a block, found {text}" for text in page.unread]
        for target in [*page.links, *page.loads]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loads and parts.scheme not in ("data", "javascript"):
                    wrong.append(f"{where}: expected files of its own, found {target}")
                continue
            # mkdocs' page for what is not found names the site's root.
            base = site if parts.path.startswith("/") else path.parent
            there = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            if there.is_dir():
                there /= "index.html"
            followed += 1
            if not there.exists():
                wrong.append(f"{where}: expected a page, found none at {target}")
            elif str(where).startswith(_DOXYGEN):
                continue
            elif there in pages and unquote(parts.fragment) not in pages[there].names:
                wrong.append(f"{where}: expected a heading, found none at {target}")
    return wrong, len(pages), followed
