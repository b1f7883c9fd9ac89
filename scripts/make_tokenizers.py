#!/usr/bin/env python3
"""Makes tests/golden/tokenizers.json: tiny tokenizers of the kinds that the Mamba families publish,
some texts, and the ids and texts that the tokenizers package makes of them.

  make_tokenizers.py               writes tests/golden/tokenizers.json
  make_tokenizers.py --check       asks the package again and compares with the stored file
  make_tokenizers.py --random DIR  writes one file a kind, each with 10,000 random strings, into DIR

Needs the tokenizers package: scripts/setup_debian.sh --all puts one into build/python.
"""

import argparse
import json
import pathlib
import sys

from tokenizer_kinds import FIXED, Strings, kinds

try:
    import tokenizers
except ImportError:
    sys.exit("make_tokenizers: expected the tokenizers package, found none; run scripts/setup_debian.sh --all, "
             "then build/python/bin/python scripts/make_tokenizers.py")

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "tokenizers.json"
RANDOM_IN_GOLDEN = 8
RANDOM = 10000


def answers(tokenizer, texts):
    """For each text: its ids, and the text that they make when it is another one; for the first few,
    the ids with special tokens."""
    plain = [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]
    special = [one.ids for one in tokenizer.encode_batch(texts[:4], add_special_tokens=True)]
    decoded = [tokenizer.decode(ids, skip_special_tokens=False) for ids in plain]
    return {"plain": plain, "special": special,
            "decoded": [None if made == text else made for made, text in zip(decoded, texts)]}


def compact(value):
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def fixed():
    """The models once each, for kinds share them."""
    strings = Strings(1)
    texts = FIXED + [strings.one() for _ in range(RANDOM_IN_GOLDEN)]
    models, out = [], {}
    for name, tokenizer in kinds().items():
        loaded = tokenizers.Tokenizer.from_str(json.dumps(tokenizer))
        model = tokenizer.pop("model")
        if model not in models:
            models.append(model)
        out[name] = {"tokenizer": tokenizer, "model": models.index(model), **answers(loaded, texts)}
    lines = [f"{json.dumps(name)}:{compact(kind)}" for name, kind in out.items()]
    return ('{"made_by":"scripts/make_tokenizers.py","package":"tokenizers ' + tokenizers.__version__ +
            f'","texts":{compact(texts)},\n"models":[' + ",\n".join(map(compact, models)) + '],\n"kinds":{' +
            ",\n".join(lines) + "}}\n")


def write_random(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, tokenizer) in enumerate(kinds().items(), 100):
        strings = Strings(seed)
        texts = [strings.one() for _ in range(RANDOM)]
        loaded = tokenizers.Tokenizer.from_str(json.dumps(tokenizer))
        model = tokenizer.pop("model")
        kind = {"tokenizer": tokenizer, "model": 0, **answers(loaded, texts)}
        (folder / f"{name}.json").write_text(compact({"texts": texts, "models": [model], "kinds": {name: kind}}))
    print(f"make_tokenizers: {seed - 99} kinds, {RANDOM} strings each, by tokenizers {tokenizers.__version__}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--random", type=pathlib.Path, metavar="DIR")
    request = parser.parse_args()
    if request.random:
        write_random(request.random)
    elif not request.check:
        GOLDEN.write_text(fixed())
    elif GOLDEN.read_text() != fixed():
        sys.exit(f"make_tokenizers: {GOLDEN} is not what tokenizers {tokenizers.__version__} makes today")
    else:
        print("make_tokenizers: as stored")


main()
