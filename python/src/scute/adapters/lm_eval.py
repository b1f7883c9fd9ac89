"""scute's language models for lm-evaluation-harness: float and low-bit, as `--model scute`.

lm_eval.simple_evaluate(model=ScuteLM("examples/tiny-mamba1"), tasks=[…])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

import scute


_KNOWN = (
    "pretrained",
    "compute",
    "backend",
    "threads",
    "max_length",
    "max_gen_toks",
    "batch_size",
)


@register_model("scute")
class ScuteLM(TemplateLM):
    """pretrained: a model folder. compute, backend, threads: as scute.load's.

    max_length: tokens the model sees at a time; contexts keep their last ones. max_gen_toks: of
    generate_until, where the task says nothing.
    """

    def __init__(
        self,
        pretrained: str,
        compute: str = "f32",
        backend: str = "integer",
        threads: int | str = 0,
        max_length: int | str = 2048,
        max_gen_toks: int | str = 256,
        batch_size: int | str = 1,
        **others: Any,
    ) -> None:
        super().__init__()
        # What the harness always says; anything else is a word that nobody would obey.
        unknown = sorted(set(others) - {"device", "max_batch_size"})
        if unknown:
            raise scute.Error(f"model_args: expected {', '.join(_KNOWN)}, found {unknown[0]}")
        self.model = scute.load(pretrained, compute=compute, backend=backend, threads=int(threads))
        if self.model.kind != "language":
            raise scute.Error(f"{pretrained}: expected a language model, found {self.model.kind}")
        self.max_length = int(max_length)
        self.max_gen_toks = int(max_gen_toks)
        self.batch_size = batch_size

    @property
    def eot_token_id(self) -> int:
        """eos_token_id of config.json, the first of several; else 0, as GPT-NeoX has it."""
        eos = self.model.config.get("eos_token_id", 0)
        return int((eos[0] if isinstance(eos, list) else eos) or 0)

    @property
    def tokenizer_name(self) -> str:
        """Part of the key under which the harness caches requests."""
        return self.model.name

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Ids of a text, with what the tokenizer puts before one unless told not to."""
        return self.model.encode(string, beginning=add_special_tokens is not False)

    def _log_probabilities(self, ids: Sequence[int], last: int) -> np.ndarray:
        """Of the last `last` tokens' predictions (last, V), float64."""
        logits = self.model.logits(np.asarray(ids, np.int64))[-last:].astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **_: Any,
    ) -> list[tuple[float, bool]]:
        from tqdm import tqdm

        out = []
        for key, context, continuation in tqdm(requests, disable=disable_tqdm, desc="scute"):
            ids = (context + continuation)[-(self.max_length + 1) :]
            table = self._log_probabilities(ids[:-1], len(continuation))
            picked = table[np.arange(len(continuation)), continuation]
            greedy = bool((table.argmax(-1) == np.asarray(continuation)).all())
            out.append((float(picked.sum()), greedy))
            if key is not None:
                self.cache_hook.add_partial("loglikelihood", key, out[-1])
        return out

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-probability of whole texts, cut into windows of max_length without overlap."""
        out = []
        for (text,) in (request.args for request in requests):
            windows = map(
                make_disjoint_window,
                get_rolling_token_windows(
                    self.tok_encode(text), self.prefix_token_id, self.max_length, 1
                ),
            )
            parts = self._loglikelihood_tokens([(None, *w) for w in windows], disable_tqdm=True)
            out.append(sum(score for score, _ in parts))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), out[-1])
        return out

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Greedy, or sampled where do_sample says so, up to the first of `until`."""
        return [self._generate(*request.args) for request in requests]

    def _generate(self, context: str, options: dict[str, Any]) -> str:
        until = options.get("until") or []
        stops = [until] if isinstance(until, str) else [stop for stop in until if stop]
        most = int(options.get("max_gen_toks", self.max_gen_toks))
        ids = self.tok_encode(context)[-max(self.max_length - most, 1) :]
        sampled = bool(options.get("do_sample", False))
        stream = self.model.generate(
            np.asarray(ids, np.int64),
            most,
            temperature=float(options.get("temperature", 1.0)) if sampled else 0.0,
            top_k=int(options.get("top_k") or 0),
            top_p=float(options.get("top_p") or 1.0),
        )
        text = ""
        for piece in stream:
            text += piece
            found = [text.index(stop) for stop in stops if stop in text]
            if found:
                text = text[: min(found)]
                break
        self.cache_hook.add_partial("generate_until", (context, options), text)
        return text
