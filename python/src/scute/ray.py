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
from pathlib import Path
from typing import Any

from scute import _core
from scute.progress import listening
from scute.statistics import Statistics
from scute.verbs import HasPath, PathLike, Progress, data_option, path_of, run

_PART = "part-{}-of-{}.safetensors"
Files = dict[str, bytes]


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


def _contents(path: str) -> Files:
    """Path below → bytes of a file or of all files of a folder."""
    top = Path(path)
    files = [top] if top.is_file() else sorted(p for p in top.rglob("*") if p.is_file())
    if not files:
        raise _core.Error(f"{path}: expected a file or a folder of files, found none")
    base = top.parent if top.is_file() else top
    return {str(file.relative_to(base)): file.read_bytes() for file in files}


def _unpacked(files: Files, folder: str, name: str) -> str:
    """Where they lie again: the folder, or the only file."""
    base = Path(folder, name)
    for path, content in files.items():
        file = base / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return str(base)


def _check_version(version: str) -> None:
    if version != _core.__version__:
        raise _core.Error(
            f"scute.ray: expected scute {version} in every worker, found {_core.__version__}"
        )


def _collect_part(
    version: str,
    part: tuple[int, int],
    where: str,
    several: list[str],
    options: dict[str, Any],
    *contents: Files,
) -> bytes:
    """One part of a collection, in a worker: the bytes of its file."""
    _check_version(version)
    with tempfile.TemporaryDirectory(prefix="scute-ray-") as folder:
        if contents:
            where = _unpacked(contents[0], folder, os.path.basename(where.rstrip("/")))
            several = [
                os.path.join(_unpacked(files, folder, f"data{i}"), *_only(files))
                for i, files in enumerate(contents[1:])
            ]
        given = data_option(where, several) if several else {}
        out = os.path.join(folder, "parts")
        run("collect", where, shard="{}/{}".format(*part), out=out, **given, **options)
        return Path(out, _PART.format(*part)).read_bytes()


def _only(files: Files) -> list[str]:
    return list(files) if len(files) == 1 else []


def _verb_part(
    version: str, part: tuple[int, int], verb: str, words: list[str], options: dict[str, Any]
) -> None:
    """One part of a verb that keeps its parts in a folder or log of its own."""
    _check_version(version)
    run(verb, *words, shard="{}/{}".format(*part), **options)


def _results(
    ray: Any, task: Any, arguments: Sequence[Any], shards: int, task_options: Mapping[str, Any],
    progress: Progress,
) -> list[Any]:
    """What all parts give, in their order. The first error ends the others."""
    options = {"max_retries": 3, **task_options}
    remote = ray.remote(task).options(**options)
    first, *rest = arguments
    refs = [remote.remote(first, (i, shards), *rest) for i in range(shards)]
    try:
        with listening(progress) as callback:
            for done in _finished(ray, refs):
                if callback is not None:
                    callback(done, shards, "parts")
        return ray.get(refs)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, _core.Error) else error) from None
    except ray.exceptions.RayError as error:
        raise _core.Error(
            f"scute.ray: expected workers that live, found {type(error).__name__} after "
            f"{options['max_retries']} retries: {str(error).splitlines()[0]}"
        ) from None
    finally:
        for ref in refs:
            ray.cancel(ref, force=False)


def _finished(ray: Any, refs: list[Any]) -> Iterator[int]:
    """How many are, after each; raises what one raises as soon as it does."""
    waiting = list(refs)
    while waiting:
        # A second at a time, so that Ctrl-C is heard.
        ready, waiting = ray.wait(waiting, timeout=1)
        ray.get(ready)
        if ready:
            yield len(refs) - len(waiting)


def _threads(options: dict[str, Any], task_options: Mapping[str, Any]) -> None:
    options.setdefault("threads", max(1, int(task_options.get("num_cpus", 1))))


def _check(shards: int) -> None:
    if not isinstance(shards, int) or shards < 1:
        raise _core.Error(f"shards: expected at least 1, found {shards}")


def collect(
    model: PathLike | HasPath,
    data: PathLike | Sequence[PathLike] | None = None,
    *,
    shards: int,
    address: str | None = "auto",
    content: bool = False,
    out: PathLike | None = None,
    task_options: Mapping[str, Any] | None = None,
    progress: Progress = None,
    **options: Any,
) -> Statistics:
    """scute.collect in `shards` Ray tasks; the same statistics, to the byte.

    model, data, options: as scute.collect's; paths that all workers see. content: the files' bytes
    go through the object store instead, once a node, and the statistics' meta names other paths.
    address: of the cluster, "auto" the running one, None one of this machine alone; what ray.init
    was called with counts before. task_options: of ray.remote, {"num_cpus": 4, "max_retries": 3}:
    num_cpus are the threads of a task too; a task whose worker dies begins anew, max_retries times.
    progress hears of finished parts. out: also written there.

    Error as scute.collect's, and when workers have another version; then the other parts are ended.
    """
    _check(shards)
    ray, task_options = _ray(address), dict(task_options or {})
    where = path_of(model)
    several = [data] if isinstance(data, (str, os.PathLike)) else list(data or ())
    paths = [os.fspath(one) for one in several]
    _threads(options, task_options)
    contents = [ray.put(_contents(path)) for path in (where, *paths)] if content else []
    arguments = (_core.__version__, where, paths, options, *contents)
    parts = _results(ray, _collect_part, arguments, shards, task_options, progress)
    with tempfile.TemporaryDirectory(prefix="scute-ray-") as folder:
        for i, part in enumerate(parts):
            Path(folder, _PART.format(i, shards)).write_bytes(part)
        ending = os.path.splitext(os.fspath(out))[1] if out is not None else ".safetensors"
        with tempfile.TemporaryDirectory(prefix="scute-ray-") as beside:
            file = os.path.join(beside, "merged" + ending)
            run("merge", folder, out=file)
            if out is not None:
                Path(out).parent.mkdir(parents=True, exist_ok=True)
                Path(out).write_bytes(Path(file).read_bytes())
            return Statistics.load(file)


def evaluate(
    model: PathLike | HasPath,
    *,
    parts: PathLike,
    shards: int,
    address: str | None = "auto",
    task_options: Mapping[str, Any] | None = None,
    progress: Progress = None,
    **options: Any,
) -> dict[str, Any]:
    """scute.evaluate in `shards` Ray tasks, as `scute eval --parts DIR --shard I/N`.

    parts: a folder that all workers see; it keeps each item's score, so that the same call goes on
    where one was ended. options: the flags, perplexity=, last_word=, against= … The rest as
    collect(). Returns what one process would, to the digit.
    """
    _check(shards)
    ray, task_options = _ray(address), dict(task_options or {})
    _threads(options, task_options)
    words = [path_of(model)]
    given = {"parts": os.fspath(parts), **options}
    arguments = (_core.__version__, "eval", words, given)
    _results(ray, _verb_part, arguments, shards, task_options, progress)
    return run("eval", *words, **given)


def sweep(
    *,
    shards: int,
    address: str | None = "auto",
    task_options: Mapping[str, Any] | None = None,
    progress: Progress = None,
    **options: Any,
) -> None:
    """`scute sweep --shard I/N` in Ray tasks: combinations are dealt out, none runs twice.

    options: the flags, models=, policies=, log= … with paths that all workers see; the log holds
    the results (scute.Log). The rest as collect().
    """
    _check(shards)
    ray, task_options = _ray(address), dict(task_options or {})
    _threads(options, task_options)
    _results(ray, _verb_part, (_core.__version__, "sweep", [], options), shards, task_options,
             progress)
