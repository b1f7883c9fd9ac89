"""The program's verbs as functions: collect, quantize, evaluate, trace, edit_scales.

Each takes what the verb's flags take, as keywords with underscores for hyphens (`scute collect
--help` lists them): a bool is a flag, a list several words, None is left out. Errors are the
program's, in its words. `progress` hears of the work as `progress(done, total, step)`, True draws a
tqdm bar where that package is there; what it raises stops the work, as Ctrl-C does, and nothing
half-written remains.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from scute import _core
from scute.plan import Plan
from scute.progress import listening
from scute.statistics import Statistics

Progress = Callable[[int, int, str], object] | bool | None
PathLike = str | os.PathLike[str]


class HasPath(Protocol):
    """A loaded model: it says where it was loaded from."""

    path: str


def flags(options: Mapping[str, Any]) -> list[str]:
    """Keywords as words of a command line."""
    words: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            words.append(flag)
        elif isinstance(value, (list, tuple)):
            words += [flag, *(_word(item) for item in value)]
        else:
            # In one word, so that what begins with a hyphen is no flag.
            words.append(f"{flag}={_word(value)}")
    return words


def _word(value: object) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


# Of collect: what they write lies beside the statistics, or is a folder of them.
_BESIDE_OUT = ("save_activations", "checkpoint_every", "shard")


def path_of(model: PathLike | HasPath) -> str:
    """Where a model lies, given as that or as a loaded one."""
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    return os.fspath(model.path)


def run(verb: str, *words: str, progress: Progress = None, **options: Any) -> Any:
    """Runs `scute VERB WORDS… --flags` in this process and returns what --json prints.

    Its warnings are Python's (UserWarning), its notes are logged by the logger "scute". Error with
    the program's words when it fails, wrong usage included. One verb at a time in a process; others
    wait.
    """
    command = [verb, *words, *flags(options), "--json"]
    with listening(progress) as callback:
        code, answer, notes, said = _core.verb(command, callback)
    for line in notes:
        logging.getLogger("scute").info(line)
    for line in said:
        warnings.warn(line, stacklevel=3)
    if code == 3:
        warnings.warn(f"{verb}: done, but not recorded: {'; '.join(notes)}", stacklevel=3)
    elif code != 0:
        raise _core.Error(f"{verb}: expected exit code 0, found {code}: {'; '.join(notes)}")
    return answer


def collect(
    model: PathLike | HasPath,
    data: PathLike | Sequence[PathLike] | None = None,
    *,
    texts: Iterable[str] | None = None,
    out: PathLike | None = None,
    progress: Progress = None,
    **options: Any,
) -> Statistics:
    """Runs a model on data once and keeps exact statistics of every site, as `scute collect` does.

    model: a folder, a regressor's .pt, or a loaded model (its files are read anew). data: of a
    language model files with texts or ids (.jsonl, .txt, .npy …), of a Cobra the folder of pictures
    (--images), of a regressor the feature folder (--feat-root). texts: documents at hand instead of
    files. out: also written there, .safetensors or .pt. Others as the flags: samples=, seqlen=,
    sites=, fine=, per_channel= … With save_activations=, checkpoint_every= or shard=, which write
    beside it, `out` is needed and is the program's own --out, also in what an interruption leaves.

    Error when a site that was asked for saw no value, and for all else that the program refuses.
    """
    where = path_of(model)
    beside = [name for name in _BESIDE_OUT if options.get(name)]
    if beside and out is None:
        raise _core.Error(f"{beside[0]}: expected out=, beside which it writes, found none")
    with tempfile.TemporaryDirectory(prefix="scute-") as folder:
        if texts is not None:
            data = [_texts_file(texts, folder)]
        if data is not None:
            options = {**data_option(where, data), **options}
        file = out if beside else os.path.join(folder, "statistics.safetensors")
        said = run("collect", where, out=file, progress=progress, **options)
        statistics = Statistics.load(said["file"])
    if out is not None and not beside:
        statistics.save(out)
    return statistics


def _texts_file(texts: Iterable[str], folder: str) -> str:
    import json

    if isinstance(texts, str):
        raise TypeError("texts: expected several documents, found one str")
    file = Path(folder, "texts.jsonl")
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    file.write_text("".join(lines), encoding="utf-8")
    return str(file)


def data_option(model: str, data: PathLike | Sequence[PathLike]) -> dict[str, Any]:
    """The flag by which a model of this kind is given data to be measured on."""
    several = [data] if isinstance(data, (str, os.PathLike)) else list(data)
    kind = _core.kind_of(model)
    if kind == "language":
        return {"data": several}
    if len(several) != 1:
        raise _core.Error(f"data: expected one folder for a {kind}, found {len(several)}")
    return {"images" if kind == "cobra" else "feat_root": several[0]}


def quantize(
    model: PathLike | HasPath,
    decided: Statistics | Plan | PathLike | None = None,
    *,
    out: PathLike,
    stats: Statistics | PathLike | None = None,
    plan: Plan | PathLike | None = None,
    format: str | None = None,
    progress: Progress = None,
    **options: Any,
) -> dict[str, Any]:
    """Writes a low-bit checkpoint and loads it again to check it, as `scute quantize` does.

    decided: statistics, a plan, or the file of either; stats= and plan= say which, and may both be
    given. out: the folder (of a regressor the .pt) to write; force=True replaces what scute wrote
    there. format: "w8a8", "w4a8", "w8a16" or "w4a16", bits of weights and activations. Others as
    the flags: gptq=True, hadamard="off", group_heads=True … Returns what --json prints: folder,
    layers, bytes, remarks …

    Error when the plan has sites that the model lacks, or was decided for another model; nothing
    is then written.
    """
    if format is not None:
        bits = re.fullmatch(r"w(\d+)a(\d+)", format, re.IGNORECASE)
        if bits is None:
            raise _core.Error(f'format: expected w8a8, w4a8, w8a16 or w4a16, found "{format}"')
        options = {"w_bits": bits[1], "a_bits": bits[2], **options}
    if decided is not None:
        if isinstance(decided, Plan) or str(decided).endswith(".json"):
            plan = decided if plan is None else plan
        else:
            stats = decided if stats is None else stats
    with tempfile.TemporaryDirectory(prefix="scute-") as folder:
        given = (("stats", stats, "statistics.safetensors"), ("plan", plan, "plan.json"))
        for name, value, file in given:
            if isinstance(value, (Statistics, Plan)):
                path = os.path.join(folder, file)
                value.save(path)
                options[name] = path
            elif value is not None:
                options[name] = value
        return run("quantize", path_of(model), out=out, progress=progress, **options)


def evaluate(
    model: PathLike | HasPath,
    data: PathLike | None = None,
    *,
    text: str | None = None,
    against: PathLike | HasPath | None = None,
    progress: Progress = None,
    **options: Any,
) -> dict[str, Any]:
    """How good a model is, or how far from another, as `scute eval` says it.

    data: of a language model the text of its perplexity, of a Cobra the folder of pictures, of a
    regressor the feature folder. text: one at hand instead of a file. Others as the flags:
    perplexity=, last_word=, window=, max_windows=, images= … against: the model to compare with.
    Returns what --json prints.
    """
    where = path_of(model)
    with tempfile.TemporaryDirectory(prefix="scute-") as folder:
        if text is not None:
            data = Path(folder, "text.txt")
            data.write_text(text, encoding="utf-8")
        if data is not None:
            kind = _core.kind_of(where)
            flag = {"language": "perplexity", "cobra": "images"}.get(kind, "feat_root")
            options.setdefault(flag, data)
        if against is not None:
            options["against"] = path_of(against)
        return run("eval", where, progress=progress, **options)


def trace(path: PathLike | HasPath) -> list[dict[str, Any]]:
    """Every static scale of a low-bit checkpoint: where it acts and where it comes from.

    A dict a scale in the order of `scute trace --json`: tensor, shape, smallest, largest, site,
    policy, range … with what is said of its layer or part (layer, format …) where it has one.
    """
    return list(_scales(run("trace", path_of(path)), {}))


def _scales(value: Any, around: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _scales(item, around)
    elif isinstance(value, dict) and "tensor" in value:
        yield {**around, **value}
    elif isinstance(value, dict):
        plain = {k: v for k, v in value.items() if isinstance(v, (str, int, float))}
        for item in value.values():
            yield from _scales(item, plain)


def edit_scales(
    target: PathLike | HasPath, *edits: str, out: PathLike | None = None, **options: Any
) -> dict[str, Any]:
    """Changes ranges of a plan file or a finished low-bit model by hand, as `scute scales` does.

    edits: "GLOB=1.5", "GLOB=-1:1.5", "GLOB*=1.5", "GLOB+=0.5" (Plan.edit). out: where the result
    goes; None: in place. undo=N takes back, dry_run=True only says what would change.
    """
    return run("scales", path_of(target), set=list(edits) or None, out=out, **options)
