#!/usr/bin/env python3
"""The documents' site in a real browser: no page is wider than its screen, and the search finds.

    tests/documents/site_page_test.py build/site      after scripts/site/make_site.py build build/site
"""

import functools
import http.server
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments"))
from browser import Browser  # noqa: E402

WIDTHS = (360, 800, 1440)
# What a reader may look for, and a page that must be among the answers.
LOOKED_FOR = {
    "percentile": "docs/vocabulary.html",
    "headroom": "docs/regressor.html",
    "Histogram": "reference/python.html",
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves without a line for each request."""

    def log_message(self, *_words):
        pass


def overflowing(browser, address, pages):
    """Pages that a reader would have to move sideways."""
    wrong = []
    for page in pages:
        browser.post("/url", {"url": f"{address}/{page}"})
        for width in WIDTHS:
            browser.width(width)
            wide = browser.run("return document.documentElement.scrollWidth")
            if wide > width:
                wrong.append(f"{page}: expected at most {width} pixels, found {wide}")
    return wrong


def not_found(browser, address):
    """Words that the search does not find where they are."""
    wrong = []
    for word, page in LOOKED_FOR.items():
        browser.post("/url", {"url": f"{address}/index.html?q={word}"})
        end = time.monotonic() + 60
        found = []
        while page not in " ".join(found) and time.monotonic() < end:
            time.sleep(0.2)
            found = browser.run(
                "return [...document.querySelectorAll('#mkdocs-search-results a')].map(a => a.href)"
            )
        if page not in " ".join(found):
            wrong.append(f"search for {word}: expected {page}, found {found[:5]}")
    return wrong


def main(site):
    pages = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    pages = [page for page in pages if not page.startswith("reference/cpp/") and page != "404.html"]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(Path(folder))
        try:
            wrong = overflowing(browser, address, pages) + not_found(browser, address)
            said = [entry["message"] for entry in browser.log("browser") if entry["level"] == "SEVERE"]
            wrong += [message for message in said if "favicon" not in message]
        finally:
            browser.close()
            server.shutdown()
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
    print(f"{len(pages)} pages at {len(WIDTHS)} widths, {len(LOOKED_FOR)} words looked for")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
