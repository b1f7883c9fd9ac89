"""A calibrator of NVIDIA's Model Optimizer (modelopt.torch.quantization).

quantizer._calibrator = ScuteCalibrator(num_bits=8, policy="mse")
# enable_calib(), forward loop, then
quantizer.load_calib_amax()
"""

from __future__ import annotations

from typing import Any

import torch

from scute import Error
from scute.adapters.ranges import OneSite

try:
    from modelopt.torch.quantization.calib.calibrator import _Calibrator
except ImportError:  # the same contract without the package

    class _Calibrator:  # type: ignore[no-redef]
        def __init__(self, num_bits: int = 8, axis: Any = None, unsigned: bool = False) -> None:
            self._num_bits, self._axis, self._unsigned = num_bits, axis, unsigned


class ScuteCalibrator(_Calibrator):
    """collect() counts every value, compute_amax() decides. policy: as scute.decide's.

    unsigned: the codes are 0 … 2**num_bits - 1, for values that are never negative. Error for an
    axis (scales per channel) and for floating-point formats (num_bits a tuple).
    """

    def __init__(
        self,
        num_bits: int = 8,
        axis: Any = None,
        unsigned: bool = False,
        *,
        policy: str = "auto",
        fine: int = 8,
    ) -> None:
        super().__init__(num_bits, axis, unsigned)
        if axis is not None:
            raise Error(f"axis: expected None, a scale for the tensor, found {axis}")
        if not isinstance(num_bits, int):
            raise Error(f"num_bits: expected whole bits, found {num_bits}")
        if not 2 <= num_bits <= 16 - unsigned:
            raise Error(f"num_bits: expected 2 … {16 - unsigned}, found {num_bits}")
        self._site = OneSite(policy, fine)

    @property
    def statistics(self) -> Any:
        """What was counted."""
        return self._site.statistics

    def collect(self, x: torch.Tensor) -> None:
        """Counts x, on its device."""
        if x.device.type != "meta" and x.numel() > 0:
            self._site.add(x)

    def compute_amax(
        self, method: str | None = None, *, percentile: float | None = None, **_: Any
    ) -> torch.Tensor | None:
        """The largest magnitude kept, float32 without dimensions; None when nothing was collected.

        method: a policy for this once. percentile: 50 … 100, with the policy percentile. Error
        when unsigned codes are to hold negative values.
        """
        if percentile is not None and method not in (None, "percentile"):
            raise Error(f"percentile: expected the method percentile, found {method!r}")
        if self._site.empty:
            return None
        least = min(statistic.min for statistic in self.statistics.values())
        if self._unsigned and least < 0:
            raise Error(f"unsigned: expected values from 0 up, found {least:g}")
        options: dict[str, Any] = {} if method is None else {"policy": method}
        if percentile is not None:
            options = {"policy": "percentile", "alpha": percentile}
        # From 0 up, the symmetric grid of one bit more is that of the unsigned codes.
        entry = self._site.decide(self._num_bits + self._unsigned, True, **options)
        return torch.tensor(max(abs(entry["lo"]), abs(entry["hi"])), dtype=torch.float32)

    def reset(self) -> None:
        """Forgets what was collected."""
        self._site.clear()

    def __str__(self) -> str:
        return f"ScuteCalibrator(policy={self._site.policy!r}, {len(self.statistics)} sites)"
