"""What the percentile pipeline is asked to do: file, then environment, then arguments. No torch."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from scute import Error
from scute.json_files import read_json

BUCKETS = ("vision.siglip", "vision.dino", "llm", "projector")

# How weights are rotated and a model is finished, as `scute quantize` does it on request; kept
# under the pipeline's names for those who read them.
ROTATE_DEFAULT: dict[str, Any] = {
    "rotation": "hadamard",
    "axis": "io",
    "scope": "per_channel",
    "block_size": 64,
    "method": "bake",
    "klt_batches": 8,
    "eps": 1e-6,
}
FINALIZE_DEFAULT: dict[str, Any] = {
    "weight_bits": 8,
    "act_bits": 8,
    "symmetric": True,
    "per_channel": True,
    "rounding": "nearest",
    "pack_linear": True,
    "pack_conv": True,
    "verify_batches": 0,
    "atol": 1e-2,
    "rtol": 1e-1,
}

_ENDINGS = (".out", ".featurizer", ".features", ".head", ".mlp")


def normalize_stage(name: str) -> str:
    """The bucket that a name or a module's path means: one of BUCKETS.

    Case, "/" for "." and spaces do not matter. ValueError when it can mean none, a vision tower
    that is neither of the two say.
    """
    text = re.sub(r"\.+", ".", name.strip().lower().replace("/", ".").replace(" ", "")).strip(".")
    for ending in _ENDINGS:
        if text.endswith(ending):
            text = text[: -len(ending)]
            break
    parts = text.split(".")
    if "dino" in text:
        return "vision.dino"
    if "siglip" in text:
        return "vision.siglip"
    if "projector" in text or parts[-1] == "proj" or parts[0] == "proj":
        return "projector"
    known = any(word in text for word in ("mamba", "llm", "decoder", "language"))
    if known or ("backbone" in text and "vision" not in text):
        return "llm"
    raise Error(
        f"normalize_stage: unable to classify {name!r}; expected one of {', '.join(BUCKETS)}"
    )


def parse_targets(given: str | Iterable[str] | None) -> list[str]:
    """Buckets from names, separated by commas or listed; each once; none: all four."""
    names = given.split(",") if isinstance(given, str) else list(given or ())
    found = [normalize_stage(name) for name in names if name.strip()]
    return list(dict.fromkeys(found)) or list(BUCKETS)


@dataclass
class PctConfig:
    """The options; percentile_override is a percentile (0 … 100) for every bucket, or None."""

    enabled: bool = False
    targets: list[str] = field(default_factory=lambda: list(BUCKETS))
    percentile_override: float | None = None
    stats_out: str = "outputs/percentile_stats.pt"
    overrides_json: str = "outputs/percentile_overrides.json"
    device: str = "cuda"
    img_size: int = 384
    text_len: int = 16
    batches: int = 8
    batch_size: int = 4

    def to_dict(self) -> dict[str, Any]:
        """Option → value, as save_json() writes it."""
        return asdict(self)

    def chosen(self, option: str) -> Any:
        """The option's value, or None where it is what it is by default."""
        value = getattr(self, option)
        return None if value == getattr(PctConfig(), option) else value

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PctConfig:
        """Unknown keys are passed over; no targets: all four."""
        return cls().merge(values)

    def merge(self, other: PctConfig | Mapping[str, Any]) -> PctConfig:
        """These with the members of another: of a mapping those that it has and are not None."""
        values = other.to_dict() if isinstance(other, PctConfig) else dict(other)
        known = {f.name for f in fields(self)}
        given = {k: v for k, v in values.items() if k in known and v is not None}
        if "targets" in given:
            given["targets"] = parse_targets(given["targets"])
        return replace(self, **given)

    @classmethod
    def from_env(
        cls, base: PctConfig | None = None, environment: Mapping[str, str] | None = None
    ) -> PctConfig:
        """`base` with PCT_TARGETS, PCT_BATCHES and so on; a number that is none is passed over.

        PCT_ENABLED is off when it is 0, false, False or empty; a bad PCT_PERCENTILE_OVERRIDE is
        none.
        """
        base = base or cls()
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for option in fields(cls):
            text = environment.get(f"PCT_{option.name.upper()}")
            if text is None:
                continue
            if option.name == "enabled":
                values["enabled"] = text not in ("0", "false", "False", "")
            elif option.name == "percentile_override":
                base = replace(base, percentile_override=_number(text, float))
            elif isinstance(getattr(base, option.name), int):
                values[option.name] = _number(text, int)
            else:
                values[option.name] = text
        return base.merge(values)

    @classmethod
    def load_json(cls, path: str | os.PathLike[str]) -> PctConfig:
        """from_dict() of a file. Error when it holds no object, or text where a number belongs."""
        values = read_json(path)
        for option in fields(cls):
            wanted = (int, float) if option.name == "percentile_override" else type(
                getattr(cls(), option.name)
            )
            found = values.get(option.name)
            if found is not None and option.name != "targets" and not isinstance(found, wanted):
                raise Error(
                    f"{os.fspath(path)}: {option.name}: expected another type, found {found!r}"
                )
        return cls.from_dict(values)

    def save_json(self, path: str | os.PathLike[str]) -> None:
        """A file that load_json() reads."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.to_dict(), file, indent=2)
            file.write("\n")


def _number(text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        return None
