"""Tables of scripts/quality.py, its random model, and the places in a document they are put in."""

import sys

try:
    import numpy as np
except ImportError:
    sys.exit("quality: expected numpy; run it as /usr/bin/python3 after apt install python3-numpy")

from checkpoint_files import BF16, read_safetensors
from make_golden import random_weights, write_model

# As published, but for the numbers in the weights; vocabulary 50277, padded to a multiple of 8.
RANDOM_MODELS = {
    "mamba-130m": ({"d_model": 768, "d_intermediate": 0, "n_layer": 24, "vocab_size": 50277,
                    "ssm_cfg": {}, "attn_layer_idx": [], "attn_cfg": {}, "rms_norm": True,
                    "residual_in_fp32": True, "fused_add_norm": True,
                    "pad_vocab_size_multiple": 8, "tie_embeddings": True}, 50280),
}
_FIRST, _VOCABULARY = RANDOM_MODELS["mamba-130m"]
RANDOM_MODELS["mamba2-130m"] = ({**_FIRST, "ssm_cfg": {"layer": "Mamba2"}}, _VOCABULARY)
SEED = 20240702


def random_model(size, folder):
    """A folder of that size with random bf16 weights."""
    config, vocabulary = RANDOM_MODELS[size]
    print(f"quality: writes a random model of the size of {size}", flush=True)
    weights = random_weights(config, vocabulary, np.random.default_rng(SEED))
    write_model(folder, config, {n: BF16.rounded(v) for n, v in weights.items()}, 1)


def random_ids(size, file):
    """Four sequences of 128 tokens: enough for ranges where only bytes are measured."""
    ids = np.random.default_rng(SEED).integers(0, RANDOM_MODELS[size][0]["vocab_size"], (4, 128))
    np.save(file, ids.astype("<i4"))


def read_tensor(file, name):
    return read_safetensors(file)[name]


class Table:
    """Rows of one measurement, and which of them miss a bound."""

    def __init__(self, letter, command):
        self.letter, self.command = letter, command
        self.rows, self.notes, self.missed, self.checked = [], [], [], 0
        self._sizes, self._windows = False, set()

    def _verdict(self, ok, what, words):
        self.checked += 1
        if ok:
            return words + ": held"
        self.missed.append(f"{self.letter}: {what}: {words}")
        return words + ": **MISSED**"

    def _row(self, label, model, options, found, verdict):
        self._windows.add(found["windows"])
        digits = 4 if found["error"] >= 0.00005 else 5  # never "± 0.0000"
        self.rows.append((label, model, f"`{options}`" if options != "(none)" else "none",
                          f"{found['perplexity']:.3f} ± {found['perplexity_error']:.2f}",
                          f"{found['ratio']:.{digits}f} ± {found['error']:.{digits}f}", verdict))

    def add(self, label, model, options, found, bound):
        """A ratio; its bound holds for ratio − 2 standard errors."""
        verdict = ""
        if bound is not None:
            low = found["ratio"] - 2 * found["error"]
            verdict = self._verdict(low <= bound, f"{label}, {model}",
                                    f"{low:.4f} ≤ {bound:g}" if low <= bound else
                                    f"{low:.4f} > {bound:g}")
            if low <= bound < found["ratio"]:
                verdict += ", ratio alone above"
        self._row(label, model, options, found, verdict)

    def equal(self, label, model, options, found):
        """A ratio of two low-bit models that must not differ by more than noise."""
        distance, room = abs(found["ratio"] - 1), 2 * found["error"]
        words = f"within 2 SE of 1 (off by {distance:.5f})"
        verdict = self._verdict(distance <= room, f"{label}, {model}", words)
        self._row(label, model, options, found, verdict)

    def worse(self, label, model, options, found):
        """A ratio that must lie clearly above 1."""
        low = found["ratio"] - 2 * found["error"]
        verdict = self._verdict(low > 1, f"{label}, {model}", f"clearly worse, {low:.4f} > 1")
        self._row(label, model, options, found, verdict)

    def same(self, what, left, right):
        """Two float outputs that must agree to 1e-6 of the largest magnitude."""
        share = float(np.max(np.abs(left - right)) / np.max(np.abs(left)))
        self.notes.append(self._verdict(share <= 1e-6, what, f"{what} differ by {share:.1e} of the "
                                        f"largest ({left.size:,} values), at most 1e-6"))

    def add_size(self, label, model, options, low, plain, bound):
        self._sizes = True
        share = low / plain
        verdict = self._verdict(share <= bound, f"{label}, {model}",
                                f"{share:.4f} {'≤' if share <= bound else '>'} {bound:g}")
        self.rows.append((label, model, f"`{options}`", f"{plain:,}", f"{low:,}", verdict))

    def text(self):
        middle = ("bytes, bf16", "bytes, low-bit") if self._sizes else ("perplexity", "ratio")
        lines = [f"`{self.command}`", ""]
        if self._windows:
            lines[:0] = [f"{', '.join(map(str, sorted(self._windows)))} windows; ± is one standard "
                         "error, of ratios over the same windows of both models.", ""]
        lines += ["| recipe | model | options | " + " | ".join(middle) + " | bound |",
                  "|---|---|---|---|---|---|"]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        if self.notes:
            lines += [""] + [f"* {note}" for note in self.notes]
        return "\n".join(lines)


def _markers(letter, script):
    return (f"<!-- table {letter}: written by {script} -->",
            f"<!-- end of table {letter} -->")


def check_places(document, letters, script="scripts/quality.py"):
    """ValueError unless the document has a place for each of these tables."""
    text = document.read_text(encoding="utf-8")
    for begin, end in (_markers(letter, script) for letter in letters):
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise ValueError(f"{document}: expected '{begin}' and '{end}' once each, in this order")


def write_between(document, letter, text, script="scripts/quality.py"):
    """Replaces what is between the two markers of a table."""
    check_places(document, [letter], script)
    begin, end = _markers(letter, script)
    old = document.read_text(encoding="utf-8")
    head, tail = old.split(begin)[0], old.split(end)[1]
    document.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")
