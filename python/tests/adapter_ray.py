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
        shards=3,
        out=tmp_path / "stats.safetensors",
        progress=lambda done, total, step: heard.append((done, total, step)),
        **OPTIONS,
    )
    assert (tmp_path / "stats.safetensors").read_bytes() == whole.read_bytes()
    assert found == scute.Statistics.load(whole)
    assert heard[-1] == (3, 3, "parts")


def test_files_may_go_by_content(whole):
    found = scute.ray.collect(TINY, DATA, shards=2, content=True, **OPTIONS)
    expected = scute.Statistics.load(whole)
    assert {site: found[site] for site in found} == {site: expected[site] for site in expected}


def test_a_worker_that_is_killed_is_replaced(whole, tmp_path, monkeypatch):
    mark = tmp_path / "killed"
    monkeypatch.setattr(scute.ray, "_collect_part", _dying(scute.ray._collect_part, str(mark)))
    found = scute.ray.collect(TINY, DATA, shards=3, **OPTIONS)
    assert mark.exists()
    assert found == scute.Statistics.load(whole)


def _dying(part_of, mark):
    """The first worker that begins a part kills itself while the part is measured."""

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


def test_the_guides_example(tmp_path):
    document = TOP / "docs/python.md"
    (example,) = [example for example in examples_of(document) if example.needs == "ray"]
    with workplace(tmp_path, TOP):
        assert run(example, str(document), {"scute": scute}) == example.output


def test_evaluations_are_those_of_one_process(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text((TEXT / "heldout.txt").read_text(encoding="utf-8")[:6000], encoding="utf-8")
    options = {"perplexity": text, "window": 64}
    expected = scute.evaluate(TINY, **options)
    found = scute.ray.evaluate(TINY, parts=tmp_path / "parts", shards=2, **options)
    assert found["perplexity"]["value"] == expected["perplexity"]["value"]
