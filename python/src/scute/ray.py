"""Work dealt out over a Ray cluster: one task a part, which runs scute in its worker.

    stats = scute.ray.collect("model", "calibration.jsonl", shards=8)

Parts are those of the program's --shard, so that the result has the bytes of one process, on any
number of workers, in any order, whichever of them dies. Each worker needs this package. Imported
by name only (`import scute.ray`), with `pip install 'scute[ray]'`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scute import _core
from scute.progress import Callback, listening
from scute.statistics import Statistics
from scute.verbs import HasPath, PathLike, Progress, data_option, path_of, run

_STATISTICS = "part-{}-of-{}.safetensors"
_SCORES = "part-{}-of-{}.jsonl"
_RETRIES = 3


def _ray(address: str | None) -> Any:
    """Ray, connected: as it is already, else to a running cluster, or of this machine."""
    try:
        import ray
    except ImportError:
        raise _core.Error(
            "scute.ray: expected the package ray (pip install 'scute[ray]'), found none"
        ) from None
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except ConnectionError as error:
            raise _core.Error(
                f"address: expected a running Ray cluster (ray start --head), or None for one of "
                f"this machine alone, found none at {address!r}: {error}"
            ) from None
    return ray


# Files by content.


@dataclass(frozen=True)
class _Sent:
    """Stands for a path whose files travel: its place among the contents, and its last name."""

    number: int
    name: str


Files = dict[str, bytes]


def _contents(path: str) -> Files:
    """Path below → bytes of all files of a folder; of a file its bytes under ""."""
    top = Path(path)
    if top.is_file():
        return {"": top.read_bytes()}
    files = sorted(p for p in top.rglob("*") if p.is_file())
    if not files:
        raise _core.Error(f"{path}: expected a file or a folder of files, found none")
    return {str(file.relative_to(top)): file.read_bytes() for file in files}


def _packed(value: Any, contents: list[Files]) -> Any:
    """Paths that are here by content, also inside lists; all else as it is."""
    if isinstance(value, (list, tuple)):
        return [_packed(one, contents) for one in value]
    if not isinstance(value, (str, os.PathLike)) or not os.path.exists(value):
        return value
    contents.append(_contents(os.fspath(value)))
    return _Sent(len(contents) - 1, os.path.basename(os.path.abspath(value)))


def _unpacked(value: Any, contents: Sequence[Files], folder: str) -> Any:
    """What _packed took, the files written below `folder`."""
    if isinstance(value, list):
        return [_unpacked(one, contents, folder) for one in value]
    if not isinstance(value, _Sent):
        return value
    top = Path(folder, str(value.number), value.name)
    for path, content in contents[value.number].items():
        file = top / path if path else top
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return os.fspath(top)


# What runs in workers. The first answer of a task is small and says that it is done, so that nobody
# fetches the second for that.


def _check_version(version: str) -> None:
    if version != _core.__version__:
        raise _core.Error(
            f"scute.ray: expected scute {version} in every worker, found {_core.__version__}"
        )


@dataclass(frozen=True)
class _Call:
    """A verb whose work is dealt out: words and options, where paths may be _Sent.

    result: the file that a part leaves in the folder of the option `folder`, else nothing is
    brought back.
    """

    version: str
    verb: str
    words: list[Any]
    options: dict[str, Any]
    folder: str | None = None
    result: str = ""


def _part(call: _Call, part: tuple[int, int], *contents: Files) -> tuple[None, bytes]:
    """One part, and the bytes of its file."""
    _check_version(call.version)
    with tempfile.TemporaryDirectory(prefix="scute-ray-") as folder:
        words = _unpacked(call.words, contents, folder)
        options = {n: _unpacked(v, contents, folder) for n, v in call.options.items()}
        if call.folder is not None:
            options[call.folder] = os.path.join(folder, "parts")
        run(call.verb, *words, shard="{}/{}".format(*part), **options)
        if call.folder is None:
            return None, b""
        return None, Path(options[call.folder], call.result.format(*part)).read_bytes()


def _sum(version: str, *parts: bytes) -> tuple[None, bytes]:
    """Parts of one collection, or such sums, as the file of one part."""
    _check_version(version)
    with tempfile.TemporaryDirectory(prefix="scute-ray-") as folder:
        file = Path(folder, "part.safetensors")
        total: Statistics | None = None
        for content in parts:
            file.write_bytes(content)
            one = Statistics.load(file)
            total = one if total is None else _added(total, one)
        assert total is not None
        total.save(file)
        return None, file.read_bytes()


def _added(total: Statistics, one: Statistics) -> Statistics:
    mine, other = total.meta, one.meta
    part, its = mine.pop("part"), other.pop("part")
    if part["collection"] != its["collection"] or mine != other:
        raise _core.Error(
            f"scute.ray: expected the same model, data and options in every worker, found others "
            f"for part {its['index']} of {its['of']} than for part {part['index']}"
        )
    for site, statistic in one.items():
        if site in total:
            total[site].merge(statistic)
        else:
            total[site] = statistic
    for key in ("samples", "finished"):
        part[key] += its[key]
    part["silent_sites"] = [s for s in part["silent_sites"] if s in its["silent_sites"]]
    total.meta = {**mine, "part": part}
    return total


# Where they are sent from.


class _Tasks:
    """The tasks of one call: started, waited for and, at the end, all ended."""

    def __init__(self, ray: Any, options: Mapping[str, Any], callback: Callback | None) -> None:
        self._ray = ray
        self._options = {"max_retries": _RETRIES, **options, "num_returns": 2}
        self._callback = callback
        self._started: list[Any] = []

    def start(self, task: Any, *arguments: Any) -> tuple[Any, Any]:
        """References to its two answers."""
        said, answer = self._ray.remote(task).options(**self._options).remote(*arguments)
        self._started.append(said)
        return said, answer

    def wait(self, said: Sequence[Any], what: str) -> None:
        """Until all are done, progress hearing of each; raises what one raises at once."""
        waiting = list(said)
        while waiting:
            # A second at a time, so that Ctrl-C is heard.
            ready, waiting = self._ray.wait(waiting, timeout=1)
            self._ray.get(ready)
            if ready and self._callback is not None:
                self._callback(len(said) - len(waiting), len(said), what)

    def summed(self, version: str, parts: list[Any], fan_in: int) -> tuple[list[Any], Any]:
        """(done of each sum, the answer at the root) of a tree of `fan_in` parts or sums each.

        Started before the parts are done: a sum begins when what it adds is there.
        """
        sums = []
        while len(parts) > 1:
            groups = [parts[i : i + fan_in] for i in range(0, len(parts), fan_in)]
            parts = []
            for group in groups:
                if len(group) == 1:
                    parts += group
                    continue
                said, answer = self.start(_sum, version, *group)
                sums.append(said)
                parts.append(answer)
        return sums, parts[0]

    def end(self) -> None:
        """Those that still run: cancelling one that is done may end this process (Ray 2.49)."""
        some = max(1, len(self._started))
        for said in self._ray.wait(self._started, num_returns=some, timeout=0)[1]:
            self._ray.cancel(said, force=False)


@contextmanager
def _tasks(ray: Any, options: Mapping[str, Any], progress: Progress) -> Iterator[_Tasks]:
    """Errors are scute's; the first one ends the other tasks."""
    with listening(progress) as callback:
        tasks = _Tasks(ray, options, callback)
        try:
            yield tasks
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise (cause if isinstance(cause, _core.Error) else error) from None
        except ray.exceptions.RayError as error:
            raise _core.Error(
                f"scute.ray: expected workers that live, found {type(error).__name__} after "
                f"{options.get('max_retries', _RETRIES)} retries: {str(error).splitlines()[0]}"
            ) from None
        finally:
            tasks.end()


def _deal(tasks: _Tasks, ray: Any, call: _Call, shards: int, content: bool) -> list[Any]:
    """Starts all parts; (done, answer) of each."""
    contents: list[Files] = []
    if content:
        options = {n: _packed(v, contents) for n, v in call.options.items() if n not in _SHARED}
        kept = {n: v for n, v in call.options.items() if n in _SHARED}
        words = _packed(call.words, contents)
        call = _Call(call.version, call.verb, words, options | kept, call.folder, call.result)
    sent = [ray.put(files) for files in contents]
    return [tasks.start(_part, call, (i, shards), *sent) for i in range(shards)]


# Written to, so that they are paths of storage that all workers see.
_SHARED = ("parts", "log", "pretrained_dir")
# Of an evaluation, what is made of all parts.
_WHOLE = ("log", "log_failure", "items_out")


def _options(options: dict[str, Any], task_options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The task's options; the verb's get its number of threads."""
    given = dict(task_options or {})
    options.setdefault("threads", max(1, int(given.get("num_cpus", 1))))
    return given


def _require(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise _core.Error(f"{name}: expected at least {least}, found {value}")


def collect(
    model: PathLike | HasPath,
    data: PathLike | Sequence[PathLike] | None = None,
    *,
    shards: int,
    address: str | None = "auto",
    content: bool = False,
    fan_in: int = 8,
    out: PathLike | None = None,
    task_options: Mapping[str, Any] | None = None,
    progress: Progress = None,
    **options: Any,
) -> Statistics:
    """scute.collect in `shards` Ray tasks; the same statistics, to the byte.

    model, data, options: as scute.collect's; paths that all workers see. content: what these paths
    hold here goes through the object store instead, once a node, and the statistics' meta names
    other paths. Parts are added in a tree of tasks, `fan_in` (from 2) at a time, so that one result
    alone comes here. address: of the cluster, "auto" the running one, None one of this machine
    alone; what ray.init was called with counts before. task_options: of ray.remote, {"num_cpus": 4,
    "max_retries": 3}: num_cpus are the threads of a task too; a task whose worker dies begins anew,
    max_retries times. progress hears of finished "parts" and "sums". out: also written there.

    Error as scute.collect's, and when workers have another version or other files under these
    paths; then the other parts are ended.
    """
    _require("shards", shards, 1)
    _require("fan_in", fan_in, 2)
    where = path_of(model)
    if data is not None:
        options = {**data_option(where, data), **options}
    given, ray = _options(options, task_options), _ray(address)
    call = _Call(_core.__version__, "collect", [where], options, "out", _STATISTICS)
    with _tasks(ray, given, progress) as tasks:
        parts = _deal(tasks, ray, call, shards, content)
        sums, root = tasks.summed(call.version, [answer for _, answer in parts], fan_in)
        tasks.wait([said for said, _ in parts], "parts")
        del parts  # what is added is freed
        tasks.wait(sums, "sums")
        merged = ray.get(root)
    return _finished(merged, out)


def _finished(merged: bytes, out: PathLike | None) -> Statistics:
    """The only part of one is a collection: the program's merge says so, and of silent sites."""
    with tempfile.TemporaryDirectory(prefix="scute-ray-") as folder:
        file = Path(folder, _STATISTICS.format(0, 1))
        file.write_bytes(merged)
        statistics = Statistics.load(file)
        meta = statistics.meta
        meta["part"].update(index=0, of=1)
        statistics.meta = meta
        statistics.save(file)
        whole = Path(folder, "whole.safetensors")
        run("merge", folder, out=whole)
        statistics = Statistics.load(whole)
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        statistics.save(out)
    return statistics


def evaluate(
    model: PathLike | HasPath,
    *,
    shards: int,
    parts: PathLike | None = None,
    address: str | None = "auto",
    content: bool = False,
    task_options: Mapping[str, Any] | None = None,
    progress: Progress = None,
    **options: Any,
) -> dict[str, Any]:
    """scute.evaluate in `shards` Ray tasks, as `scute eval --parts DIR --shard I/N`.

    parts: a folder that all workers see; it keeps each item's score, so that the same call goes on
    where one was ended. None: scores come back through the object store. options: the flags,
    perplexity=, last_word=, against= … The rest as collect(). Returns what one process would, to
    the digit.
    """
    _require("shards", shards, 1)
    where = path_of(model)
    kept = {} if parts is None else {"parts": os.fspath(parts)}
    if options.get("against") is not None:
        options["against"] = path_of(options["against"])
    given, ray = _options(options, task_options), _ray(address)
    of_parts = {n: v for n, v in options.items() if n not in _WHOLE} | kept
    back = None if kept else "parts"
    call = _Call(_core.__version__, "eval", [where], of_parts, back, _SCORES)
    with tempfile.TemporaryDirectory(prefix="scute-ray-") as folder:
        with _tasks(ray, given, progress) as tasks:
            dealt = _deal(tasks, ray, call, shards, content)
            tasks.wait([said for said, _ in dealt], "parts")
            for i, (_, answer) in enumerate([] if kept else dealt):
                Path(folder, _SCORES.format(i, shards)).write_bytes(ray.get(answer))
        return run("eval", where, **({"parts": folder} | kept), **options)


def sweep(
    *,
    shards: int,
    log: PathLike,
    address: str | None = "auto",
    content: bool = False,
    task_options: Mapping[str, Any] | None = None,
    progress: Progress = None,
    **options: Any,
) -> dict[str, Any]:
    """`scute sweep --shard I/N` in Ray tasks: combinations are dealt out, none runs twice.

    log: the experiment log, on storage that all workers see, as what is kept beside it. options:
    the flags, models=, policies=, data= … The rest as collect(). Returns what `scute sweep --json`
    prints of the whole: what no part could run is run here.
    """
    _require("shards", shards, 1)
    options["log"] = os.path.abspath(log)
    given, ray = _options(options, task_options), _ray(address)
    call = _Call(_core.__version__, "sweep", [], options)
    with _tasks(ray, given, progress) as tasks:
        dealt = _deal(tasks, ray, call, shards, content)
        tasks.wait([said for said, _ in dealt], "parts")
    return run("sweep", **options)
