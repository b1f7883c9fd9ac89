"""What notebooks show: tables, small pictures, and matplotlib's in one call."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import scute
from scute.display import rebinned

SITE = "layer_0.x_proj:input"


class Page(HTMLParser):
    """Cells of all rows, and every kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.kinds: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.kinds.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def plan(statistics) -> scute.Plan:
    return scute.decide(statistics)


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib", reason="no matplotlib (python3-matplotlib)")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def counted(*values: float) -> scute.Histogram:
    out = scute.Histogram()
    out.update(np.array(values, "float32"))
    return out


def test_bins_hold_every_value_where_it_lies(statistics):
    x = np.array([-4.0, -4.0, 0.0, 1.0, 3.9, 4.0], "float32")
    edges, counts = rebinned(counted(*x), 4)
    assert edges.tolist() == [-4, -2, 0, 2, 4]
    # 0 is the upper one's; what two bins share of a bucket is less than it holds.
    np.testing.assert_allclose(counts, np.histogram(x, edges)[0], atol=0.01)
    one = statistics[SITE]
    assert rebinned(one, 77)[1].sum() == pytest.approx(one.count)
    edges, counts = rebinned(counted(5.0, 5.0), 3)
    assert edges[0] < 5 < edges[-1] and counts.sum() == 2


def test_tables_hold_what_the_values_say(statistics, plan):
    page = Page(statistics[SITE]._repr_html_())
    row = dict(zip(*page.rows, strict=True))
    assert row["values"] == str(statistics[SITE].count) and "svg" in page.kinds
    assert row["max"] == f"{statistics[SITE].max:.4g}"
    assert Page(statistics[SITE].histogram._repr_html_()).rows == page.rows
    rows = {row[0]: row for row in Page(statistics._repr_html_()).rows}
    assert set(rows) == {"site", *statistics} and rows[SITE][3] == f"{statistics[SITE].max:.4g}"
    rows = {row[0]: row for row in Page(plan._repr_html_()).rows}
    assert set(rows) == {"site", *plan}
    assert rows[SITE][1] == plan[SITE]["policy"] and rows[SITE][-1] == plan[SITE]["because"]


def test_names_are_escaped_and_long_tables_end():
    stats = scute.Statistics()
    stats.update("<script>a</script>", np.ones(3, "float32"))
    plan = scute.Plan({"<b>&": {"lo": 0, "hi": 1, "because": "<i>"}})
    for page in (stats._repr_html_(), plan._repr_html_()):
        assert Page(page).kinds <= {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert "<script>a</script>" in [row[0] for row in Page(stats._repr_html_()).rows]
    many = scute.Plan({f"s{i}": {"lo": 0, "hi": 1} for i in range(103)})
    assert len(Page(many._repr_html_()).rows) == 101 and "and 3 more" in many._repr_html_()


def test_odd_values_are_shown_too():
    for values in ([], [np.nan], [np.inf], [0.0], [-0.0, 0.0], [3e38, -3e38], [1e-44], [5.0]):
        stats = scute.Statistics()
        stats["a"] = scute.Statistic()
        stats["a"].update(np.array(values, "float32"))
        assert "table" in Page(stats._repr_html_()).kinds
        finite = len(values) - stats["a"].nans - stats["a"].infs
        page = stats["a"]._repr_html_()
        assert ("svg" in Page(page).kinds) == (finite > 0)
        assert not re.search('(height|width)="(nan|inf|-)', page)


def test_a_site_is_drawn_in_one_call(pyplot, statistics, plan, tmp_path):
    ax = statistics.plot(SITE)
    assert ax.get_title() == SITE and ax.get_yscale() == "log"
    drawn = ax.patches[0].get_data()
    assert drawn.values.sum() == pytest.approx(statistics[SITE].count)
    assert (drawn.edges[0], drawn.edges[-1]) == (statistics[SITE].min, statistics[SITE].max)
    ax = statistics.plot(SITE, plan, bins=50)
    ends = {line.get_xdata()[0] for line in ax.lines}
    assert ends == {plan[SITE]["lo"], plan[SITE]["hi"]}
    ax.figure.savefig(tmp_path / "site.png")
    own = pyplot.subplots()[1]
    assert statistics.plot(SITE, ax=own) is own


def test_a_plan_is_drawn_in_one_call(pyplot, plan, tmp_path):
    ax = plan.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == list(plan)
    ax.figure.savefig(tmp_path / "plan.png")
    ax = plan.plot("layer_0.*_proj:input")
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert SITE in names and all(name.startswith("layer_0.") for name in names)
    labels = {text.get_text() for text in ax.get_legend().get_texts()}
    assert labels == {"seen", *(f"kept: {plan[name]['policy']}" for name in names)}
    row = names.index(SITE)
    marks = [(x, y) for line in ax.lines for x, y in line.get_xydata() if y == row]
    seen = max(map(abs, plan[SITE]["range_before"]))
    kept = max(-plan[SITE]["lo"], plan[SITE]["hi"])
    assert sorted(x for x, _ in marks) == pytest.approx(sorted([seen, kept]))
    zero = scute.Plan({"a": {"lo": 0, "hi": 0}, "b": {"lo": -1, "hi": 2}})
    zero.plot().figure.savefig(tmp_path / "zero.png")


def test_what_cannot_be_drawn(pyplot, statistics, plan):
    with pytest.raises(KeyError, match="nothing"):
        statistics.plot("nothing")
    with pytest.raises(scute.Error, match="include 'nothing'"):
        plan.plot("nothing")
    with pytest.raises(scute.Error, match="sites, found none"):
        scute.Plan().plot()
    with pytest.raises(scute.Error, match=f"{SITE}: expected at least 1 bin"):
        statistics.plot(SITE, bins=0)
    stats = scute.Statistics()
    stats.update("a", np.array([np.nan], "float32"))
    with pytest.raises(scute.Error, match="a: expected finite values"):
        stats.plot("a")
    assert not pyplot.get_fignums()


def test_without_matplotlib_it_says_what_to_install():
    code = """
import sys
sys.modules["matplotlib"] = None
import numpy, scute
stats = scute.Statistics()
stats.update("a", numpy.ones(3, "float32"))
for draw in (lambda: stats.plot("a"), scute.decide(stats).plot):
    try:
        draw()
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    install = "pip install 'scute[plot]', or apt-get install python3-matplotlib"
    assert done.stdout.count(install) == 2
