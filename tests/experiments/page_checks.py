"""Runs the program and a list of checks for the tests of pages, and what holds of every page."""

import os
import subprocess
import time


def runner(program):
    """A function that runs the program with its arguments, which must succeed."""
    path = os.path.abspath(program)

    def run(*arguments):
        ended = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True,
                               timeout=120, check=False)
        assert ended.returncode == 0, (arguments, ended.stderr)
    return run


def run_checks(page, checks):
    """Calls each (check, arguments …) with the page; returns the names of those that failed."""
    failed = []
    for check, *more in checks:
        try:
            check(page, *more)
            print(f"passed  {check.__name__}")
        except (AssertionError, RuntimeError) as error:
            failed.append(check.__name__)
            print(f"FAILED  {check.__name__}: {error}")
    return failed


SCROLLING = """return [...document.querySelectorAll(".scroll")].map((box) =>
  [box.getAttribute("aria-label"), box.clientWidth > 0 && box.scrollWidth > box.clientWidth + 2,
   !box.nextElementSibling.hidden]);"""


def check_widths(page):
    """On a phone names stand in one line and tables that scroll say so; on a desk none need to."""
    page.width(400)
    time.sleep(0.4)
    heights = page.run("return [...document.querySelectorAll('.heat tbody th')]"
                       ".map((e) => e.getClientRects().length * e.offsetHeight);")
    assert max(heights) < 40, heights
    boxes = page.run(SCROLLING)
    assert any(scrolls for _, scrolls, _ in boxes), boxes
    assert all(scrolls == told for _, scrolls, told in boxes), boxes
    left = page.run("""const box = [...document.querySelectorAll(".scroll")].find((e) =>
        e.querySelector("tbody") && e.scrollWidth > e.clientWidth + 40);
      box.scrollLeft = 30;
      const first = box.querySelector("tbody tr").firstElementChild.getBoundingClientRect();
      const out = first.left - box.getBoundingClientRect().left;
      box.scrollLeft = 0;
      return out;""")
    assert abs(left) < 2, left  # the first column stays
    page.width(1400)
    time.sleep(0.4)
    assert [name for name, scrolls, _ in page.run(SCROLLING) if scrolls] == []
    page.tool("Emulation.clearDeviceMetricsOverride")
