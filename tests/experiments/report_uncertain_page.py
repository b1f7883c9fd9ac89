"""The page of experiments whose scores are one-sided bounds or not finite."""

import json


def make_report(scute, folder, record):
    """A page whose scores are one-sided bounds or not finite."""
    folder = folder / "uncertain"
    folder.mkdir()
    records = [record(n, f"tiny-mamba1-of-a-longer-name-{n}", 8, 0, folder) for n in (1, 2, 3)]
    for one, hits in zip(records, (1, 0, 1)):
        one["results"]["tasks"]["last_word"] = {"accuracy": hits, "accuracy_stderr": 0, "n": 10,
                                                "file": "words.jsonl", "sha256": "ef"}
    records[2]["results"]["not_finite"] = "layer_11.x_proj:input"
    (folder / "log.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    scute("report", "--log", folder / "log.jsonl", "--out", folder / "report.html")
    return folder / "report.html"


def check_words(page):
    """Bounds and what is not finite are said; a comparison, the widest part, is shown."""
    shown = page.run("return document.querySelector('#experiment-table').innerText;")
    for words in ("(at least ", "(at most ", "not finite"):
        assert words in shown, (words, shown)
    page.run("for (const box of [...document.querySelectorAll('#experiment-table input')]"
             ".slice(0, 3)) box.click();")
