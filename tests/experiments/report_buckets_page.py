"""What report_page_test.py checks on the page of a vision-language model's statistics."""

import json
import time

MODEL, PICTURES = "tests/golden/cobra/model", "tests/golden/cobra/pictures"
BUCKETS = ["vision.siglip", "vision.dino", "llm", "projector"]
POLICIES = ["tail", "minmax", "mse", "auto", "percentile:0.9995", "plan: part.json"]


def make_page(scute, folder):
    """A page of three statistics files: all buckets, two of them, a language model's. Returns the
    page and the ranges that decide gives the buckets of the first by the tail rules."""
    every, two, plan = folder / "cobra.pt", folder / "two.safetensors", folder / "tail.json"
    language = folder / "stats.safetensors"  # made for the other page
    prompts = folder / "prompts.jsonl"
    prompts.write_text('{"ids": [5, 6, 7]}\n')
    # No language model's sites: then the longest names are those inside the towers.
    scute("collect", MODEL, "--images", PICTURES, "--out", every, "--quiet")
    scute("collect", MODEL, "--images", PICTURES, "--targets", "vision.dino,llm", "--prompts",
          prompts, "--batches", 1, "--batch-size", 3, "--out", two, "--quiet")
    scute("decide", "--stats", every, "--policy", "tail", "--out", plan)
    ranges = json.loads(plan.read_text())
    # Three members alone, as other tools write plans.
    part = {name: {"percentile": 99, "lo": 0.5 * ranges[name]["lo"], "hi": 0.25 * ranges[name]["hi"]}
            for name in BUCKETS}
    (folder / "part.json").write_text(json.dumps(part))
    page = folder / "buckets.html"
    scute("report", "--stats", language, every, two, "--plan", folder / "part.json", "--out", page)
    return page, ranges


def choose(page, selector, value):
    page.run("const box = document.querySelector(arguments[0]); box.value = arguments[1];"
             "box.dispatchEvent(new Event('change'));", selector, value)


def texts(page, selector):
    return page.run("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent);",
                    selector)


def shown(x):
    """A number as the page writes it, with four significant digits."""
    return f"{float(f'{x:.4g}'):,.12g}".replace("-", "−")


def check_buckets_absent(page):
    """Of a language model's page."""
    assert page.run("return document.querySelectorAll('#buckets, a[href=\"#buckets\"]').length;"
                    ) == 0
    assert "picture" not in page.run("return document.querySelector('.top').textContent;")


def check_bucket_header(page):
    facts = texts(page, "#facts dd")
    assert "5 pictures, 80 text tokens" in facts[1], facts
    assert "3 pictures, 9 text tokens" in facts[2], facts
    listed = "return [...document.querySelectorAll('#facts details')].map(d => " \
             "[...d.querySelectorAll('li')].filter(e => e.checkVisibility()).length);"
    assert page.run(listed) == [0, 0]
    page.click("#facts details summary")
    assert page.run(listed) == [5, 0]
    names = texts(page, "#facts details li")
    assert names[0].startswith("1_wide.png "), names
    page.click("#facts details summary")


def check_bucket_origin(page):
    origin = texts(page, "#buckets .figures dd")
    assert origin == ["5 measured of 6", "0", "1",
                      "random ids below 4,096, 16 a picture, seed 42"], origin
    assert page.run("return document.querySelector('main section').id;") == "buckets"
    assert texts(page, "#nav a")[0] == "Buckets"
    assert texts(page, "#buckets .card h3") == BUCKETS
    sentences = texts(page, "#buckets .card p.muted")
    assert len(set(sentences)) == 4 and all(len(one) > 40 for one in sentences), sentences


# Of each bucket's chart: how many colours, and the columns of its plot that hold the colour of the
# range from top to bottom, beside those where the range's ends must be.
RANGES_DRAWN = """
  const i = buckets_view.policy, statistics = data.statistics[buckets_view.statistics];
  return [...document.querySelectorAll("#buckets canvas")].map((canvas, k) => {
    const chart = Chart.getChart(canvas), ratio = chart.currentDevicePixelRatio;
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const context = copy.getContext("2d", {willReadFrequently: true});
    context.drawImage(canvas, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const site = statistics.sites.filter((one) => one.bucket)[k];
    const hex = range_style(theme(), i).color;
    const want = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    const {left, right, top, bottom} = chart.chartArea;
    const colors = new Set(), columns = [];
    for (let x = Math.floor((left - 4) * ratio); x < (right + 4) * ratio; ++x) {
      let found = 0;
      for (let y = Math.ceil(top * ratio); y < bottom * ratio; ++y) {
        const at = 4 * (y * canvas.width + x);
        const [r, g, b, opaque] = pixels.subarray(at, at + 4);
        if (opaque > 200) colors.add(r << 16 | g << 8 | b);
        // Of one pixel at least 7/8 lie under a line of 1.75, at 95 %: 17 % of 180 are another's.
        found += want.every((v, c) => Math.abs(pixels[at + c] - v) < 45);
      }
      if (found > 0.2 * (bottom - top) * ratio) columns.push(x / ratio);
    }
    const {lo, hi} = range_of(statistics, site, i);
    const ends = [lo, hi].map((x) =>
      Math.min(right, Math.max(left, chart.scales.x.getPixelForValue(x))));
    return [canvas.getAttribute("aria-label"), colors.size, columns, ends];
  });"""


def check_bucket_charts(page, plan):
    for policy, number in (("minmax", "1"), ("plan: part.json", "7"), ("tail", "4")):
        choose(page, "#bucket-policy", number)
        drawn = page.run(RANGES_DRAWN)
        captions = texts(page, "#buckets .kept")
        assert len(drawn) == len(captions) == 4, drawn
        for bucket, caption, (label, colors, columns, ends) in zip(BUCKETS, captions, drawn):
            assert label.startswith(f"Distribution of {bucket}: ") and policy in label, label
            assert caption.startswith(f"{policy} keeps "), caption
            assert colors > 3, (bucket, colors)
            # A line is 1.75 pixels wide; smoothed, it touches three columns about its end.
            for end in ends:
                assert any(abs(x + 0.5 - end) < 2.5 for x in columns), (bucket, end, columns)
            assert all(any(abs(x + 0.5 - end) < 2.5 for end in ends) for x in columns), \
                (bucket, ends, columns)
    for bucket, caption in zip(BUCKETS, texts(page, "#buckets .kept")):
        lo, hi = plan[bucket]["lo"], plan[bucket]["hi"]
        assert f"keeps {shown(lo)} to {shown(hi)}, " in caption, (caption, lo, hi)


def check_bucket_tables(page, plan):
    rows = page.run("return [...document.querySelectorAll('#buckets table')].map(t => "
                    "[...t.tBodies[0].rows].map(r => [...r.cells].map(c => c.textContent)));")
    head = texts(page, "#buckets table:first-of-type thead th")
    assert head[:13] == ["bucket", "values", "min", "p0.1", "p1", "p50", "p99", "p99.9", "p99.99",
                         "p99.999", "max", "NaN", "infinite"], head
    passed, kept = rows
    assert [row[0] for row in passed] == BUCKETS, passed
    for row in passed:
        values = [float(text.replace("−", "-").replace(",", "")) for text in row[2:11]]
        assert values == sorted(values), row
        before = plan[row[0]]["range_before"]
        assert [row[2], row[10]] == [shown(x) for x in before], (row, before)
        assert row[11:] == ["0", "0"], row
    assert [row[0] for row in kept] == [name for bucket in BUCKETS
                                        for name in [bucket, *POLICIES]], kept
    for k, bucket in enumerate(BUCKETS):
        at = k * (1 + len(POLICIES))
        tail, minmax = kept[at + 1], kept[at + 2]
        decided = plan[bucket]
        assert tail[1:3] == [shown(decided["lo"]), shown(decided["hi"])], (tail, decided)
        assert abs(float(tail[3][:-2]) - 100 * decided["coverage"]) < 0.006, (tail, decided)
        assert tail[4] == f"{decided['sqnr_db']:.1f}" and tail[5] == decided["because"], tail
        assert minmax[3] == "100 %", minmax
        part = kept[at + len(POLICIES)]
        assert part[1:3] == [shown(0.5 * decided["lo"]), shown(0.25 * decided["hi"])], part
        assert part[5] == "no reason given" and float(part[4]) < float(tail[4]), part
    picked = page.run("return [...document.querySelectorAll('#buckets tr.picked')]"
                      ".map(r => [r.dataset.bucket, r.cells[0].textContent]);")
    assert picked == [[bucket, "tail"] for bucket in BUCKETS], picked


def check_bucket_files(page):
    choices = texts(page, "#buckets select[aria-label=Statistics] option")
    assert choices == ["cobra.pt", "two.safetensors"], choices
    before = page.run("return charts.length;")
    choose(page, "#buckets select", "2")
    assert texts(page, "#buckets .card h3") == ["vision.dino", "llm"]
    assert page.run("return document.querySelector('#buckets .body').innerText"
                    ".includes('Not in this file: vision.siglip, projector.');")
    origin = texts(page, "#buckets .figures dd")
    assert origin[:3] == ["3 measured of 6", "3", "0"], origin
    assert origin[3] == "prompts of prompts.jsonl, 1 row", origin
    page.click("#buckets .card:nth-of-type(1) button")
    assert texts(page, "#sites h3") == ["vision.dino"]
    assert page.run("return document.querySelector('#sites select').value;") == "2"
    choose(page, "#buckets select", "1")
    assert page.run("return charts.length;") == before
    page.click("#theme")  # draws all charts anew: those that left the page would throw
    page.click("#theme")


def check_long_names(page):
    measure = """
      const list = document.querySelector("#site-list"), style = getComputedStyle(list);
      const pen = document.createElement("canvas").getContext("2d");
      pen.font = style.fontSize + " " + style.fontFamily;
      return [...list.options].map((o) => [o.value, o.text, o.title,
        pen.measureText(o.text).width / (list.clientWidth - parseFloat(style.fontSize))]);"""
    choose(page, "#sites select", "1")
    for width in (1280, 360, 320, None):
        if width is None:
            page.tool("Emulation.clearDeviceMetricsOverride")
        else:
            page.width(width)
        time.sleep(0.3)  # the list hears of its width with the next frame
        options = page.run(measure)
        assert [value for value, *_ in options[:4]] == BUCKETS, options[:4]
        assert max(len(value) for value, *_ in options) > 35, options
        shown_names = [text for _, text, _, _ in options]
        assert len(set(shown_names)) == len(options), (width, shown_names)
        for value, text, title, share in options:
            assert title == value and share <= 1, (width, value, text, share)
            if width != 320:
                assert text == value or width == 360, (width, value, text)
            if text != value:
                head, tail = text.split("…")
                assert value.startswith(head) and value.endswith(tail), (value, text)


def checks(plan):
    return [(check_bucket_header,), (check_bucket_origin,), (check_bucket_charts, plan),
            (check_bucket_tables, plan), (check_bucket_files,), (check_long_names,)]
