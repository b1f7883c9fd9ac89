"""An observer of torch.ao.quantization that counts exactly and decides by scute's policies.

observer = ScuteObserver.with_args(policy="mse", dtype=torch.quint8)
qconfig = torch.ao.quantization.QConfig(activation=observer, weight=default_weight_observer)
"""

from __future__ import annotations

import pickle
from typing import Any

import torch
from torch.ao.quantization.observer import ObserverBase

from scute import Error
from scute.adapters.ranges import OneSite

_SYMMETRIC = (torch.per_tensor_symmetric,)
_KNOWN = (torch.per_tensor_affine, torch.per_tensor_symmetric)


_TYPES = (torch.quint8, torch.qint8, torch.uint8, torch.int8)


class ScuteObserver(ObserverBase):
    """One scale and zero point for a tensor. policy: as scute.decide's; fine: as Histogram's.

    quant_min, quant_max: 2^bits codes from either 0 or -2^(bits-1); by default those of the type.
    What was counted is part of state_dict(). Error for schemes with scales per channel.
    """

    def __init__(
        self,
        policy: str = "auto",
        dtype: torch.dtype = torch.quint8,
        qscheme: torch.qscheme = torch.per_tensor_affine,
        quant_min: int | None = None,
        quant_max: int | None = None,
        fine: int = 8,
        reduce_range: bool = False,
        factory_kwargs: dict[str, Any] | None = None,
        is_dynamic: bool = False,
    ) -> None:
        super().__init__(dtype)
        if reduce_range:
            raise Error("reduce_range: expected False (quant_min and quant_max say which codes)")
        # torch 2's FakeQuantize always says it.
        if is_dynamic:
            raise Error("is_dynamic: expected False (a range is decided from all that was counted)")
        if dtype not in _TYPES:
            raise Error(f"dtype: expected quint8 or qint8, found {dtype}")
        if qscheme not in _KNOWN:
            raise Error(f"qscheme: expected a scale for each tensor, found {qscheme}")
        if quant_min is None or quant_max is None:
            quant_min, quant_max = (0, 255) if dtype in (torch.quint8, torch.uint8) else (-128, 127)
        codes = quant_max - quant_min + 1
        if codes & (codes - 1) or codes < 4 or quant_min not in (0, -(codes // 2)):
            raise Error(
                f"codes: expected 2^bits from 0 or -2^(bits-1), found {quant_min} … {quant_max}"
            )
        self.qscheme, self.quant_min, self.quant_max = qscheme, quant_min, quant_max
        self._bits = codes.bit_length() - 1
        self._site = OneSite(policy, fine)

    @property
    def statistics(self) -> Any:
        """What was counted."""
        return self._site.statistics

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Counts x and gives it back as it is."""
        if x.numel() > 0:
            self._site.add(x)
        return x

    def calculate_qparams(self, **_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """(scale, zero point) of one element, float32 and int64. Error before any value."""
        entry = self._site.decide(self._bits, self.qscheme in _SYMMETRIC)
        zero = int(entry.get("zero_point") or 0) + self.quant_min + (1 << (self._bits - 1))
        return torch.tensor([entry["scale"]], dtype=torch.float32), torch.tensor([zero])

    def reset_min_max_vals(self) -> None:
        """Forgets what was counted."""
        self._site.clear()

    def get_extra_state(self) -> torch.Tensor:
        """What was counted, as bytes: part of state_dict()."""
        return torch.frombuffer(bytearray(pickle.dumps(self.statistics)), dtype=torch.uint8)

    def set_extra_state(self, state: torch.Tensor) -> None:
        """What get_extra_state() gave; UnpicklingError for anything but statistics."""
        self._site.statistics = _loaded(state)

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"policy={self._site.policy!r}, {self.quant_min} … {self.quant_max}"


_OWN = (("scute.statistics", "Statistics"), ("scute._core", "StatisticsSet"))


class _OwnTypes(pickle.Unpickler):
    """Nothing but statistics: a checkpoint may come from anywhere."""

    def find_class(self, module: str, name: str) -> Any:
        # By whole names: what these modules import would be within reach of "os.system".
        if (module, name) not in _OWN:
            raise pickle.UnpicklingError(f"expected statistics, found {module}.{name}")
        return super().find_class(module, name)


def _loaded(state: torch.Tensor) -> Any:
    import io

    return _OwnTypes(io.BytesIO(state.cpu().numpy().tobytes())).load()
