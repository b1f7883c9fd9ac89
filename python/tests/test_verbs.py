"""collect, quantize, evaluate, trace, edit_scales: the program's verbs, and how they end early."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest
from conftest import TEXT, TINY, TOP

import scute
from scute.verbs import flags, run

GOLDEN = TOP / "tests/golden"
COBRA = GOLDEN / "cobra/model"
PICTURES = GOLDEN / "cobra/pictures"


def test_keywords_are_flags():
    given = {"seqlen": 64, "per_channel": True, "force": False, "out": None}
    given["data"] = ["a", Path("b")]
    assert flags(given) == ["--seqlen=64", "--per-channel", "--data", "a", "b"]


def test_collecting_tells_how_far_it_is(tmp_path):
    heard = []
    out = tmp_path / "s.pt"
    stats = scute.collect(
        scute.load(TINY),
        [TEXT / "calibration.jsonl"],
        samples=3,
        seqlen=32,
        out=out,
        progress=lambda done, total, step: heard.append((done, total, step)),
    )
    assert heard[-1] == (3, 3, "collect") and stats.meta["samples"] == 3
    assert scute.Statistics.load(out) == stats


def test_activations_that_are_kept_are_numpys_to_load(tmp_path):
    ids = np.arange(32, dtype="int32")
    np.save(tmp_path / "ids.npy", ids[None])
    out = {"out": tmp_path / "s.safetensors", "save_activations": 100}
    scute.collect(TINY, tmp_path / "ids.npy", samples=1, seqlen=32, **out)
    (kept,) = tmp_path.glob("activations_tiny-mamba1_pa1_*.npz")
    site = "layer_0.x_proj:input"
    with np.load(kept) as arrays:
        assert site in arrays and arrays[site].dtype == np.float32
        shown = scute.load(TINY).dump(ids, site)[f"site/{site}"]
        assert np.array_equal(arrays[site], shown.ravel()[:100])


def test_what_is_written_beside_the_statistics_stays(tmp_path):
    texts = [f"Line {i} of words that goes on and on." for i in range(4)]
    work = {"texts": texts, "samples": 4, "seqlen": 8}
    parts = [scute.collect(TINY, shard=f"{i}/2", out=tmp_path / "parts", **work) for i in range(2)]
    assert len(list((tmp_path / "parts").glob("part-*-of-2.safetensors"))) == 2
    with pytest.raises(scute.Error, match="added up by their folder alone, found part 0/2"):
        parts[0] + parts[1]
    run("merge", str(tmp_path / "parts"), out=tmp_path / "whole.safetensors")
    whole = scute.Statistics.load(tmp_path / "whole.safetensors")
    assert dict(whole) == dict(scute.collect(TINY, **work))
    for option in ({"shard": "0/2"}, {"save_activations": 9}, {"checkpoint_every": "10min"}):
        with pytest.raises(scute.Error, match=f"{next(iter(option))}: expected out="):
            scute.collect(TINY, **work, **option)

    class Enough(Exception):
        pass

    def stop(done, total, step):
        if done >= 2:
            raise Enough

    file = {"out": tmp_path / "s.safetensors", "checkpoint_every": 1, **work}
    with pytest.raises(Enough):
        scute.collect(TINY, progress=stop, **file)
    before = sorted(path.name for path in tmp_path.iterdir())
    again = scute.collect(TINY, **file)
    assert again.meta["samples"] == 4 and len(before) >= 2, before


def test_collecting_texts_at_hand():
    texts = ["A line of words that goes on.", "Another one, shorter."]
    stats = scute.collect(TINY, texts=texts, samples=2, seqlen=16)
    assert stats.meta["documents"] == 2
    with pytest.raises(TypeError, match="several documents"):
        scute.collect(TINY, texts="one")


def test_a_low_bit_model_from_statistics_plan_or_files(tmp_path, statistics):
    plan = scute.decide(statistics)
    statistics.save(tmp_path / "s.safetensors")
    plan.save(tmp_path / "p.json")
    ways = {
        "statistics": {"decided": statistics, "plan": plan},
        "files": {"stats": tmp_path / "s.safetensors", "plan": tmp_path / "p.json"},
        "plan": {"decided": plan, "stats": statistics},
    }
    weights = set()
    for name, how in ways.items():
        answer = scute.quantize(TINY, out=tmp_path / name, **how)
        assert answer["layers"] == ["W8A8"] * 6
        weights.add((tmp_path / name / "model.safetensors").read_bytes())
    assert len(weights) == 1
    answer = scute.quantize(TINY, out=tmp_path / "4", format="w4a16")
    assert answer["layers"][0] == "W4A16"
    with pytest.raises(scute.Error, match='found "int8"'):
        scute.quantize(TINY, out=tmp_path / "8", format="int8")


def test_a_plan_of_another_model_writes_nothing(tmp_path, statistics):
    other = TOP / "examples/tiny-mamba2"
    with pytest.raises(scute.Error, match="tiny-mamba2|sites|model"):
        scute.quantize(other, scute.decide(statistics), out=tmp_path / "q")
    with pytest.raises(scute.Error):
        scute.quantize(TINY, scute.Plan({"nothing:input": {"lo": 0, "hi": 1}}), out=tmp_path / "q")
    assert os.listdir(tmp_path) == []


def test_trace_lists_every_scale_and_scales_are_edited(tmp_path, low_bit):
    scales = scute.trace(low_bit)
    sites = {scale["site"] for scale in scales}
    assert "layer_0.x_proj:input" in sites and all("tensor" in scale for scale in scales)
    folder = shutil.copytree(low_bit, tmp_path / "q")
    site = "layer_0.x_proj:input"
    said = scute.edit_scales(folder, f"{site}*=2")
    assert said["sites"][0]["site"] == site

    def scale(path):
        return next(s["largest"] for s in scute.trace(path) if s["site"] == site)

    assert scale(folder) == pytest.approx(2 * scale(low_bit))
    scute.edit_scales(folder, undo=1)
    assert scale(folder) == scale(low_bit)
    with pytest.raises(scute.Error, match="nowhere"):
        scute.edit_scales(folder, "nowhere=1")


def test_evaluation_against_another(low_bit):
    said = scute.evaluate(
        low_bit, TEXT / "heldout.txt", window=128, max_windows=2, against=scute.load(TINY)
    )
    assert said["perplexity"]["windows"] == 2 and "against" in str(said)
    text = scute.evaluate(TINY, text="word " * 600, window=128, max_windows=2)
    assert text["perplexity"]["windows"] == 2


def test_cobra_and_the_regressor_by_the_same_calls(tmp_path):
    stats = scute.collect(COBRA, PICTURES, batches=1, batch_size=2)
    assert {"projector", "llm"} <= set(stats)
    plan = scute.decide(stats)
    assert plan["projector"]["policy"].startswith("tail")
    features, model = GOLDEN / "regressor_features", GOLDEN / "regressor/slim.pt"
    seen = scute.collect(model, features)
    plan = scute.decide(seen)
    # As the program decides a regressor: the range seen and a quarter more, values with 16 bits.
    site = plan["proj:input"]
    assert site["policy"] == "minmax" and site["headroom"] == 1.25
    assert plan["head:output"]["bits"] == 16
    answer = scute.quantize(model, plan, stats=seen, out=tmp_path / "q.pt")
    assert answer and scute.load(tmp_path / "q.pt").low_bit
    assert scute.evaluate(tmp_path / "q.pt", features)


def test_errors_are_the_programs_words():
    for call, words in (
        (lambda: scute.collect(TINY, "x.txt", nonsense=3), "unknown flag --nonsense"),
        (lambda: scute.collect(TINY, "nowhere.jsonl"), "nowhere.jsonl: expected"),
        (lambda: scute.collect("nowhere", "x"), "nowhere: expected a model folder"),
        (lambda: scute.evaluate(TINY), "expected --perplexity FILE or --last-word FILE"),
        (lambda: scute.trace(TINY), "tiny-mamba1"),
        (lambda: run("nonsense"), 'unknown verb "nonsense"'),
    ):
        with pytest.raises(scute.Error, match=words):
            call()


def test_a_callback_that_raises_stops_the_work(tmp_path):
    class Enough(Exception):
        pass

    def stop(done, total, step):
        raise Enough(step)

    text = TEXT / "heldout.txt"
    with pytest.raises(Enough, match="collect"):
        scute.collect(
            TINY, TEXT / "calibration.jsonl", samples=400, out=tmp_path / "s.pt", progress=stop
        )
    with pytest.raises(Enough, match="perplexity"):
        scute.evaluate(TINY, text, window=64, progress=stop)
    with pytest.raises(Enough, match="perplexity"):
        scute.load(TINY).perplexity(text.read_text(), 64, progress=stop)
    assert os.listdir(tmp_path) == []
    # And the next one works.
    assert scute.evaluate(TINY, text, window=64, max_windows=1)["perplexity"]["windows"] == 1


def test_a_bar_of_tqdm_where_it_is_there(monkeypatch):
    bars = []

    class Bar:
        def __init__(self, total, desc):
            self.total, self.desc, self.n, self.closed = total, desc, 0, False
            bars.append(self)

        def update(self, more):
            self.n += more

        def close(self):
            self.closed = True

    work = {"texts": ["A line of words that goes on and on."], "samples": 2, "seqlen": 8}
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Bar))
    scute.collect(TINY, progress=True, **work)
    assert [bar.desc for bar in bars] == ["collect"]
    assert bars[0].n == bars[0].total > 0 and bars[0].closed
    # Without the package no bar, and no error.
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert len(scute.collect(TINY, progress=True, **work)) > 0 and len(bars) == 1


def test_quantizing_tells_how_far_it_is(tmp_path, statistics):
    heard = []
    scute.quantize(TINY, statistics, out=tmp_path / "q", progress=lambda *said: heard.append(said))
    done, total, step = heard[-1]
    assert step == "quantize" and done == total == 6 * 4

    def stop(*_):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        scute.quantize(TINY, statistics, out=tmp_path / "stopped", threads=1, progress=stop)
    # Either it was stopped, or it had done all when it heard: never half.
    assert not (tmp_path / "stopped").exists() or scute.load(tmp_path / "stopped").low_bit


def test_quantizing_stops_and_leaves_nothing(tmp_path, statistics):
    def stop(*_):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        scute.quantize(
            TINY,
            statistics,
            out=tmp_path / "q",
            gptq=True,
            data=[TEXT / "calibration.jsonl"],
            progress=stop,
        )
    assert os.listdir(tmp_path) == []


WAITING = """
    import sys, scute
    model = scute.load({tiny!r}, threads=1)
    text = open({text!r}).read()
    print("ready", flush=True)
    try:
        {call}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(7)
"""


@pytest.mark.parametrize(
    "call",
    [
        "model.encode(text * 250)",
        "model.perplexity(text * 50, 64)",
        "''.join(model.generate('The', 10**9, ignore_eos=True))",
        f"scute.collect({str(TINY)!r}, texts=[text] * 20, samples=10**5, windows_per_document=999)",
        f"scute.evaluate({str(TINY)!r}, text=text * 50, window=64)",
        f"scute.quantize({str(TINY)!r}, out=OUT, gptq=True, format='w4a16',"
        f" data={str(TEXT / 'calibration.jsonl')!r}, samples=10**5)",
    ],
)
def test_ctrl_c_raises_within_a_second(call, tmp_path):
    text = str(TEXT / "heldout.txt")
    call = call.replace("OUT", repr(str(tmp_path / "low")))
    script = textwrap.dedent(WAITING).format(tiny=str(TINY), text=text, call=call)
    words = [sys.executable, "-c", script]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        time.sleep(1.5)
        before = processor_seconds(child.pid)
        child.send_signal(signal.SIGINT)
        out = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert (out, child.returncode) == ("interrupted\n", 7)
    assert os.listdir(tmp_path) == []
    # Of the processors, which others may have too: a second of each of two. The address sanitizer makes all of it
    # five times as long.
    assert used.ru_utime + used.ru_stime - before < (10 if "ASAN_OPTIONS" in os.environ else 2)


def processor_seconds(process: int) -> float:
    """What it has used so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


LONG = {
    "a model": lambda: scute.load(TINY).perplexity(
        (TEXT / "heldout.txt").read_text(), 256, max_windows=40
    ),
    "a verb": lambda: scute.collect(TINY, TEXT / "calibration.jsonl", samples=40, seqlen=256),
    "an update": lambda: scute.Histogram().update(np.broadcast_to(np.float32(1), (2**8, 2**20))),
}


@pytest.mark.parametrize("work", LONG.values(), ids=LONG)
def test_others_run_meanwhile(work):
    """The GIL is released: a thread counts while another works."""
    ticks = 0
    over = threading.Event()

    def count():
        nonlocal ticks
        while not over.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    began = time.monotonic()
    try:
        work()
    finally:
        over.set()
        thread.join()
    # At most 50 ms at a time would be 20 a second.
    assert ticks > 30 * (time.monotonic() - began)


def test_verbs_of_several_threads_wait_for_each_other():
    found: list = []

    def one():
        found.append(scute.evaluate(TINY, TEXT / "heldout.txt", window=64, max_windows=2))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({result["perplexity"]["value"] for result in found}) == 1 and len(found) == 3


def test_the_command_line_is_the_programs(tmp_path):
    def scute_main(*words):
        return subprocess.run(
            [sys.executable, "-m", "scute", *words], capture_output=True, text=True, cwd=tmp_path
        )

    assert scute_main("--version").stdout.startswith("scute ")
    assert scute_main("nonsense").returncode == 2
    assert scute_main("sites", "nowhere").returncode == 1
    # In this process too, again and again, and Ctrl-C stays Python's.
    before = signal.getsignal(signal.SIGINT)
    code = "import scute.__main__ as m, signal; "
    code += "print(m.main(['nonsense']), m.main(['--version'])); "
    code += "signal.raise_signal(signal.SIGINT)"
    words = [sys.executable, "-c", code]
    run_twice = subprocess.run(words, capture_output=True, text=True)
    assert "2 0" in run_twice.stdout.splitlines()[-1] and "KeyboardInterrupt" in run_twice.stderr
    assert signal.getsignal(signal.SIGINT) is before
