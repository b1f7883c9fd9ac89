"""The kinds of tokenizer.json that the Mamba families publish, each with a tiny vocabulary, and
strings to try them on. Standard library alone: make_tokenizers.py asks the tokenizers package."""

import random
import unicodedata

R3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
      r"|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
          r"|\s*[\r\n]|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
RN = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}"
      r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]

# Merges run across kinds of characters, so that each cut shows.
CORPUS = ("The theory of the other 1,234.567 words isn't 'here': don't they'll we've I'M HELLO Hello "
          "hello  world   12 123 1234 ab12 ab 12ab.\n\n  def f(x):\n\treturn x+1  # ... --- !?\r\n "
          "naïve café straße ÀÉ Привет мир 你好 世界 日本語 ١٢٣ ½ ² a1 a12 a.b a,b 'a' a  a ▁a ▁▁ab ") * 2


def byte_alphabet():
    """One printable character for each byte, as GPT-2 wrote them."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    out, following = [], 256
    for byte in range(256):
        out.append(chr(byte if byte in own else following))
        following += byte not in own
    return out


def merges_of(symbols, count):
    """The most frequent pairs, one after the other; of equals the first in order of characters."""
    symbols, out = list(symbols), []
    while len(out) < count:
        pairs = {}
        for pair in zip(symbols, symbols[1:]):
            pairs[pair] = pairs.get(pair, 0) + 1
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        out.append(best)
        merged, at = [], 0
        while at < len(symbols):
            both = tuple(symbols[at:at + 2]) == best
            merged.append("".join(best) if both else symbols[at])
            at += 2 if both else 1
        symbols = merged
    return out


def bpe(tokens, merges, **options):
    vocab = {}
    for token in [*tokens, *("".join(pair) for pair in merges)]:
        vocab.setdefault(token, len(vocab))
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, **options, "vocab": vocab, "merges": [list(m) for m in merges]}


def byte_model(**options):
    alphabet = byte_alphabet()
    symbols = [alphabet[byte] for byte in CORPUS.encode()]
    whole = ["Ġworldly", "123", "ĠHello", "1234", "ĠĠĠĠ"] if options.get("ignore_merges") else []
    model = bpe(alphabet, merges_of(symbols, 70), **options)
    for token in whole:  # words that no merges make
        model["vocab"].setdefault(token, len(model["vocab"]))
    return model


def piece_model(fallback=True, **options):
    symbols = CORPUS.replace(" ", "▁")
    known = sorted(set(symbols) - set("½²世界"))
    symbols = "".join(c for c in symbols if c in known)
    first = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256) if fallback]
    model = bpe(first + known, merges_of(symbols, 70), unk_token="<unk>", fuse_unk=True,
                byte_fallback=fallback)
    return {**model, **options}


def unigram_model(fallback=False):
    draw = random.Random(5)
    symbols = CORPUS.replace(" ", "▁")
    pieces = sorted(set(symbols) - set("½²世界"))
    pieces += sorted({symbols[at:at + size] for size in (2, 3, 4, 5)
                      for at in range(0, len(symbols) // 2, 3)} - set(pieces))[::2]
    vocab = [["<unk>", 0.0], ["<s>", 0.0], ["</s>", 0.0]]
    vocab += [[f"<0x{byte:02X}>", -8.0] for byte in range(256) if fallback]
    # Quarters: sums are often equal, and which wins then shows.
    vocab += [[piece, -draw.randrange(8, 40) / 4 - 3.0 / len(piece)] for piece in pieces]
    return {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": fallback}


def byte_level(use_regex=False, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(kind, *parts):
    return {"type": "Sequence", kind: list(parts)}


def pre(*parts):
    return sequence("pretokenizers", *parts)


def metaspace(scheme, cut):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}


def template(before, after=()):
    named = {**{name: number for name, number in before}, **{name: number for name, number in after}}
    single = [*({"SpecialToken": {"id": name, "type_id": 0}} for name, _ in before),
              {"Sequence": {"id": "A", "type_id": 0}},
              *({"SpecialToken": {"id": name, "type_id": 0}} for name, _ in after)]
    return {"type": "TemplateProcessing", "single": single,
            "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [number], "tokens": [name]}
                               for name, number in named.items()}}


SPM_DECODER = sequence("decoders", {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                       {"type": "ByteFallback"}, {"type": "Fuse"},
                       {"type": "Strip", "content": " ", "start": 1, "stop": 0})
SPM_NORMALIZER = sequence("normalizers", {"type": "Prepend", "prepend": "▁"},
                          {"type": "Replace", "pattern": {"String": " "}, "content": "▁"})


def added(content, number, special=True, **flags):
    return {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": not special, "special": special, **flags}


def tokenizer(model, pre_tokenizer, normalizer=None, decoder=None, processor=None, tokens=()):
    size = len(model["vocab"])
    listed = []
    for content, special, flags in tokens:
        known = model["vocab"].get(content) if isinstance(model["vocab"], dict) else None
        listed.append(added(content, known if known is not None else size, special, **flags))
        size += known is None
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": listed,
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": processor,
            "decoder": decoder, "model": model}


def byte_kind(pre_tokenizer, normalizer=None, begin=None, tokens=(), **options):
    model = byte_model(**options)
    size = len(model["vocab"])
    tokens = [("<|endoftext|>", True, {}), *tokens]
    processor = byte_level(True)
    if begin:
        processor = sequence("processors", processor, template([("<|endoftext|>", size)]))
    return tokenizer(model, pre_tokenizer, normalizer, byte_level(True), processor, tokens)


def piece_kind(pre_tokenizer=None, normalizer=None, end=False, model=None, decoder=SPM_DECODER):
    model = model or piece_model()
    tokens = [("<s>", True, {}), ("</s>", True, {}), ("<unk>", True, {})]
    if isinstance(model["vocab"], list):
        tokens = []
    processor = template([("<s>", 1)], [("</s>", 2)] if end else [])
    return tokenizer(model, pre_tokenizer, normalizer, decoder, processor, tokens)


def families():
    blanks = [("  ", False, {}), ("    ", False, {}), ("<|word|>", False, {"single_word": True}),
              ("<|left|>", True, {"lstrip": True}), ("<|right|>", True, {"rstrip": True})]
    return {
        "gpt_neox": byte_kind(byte_level(True), {"type": "NFC"}, tokens=blanks),
        "falcon_mamba": byte_kind(pre({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(True),
                                      {"type": "Digits", "individual_digits": False},
                                      split("[0-9][0-9][0-9]"))),
        "codestral": piece_kind(metaspace("first", False)),
        "llama3_bamba": byte_kind(pre(split(R3), byte_level()), begin=True, ignore_merges=True),
        "granite": byte_kind(pre(split(CL100K, "Removed", True), byte_level())),
        "falcon_h1": byte_kind(pre(split(R3), {"type": "Digits", "individual_digits": True}, byte_level()),
                               ignore_merges=True),
        "nemotron_h": byte_kind(pre(split(RN), byte_level()), begin=True, ignore_merges=True),
        "jamba": piece_kind(None, SPM_NORMALIZER),
        "zamba2": piece_kind(metaspace("always", True), end=True),
    }


def parts():
    """What a tokenizer.json can hold beside what the families' do today."""
    out = {}
    for behavior in BEHAVIORS:
        name = behavior.lower()
        out["split_" + name] = byte_kind(pre(split(r"\s|\p{P}", behavior), byte_level()))
        out["split_inverted_" + name] = byte_kind(pre(split(r"[\p{Letter}']+", behavior, True), byte_level()))
        out["punctuation_" + name] = byte_kind(pre({"type": "Punctuation", "behavior": behavior}, byte_level()))
    out["split_empty"] = byte_kind(pre(split(r"\d*|(?=\W)", "Isolated"), byte_level()))
    out["digits"] = byte_kind(pre({"type": "Digits", "individual_digits": True}, byte_level(True, True)))
    for scheme in ("first", "never", "always"):
        for cut in (True, False):
            out[f"metaspace_{scheme}_{'cut' if cut else 'whole'}"] = piece_kind(metaspace(scheme, cut))
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        out[form.lower()] = byte_kind(byte_level(True), {"type": form})
    replace = {"type": "Replace", "pattern": {"Regex": r"\s{2,}|[\p{Sc}\p{Nl}]+"}, "content": " "}
    strip = {"type": "Strip", "strip_left": True, "strip_right": True}
    out["lowercase"] = byte_kind(byte_level(True), sequence("normalizers", {"type": "NFD"}, {"type": "Lowercase"}))
    out["strip"] = byte_kind(byte_level(True), sequence("normalizers", strip, replace, {"type": "Prepend", "prepend": "x"}))
    out["strip_left"] = byte_kind(byte_level(True), {**strip, "strip_right": False})
    out["strip_right"] = byte_kind(byte_level(True), {**strip, "strip_left": False})
    out["strip_metaspace"] = piece_kind(metaspace("first", True), sequence("normalizers", strip, {**replace, "content": ""}))
    out["pieces_unknown"] = piece_kind(None, SPM_NORMALIZER, model=piece_model(False))
    out["pieces_unknown_apart"] = piece_kind(None, SPM_NORMALIZER, model=piece_model(False, fuse_unk=False))
    out["pieces_ignored_merges"] = piece_kind(metaspace("always", True), model=piece_model(ignore_merges=True))
    out["unigram"] = piece_kind(metaspace("always", True), {"type": "NFKC"}, True, unigram_model(),
                                metaspace("always", True))
    out["unigram_bytes"] = piece_kind(metaspace("always", False), None, True, unigram_model(True))
    return out


def kinds():
    return {**families(), **parts()}


FIXED = ["", " ", "Hello world", " Hello  world ", "don't they'll WE'VE I'm", "12 123 1234 12345 a1b22", "a.b, c!? (x)",
         "def f(x):\n\treturn x+1\r\n\r\n  # end  ", "naïve cafe\u0301 STRASSE ß İI", "Привет, мир! Ǆǅǆ", "你好 世界 日本語123",
         "▁a ▁▁ b▁", "<|endoftext|>a<s> b</s><unk>", "\u1ea0\u0308\u0302ﬁ ① ½ ² Ⅷ ㍍", "🙂‍🚀 \U0001f1e9\U0001f1ea x\u200d",
         "'S 'ſ \u212a '\u212a \u017f", "\U000105c0\U00013460\U00010d40\U0001e5f1\U0001ccf0\U00016ea0"]


class Strings:
    """Random ones: words of the vocabulary, characters of every general category, runs of blanks,
    digits, marks and signs, tokens, and characters of any number."""

    categories = {}

    def __init__(self, seed):
        self.draw = random.Random(seed)
        for number in range(0 if self.categories else 0x110000):
            if 0xD800 <= number < 0xE000:
                continue
            category = unicodedata.category(chr(number))
            if category not in ("Cn", "Co"):
                self.categories.setdefault(category, []).append(chr(number))
        self.names = sorted(self.categories)
        self.marks = self.categories["Mn"] + list("\u0301\u0323\u0302\u11a8\u1161") * 200
        self.tokens = ["<|endoftext|>", "<s>", "</s>", "<unk>", "<|word|>", "<|left|>", "<|right|>", "<0x41>", "▁"]

    def any_character(self, highest=0x33000):
        number = self.draw.randrange(highest - 0x800)
        return chr(number if number < 0xD800 else number + 0x800)

    def some(self, characters, most):
        return "".join(self.draw.choice(characters) for _ in range(self.draw.randint(1, most)))

    def segment(self):
        draw, kind = self.draw, self.draw.randrange(11)
        if kind <= 2:
            begin = draw.randrange(len(CORPUS) // 2)
            return CORPUS[begin:begin + draw.randint(1, 14)]
        if kind == 3:
            return self.some(self.categories[draw.choice(self.names)], 4)
        if kind == 4:
            return "".join(self.any_character() for _ in range(draw.randint(1, 3)))
        if kind == 5:
            return self.some(" \n\r\t\u00a0\u3000\u2028\u0085", 5)
        if kind == 6:
            return self.some("0123456789", 6)
        if kind == 7:
            return draw.choice("'’") + draw.choice(["s", "S", "T", "re", "VE", "m", "ll", "LL", "d", "ſ", "x", "lL"])
        if kind == 8:
            return draw.choice("aeoAΑИ각가ᄀ") + self.some(self.marks, 4)
        if kind == 9:
            return draw.choice(self.tokens)
        return self.some("!?.,;:-_()[]{}/#@&*+=<>^`|~$%\"'\\", 4)

    def one(self):
        return "".join(self.segment() for _ in range(self.draw.randint(1, 9)))
