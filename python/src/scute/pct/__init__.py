"""The percentile pipeline of vision-language models, under its own names, on torch modules.

Collect what four buckets see (`python -m scute.pct.collect`), decide a percentile and a clip range
for each (`python -m scute.pct.apply`), give the ranges to quantizers. Counts are exact and merge
over batches; `scute decide`, `quantize` and `report` read the same files.
"""

from __future__ import annotations

from scute.pct.accumulator import PercentileAccumulator, attach_pct_observers
from scute.pct.config import (
    BUCKETS,
    FINALIZE_DEFAULT,
    ROTATE_DEFAULT,
    PctConfig,
    normalize_stage,
    parse_targets,
)
from scute.pct.layers import QuantConv1d, QuantConv2d, QuantLinear, clamp_tagged, tag, wrap
from scute.pct.policy import compute_clip_range, decide_percentile, select_best_percentile
from scute.pct.quantizer import UniformAffineQuantizer, apply_pct_overrides_to_quantizers
from scute.pct.schema import (
    check_observer,
    check_summary,
    convert_legacy_summary,
    export_best_json,
    read_percentile_summary,
)
from scute.pct.targets import find_node, resolve_hooks

__all__ = [
    "BUCKETS",
    "FINALIZE_DEFAULT",
    "ROTATE_DEFAULT",
    "PctConfig",
    "PercentileAccumulator",
    "QuantConv1d",
    "QuantConv2d",
    "QuantLinear",
    "UniformAffineQuantizer",
    "apply_pct_overrides_to_quantizers",
    "attach_pct_observers",
    "check_observer",
    "check_summary",
    "clamp_tagged",
    "compute_clip_range",
    "convert_legacy_summary",
    "decide_percentile",
    "export_best_json",
    "find_node",
    "normalize_stage",
    "parse_targets",
    "read_percentile_summary",
    "resolve_hooks",
    "select_best_percentile",
    "tag",
    "wrap",
]
