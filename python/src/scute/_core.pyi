"""The library of scute: what the package's modules are made of."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy
import numpy.typing

from scute import Error as Error


class Histogram:
    """
    Exact counts of values by their float32 bits: sign, exponent and the top `fine` bits of the
    mantissa (1 to 16). Merging adds counts, so any order and grouping gives the same histogram;
    two are equal when the same values were counted.
    """

    def __init__(self, fine: int = 8) -> None: ...

    @property
    def fine(self) -> int:
        """
        Mantissa bits kept: values read back are within a factor 1 ± 2**-(fine + 1).
        """

    @property
    def total(self) -> int:
        """All values counted, NaN and Inf included: the same as count."""

    @property
    def count(self) -> int:
        """All values counted, NaN and Inf included."""

    @property
    def zeros(self) -> int:
        """Values that are +0 or -0."""

    @property
    def nans(self) -> int:
        """Values that are NaN."""

    @property
    def infs(self) -> int:
        """Values that are +Inf or -Inf."""

    @property
    def min(self) -> float:
        """The smallest finite value, exactly; NaN when there is none."""

    @property
    def max(self) -> float:
        """The largest finite value, exactly; NaN when there is none."""

    @property
    def samples(self) -> int:
        """How many arrays were counted: calls of update with at least one value."""

    @property
    def bits_or(self) -> int:
        """All bit patterns or'ed (as float32)."""

    @property
    def exact(self) -> bool:
        """
        Whether every value is the edge of its bucket, so that quantiles are exact.
        """

    def quantile(self, q: float | numpy.typing.ArrayLike) -> float | numpy.typing.NDArray[numpy.float64]:
        """
        The smallest value with at least a share q of the finite values at or below it (NumPy's
        method "inverted_cdf"); an array for an array. q in [0, 1]. The rank is exact, the value
        within a factor 1 ± 2**-(fine + 1), or exact where `exact` is. Error when nothing finite was
        counted.
        """

    def magnitude_quantile(self, q: float | numpy.typing.ArrayLike) -> float | numpy.typing.NDArray[numpy.float64]:
        """The same of the magnitudes abs(x)."""

    def cdf(self, x: float | numpy.typing.ArrayLike) -> float | numpy.typing.NDArray[numpy.float64]:
        """
        The share of the finite values at or below x, in [0, 1]; a bucket counts where its middle
        lies. An array for an array; NaN for NaN.
        """

    def to_numpy(self) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.int64]]:
        """
        (edges, counts): float64 of n + 1 ascending edges and int64 of n counts, as numpy.histogram
        gives them. Used buckets have their own edges, gaps between them are one empty bucket. NaN
        and Inf are left out. A bucket holds its edge next to zero: from 0 up [low, high) as
        numpy.histogram's, below 0 (low, high], where numpy.histogram(x, edges) counts a value
        that is such an edge one further right.
        """

    def buckets(self) -> tuple[numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.int64]]:
        """
        (ids, counts) of all buckets that are not empty, NaN's too, ids ascending: an id is the top
        9 + fine bits of the values as float32.
        """

    def merge(self, other: Histogram) -> None:
        """
        Adds what another one counted. Error, and nothing merged, when fine or the numbers of
        channels differ.
        """

    def copy(self) -> Histogram:
        """A copy."""

    def __copy__(self) -> Histogram: ...

    def __deepcopy__(self, memo: object) -> Histogram: ...

    def __add__(self, arg: Histogram, /) -> Histogram: ...

    def __iadd__(self, arg: Histogram, /) -> Histogram: ...

    def __eq__(self, arg: object, /) -> bool: ...

    __hash__: None = None

    def __repr__(self) -> str: ...

    def __getstate__(self) -> tuple: ...

    def __setstate__(self, state: object) -> None: ...

    def update(self, x: numpy.typing.ArrayLike) -> None:
        """
        Counts every element of x: an array of float16, bfloat16, float32 or float64 of any shape
        and strides, by DLPack or the buffer protocol, in the processor's memory; float64 is rounded
        to float32. Without a copy where rows of float32 lie in order. TypeError for anything else.
        """

class Statistic:
    """
    What was seen at a site: a Histogram's counts, and with per_channel=True max abs(x) of each
    channel, the last dimension. Two are equal when all of it is, the number of samples too.
    """

    def __init__(self, fine: int = 8, per_channel: bool = False) -> None: ...

    @property
    def fine(self) -> int:
        """
        Mantissa bits kept: values read back are within a factor 1 ± 2**-(fine + 1).
        """

    @property
    def total(self) -> int:
        """All values counted, NaN and Inf included: the same as count."""

    @property
    def count(self) -> int:
        """All values counted, NaN and Inf included."""

    @property
    def zeros(self) -> int:
        """Values that are +0 or -0."""

    @property
    def nans(self) -> int:
        """Values that are NaN."""

    @property
    def infs(self) -> int:
        """Values that are +Inf or -Inf."""

    @property
    def min(self) -> float:
        """The smallest finite value, exactly; NaN when there is none."""

    @property
    def max(self) -> float:
        """The largest finite value, exactly; NaN when there is none."""

    @property
    def samples(self) -> int:
        """How many arrays were counted: calls of update with at least one value."""

    @property
    def bits_or(self) -> int:
        """All bit patterns or'ed (as float32)."""

    @property
    def exact(self) -> bool:
        """
        Whether every value is the edge of its bucket, so that quantiles are exact.
        """

    def quantile(self, q: float | numpy.typing.ArrayLike) -> float | numpy.typing.NDArray[numpy.float64]:
        """
        The smallest value with at least a share q of the finite values at or below it (NumPy's
        method "inverted_cdf"); an array for an array. q in [0, 1]. The rank is exact, the value
        within a factor 1 ± 2**-(fine + 1), or exact where `exact` is. Error when nothing finite was
        counted.
        """

    def magnitude_quantile(self, q: float | numpy.typing.ArrayLike) -> float | numpy.typing.NDArray[numpy.float64]:
        """The same of the magnitudes abs(x)."""

    def cdf(self, x: float | numpy.typing.ArrayLike) -> float | numpy.typing.NDArray[numpy.float64]:
        """
        The share of the finite values at or below x, in [0, 1]; a bucket counts where its middle
        lies. An array for an array; NaN for NaN.
        """

    def to_numpy(self) -> tuple[numpy.typing.NDArray[numpy.float64], numpy.typing.NDArray[numpy.int64]]:
        """
        (edges, counts): float64 of n + 1 ascending edges and int64 of n counts, as numpy.histogram
        gives them. Used buckets have their own edges, gaps between them are one empty bucket. NaN
        and Inf are left out. A bucket holds its edge next to zero: from 0 up [low, high) as
        numpy.histogram's, below 0 (low, high], where numpy.histogram(x, edges) counts a value
        that is such an edge one further right.
        """

    def buckets(self) -> tuple[numpy.typing.NDArray[numpy.int32], numpy.typing.NDArray[numpy.int64]]:
        """
        (ids, counts) of all buckets that are not empty, NaN's too, ids ascending: an id is the top
        9 + fine bits of the values as float32.
        """

    def merge(self, other: Statistic) -> None:
        """
        Adds what another one counted. Error, and nothing merged, when fine or the numbers of
        channels differ.
        """

    def copy(self) -> Statistic:
        """A copy."""

    def __copy__(self) -> Statistic: ...

    def __deepcopy__(self, memo: object) -> Statistic: ...

    def __add__(self, arg: Statistic, /) -> Statistic: ...

    def __iadd__(self, arg: Statistic, /) -> Statistic: ...

    def __eq__(self, arg: object, /) -> bool: ...

    __hash__: None = None

    def __repr__(self) -> str: ...

    def __getstate__(self) -> tuple: ...

    def __setstate__(self, state: object) -> None: ...

    @property
    def channel_absmax(self, /) -> numpy.typing.NDArray[numpy.float32]:
        """
        max abs(x) of each channel (the last dimension), float32; empty unless per_channel.
        """

    @property
    def channel_meanabs(self, /) -> numpy.typing.NDArray[numpy.float32]:
        """
        The largest over the samples of each channel's mean abs(x), float32; kept where the site's
        name asks for it (….x_conv_out:input), else empty.
        """

    @property
    def element_absmax(self, /) -> numpy.typing.NDArray[numpy.float32]:
        """
        max abs(x) of each element of the state, float32; kept where the site's name asks for it
        (….ssm_state_act:…), else empty.
        """

    def update(self, x: numpy.typing.ArrayLike) -> None:
        """
        As Histogram.update, as one sample. Error, and nothing counted, when channels are kept and
        their number changes.
        """

    @property
    def per_channel(self) -> bool:
        """Whether update keeps channel_absmax."""

    @property
    def histogram(self) -> Histogram:
        """A copy of the counts."""

    @staticmethod
    def from_counts(bins: object, counts: object, *, fine: int = 8, min: float, max: float, zeros: int = 0, nans: int = 0, infs: int = 0, bits_or: int = 4294967295, samples: int = 1, channel_absmax: Sequence[float] = [], channel_meanabs: Sequence[float] = [], element_absmax: Sequence[float] = []) -> Statistic:
        """
        Of what was counted elsewhere, on another device say: ids and counts as `buckets` has them (ids
        in any order), and of the same values min and max of the finite ones, the numbers of zeros,
        NaN and Inf, all bit patterns or'ed, and the number of arrays. Error when they contradict each
        other.
        """

def recorder_seconds(x: object | None, repeats: int) -> float: ...

class StatisticsSet:
    """Sites and their statistics."""

    def __init__(self, fine: int = 8, per_channel: bool = False) -> None: ...

    @property
    def fine(self) -> int: ...

    @property
    def per_channel(self) -> bool: ...

    def names(self) -> list[str]:
        """Sites in ascending order of their bytes."""

    def find(self, site: str) -> Statistic | None: ...

    def set(self, site: str, statistic: Statistic) -> None: ...

    def remove(self, site: str) -> bool:
        """Whether it was there."""

    def update(self, site: str, x: numpy.typing.ArrayLike) -> None: ...

    @property
    def meta(self) -> dict | None: ...

    @meta.setter
    def meta(self, value: dict | None, /) -> None: ...

    def merge(self, other: StatisticsSet, repeats: bool, missing: bool) -> None: ...

    def equals(self, other: StatisticsSet) -> bool: ...

    def copy(self) -> StatisticsSet: ...

    def save(self, path: str) -> None: ...

    @staticmethod
    def load(path: str) -> StatisticsSet: ...

    def __getstate__(self) -> tuple: ...

    def __setstate__(self, state: tuple) -> None: ...

def tail_rule(p25: float, p50: float, p75: float, p90: float, p99: float, p99_9: float, p99_99: float, p99_999: float) -> tuple[float, int]:
    """
    (percentile, rule): what the policy "tail" picks, 99, 99.9, 99.99 or 99.999, and by which of its
    seven rules.
    """

class Plan:
    """What the package's Plan wraps."""

    def __init__(self) -> None: ...

    def names(self) -> list[str]: ...

    def entry(self, site: str) -> dict | None: ...

    def set(self, site: str, entry: object) -> None: ...

    def remove(self, site: str) -> bool: ...

    @property
    def meta(self) -> dict | None: ...

    @meta.setter
    def meta(self, value: dict | None, /) -> None: ...

    def to_json(self, indent: int) -> str: ...

    @staticmethod
    def from_json(text: str, where: str) -> Plan: ...

    def save(self, path: str) -> None: ...

    def edit(self, edits: list[str]) -> list[dict]: ...

    def undo(self, count: int) -> list[dict]: ...

    def copy(self) -> Plan: ...

def decide(statistics: StatisticsSet, policy: str | None, bits: int, symmetric: bool, per_site: Sequence[tuple[str, str]], alpha: float | None, percentile_override: float | None, headroom: float | None, per_side: bool, allow_nonfinite: bool) -> Plan: ...

EVERY_EDIT: int = 9223372036854775807

def rounded_weight(weight: numpy.typing.ArrayLike, bits: int, per_tensor: bool, group: int, two_level: bool) -> numpy.typing.NDArray[numpy.float32]:
    """
    The numbers that are multiplied by, outputs x inputs, float32, of a matrix as `scute quantize`
    rounds it to nearest: 8 bits with a scale an output (or one), 4 bits in groups of inputs,
    two_level beside 8-bit activations.
    """

def weight_codes(weight: numpy.typing.ArrayLike, bits: int, per_tensor: bool, group: int) -> tuple[numpy.typing.NDArray[numpy.int8], numpy.typing.NDArray[numpy.float32]]:
    """
    The same as an integer product with 8-bit inputs has it: codes outputs x inputs, and a
    scale an output, outputs x 1.
    """

def causal_conv_silu(x: numpy.typing.ArrayLike, weight: numpy.typing.ArrayLike, bias: numpy.typing.ArrayLike) -> numpy.typing.NDArray[numpy.float32]:
    """
    SiLU of the causal depthwise convolution of one sequence, x L x C, weight taps x C.
    """

def selective_scan(inputs: tuple, weights: tuple, state: numpy.typing.ArrayLike) -> tuple[numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32]]:
    """
    Mamba-1's scan of one sequence: inputs x, dt L x E, B, C L x N; weights A E x N, D,
    dt_bias E; state E x N. Returns y and the state after it.
    """

def head_scan(inputs: tuple, weights: tuple, state: numpy.typing.ArrayLike, groups: int, dt_min: float, dt_max: float) -> tuple[numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32]]:
    """
    Mamba-2's: inputs x L x H P, dt L x H, B, C L x G N; weights A, dt_bias H, D H or
    H P; state H P x N.
    """

def gate_silu(x: numpy.typing.ArrayLike, z: numpy.typing.ArrayLike) -> numpy.typing.NDArray[numpy.float32]:
    """x times SiLU of z."""

def rms_norm(x: numpy.typing.ArrayLike, group: int, eps: float) -> numpy.typing.NDArray[numpy.float32]:
    """Rows over the root of their mean square, `group` columns at a time."""

def hadamard(x: numpy.typing.ArrayLike, inverse: bool) -> numpy.typing.NDArray[numpy.float32]:
    """Each row transformed, or back."""

def verb(words: list[str], progress: Callable[[int, int, str], object] | None = None) -> tuple[int, Any, list[str], list[str]]:
    """
    Runs a verb with --json: (exit code, its answer, notes, warnings). Error with its words
    on wrong usage, too.
    """

class Sampling:
    """How tokens are drawn."""

    def __init__(self, temperature: float, top_k: int, top_p: float, min_p: float, repetition_penalty: float, seed: int) -> None: ...

class Generation:
    """
    Text as it is made: an iterator of str, whole characters. It stops at the text's end, after
    max_tokens, or with close(); Ctrl-C ends it.
    """

    def __iter__(self) -> Generation: ...

    def __next__(self) -> str: ...

    def close(self) -> None:
        """Ends it."""

    @property
    def ids(self) -> list[int]:
        """Ids of the tokens so far."""

    @property
    def stopped(self) -> str:
        """What ended it: "end-of-text", "max-tokens", or "" until then."""

def kind_of(path: str) -> str: ...

class State:
    """What a language model remembers of the tokens it has seen."""

    @property
    def position(self) -> int:
        """Tokens seen: what the rounding of a low-bit state is keyed by."""

    @position.setter
    def position(self, arg: int, /) -> None: ...

    @property
    def nbytes(self) -> int:
        """Its memory."""

    def copy(self) -> State:
        """Another one that goes on from here by itself."""

    def arrays(self) -> dict[str, numpy.typing.NDArray[Any]]:
        """
        Copies of the layers' states by name: "block_3.0.conv", (K - 1, channels) float32, and
        "block_3.0.ssm", float32 or, of a low-bit state, int8 codes. Error where a part is
        attention, whose keys and values grow.
        """

    def set_arrays(self, arrays: dict[str, numpy.typing.NDArray[Any]]) -> None:
        """
        The inverse; Error, and nothing changed, unless they are all there and of the same sizes.
        """

class Language:
    """What the package's LanguageModel wraps."""

    @staticmethod
    def load(path: str, compute: str, backend: str, threads: int, tokenizer: str) -> Language: ...

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> dict: ...

    @property
    def low_bit(self) -> bool: ...

    @property
    def vocabulary(self) -> int: ...

    @property
    def remarks(self) -> list[str]: ...

    def sites(self) -> list[str]: ...

    def logits(self, ids: object) -> object: ...

    def go_on(self, ids: object, state: State) -> object: ...

    def state(self, sequence: int) -> State: ...

    def dump(self, ids: object, sites: Sequence[str], stepwise: bool) -> dict: ...

    def perplexity(self, ids: object, window: int, stride: int | None, max_windows: int | None, context: int, stepwise: bool, progress: object | None) -> dict: ...

    def encode(self, text: str, beginning: bool) -> numpy.typing.NDArray[numpy.int32]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def generate(self, prompt: object, max_tokens: int, sampling: Sampling, ignore_eos: bool) -> Generation: ...

class Cobra:
    """What the package's Cobra wraps."""

    @staticmethod
    def load(path: str, compute: str, backend: str, threads: int, tokenizer: str) -> Cobra: ...

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> dict: ...

    @property
    def low_bit(self) -> bool: ...

    @property
    def vocabulary(self) -> int: ...

    @property
    def remarks(self) -> list[str]: ...

    def sites(self) -> list[str]: ...

    def dump(self, images: Sequence, ids: object | None, sites: Sequence[str] | None) -> dict: ...

    def prompt_ids(self, message: str) -> list[int]: ...

    def generate(self, prompt: object, image: object | None, max_tokens: int, sampling: Sampling, ignore_eos: bool) -> Generation: ...

class Regressor:
    """What the package's Regressor wraps."""

    @staticmethod
    def load(path: str, threads: int) -> Regressor: ...

    @property
    def config(self) -> dict: ...

    @property
    def low_bit(self) -> bool: ...

    @property
    def remarks(self) -> list[str]: ...

    def sites(self) -> list[str]: ...

    def predict(self, frames: object, ends: object | None) -> object: ...

def read_log(path: str, terms: list[str]) -> tuple[list[dict], list[str]]: ...

def log_record(path: str, which: str) -> dict: ...

def append_record(path: str, record: dict) -> None: ...

def command_line(words: Sequence[str]) -> int:
    """
    Runs `scute WORDS…` in this process and returns its exit code: 0 success, 1 the work failed,
    2 wrong usage, 3 done but not recorded. Ctrl-C meanwhile is the program's.
    """
