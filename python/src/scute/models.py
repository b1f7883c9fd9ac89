"""Models that scute runs: language models, Cobra, the regressor; float and low-bit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scute import _core
from scute.progress import Callback, listening

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

State = _core.State
Generation = _core.Generation


def _globs(sites: str | Sequence[str] | None) -> list[str]:
    if sites is None:
        return []
    return [sites] if isinstance(sites, str) else list(sites)


class Model:
    """What load() gives. kind: "language", "cobra" or "regressor"; path: as it was given."""

    kind: str

    def __init__(self, core: Any, path: str) -> None:
        self._core = core
        self.path = path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(os.path.normpath(self.path))

    @property
    def config(self) -> dict[str, Any]:
        """What the model's files say: config.json, of a regressor its shape."""
        return self._core.config

    @property
    def low_bit(self) -> bool:
        """Whether it was quantized."""
        return self._core.low_bit

    @property
    def remarks(self) -> list[str]:
        """What is unusual about its files, a sentence each."""
        return self._core.remarks

    @property
    def sites(self) -> list[str]:
        """The places that can be observed, in the order tensors reach them."""
        return self._core.sites()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"


class LanguageModel(Model):
    """A Mamba-family language model. Safe to use from several threads."""

    kind = "language"

    @property
    def vocabulary(self) -> int:
        """V, columns of the logits."""
        return self._core.vocabulary

    def encode(self, text: str, *, beginning: bool = False) -> list[int]:
        """Token ids of a text; `beginning`: of one that goes on (no token that would end it)."""
        return self._core.encode(text, beginning).tolist()

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; bytes that are no UTF-8 as U+FFFD."""
        return self._core.decode(list(ids))

    def _ids(self, given: str | ArrayLike, *, beginning: bool = False) -> ArrayLike:
        # An array: a list of a long text's ids would take a hundred bytes each.
        return self._core.encode(given, beginning) if isinstance(given, str) else given

    def logits(self, ids: str | ArrayLike, *, state: State | None = None) -> NDArray[Any]:
        """Next-token logits, float32: ids (L) → (L, V), (B, L) → (B, L, V).

        ids: integers below V, or a text. state: goes on from there, (L) only, and has then seen
        these tokens too. Error on an id outside the vocabulary.
        """
        if state is None:
            return self._core.logits(self._ids(ids))
        return self._core.go_on(self._ids(ids, beginning=True), state)

    def state(self, arrays: dict[str, Any] | None = None, *, sequence: int = 0) -> State:
        """A state that has seen nothing, or what State.arrays() gave.

        sequence: the number of the sequence that stochastic rounding of low-bit states is keyed by.
        Tokens seen, State.position, count for that rounding alone.
        """
        out = self._core.state(sequence)
        if arrays is not None:
            out.set_arrays(arrays)
        return out

    def perplexity(
        self,
        text: str | ArrayLike,
        window: int = 2048,
        *,
        stride: int | None = None,
        max_windows: int | None = None,
        context: int = 1,
        stepwise: bool = False,
        progress: Callback | bool | None = None,
    ) -> dict[str, Any]:
        """Perplexity of a text (or of ids, (L)), window by window, with its protocol.

        Windows of `window` tokens start every `stride` (None: window) tokens, the tail that fills
        none is dropped; each predicts its tokens from number `context` on. stepwise: token by token
        from a state, as in generation. Returns perplexity, mean_nll, standard_error (of mean_nll),
        predictions, window, stride, windows: {start, predictions, nll}.
        """
        with listening(progress) as callback:
            return self._core.perplexity(
                self._ids(text), window, stride, max_windows, context, stepwise, callback
            )

    def generate(
        self,
        prompt: str | ArrayLike,
        max_tokens: int = 128,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        ignore_eos: bool = False,
    ) -> Generation:
        """Goes on with a text, or ids (L): an iterator of str, whole characters as they come.

        temperature 0: always the likeliest token. top_k 0: all. The same seed gives the same text
        on every machine, that of `scute generate`. Error on a prompt without a token.
        """
        sampling = _core.Sampling(temperature, top_k, top_p, min_p, repetition_penalty, seed)
        return self._core.generate(
            self._ids(prompt, beginning=True), max_tokens, sampling, ignore_eos
        )

    def dump(
        self,
        ids: str | ArrayLike,
        sites: str | Sequence[str] | None = None,
        *,
        stepwise: bool = False,
    ) -> dict[str, NDArray[Any]]:
        """Logits and the tensors of sites for ids (L) or (B, L), or a text, as `scute dump`.

        sites: globs; None: all but lm_head:output. Returns "ids" (B, L), "logits" (B, L, V) and
        "site/NAME" (B, L, width) or (B, shape of the state), float32. stepwise: one at a time.
        """
        return self._core.dump(self._ids(ids), _globs(sites), stepwise)


class Cobra(Model):
    """The vision-language model: pictures before a text."""

    kind = "cobra"

    @property
    def vocabulary(self) -> int:
        """V, columns of the logits."""
        return self._core.vocabulary

    def logits(self, ids: ArrayLike | None, images: Any) -> NDArray[Any]:
        """Next-token logits, float32 (B, T + L, V), where a picture has T rows.

        images: B paths or uint8 arrays (height, width, 3), or one of them. ids: (L) for all
        pictures, (B, L), or None.
        """
        return self._core.dump(_images(images), ids, None)["logits"]

    def dump(
        self, images: Any, ids: ArrayLike | None = None, sites: str | Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Logits and tensors of sites (globs; None: all but lm_head:output), as `scute dump`."""
        return self._core.dump(_images(images), ids, _globs(sites))

    def generate(
        self,
        prompt: str,
        image: Any = None,
        max_tokens: int = 128,
        *,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        ignore_eos: bool = False,
    ) -> Generation:
        """Answers what a human says, about a picture (path or uint8 array) where one is given."""
        sampling = _core.Sampling(temperature, top_k, top_p, min_p, repetition_penalty, seed)
        ids = self._core.prompt_ids(prompt)
        shown = None if image is None else _images(image)[0]
        return self._core.generate(ids, shown, max_tokens, sampling, ignore_eos)


def _images(images: Any) -> list[Any]:
    """One path or array as a list; a batch of pictures one by one."""
    if isinstance(images, (str, os.PathLike)):
        return [os.fspath(images)]
    if getattr(images, "ndim", 0) == 3:
        return [images]
    return [os.fspath(one) if isinstance(one, os.PathLike) else one for one in images]


class Regressor(Model):
    """The Mamba regressor: a window of radio features to a position."""

    kind = "regressor"

    def predict(self, frames: ArrayLike, ends: Sequence[int] | None = None) -> NDArray[Any]:
        """Positions in metres, float32 (n, 2), of the windows that end before each frame of `ends`.

        frames: (T, features), normalized. ends: from config["window"] to T; None: all of them.
        """
        return self._core.predict(frames, ends)


def load(
    path: str | os.PathLike[str],
    *,
    compute: str = "f32",
    backend: str = "integer",
    threads: int = 0,
    tokenizer: str | os.PathLike[str] = "",
) -> Any:
    """Loads a model folder or a regressor's .pt: a LanguageModel, Cobra or Regressor.

    compute: "f32" or "bf16", of products that are not quantized. backend: "integer" or "simulate",
    of a low-bit model. threads: 0 for all processors. tokenizer: another tokenizer.json. Error
    naming file and key for what is no model or one that this engine does not compute.
    """
    where = os.fspath(path)
    kind = _core.kind_of(where)
    words = os.fspath(tokenizer)
    if kind == "language":
        return LanguageModel(_core.Language.load(where, compute, backend, threads, words), where)
    if kind == "cobra":
        return Cobra(_core.Cobra.load(where, compute, backend, threads, words), where)
    return Regressor(_core.Regressor.load(where, threads), where)
