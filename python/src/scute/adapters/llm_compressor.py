"""An observer of llm-compressor, registered as "scute".

import scute.adapters.llm_compressor
QuantizationArgs(num_bits=8, observer="scute", observer_kwargs={"policy": "mse"})
"""

from __future__ import annotations

from typing import Any

import torch
from compressed_tensors.quantization import QuantizationStrategy
from llmcompressor.observers.base import Observer

from scute import Error
from scute.adapters.ranges import OneSite


@Observer.register("scute")
class ScuteObserver(Observer):
    """Counts all values ever observed; min_vals and max_vals are the range that the policy keeps.

    observer_kwargs: policy, as scute.decide's ("auto"), and fine (8). Error for strategies other
    than one scale a tensor.
    """

    def __init__(self, base_name: str, args: Any, **observer_kwargs: Any) -> None:
        super().__init__(base_name, args, **observer_kwargs)
        if args.strategy != QuantizationStrategy.TENSOR:
            raise Error(f"observer scute: expected strategy 'tensor', found {args.strategy!s}")
        options = self.args.observer_kwargs
        self._site = OneSite(options.get("policy", "auto"), int(options.get("fine", 8)))
        self._decided: tuple[torch.Tensor, torch.Tensor] | None = None
        self._device: torch.device | None = None

    @property
    def statistics(self) -> Any:
        """What was counted."""
        return self._site.statistics

    @property
    def has_statistics(self) -> bool:
        """Whether a value was seen since the last scales."""
        return not self._site.empty

    def update_statistics_from_observed(self, observed: torch.Tensor) -> None:
        """Counts a tensor where it is."""
        self._site.add(observed)
        self._decided, self._device = None, observed.device

    def _range(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self._decided is None:
            entry = self._site.decide(self.args.num_bits, bool(self.args.symmetric))
            lo, hi = (torch.tensor([entry[k]], device=self._device) for k in ("lo", "hi"))
            self._decided = lo, hi
        return self._decided

    @property
    def min_vals(self) -> torch.Tensor:
        """The range's lower end, one element; Error before any value."""
        return self._range()[0]

    @property
    def max_vals(self) -> torch.Tensor:
        """The range's upper end, one element; Error before any value."""
        return self._range()[1]

    def delete_statistics(self) -> None:
        """Scales were taken: what comes next begins anew."""
        self._site.clear()
        self._decided = None

    def sync_activation_stats(self) -> list[Any]:
        """The sum over all ranks, exact; nothing to wait for."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self.statistics.all_reduce()
            self._decided = None
        return []
