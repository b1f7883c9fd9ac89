"""python -m scute.pct.collect: what the four buckets of a vision-language model see.

--model is a folder, which scute's own engine reads (`scute collect`), or PACKAGE.MODULE:FACTORY, a
torch model: FACTORY() gives the model, or (model, forward), where forward(model, files, ids) runs
one batch of pictures with their token ids (B x text_len, or None).
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scute import Error
from scute.pct.config import PctConfig, parse_targets

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_log = logging.getLogger("scute.pct")


def pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """Pictures in the folder and below it, sorted, each once. Error when there are none."""
    found = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in _PICTURES)
    if not found:
        raise Error(f"{os.fspath(folder)}: expected pictures {' '.join(_PICTURES)}, found none")
    return found


def load_factory(name: str) -> tuple[Any, Callable[..., Any]]:
    """(model, forward) of PACKAGE.MODULE:FACTORY; modules of the working directory count too."""
    module, _, factory = name.partition(":")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError) as error:
        raise Error(f"--model {name}: expected PACKAGE.MODULE:FACTORY, found {error}") from None
    model, forward = made if isinstance(made, tuple) else (made, forward_of_cobra)
    return model, forward


def forward_of_cobra(model: Any, files: Sequence[Path], ids: Any) -> None:
    """The pictures through vision_backbone.image_transform, then forward(input_ids, pixel_values).

    Without ids towers and projector alone run.
    """
    import torch
    from PIL import Image

    transform = model.vision_backbone.image_transform
    shown = [transform(Image.open(file).convert("RGB")) for file in files]
    device = next(model.parameters()).device
    if isinstance(shown[0], dict):
        pixels: Any = {key: torch.stack([s[key] for s in shown]).to(device) for key in shown[0]}
    else:
        pixels = torch.stack(shown).to(device)
    if ids is None:
        model.projector(model.vision_backbone(pixels))
    else:
        model(input_ids=ids.to(device), pixel_values=pixels)


def collect(
    model: Any,
    forward: Callable[..., Any],
    files: Sequence[Path],
    config: PctConfig,
    *,
    random_text: bool = True,
    seed: int = 42,
) -> Any:
    """A PercentileAccumulator of all batches: at most config.batches of config.batch_size pictures.

    Random ids are seeded and below the size of the token table. An exception of the model is not
    caught; hooks are removed. Which buckets saw nothing: missing().
    """
    import torch

    from scute.pct.accumulator import PercentileAccumulator, attach_pct_observers
    from scute.pct.targets import find_node

    accumulator = PercentileAccumulator()
    generator = torch.Generator().manual_seed(seed)
    vocabulary = find_node(model, "llm").num_embeddings if random_text else 0
    size = config.batch_size
    batches = [files[i : i + size] for i in range(0, len(files), size)][: config.batches]
    handles = attach_pct_observers(model, accumulator, config.targets)
    training = model.training
    try:
        model.eval()
        with torch.no_grad():
            for i, batch in enumerate(batches):
                shape = (len(batch), config.text_len)
                ids = torch.randint(vocabulary, shape, generator=generator) if random_text else None
                forward(model, batch, ids)
                _log.info(
                    "[run] batch %d/%d collected; acc keys=%s",
                    i + 1,
                    len(batches),
                    sorted(accumulator.statistics),
                )
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return accumulator


def missing(accumulator: Any, targets: Sequence[str]) -> list[str]:
    """Targets that saw no value."""
    return [bucket for bucket in targets if bucket not in accumulator.statistics]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scute.pct.collect",
        description="Statistics of a vision-language model's buckets, exact over all batches.",
        epilog="Options not given: the environment (PCT_BATCHES=4), then the file of --config.",
    )
    parser.add_argument("--model", required=True, help="a folder, or PACKAGE.MODULE:FACTORY")
    parser.add_argument("--images", "--data", help="folder of pictures")
    parser.add_argument("--device", help="of a torch model [cuda where there is one, else cpu]")
    parser.add_argument("--batches", type=int, help="at most [8]")
    parser.add_argument("--batch-size", type=int, help="pictures of a batch [4]")
    parser.add_argument("--text-len", type=int, help="random ids of a picture [16]")
    parser.add_argument("--targets", help="buckets, separated by commas [all four]")
    parser.add_argument("--out", "--export", dest="stats_out", help=".pt or .safetensors")
    parser.add_argument("--export-best-json", help="also the decided ranges, here")
    parser.add_argument("--percentile-override", type=float, help="for every bucket: 50 … 100")
    parser.add_argument("--no-random-text", action="store_true", help="no text at all")
    parser.add_argument("--seed", type=int, default=42, help="of the random ids [42]")
    parser.add_argument("--config", help="the same options as JSON")
    return parser


def configure(args: argparse.Namespace) -> PctConfig:
    """File, then environment, then flags."""
    base = PctConfig.load_json(args.config) if args.config else PctConfig()
    config = PctConfig.from_env(base)
    flags = {key: value for key, value in vars(args).items() if value is not None}
    flags.pop("config", None)
    config = config.merge(flags)
    for name in ("batches", "batch_size", "text_len"):
        if getattr(config, name) < 1:
            raise Error(
                f"--{name.replace('_', '-')}: expected at least 1, found {getattr(config, name)}"
            )
    return config


def _by_engine(args: argparse.Namespace, config: PctConfig) -> int:
    """A folder: `scute collect` with the same flags, in this process."""
    from scute.__main__ import main as scute_main

    words = [
        "collect",
        args.model,
        "--out",
        config.stats_out,
        "--targets",
        ",".join(config.targets),
    ]
    words += ["--batches", str(config.batches), "--batch-size", str(config.batch_size)]
    if args.images:
        words += ["--images", args.images]
    words += ["--no-random-text"] if args.no_random_text else ["--text-len", str(config.text_len)]
    if not args.no_random_text:
        words += ["--seed", str(args.seed)]
    if args.export_best_json:
        words += ["--export-best-json", args.export_best_json]
        if config.percentile_override is not None:
            words += ["--percentile-override", str(config.percentile_override)]
    if device := args.device or config.chosen("device"):
        words += ["--device", device]
    return scute_main(words + ["--force"])


def _by_torch(args: argparse.Namespace, config: PctConfig) -> int:
    import torch

    from scute.pct.apply import write_overrides

    if not args.images:
        raise Error("--images: expected a folder of pictures, found none")
    model, forward = load_factory(args.model)
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(args.device or config.chosen("device") or usual)
    accumulator = collect(
        model,
        forward,
        pictures(args.images),
        config,
        random_text=not args.no_random_text,
        seed=args.seed,
    )
    for bucket, table in accumulator.state_dict().items():
        kept = table["percentiles"]
        print(
            f"[PctCollect] {bucket} samples={table['numel']} p99={kept['p99.0']:.4f} "
            f"p99.9={kept['p99.9']:.4f} p99.99={kept['p99.99']:.4f} "
            f"min={table['min']:.4f} max={table['max']:.4f}"
        )
    silent = missing(accumulator, config.targets)
    if len(accumulator):
        os.makedirs(os.path.dirname(config.stats_out) or ".", exist_ok=True)
        accumulator.statistics.save(config.stats_out)
        print(f"wrote {config.stats_out}")
    if args.export_best_json and len(accumulator):
        write_overrides(config.stats_out, args.export_best_json, None, config.percentile_override)
    if silent:
        raise Error(f"{', '.join(silent)}: expected values, found none; the others were written")
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """The exit code: 0, 1 when the work failed, 2 for wrong usage."""
    args = _parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        parse_targets(args.targets)
        config = configure(args)
    except (OSError, ValueError) as error:
        print(f"scute: error: {error}", file=sys.stderr)
        return 2
    try:
        return _by_torch(args, config) if ":" in args.model else _by_engine(args, config)
    except (Error, OSError) as error:
        print(f"scute: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
