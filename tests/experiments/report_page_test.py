#!/usr/bin/env python3
"""Opens a real report in a real browser and uses it as a person would.

  tests/experiments/report_page_test.py PROGRAM     PROGRAM: the built scute; from the repository's top folder

Drives Debian's chromium with its chromedriver over loopback; fails when either is missing. The
browser's profile and all files lie in a temporary folder; every process started here is ended.
"""

import json
import math
import pathlib
import random
import re
import signal
import struct
import sys
import tempfile
import time

import report_buckets_page as buckets
import report_uncertain_page as uncertain
from browser import BACKSPACE, ENTER, RIGHT, TAB, Browser
from page_checks import check_widths, run_checks, runner

HOSTILE = "</script><script>window.broken=1</script><img src=x onerror=window.broken=2>"


# ---- what is shown -------------------------------------------------------------------------------

def record(number, model, a_bits, shift, folder, **settings):
    """An experiment whose windows all cost `shift` more than others', plus a little noise."""
    config = {"model": model, "w_bits": 8, "a_bits": a_bits, "percentile_alpha": 0.9995,
              "policy": "auto", **settings}
    noise = random.Random(settings.get("noise", number))
    common = random.Random(1)
    totals = [511 * (3 + common.gauss(0, 0.2) + shift + noise.gauss(0, 0.001)) for _ in range(64)]
    mean = sum(totals) / (511 * 64)
    error = math.sqrt(sum((x / 511 - mean) ** 2 for x in totals) / 63 / 64)
    perplexity = math.exp(mean)
    items = f"items/{number}.jsonl"
    (folder / "items").mkdir(exist_ok=True)
    (folder / items).write_text("".join(
        json.dumps({"kind": "window", "index": i, "start": 512 * i, "predictions": 511, "nll": x})
        + "\n" for i, x in enumerate(totals)))
    task = {"perplexity": perplexity, "perplexity_stderr": perplexity * error, "mean_nll": mean,
            "mean_nll_stderr": error, "n": 64, "predictions": 511 * 64, "window": 512,
            "stride": 512, "context": 1, "stepwise": False, "file": "held.txt", "sha256": "cd"}
    ranges = {"min": -2, "max": 4, "range": 6}
    site = {"before_percentile": ranges, "after_percentile": {"min": -1, "max": 2, "range": 3},
            "clipped_ratio": 0.001, "sqnr_db": 30, "before_reorder": ranges,
            "after_reorder": {"min": -1, "max": 2, "range": 3}, "range_reduction_pct": 50}
    return {"timestamp": f"2026-01-{number:02} 10:00:00", "command": f"scute run {model}",
            "config": config, "activation_stats": {f"layer_{i}.x_conv_out:input": site
                                                   for i in range(3)},
            "reorder_summary": {"enabled": True, "avg_range_reduction": 50, "total_layers": 3},
            "results": {"tasks": {"perplexity": task}}, "activation_data_file": None,
            "id": f"{number:012x}", "hashes": {"experiment": f"{number:016x}", "model": "ab" * 32},
            "version": "0.1.0", "timing": {"total": 1.5}, "files": {"items": items}}


def write_log(folder):
    """Experiment 1 and 2 alike item by item, 3 much worse than 1, 4 hostile."""
    records = [record(1, "tiny-a", 8, 0, folder, noise=7),
               record(2, "tiny-b", 16, 0, folder, noise=7),
               record(3, "tiny-a", 8, 0.02, folder),
               record(4, HOSTILE, 8, 0.01, folder, policy=HOSTILE, extra={HOSTILE: HOSTILE})]
    records += [record(n, f"tiny-{n}", 16, 0.001 * n, folder) for n in range(5, 12)]
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path, records


def with_hostile_site(source, target):
    """A statistics file in which one site has a name that tries to be markup."""
    data = source.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    plain = "layer_0.x_proj:input"
    hostile = "layer_0." + HOSTILE
    meta = header["__metadata__"]
    sites = json.loads(meta["sites"])
    meta["sites"] = json.dumps({hostile if k == plain else k: v for k, v in sites.items()})
    renamed = {(hostile + k[len(plain):] if k.startswith(plain + "/") else k): v
               for k, v in header.items()}
    text = json.dumps(renamed).encode()
    text += b" " * (-len(text) % 8)
    target.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size:])


def make_report(scute, folder):
    statistics, hostile = folder / "stats.safetensors", folder / "hostile.safetensors"
    scute("collect", "examples/tiny-mamba1", "--data", "examples/text/calibration.jsonl",
          "--samples", 4, "--seqlen", 70, "--out", statistics, "--quiet")
    scute("quantize", "examples/tiny-mamba1", "--stats", statistics, "--out", folder / "w8",
          "--quiet")
    scute("scales", folder / "w8", "--set", "layer_1.x_proj:input*=1.5")
    with_hostile_site(statistics, hostile)
    log, records = write_log(folder)
    page = folder / "report.html"
    scute("report", "--log", log, "--stats", statistics, hostile, "--checkpoint", folder / "w8",
          "--out", page)
    return page, records


# ---- checks --------------------------------------------------------------------------------------

# Pixels are read from a copy: reading a canvas back makes the browser warn.
PIXELS = """
  const pixels_of = (canvas) => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const context = copy.getContext("2d", {willReadFrequently: true});
    context.drawImage(canvas, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height).data;
  };"""
DRAWN = PIXELS + """
  return [...document.querySelectorAll("canvas")].map((canvas) => {
    const pixels = pixels_of(canvas);
    const colors = new Set();
    for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 200) {
      colors.add(pixels[i] * 65536 + pixels[i + 1] * 256 + pixels[i + 2]);
    }
    const chart = Chart.getChart(canvas);
    return [canvas.getAttribute("aria-label"), colors.size,
            chart ? chart.data.datasets.reduce((n, one) => n + one.data.length, 0) : 0];
  });"""
NUMBERS = """return [...document.querySelectorAll("#experiment-table tbody tr")]
  .map((row) => Number(row.dataset.number));"""


def check_charts(page):
    charts = page.run(DRAWN)
    assert len(charts) == 4, charts  # site, ranges, layers, reordering
    for label, colors, points in charts:
        # Axis labels alone are some shades of one grey; bars and lines add saturated colours.
        assert colors > 5 and points > 2 and len(label) > 40, (label, colors, points)
    colors = page.run(PIXELS + """
      const c = Chart.getChart(document.querySelector("#ranges canvas")), d = pixels_of(c.canvas);
      const hex = c.data.datasets[0].backgroundColor;
      const want = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
      let n = 0;
      for (let i = 0; i < d.length; i += 4) n += want.every((v, k) => d[i + k] === v);
      return n;""")
    assert colors > 500, f"{colors} pixels of bars"


def check_sites(page):
    sites = page.run("return document.querySelectorAll('#site-list option').length;")
    assert sites > 50, sites
    page.type("#site-search", "layer_3 dt_proj")
    names = page.run("return [...document.querySelectorAll('#site-list option')]"
                     ".map(o => o.value);")
    assert names == ["layer_3.dt_proj:input", "layer_3.dt_proj:output"], names
    page.run("const l = document.querySelector('#site-list'); l.value = arguments[0];"
             "l.dispatchEvent(new Event('change'));", names[0])
    heading = page.run("return document.querySelector('#sites h3').textContent;")
    assert heading == names[0], heading
    rows = page.run("return [...document.querySelectorAll('#sites .main table tbody tr')]"
                    ".map(r => [...r.cells].map(c => c.textContent));")
    assert [row[0] for row in rows[:7]] == ["auto", "minmax", "percentile:0.9995", "quamba", "tail",
                                            "mse", "entropy"], rows
    before = page.run("return Chart.getChart(document.querySelector('#sites canvas'))"
                      ".options.scales.x.title.text;")
    page.click("#sites fieldset label:nth-of-type(2) input")
    after = page.run("return Chart.getChart(document.querySelector('#sites canvas'))"
                     ".options.scales.x.title.text;")
    assert before == "value" and after == "|value|", (before, after)
    page.type("#site-search", "")


def order_by(records, key, descending):
    present = [r for r in records if key(r) is not None]
    absent = [r for r in records if key(r) is None]
    numbered = {id(r): i + 1 for i, r in enumerate(records)}
    present.sort(key=lambda r: -numbered[id(r)])
    present.sort(key=key, reverse=descending)
    return [numbered[id(r)] for r in present + absent]


def check_sorting(page, records):
    def perplexity(one):
        return one["results"]["tasks"]["perplexity"]["perplexity"]
    assert page.run(NUMBERS) == list(range(11, 0, -1))
    page.click("#experiment-table th[data-key=perplexity] button")
    assert page.run(NUMBERS) == order_by(records, perplexity, False), page.run(NUMBERS)
    sort = "return document.querySelector('th[data-key=perplexity]').getAttribute('aria-sort');"
    assert page.run(sort) == "ascending"
    page.keys(ENTER)  # the button still has the focus
    # Ties keep the newest first in both directions.
    assert page.run(NUMBERS) == order_by(records, perplexity, True), page.run(NUMBERS)
    assert page.run(sort) == "descending"
    page.click("#experiment-table th[data-key=number] button")
    assert page.run(NUMBERS) == list(range(1, 12)), page.run(NUMBERS)


def check_filtering(page, records):
    def expect(text, keep):
        page.type("#filter", text)
        wanted = {i + 1 for i, one in enumerate(records) if keep(one)}
        found = page.run(NUMBERS)
        assert set(found) == wanted and len(found) == len(wanted), (text, found, wanted)
    expect("a_bits: 8", lambda r: r["config"]["a_bits"] == 8)
    expect("a_bits: 8.0, tiny-a", lambda r: r["config"]["a_bits"] == 8
           and r["config"]["model"] == "tiny-a")
    expect("A-BITS: 16, model: tiny-7", lambda r: r["config"]["model"] == "tiny-7")
    expect("TINY-1", lambda r: r["config"]["model"].startswith("tiny-1"))
    expect("policy: nothing", lambda r: False)
    page.type("#filter", "x")
    page.keys(BACKSPACE)
    assert len(page.run(NUMBERS)) == len(records)


def pick(page, *numbers):
    page.run("for (const box of document.querySelectorAll('#experiment-table input:checked')) "
             "box.click();")
    for number in numbers:
        page.click(f"#experiment-table tr[data-number='{number}'] input")
    return page.run("return [...document.querySelectorAll('#comparison .verdict')]"
                    ".map(one => one.textContent);")


def check_comparing(page):
    assert pick(page, 1) == []
    assert pick(page, 1, 2) == ["the same in all 64 windows"]
    differing = page.run("return [...document.querySelectorAll('#comparison tr.differs th')]"
                         ".map(one => one.textContent);")
    assert differing == ["model", "a_bits"], differing
    # Every window of 3 costs 0.02 ± 0.001 more: 64 of them leave no doubt.
    assert pick(page, 3, 1) == ["worse (p < 0.001)"]
    row = page.run("return document.querySelector('#comparison tbody tr').textContent;")
    size = re.search(r"\+([\d.]+) ± ([\d.]+) %", row)
    # exp(0.02) - 1 = 2.02 %, and no further off than five standard errors.
    assert size and abs(float(size[1]) - 2.02) < 5 * float(size[2]), row
    assert "64, paired" in row, row
    picked = page.run("return [...document.querySelectorAll('tr.picked')].length;")
    pick(page, 1, 2, 3)
    assert picked == page.run("return document.querySelectorAll('tr.picked').length;") == 2


def check_heat_map(page):
    cells = "return [...document.querySelectorAll('.heat td')].map(c => " \
            "[c.textContent, c.style.backgroundColor, c.getAttribute('aria-label')]);"
    before = page.run(cells)
    assert len(before) > 50 and len({color for _, color, _ in before}) > 20
    assert all("SQNR at 8 bits" in words for text, _, words in before if text)
    page.run("const m = document.querySelector('#heat-metric'); m.value = '5';"
             "m.dispatchEvent(new Event('change'));")
    after = page.run(cells)
    assert all("Saturation" in words for text, _, words in after if text), after[:2]
    assert before != after
    page.run("document.querySelector('.heat td').focus();")
    page.keys(RIGHT)
    readout = page.run("return document.querySelector('.readout').textContent;")
    assert readout.startswith("layer_1."), readout
    page.keys(ENTER)
    site = page.run("return document.querySelector('#sites h3').textContent;")
    assert readout.startswith(site + ":"), (site, readout)


def check_checkpoint(page):
    edited = page.run("return [...document.querySelectorAll('#checkpoint tr.edited')]"
                      ".map(r => r.cells[1].textContent);")
    assert edited == ["layer_1.x_proj:input"], edited
    page.type("#checkpoint-filter", "layer_2 x_proj")
    shown = page.run("return [...document.querySelectorAll('#checkpoint tbody tr')]"
                     ".map(r => r.cells[1].textContent);")
    assert shown == ["layer_2.x_proj:input"], shown
    page.type("#checkpoint-filter", " ")


def check_dark_mode(page):
    paper = "return getComputedStyle(document.body).backgroundColor;"
    light = page.run(paper)
    page.color_scheme("dark")
    time.sleep(0.3)  # the page hears of it with the next frame
    dark = page.run(paper)
    assert light != dark, light
    grey = "return Chart.getChart(document.querySelector('#ranges canvas')).data.datasets[1]" \
           ".backgroundColor;"
    drawn = page.run(grey)
    page.click("#theme")
    assert page.run(paper) == light
    assert page.run(grey) != drawn
    page.click("#theme")
    assert page.run(paper) == dark
    page.click("#theme")
    page.color_scheme("light")


def check_narrow(page):
    for width in (400, 360, 320):
        page.width(width)
        time.sleep(0.3)  # charts follow the width with the next frames
        wide = page.run("""return [document.documentElement.scrollWidth, innerWidth,
          [...document.querySelectorAll("body *")].filter((e) => {
            const box = e.getBoundingClientRect();
            return box.right > innerWidth + 1 && !e.closest(".scroll, nav ul, select, .skip");
          }).map((e) => e.tagName + "." + e.className).slice(0, 5)];""")
        assert wide[0] <= wide[1] == width and wide[2] == [], wide
    page.tool("Emulation.clearDeviceMetricsOverride")


# What Tab must reach: of a group of radio buttons the checked one alone.
CONTROLS = """
  window.controls = [...document.querySelectorAll(
      "a[href], button, input, select, summary, [tabindex='0']")]
    .filter((e) => e.checkVisibility() && !(e.type === "radio" && !e.checked));
  return window.controls.length;"""


def check_keyboard(page):
    expected = page.run(CONTROLS)
    page.run("getSelection().removeAllRanges(); document.activeElement.blur(); scrollTo(0, 0);"
             "document.body.tabIndex = -1; document.body.focus();"
             "document.body.removeAttribute('tabindex');")
    reached = set()
    faint = []
    for _ in range(3 * expected):
        page.keys(TAB)
        at, visible, name = page.run("""const e = document.activeElement, s = getComputedStyle(e);
          return [window.controls.indexOf(e), s.outlineStyle !== "none",
                  e.outerHTML.slice(0, 80)];""")
        if at < 0 and len(reached) > 1:
            break
        reached.add(at)
        if not visible:
            faint.append(name)
    missed = page.run("return window.controls.filter((_, i) => !arguments[0].includes(i))"
                      ".map(e => e.outerHTML.slice(0, 90));", sorted(reached))
    assert not missed, f"{len(missed)} of {expected} not reached: {missed[:5]}"
    assert not faint, f"focus cannot be seen on {faint[:5]}"


def check_hostile(page):
    assert page.run("return window.broken === undefined;")
    assert page.run("return document.querySelectorAll('img, iframe, object').length;") == 0
    shown = page.run("return document.body.innerText.includes(arguments[0]);", HOSTILE)
    assert shown, "the hostile model's name is not shown as text"
    options = "return [...document.querySelectorAll('#site-list option')].map(o => o.value);"
    page.run("const s = document.querySelector('#sites select'); s.value = '1';"
             "s.dispatchEvent(new Event('change'));")
    assert "layer_0." + HOSTILE in page.run(options)


def check_network(page):
    address = page.run("return location.href;").split("#")[0]
    requests = []
    for one in page.log("performance"):
        message = json.loads(one["message"])["message"]
        asked = message["method"] == "Network.requestWillBeSent"
        # The browser's own first page asks for parts of the browser: those are none of ours.
        if asked and message["params"]["documentURL"].startswith(address):
            requests.append(message["params"]["request"]["url"])
    other = [url for url in requests if not url.startswith(("file://", "data:"))]
    assert requests and not other, other


def check_console(page):
    problems = [one for one in page.log("browser") if one["level"] in ("WARNING", "SEVERE")]
    assert not problems, problems


def main():
    scute = runner(sys.argv[1])
    random.seed(1)
    signal.alarm(170)  # ctest's limit is 180 s; the default action ends this program
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = pathlib.Path(name)
        report, records = make_report(scute, folder)
        of_pictures, plan = buckets.make_page(scute, folder)
        checks = [(check_charts,), (check_sites,), (check_sorting, records),
                  (check_filtering, records), (check_comparing,), (check_heat_map,),
                  (check_checkpoint,), (check_dark_mode,), (check_narrow,), (check_widths,),
                  (check_keyboard,),
                  (check_hostile,), (buckets.check_buckets_absent,), (check_network,),
                  (check_console,)]
        more = [(check_dark_mode,), *buckets.checks(plan), (check_narrow,), (check_keyboard,),
                (check_network,), (check_console,)]
        of_bounds = uncertain.make_report(scute, folder, record)
        last = [(uncertain.check_words,), (check_narrow,), (check_console,)]
        page = Browser(folder)
        try:
            page.open(report)
            failed = run_checks(page, checks)
            page.open(of_pictures)
            failed += run_checks(page, more)
            page.open(of_bounds)
            failed += run_checks(page, last)
        finally:
            page.close()
    if failed:
        sys.exit(f"report_page: {len(failed)} failed: {', '.join(failed)}")
    print(f"report_page: {len(checks) + len(more) + len(last)} checks passed")


if __name__ == "__main__":
    main()
