"""Loaded models: language models, Cobra, the regressor."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import TEXT, TINY, TOP

import scute

GOLDEN = TOP / "tests/golden"
COBRA = GOLDEN / "cobra/model"
PICTURES = GOLDEN / "cobra/pictures"
PROMPT = "The sea was calm"


@pytest.fixture(scope="module", params=["tiny-mamba1", "tiny-mamba2"])
def model(request):
    return scute.load(TOP / "examples" / request.param)


@pytest.fixture(scope="module")
def quantized(low_bit):
    return scute.load(low_bit)


def test_what_a_model_says_of_itself(model, quantized):
    assert model.kind == "language" and model.name.startswith("tiny-mamba")
    assert model.config["vocab_size"] <= model.vocabulary
    assert "layer_0.in_proj:input" in model.sites and not model.low_bit
    assert quantized.low_bit and isinstance(model, scute.Model)
    assert repr(model).startswith("LanguageModel(")


def test_logits_of_one_and_of_several_sequences(model):
    ids = model.encode(PROMPT)
    assert model.decode(ids) == PROMPT
    one = model.logits(ids)
    assert one.shape == (len(ids), model.vocabulary) and one.dtype == np.float32
    assert np.array_equal(one, model.logits(PROMPT))
    two = model.logits(np.array([ids, ids[::-1]], "int32"))
    assert np.array_equal(two[0], one) and two.shape[0] == 2
    assert np.array_equal(model.logits(np.array(ids, "uint16")), one)


def test_a_state_goes_on_where_it_stopped(model, quantized):
    for each in (model, quantized):
        ids = each.encode(PROMPT * 3)
        whole = each.logits(ids)
        state = each.state()
        first = each.logits(ids[:4], state=state)
        kept, arrays = state.copy(), state.arrays()
        rest = each.logits(ids[4:], state=state)
        if not each.low_bit:  # an 8-bit state is rounded between the pieces
            assert np.allclose(np.concatenate([first, rest]), whole, atol=2e-3)
        assert state.position == len(ids) and state.nbytes > 0
        assert np.array_equal(each.logits(ids[4:], state=kept), rest)
        again = each.state(arrays)
        again.position = 4
        assert np.array_equal(each.logits(ids[4:], state=again), rest)


def test_states_of_others_and_of_other_sizes(model, quantized):
    state = model.state()
    with pytest.raises(scute.Error, match="a state of this model"):
        quantized.logits([1], state=state)
    with pytest.raises(scute.Error, match="one sequence"):
        model.logits([[1]], state=state)
    arrays = state.arrays()
    name = next(iter(arrays))
    for wrong in ({}, {**arrays, name: arrays[name][:1]}, {**arrays, "more": arrays[name]}):
        with pytest.raises(scute.Error):
            state.set_arrays(wrong)
    with pytest.raises(scute.Error):
        state.set_arrays({**arrays, name: arrays[name].astype("float64")})


def test_perplexity_is_the_programs(model):
    text = (TEXT / "heldout.txt").read_text()
    heard = []
    found = model.perplexity(text, 256, max_windows=3, progress=lambda *said: heard.append(said))
    said = scute.evaluate(model, TEXT / "heldout.txt", window=256, max_windows=3)["perplexity"]
    assert found["perplexity"] == said["value"] and found["mean_nll"] == said["mean_nll"]
    assert found["windows"]["nll"].shape == (3,) and heard[-1] == (3, 3, "perplexity")
    assert model.perplexity(model.encode(text), 256, max_windows=3)["mean_nll"] == found["mean_nll"]
    with pytest.raises(scute.Error):
        model.perplexity("short", 256)
    with pytest.raises(scute.Error):
        model.perplexity(text, 1)
    with pytest.raises(scute.Error):
        model.perplexity(text, 256, stride=0)


def test_generation_is_the_programs_and_may_be_left(model):
    words = ["generate", model.path, "--prompt", PROMPT, "--max-tokens", "30", "--seed", "7"]
    run = subprocess.run(
        [sys.executable, "-m", "scute", *words], check=True, capture_output=True, text=True
    )
    text = model.generate(PROMPT, 30, seed=7)
    pieces = list(text)
    assert PROMPT + "".join(pieces) == run.stdout.rstrip("\n") or "".join(pieces) == run.stdout[:-1]
    assert text.stopped in ("max-tokens", "end-of-text") and len(text.ids) <= 30
    assert len(pieces) > 1 and list(text) == []
    left = model.generate(PROMPT, 1000)
    next(left)
    left.close()
    assert list(left) == []
    del left
    never_begun = model.generate(PROMPT)
    del never_begun
    gc.collect()
    with pytest.raises(scute.Error, match="temperature"):
        model.generate(PROMPT, temperature=-1)
    with pytest.raises(scute.Error, match="at least one token"):
        model.generate("")
    with pytest.raises(scute.Error):
        next(model.generate([10**7]))


def test_dump_is_the_programs(tmp_path, model):
    np.save(tmp_path / "ids.npy", np.arange(12, dtype="int32").reshape(2, 6))
    sites = "layer_0.*"
    words = ["dump", model.path, "--ids", tmp_path / "ids.npy", "--sites", sites]
    out = tmp_path / "dump.safetensors"
    subprocess.run(
        [sys.executable, "-m", "scute", *map(str, words), "--out", str(out)],
        check=True,
        capture_output=True,
    )
    found = model.dump(np.arange(12).reshape(2, 6), sites)
    raw = out.read_bytes()
    for name, array in found.items():
        assert array.tobytes() in raw, name
    assert found["ids"].shape == (2, 6) and "site/layer_0.in_proj:input" in found
    with pytest.raises(scute.Error, match="sites"):
        model.dump([1], "layer_99*")


@pytest.mark.parametrize("ids", [[], [[]], [1.5], ["a"], [[[1]]], [2**40], [-1], [10**6], 3, None])
def test_ids_that_are_none(model, ids):
    with pytest.raises((scute.Error, TypeError)):
        model.logits(ids)


def test_several_threads_at_once(model):
    ids = model.encode(PROMPT)
    expected = model.logits(ids)
    found: list = []
    threads = [
        threading.Thread(target=lambda: found.append(model.logits(ids))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(np.array_equal(one, expected) for one in found)


def test_cobra_sees_paths_and_arrays():
    cobra = scute.load(COBRA)
    picture = PICTURES / "1_wide.png"
    logits = cobra.logits([1, 2, 3], picture)
    rows = logits.shape[1] - 3
    assert logits.shape == (1, rows + 3, cobra.vocabulary) and rows > 0
    two = cobra.logits([[1, 2, 3], [4, 5, 6]], [picture, str(picture)])
    assert np.array_equal(two[0], logits[0]) and not np.array_equal(two[1], two[0])
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), "uint8")
    assert cobra.logits(None, pixels).shape == (1, rows, cobra.vocabulary)
    dumped = cobra.dump(pixels, [1], "projector")
    assert "site/projector" in dumped
    answer = list(cobra.generate("What is it?", picture, 4))
    assert answer == list(cobra.generate("What is it?", str(picture), 4))
    for wrong in (pixels.astype("float32"), pixels[..., :2], np.zeros((0, 0, 3), "uint8"), 3):
        with pytest.raises(TypeError, match="images|iterable"):
            cobra.logits([1], wrong)
    with pytest.raises(scute.Error):
        cobra.logits([1], "nowhere.png")
    with pytest.raises(scute.Error, match="at least one picture"):
        cobra.logits([1], [])
    with pytest.raises(scute.Error, match="2 rows, one a picture"):
        cobra.logits([[1], [2], [3]], [picture, picture])


def test_the_regressor_says_where(regressor_file):
    regressor = scute.load(regressor_file)
    config = regressor.config
    frames = np.random.default_rng(0).normal(size=(config["window"] + 4, config["features"]))
    everywhere = regressor.predict(frames)
    assert everywhere.shape == (5, 2) and everywhere.dtype == np.float32
    assert np.array_equal(regressor.predict(frames, [config["window"] + 1]), everywhere[1:2])
    assert any(site.endswith(":input") for site in regressor.sites)
    with pytest.raises(scute.Error):
        regressor.predict(frames, [1])
    with pytest.raises(scute.Error):
        regressor.predict(frames[:, :1])
    with pytest.raises(scute.Error, match="an array"):
        regressor.predict(frames[0])


@pytest.fixture(scope="module")
def regressor_file() -> Path:
    return GOLDEN / "regressor/slim.pt"


@pytest.mark.parametrize("path", ["nowhere", TOP / "docs", TOP / "README.md", TEXT])
def test_what_is_no_model(path):
    with pytest.raises(scute.Error, match="expected"):
        scute.load(path)


def test_how_it_runs():
    wrong = {"compute": "f16", "backend": "gpu", "threads": -1, "tokenizer": "none.json"}
    for name, value in wrong.items():
        with pytest.raises(scute.Error, match="none.json" if name == "tokenizer" else name):
            scute.load(TINY, **{name: value})
