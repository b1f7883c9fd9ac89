"""lm-evaluation-harness itself: LAMBADA's protocol, with the hits of scute eval."""

import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("lm_eval")
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.api.registry import get_model  # noqa: E402

import scute  # noqa: E402
import scute.adapters.lm_eval  # noqa: E402, F401

pytestmark = pytest.mark.adapter
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TINY = REPOSITORY / "examples" / "tiny-mamba1"
PASSAGES = REPOSITORY / "examples" / "text" / "last_word.jsonl"
MOST = 120


@pytest.fixture(scope="module")
def lm():
    return get_model("scute").create_from_arg_string(f"pretrained={TINY},max_length=2048")


def instances(kind, *arguments):
    return [Instance(kind, {}, args, i) for i, args in enumerate(arguments)]


def texts():
    lines = PASSAGES.read_text(encoding="utf-8").splitlines()[:MOST]
    return [json.loads(line)["text"] for line in lines]


def test_last_words_are_hit_as_by_scute_eval(lm, tmp_path):
    # doc_to_text and doc_to_target of lambada_openai.
    pairs = [(t.rpartition(" ")[0], " " + t.rpartition(" ")[2]) for t in texts()]
    found = lm.loglikelihood(instances("loglikelihood", *pairs), disable_tqdm=True)
    items = tmp_path / "items.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "scute", "eval", str(TINY), "--last-word", str(PASSAGES)]
        + ["--max-items", str(MOST), "--json", "--items-out", str(items)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    scores = [json.loads(line) for line in items.read_text().splitlines()]
    assert [hit for _, hit in found] == [bool(score["hit"]) for score in scores]
    assert sum(hit for _, hit in found) > 0
    mine = np.array([score for score, _ in found])
    theirs = np.array([-score["nll"] for score in scores])
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)
    said = json.loads(done.stdout)["last_word"]
    assert said["hits"] == sum(hit for _, hit in found)


def test_the_harness_itself_runs_the_task(lm):
    from lm_eval.evaluator import evaluate
    from datasets import Dataset, DatasetDict
    from lm_eval.api.task import ConfigurableTask

    def passages(**_):
        return DatasetDict({"test": Dataset.from_list([{"text": t} for t in texts()[:30]])})

    class Passages(ConfigurableTask):
        """LAMBADA's protocol, data from the repository."""

        VERSION = 1.0

        def __init__(self):
            super().__init__(
                config={
                    "task": "passages",
                    "output_type": "loglikelihood",
                    "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
                    "doc_to_target": "{{' '+text.split(' ')[-1]}}",
                    "test_split": "test",
                    "custom_dataset": passages,
                    "metric_list": [{"metric": "acc"}, {"metric": "perplexity"}],
                }
            )

    results = evaluate(lm, {"passages": Passages()}, bootstrap_iters=0)["results"]["passages"]
    words = [t.rpartition(" ") for t in texts()[:30]]
    found = lm.loglikelihood(
        instances("loglikelihood", *((a, " " + c) for a, _, c in words)), disable_tqdm=True
    )
    assert results["acc,none"] == pytest.approx(np.mean([hit for _, hit in found]))
    assert results["perplexity,none"] == pytest.approx(math.exp(-np.mean([s for s, _ in found])))


def test_whole_texts_are_scored_window_by_window(lm):
    text = texts()[0]
    ids = lm.tok_encode(text)
    logits = lm.model.logits(np.array([lm.prefix_token_id, *ids[:-1]])).astype(np.float64)
    table = logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
    table -= logits.max(-1, keepdims=True)
    whole = float(table[np.arange(len(ids)), ids].sum())
    found = lm.loglikelihood_rolling(instances("loglikelihood_rolling", (text,)))
    assert found == [pytest.approx(whole, rel=1e-6)]
    small = get_model("scute")(str(TINY), max_length=8)
    (cut,) = small.loglikelihood_rolling(instances("loglikelihood_rolling", (text,)))
    assert cut < whole and len(ids) > 16


def test_contexts_that_are_empty_or_too_long(lm):
    text = " ".join(texts()[:40])
    pairs = instances("loglikelihood", ("", "The"), (text * 3, " the"))
    (first, _), (second, _) = lm.loglikelihood(pairs, disable_tqdm=True)
    assert first < 0 and second < 0
    ids = lm.tok_encode(text * 3)
    assert len(ids) > lm.max_length


def test_generation_stops_where_it_is_told(lm):
    prompt = texts()[0][:200]
    whole, stopped, short = lm.generate_until(
        instances(
            "generate_until",
            (prompt, {"until": [], "max_gen_toks": 24}),
            (prompt, {"until": ["e", "zzz"], "max_gen_toks": 24}),
            (prompt, {"until": "e", "max_gen_toks": 1}),
        )
    )
    assert whole == "".join(lm.model.generate(prompt, 24, temperature=0))
    assert stopped == whole.split("e")[0] and len(stopped) < len(whole)
    assert whole.startswith(short)


def test_low_bit_folders_are_models_too(tmp_path):
    out = tmp_path / "low"
    done = subprocess.run(
        [sys.executable, "-m", "scute", "quantize", str(TINY), "--w-bits", "4", "--a-bits", "16"]
        + ["--out", str(out), "--quiet"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    low = get_model("scute")(str(out))
    pairs = instances("loglikelihood", ("The quick", " brown"))
    assert low.loglikelihood(pairs, disable_tqdm=True)[0][0] < 0


def test_what_is_no_language_model_is_named():
    with pytest.raises(scute.Error, match="expected a language model, found cobra"):
        get_model("scute")(str(REPOSITORY / "tests" / "golden" / "cobra" / "model"))
