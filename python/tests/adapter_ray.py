"""scute.ray on a cluster of this machine with two workers, one of which is killed."""

import os
import signal
import threading
import time

import pytest

ray = pytest.importorskip("ray")

import scute  # noqa: E402
import scute.ray  # noqa: E402
from conftest import TEXT, TINY, TOP  # noqa: E402
from documents import examples_of, run, workplace  # noqa: E402

pytestmark = pytest.mark.adapter
OPTIONS = {"samples": 12, "seqlen": 64}
DATA = TEXT / "calibration.jsonl"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The file of one process."""
    out = tmp_path_factory.mktemp("whole") / "stats.safetensors"
    scute.verbs.run("collect", TINY.as_posix(), data=[DATA], out=out, **OPTIONS)
    return out


def test_the_bytes_are_those_of_one_process(whole, tmp_path):
    heard = []
    found = scute.ray.collect(
        TINY,
        DATA,
        shards=5,
        fan_in=2,
        out=tmp_path / "stats.safetensors",
        progress=lambda done, total, step: heard.append((done, total, step)),
        **OPTIONS,
    )
    assert (tmp_path / "stats.safetensors").read_bytes() == whole.read_bytes()
    assert found == scute.Statistics.load(whole)
    # 5 parts are 2 sums and a part, these a sum and a part, these the last sum.
    assert [one for one in heard if one[0] == one[1]] == [(5, 5, "parts"), (4, 4, "sums")]


def test_parts_of_other_files_are_not_added(tmp_path):
    contents = []
    for samples in (4, 6):
        folder = tmp_path / str(samples)
        options = {"data": [DATA], "samples": samples, "seqlen": 64, "shard": "0/2"}
        scute.verbs.run("collect", TINY.as_posix(), out=folder, **options)
        contents.append((folder / "part-0-of-2.safetensors").read_bytes())
    with pytest.raises(scute.Error, match="the same model, data and options in every worker"):
        scute.ray._sum(scute.__version__, *contents)
    assert scute.ray._sum(scute.__version__, contents[0]) == (None, contents[0])


def test_files_may_go_by_content(whole):
    found = scute.ray.collect(TINY, DATA, shards=2, content=True, **OPTIONS)
    expected = scute.Statistics.load(whole)
    assert {site: found[site] for site in found} == {site: expected[site] for site in expected}


@pytest.mark.parametrize("task", ["_part", "_sum"])
def test_a_worker_that_is_killed_is_replaced(whole, tmp_path, monkeypatch, task):
    mark = tmp_path / "killed"
    monkeypatch.setattr(scute.ray, task, _dying(getattr(scute.ray, task), str(mark)))
    found = scute.ray.collect(TINY, DATA, shards=3, fan_in=2, **OPTIONS)
    assert mark.exists()
    assert found == scute.Statistics.load(whole)


def _dying(part_of, mark):
    """The first worker that begins a task kills itself while it works."""

    def part(*arguments):
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGKILL]).start()
            time.sleep(5)
        except FileExistsError:
            pass
        return part_of(*arguments)

    return part


def test_errors_are_scutes_and_come_at_once(tmp_path):
    with pytest.raises(scute.Error, match="nothing"):
        scute.ray.collect(TINY, tmp_path / "nothing.jsonl", shards=2, **OPTIONS)
    with pytest.raises(scute.Error, match="shards: expected at least 1, found 0"):
        scute.ray.collect(TINY, DATA, shards=0)
    with pytest.raises(scute.Error, match="fan_in: expected at least 2, found 1"):
        scute.ray.collect(TINY, DATA, shards=2, fan_in=1)


def test_what_is_done_is_not_cancelled(monkeypatch):
    cancelled = []
    monkeypatch.setattr(ray, "cancel", lambda task, **_: cancelled.append(task))
    with scute.ray._tasks(ray, {}, None):
        pass
    scute.ray.collect(TINY, DATA, shards=3, **OPTIONS)
    assert cancelled == []
    with scute.ray._tasks(ray, {}, None) as tasks:
        short, _ = tasks.start(lambda: (None, None))
        tasks.wait([short], "tasks")
        long, _ = tasks.start(lambda: (None, time.sleep(2)))
    assert cancelled == [long]


def test_the_guides_example(tmp_path):
    document = TOP / "docs/python.md"
    (example,) = [example for example in examples_of(document) if example.needs == "ray"]
    with workplace(tmp_path, TOP):
        assert run(example, str(document), {"scute": scute}) == example.output


@pytest.fixture
def text(tmp_path):
    """A short one to score on."""
    out = tmp_path / "text.txt"
    out.write_text((TEXT / "heldout.txt").read_text(encoding="utf-8")[:6000], encoding="utf-8")
    return out


@pytest.mark.parametrize("kept", [True, False])
def test_evaluations_are_those_of_one_process(text, tmp_path, kept):
    options = {"perplexity": text, "window": 64}
    expected = scute.evaluate(TINY, **options)
    where = {"parts": tmp_path / "parts"} if kept else {"content": True}
    log = tmp_path / "log.jsonl"
    found = scute.ray.evaluate(TINY, shards=3, **where, log=log, **options)
    assert found["perplexity"]["value"] == expected["perplexity"]["value"]
    assert (tmp_path / "parts").exists() == kept and len(scute.Log(log)) == 1


@pytest.mark.parametrize("content", [True, False])
def test_a_sweep_runs_each_combination_once(text, tmp_path, content):
    options = {"models": [TINY], "data": [DATA], "samples": 4, "seqlen": 64, "window": 64}
    options |= {"policies": ["minmax", "mse", "entropy"], "tasks": ["perplexity"]}
    options |= {"eval_data": [text]}
    heard = []
    found = scute.ray.sweep(
        shards=2,
        log=tmp_path / "ray.jsonl",
        content=content,
        progress=lambda *now: heard.append(now),
        **options,
    )
    assert heard[-1] == (2, 2, "parts")
    assert (found["run"], found["skipped"]) == (0, 3)  # the parts have run them all
    alone = scute.verbs.run("sweep", log=tmp_path / "alone.jsonl", **options)
    assert (alone["run"], alone["skipped"]) == (3, 0)
    assert _ranked(found) == _ranked(alone)
    assert len(scute.Log(tmp_path / "ray.jsonl")) == 3
    again = scute.ray.sweep(shards=2, log=tmp_path / "ray.jsonl", **options)
    assert (again["run"], again["skipped"]) == (0, 3)


def _ranked(answer):
    """(setting, means) in the order of the table."""
    (table,) = answer["rankings"]
    rows = table["experiments"]
    return [(row["setting"], [m["mean"] for m in row["results"]["metrics"]]) for row in rows]
