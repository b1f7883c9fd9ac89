"""The sum of statistics over the ranks of torch.distributed, exact: 64-bit counts are added."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from scute import Error, Statistic, Statistics

_VECTORS = ("channel_absmax", "channel_meanabs", "element_absmax")
_SUMS = ("zeros", "nans", "infs", "samples")


def _described(statistics: Statistics) -> dict[str, Any]:
    """What the other ranks must know before counts are added: small."""
    sites = {}
    for site, one in statistics.items():
        finite = one.count > one.nans + one.infs
        sites[site] = {
            "pages": np.unique(one.buckets()[0].view(np.uint32) >> one.fine).tolist(),
            "lengths": [len(getattr(one, name)) for name in _VECTORS],
            "sums": [getattr(one, name) for name in _SUMS],
            "range": [one.min, one.max] if finite else [],
            "bits_or": one.bits_or,
        }
    return {"fine": statistics.fine, "sites": sites, "meta": statistics.meta}


def _check(ranks: list[dict[str, Any]]) -> None:
    """Every rank finds the same error, so that none waits for the others."""
    for i, rank in enumerate(ranks):
        if rank["fine"] != ranks[0]["fine"]:
            raise Error(
                f"all_reduce: expected fine {ranks[0]['fine']}, found {rank['fine']} in rank {i}"
            )
    lengths: dict[str, tuple[int, list[int]]] = {}
    for i, rank in enumerate(ranks):
        for site, found in rank["sites"].items():
            first, wanted = lengths.setdefault(site, (i, found["lengths"]))
            if wanted != found["lengths"]:
                raise Error(
                    f"{site}: expected {wanted} channels and elements as in rank {first}, found "
                    f"{found['lengths']} in rank {i}"
                )


def _summed(values: np.ndarray, operation: Any, group: Any) -> np.ndarray:
    device = torch.device("cpu")
    if dist.get_backend(group) == "nccl":
        device = torch.device("cuda", torch.cuda.current_device())
    tensor = torch.from_numpy(values).to(device)
    dist.all_reduce(tensor, operation, group=group)
    return tensor.cpu().numpy()


def _tables(statistics: Statistics, layout: dict[str, list[int]]) -> np.ndarray:
    """Counts of every site's pages, those that any rank has, one after the other."""
    size = 1 << statistics.fine
    out = np.zeros(sum(map(len, layout.values())) * size, np.int64)
    first = 0
    for site, pages in layout.items():
        if site in statistics:
            ids, counts = statistics[site].buckets()
            ids = ids.view(np.uint32)
            page = np.searchsorted(pages, ids >> statistics.fine)
            out[first + page * size + (ids & (size - 1))] = counts
        first += len(pages) * size
    return out


def _vectors(statistics: Statistics, lengths: dict[str, list[int]]) -> np.ndarray:
    parts = [np.zeros(0, np.float32)]
    for site, sizes in lengths.items():
        for name, size in zip(_VECTORS, sizes, strict=True):
            own = getattr(statistics[site], name) if site in statistics else np.zeros(size)
            parts.append(np.asarray(own, np.float32))
    return np.concatenate(parts)


def _joined(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is no count, of all ranks that have the site."""
    ranges = np.array([one["range"] for one in found if one["range"]]).reshape(-1, 2)
    sums = [sum(one["sums"][i] for one in found) for i in range(len(_SUMS))]
    return dict(zip(_SUMS, sums, strict=True)) | {
        "min": float(ranges[:, 0].min()) if len(ranges) else 0.0,
        "max": float(ranges[:, 1].max()) if len(ranges) else 0.0,
        "bits_or": int(np.bitwise_or.reduce([one["bits_or"] for one in found])),
    }


def all_reduce(statistics: Statistics, group: Any = None) -> None:
    """Every rank's statistics become the sum of all, in place; as if one had seen everything.

    Sites that a rank lacks are taken from the others; of meta stays what all have alike, and
    "ranks" says how many. Error, the same in every rank and nothing changed, when `fine` or the
    number of a site's channels differs, or torch.distributed was not initialized.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise Error(
            "all_reduce: expected torch.distributed.init_process_group() before, found none"
        )
    ranks: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(ranks, _described(statistics), group=group)
    _check(ranks)
    have = {site: [r["sites"][site] for r in ranks if site in r["sites"]] for site in _all(ranks)}
    layout = {site: sorted({p for one in own for p in one["pages"]}) for site, own in have.items()}
    lengths = {site: own[0]["lengths"] for site, own in have.items()}
    counts = _summed(_tables(statistics, layout), dist.ReduceOp.SUM, group)
    maxima = _summed(_vectors(statistics, lengths), dist.ReduceOp.MAX, group)
    size = 1 << statistics.fine
    for site, pages in layout.items():
        ids = (np.array(pages, np.int64)[:, None] * size + np.arange(size)).reshape(-1)
        own, counts = counts[: len(ids)], counts[len(ids) :]
        vectors = {}
        for name, length in zip(_VECTORS, lengths[site], strict=True):
            vectors[name], maxima = maxima[:length].tolist(), maxima[length:]
        statistics[site] = Statistic.from_counts(
            ids[own > 0], own[own > 0], fine=statistics.fine, **_joined(have[site]), **vectors
        )
    first = ranks[0]["meta"]
    alike = {k: v for k, v in first.items() if all(r["meta"].get(k) == v for r in ranks)}
    statistics.meta = alike | {"ranks": len(ranks)}


def _all(ranks: list[dict[str, Any]]) -> list[str]:
    return sorted({site for rank in ranks for site in rank["sites"]})
