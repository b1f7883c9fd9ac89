#!/usr/bin/python3
"""Language models of every family in float64, written from their equations: the reference of the tiny
models that make_families.py makes, compared with references made elsewhere.

  scripts/families_float64.py --check FOLDER…   compares with FOLDER/golden.safetensors: the logits and
                                                the input of every Linear
  scripts/families_float64.py --effects FOLDER… how far each rule moves the logits when it is got wrong
"""

import json
import pathlib
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("families_float64: expected numpy; run it as /usr/bin/python3 after apt install "
             "python3-numpy")

from checkpoint_files import read_folder, read_safetensors
from families import effects, hybrids, mambas, zamba
from families.blocks import Modules

FAMILIES = {
    "mamba": mambas.mamba, "falcon_mamba": mambas.falcon_mamba, "mamba2": mambas.mamba2,
    "state-spaces": mambas.state_spaces, "mistral": mambas.mistral, "bamba": hybrids.bamba,
    "granitemoehybrid": hybrids.granite, "falcon_h1": hybrids.falcon_h1,
    "nemotron_h": hybrids.nemotron_h, "jamba": hybrids.jamba, "zamba2": zamba.zamba2,
}

# Of the largest magnitude. The references' norms, steps and routers are f32 inside, Zamba2's blocks carry
# that furthest; of inputs, the small ones differ most.
LOGITS_LIMIT, ZAMBA2_LIMIT, INPUTS_LIMIT = 1e-6, 5e-6, 2e-5


def family_of(config):
    """By the rules of precedence that the files of all families need."""
    if "hidden_size" in config:
        return config["model_type"]
    return "mistral" if "dim" in config else "state-spaces"


def read_config(folder):
    folder = pathlib.Path(folder)
    file = folder / "config.json"
    return json.loads((file if file.exists() else folder / "params.json").read_text(encoding="utf-8"))


def forward(config, tensors, ids):
    """ids: (B, L). Returns (logits (B, L, V), the Modules with inputs, chosen experts and tensors read).
    The paths of Nemotron-H's modules begin with model., its tensors with backbone."""
    m = Modules(tensors)
    logits = FAMILIES[family_of(config)](config, m, np.asarray(ids))
    if family_of(config) == "nemotron_h":
        for record in (m.inputs, m.chosen):
            for name in [name for name in record if name.startswith("backbone.")]:
                record[name.replace("backbone.", "model.", 1)] = record.pop(name)
    return logits, m


def difference(mine, theirs):
    """The largest, of the largest magnitude; infinite where the shapes differ."""
    if mine.shape != theirs.shape:
        return np.inf
    return float(np.max(np.abs(mine - theirs)) / np.max(np.abs(theirs)))


def compare(folder):
    """Prints what differs; whether all of it is within the limits."""
    folder = pathlib.Path(folder)
    config, tensors = read_config(folder), read_folder(folder)
    golden = read_safetensors(folder / "golden.safetensors")
    logits, m = forward(config, tensors, golden["ids"])
    inputs = {name: difference(m.inputs[name[6:]], value) if name[6:] in m.inputs else np.inf
              for name, value in golden.items() if name.startswith("input/")}
    chosen = [name for name, value in golden.items()
              if name.startswith("experts/") and not np.array_equal(m.chosen.get(name[8:]), value)]
    unread = sorted(set(tensors) - m.read)
    off = difference(logits, golden["logits"])
    where = max(inputs, key=inputs.get)
    print(f"families_float64: {folder.name}: largest difference of the logits {off:.1e} of the largest, "
          f"of {len(inputs)} inputs {inputs[where]:.1e} ({where[6:]})"
          + "".join(f"; other experts: {name}" for name in chosen)
          + "".join(f"; not read: {name}" for name in unread))
    limit = ZAMBA2_LIMIT if family_of(config) == "zamba2" else LOGITS_LIMIT
    return off <= limit and inputs[where] <= INPUTS_LIMIT and not unread and not chosen


def show_effects(folder):
    folder = pathlib.Path(folder)
    golden = read_safetensors(folder / "golden.safetensors")
    moved = effects.effects(forward, read_config(folder), read_folder(folder), golden["ids"])
    print(f"{folder.name}: " + ", ".join(f"{name} {by:.1e}"
                                         for name, by in sorted(moved.items(), key=lambda item: item[1])))
    return True


def main():
    verbs = {"--check": compare, "--effects": show_effects}
    if sys.argv[1:2] == [] or sys.argv[1] not in verbs or len(sys.argv) < 3:
        sys.exit(__doc__)
    return 0 if all([verbs[sys.argv[1]](folder) for folder in sys.argv[2:]]) else 1


if __name__ == "__main__":
    sys.exit(main())
