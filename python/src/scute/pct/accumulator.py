"""What the buckets saw: exact, merged over all batches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import torch

from scute import Error, Statistics
from scute.hooks import tensors
from scute.pct.policy import RECORDED, key_of
from scute.pct.targets import find_path, resolve_hooks
from scute.seen import Seen

_log = logging.getLogger("scute.pct")


class PercentileAccumulator:
    """Counts activations by bucket; every value, of every call. fine: as Histogram's."""

    def __init__(self, fine: int = 8) -> None:
        self._seen = Seen(Statistics(fine=fine), "auto")

    @property
    def statistics(self) -> Statistics:
        """Exact counts by bucket: what scute decide, report and merge read once saved."""
        return self._seen.statistics

    def record_activation(self, x: torch.Tensor | None, bucket: str) -> None:
        """Adds to what the bucket saw. None and empty tensors are passed over.

        TypeError for what is no tensor of floats.
        """
        if x is None:
            return
        if not isinstance(x, torch.Tensor):
            raise TypeError(f"Expected torch.Tensor, got {type(x).__name__}")
        if not x.is_floating_point():
            x = x.float()
        self._seen.add(bucket, x.reshape(-1) if x.dim() == 0 else x)

    def merge(self, other: PercentileAccumulator) -> None:
        """Adds what another one saw."""
        self.statistics.merge(other.statistics, repeats=True, missing=True)

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """{bucket: {"min", "max", "numel", "percentiles": {"p25.0": …, "p99.999": …}}}.

        Of the finite values; a bucket that saw none is left out. numel counts all.
        """
        out = {}
        for bucket, statistic in self.statistics.items():
            if statistic.count == statistic.nans + statistic.infs:
                continue
            out[bucket] = {
                "min": statistic.min,
                "max": statistic.max,
                "numel": statistic.count,
                "percentiles": {key_of(q): statistic.quantile(q / 100) for q in RECORDED},
            }
        return out

    def summary(
        self, modules: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """{"config", "targets", "observers"} for torch.save, as check_summary() wants it.

        modules: bucket → path of its module.
        """
        observers = {}
        for bucket, table in self.state_dict().items():
            beside = {key_of(q): table["percentiles"][key_of(q)] for q in (99.0, 99.9, 99.99)}
            observers[bucket] = {
                "mode": "collect",
                "percent": RECORDED[-1],
                "target": bucket,
                "module": (modules or {}).get(bucket, ""),
                **table,
                **beside,
            }
        created = datetime.now(UTC).isoformat()
        return {
            "config": {"created_at": created} | dict(config or {}),
            "targets": list(observers),
            "observers": observers,
        }

    def clear(self) -> None:
        """Forgets everything."""
        self._seen.statistics = Statistics(fine=self.statistics.fine)

    def __len__(self) -> int:
        return len(self.statistics)


def attach_pct_observers(
    model: torch.nn.Module,
    accumulator: PercentileAccumulator,
    targets: str | Iterable[str] | None = None,
) -> list[torch.utils.hooks.RemovableHandle]:
    """Hooks that count the outputs of the buckets' modules; the first tensor of a tuple or mapping.

    Returns their handles: remove() each. Error when a bucket has no module; then no hook was set.
    An output without a tensor is an error of the forward pass that made it.
    """
    handles = []
    for bucket, module in resolve_hooks(model, targets).items():

        def hook(_: torch.nn.Module, _args: Any, output: Any, bucket: str = bucket) -> None:
            found = next(iter(tensors(output)), None)
            if found is None:
                raise Error(f"{bucket}: expected a tensor as output, found {type(output).__name__}")
            accumulator.record_activation(found[1], bucket)

        handles.append(module.register_forward_hook(hook))
        _log.info("[hook] attached -> %s @ %s", bucket, find_path(model, bucket))
    return handles
