#!/usr/bin/env python3
"""Checks who includes whom (the layers of scute point one way only), and that no two headers
define a type of the same name, and that what reaches files keeps to base/portable_math.h.

  scripts/check_layers.py              checks the repository, prints every edge that must not be
  scripts/check_layers.py --self-test  proves that bad edges are found
"""

import pathlib
import re
import sys

BELOW_PRODUCTS = ["base", "tensor", "io", "text", "data", "observe", "quantize", "decide", "models",
                  "evaluate"]

# layer -> the layers it may include. Tests (_test.cc) may include any.
LAYERS = {
    "base": [],
    "tensor": ["base"],
    "io": ["base", "tensor"],
    "text": ["base"],
    "kernels": ["base", "tensor"],
    "observe": ["base", "tensor", "kernels"],
    "quantize": ["base", "tensor", "kernels"],
    "decide": ["base", "observe", "quantize"],
    "models": ["base", "tensor", "kernels", "quantize"],
    "data": ["base", "tensor", "io", "text"],
    "evaluate": ["base", "tensor", "kernels", "models"],
    "recipe": BELOW_PRODUCTS,
    # Three siblings: none knows another, but Cobra has a language model inside.
    "language": [*BELOW_PRODUCTS, "recipe"],
    "cobra": [*BELOW_PRODUCTS, "recipe", "language"],
    "regressor": [*BELOW_PRODUCTS, "recipe"],
    "experiments": ["base", "io", "observe", "decide", "evaluate", "recipe"],
}
PRODUCTS = ["language", "cobra", "regressor"]
# They may include every layer, and Python's the other; nothing below knows them.
FRONT_DOORS = ["cli", "python"]
# Where experiments may use the products whose experiments they run, or which they show.
SHOWS_PRODUCTS = re.compile(
    r"scute/experiments/(run|subject|report/|positions/)")

# decide works on statistics alone, so these are all it may know of two of its layers ...
PURE = {"observe/statistic", "observe/distribution", "quantize/grid"}
# ... and these, and what they include, know no tensor.
NO_TENSOR = ["tensor", "kernels"]

# Third-party headers -> where they may be included; a trailing / means anywhere below. None is
# allowed in a header of the library, apart from Highway's in kernels/*-inl.h.
THIRD_PARTY = {
    r"nlohmann/": ["scute/base/json.cc"],
    r"openssl/": ["scute/base/hash.cc"],
    r"fmt/": ["scute/", "cli/", "python/extension/"],
    r"hwy/": ["scute/kernels/"],
    r"(zip|zipconf|zlib)\.h": ["scute/io/"],
    r"(jpeglib|jerror)\.h": ["scute/io/picture_jpeg.cc", "scute/io/picture_test.cc"],
    r"png\.h": ["scute/io/picture_png.cc", "scute/io/picture_test.cc"],
    r"webp/": ["scute/io/picture_webp.cc", "scute/io/picture_test.cc"],
    r"pcre2": ["scute/text/pattern.cc"],
    r"utf8proc": ["scute/text/normalize.cc"],
    r"(CLI/|spdlog/)": ["cli/"],
    r"(nanobind/|Python\.h)": ["python/extension/"],
}

# The C library's variants of these differ in last bits from processor to processor (glibc chooses
# those with fused multiply-adds where it can): base/portable_math.h has them for all that reaches a
# file. Left to the C library are p-values (lgamma, erfc, and what turns ratios into logarithms)
# and what is only drawn or parsed.
ELEMENTARY = re.compile(r"\bstd::(exp|exp2|expm1|log|log2|log10|log1p|pow|sin|cos|tan|sinh|cosh|tanh|"
                        r"asin|acos|atan|atan2|erf|erfc|tgamma|lgamma|cbrt)\(")
C_LIBRARY_OF = {
    "scute/base/portable_math.cc": {"sin", "cos"},  # of angles beyond a million
    "scute/evaluate/compare.cc": {"lgamma"},
    "scute/experiments/difference.cc": {"log1p", "expm1", "erfc"},
    "scute/experiments/student.cc": {"lgamma", "erfc"},
    "scute/experiments/positions/svg.cc": {"pow", "log10"},
    "scute/experiments/report/sites.cc": {"log2"},
    "scute/language/silent_experts.cc": {"expm1", "log", "log1p"},
    "scute/recipe/memory_limit.cc": {"pow"},
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">]+)[">]', re.MULTILINE)


def is_test(path):
    name = path.split("/")[-1]  # tests, and the headers that only tests include
    return name.endswith("_test.cc") or name == "testing.h" or name.startswith("test_")


def check_edge(path, layer, target):
    """What is wrong with `path`, a file of `layer`, including scute/`target`; None if nothing."""
    to_layer = target.split("/")[0]
    if to_layer not in LAYERS:
        return f"scute/{target} is in no layer that scripts/check_layers.py knows"
    if layer in FRONT_DOORS or to_layer == layer or is_test(path):
        return None
    if layer == "experiments" and to_layer in PRODUCTS:
        return None if SHOWS_PRODUCTS.match(path) else (
            f"of experiments only {SHOWS_PRODUCTS.pattern} may use {to_layer}")
    if to_layer not in LAYERS[layer]:
        return f"{layer} may include {' '.join(LAYERS[layer]) or 'nothing'}, not {to_layer}"
    stem = target.rsplit(".", 1)[0]
    if layer == "decide" and to_layer in ("observe", "quantize") and stem not in PURE:
        return f"decide knows only {', '.join(sorted(PURE))} of observe and quantize"
    return None


def check_third_party(path, header):
    for pattern, places in THIRD_PARTY.items():
        if not re.match(pattern, header):
            continue
        if not any(path == p or (p.endswith("/") and path.startswith(p)) for p in places):
            return f"<{header}> belongs in {' or '.join(places)}"
        inline_kernel = path.startswith("scute/kernels/") and path.endswith("-inl.h")
        if path.startswith("scute/") and path.endswith(".h") and not inline_kernel:
            return f"<{header}> in a header: third-party code is included by .cc files only"
    return None


# Types of a namespace stand at the beginning of a line (.clang-format sees to it); those inside
# classes and template specializations do not count.
TYPE = re.compile(r"^(?:template <.*>\n)?(?:class|struct|union|enum class|enum)\s+(\w+)\s*"
                  r"(?:final\s*)?(?::(?!:)[^;{]*)?\{", re.MULTILINE)


def check_types(files):
    """Two types of one name are undefined behaviour in one program, whoever includes them."""
    where = {}
    for path, text in sorted(files.items()):
        if path.endswith(".h") and not is_test(path):
            for name in TYPE.findall(text):
                where.setdefault(name, []).append(path)
    return [f"{paths[0]}: the type {name} is also defined in {', '.join(paths[1:])}"
            for name, paths in where.items() if len(paths) > 1]


def check_pure(files):
    """The files decide may include, and all that these include, must know no tensor."""
    problems = []
    for stem in sorted(PURE):
        seen, todo = set(), [f"scute/{stem}.h", f"scute/{stem}.cc"]
        while todo:
            path = todo.pop()
            if path in seen or path not in files:
                continue
            seen.add(path)
            for header in INCLUDE.findall(files[path]):
                if header.split("/")[:1] == ["scute"] and header.split("/")[1] in NO_TENSOR:
                    problems.append(f"{path}: includes {header}; scute/{stem} must know no tensor")
                # Headers alone are followed: a .cc of another class is not part of this one.
                todo.append(header)
    return problems


def check_cmake(path, text):
    """A layer links exactly layers that it may include."""
    problems = []
    for name, rest in re.findall(r"scute_layer\(\s*(\w+)([^)]*)\)", text):
        depends = re.search(r"DEPENDS\s+([\w\s]*?)(?:\s+LIBRARIES|$)", rest.strip())
        allowed = LAYERS.get(name, []) + (PRODUCTS if name == "experiments" else [])
        for other in depends.group(1).split() if depends else []:
            if other not in allowed:
                problems.append(f"{path}: {name} must not depend on {other}")
    return problems


def check_elementary(path, text):
    """Results must not depend on the C library's choice of a function for the processor."""
    if is_test(path) or not path.startswith("scute/") or "/reference" in path:
        return []
    used = set(ELEMENTARY.findall(text)) - C_LIBRARY_OF.get(path, set())
    return [f"{path}: std::{name}: use portable::{name} (base/portable_math.h), or list the file in "
            "scripts/check_layers.py and say why no result depends on it" for name in sorted(used)]


def check(files):
    """files: path -> text. Returns one line for each edge that must not be."""
    problems = []
    for path, text in sorted(files.items()):
        if path.endswith("CMakeLists.txt"):
            problems += check_cmake(path, text)
            continue
        parts = path.split("/")
        layer = parts[0] if parts[0] in FRONT_DOORS else parts[1]
        if layer not in FRONT_DOORS and layer not in LAYERS:
            problems.append(f"{path}: scute/{layer} is no layer")
            continue
        for header in INCLUDE.findall(text):
            if header.startswith("scute/"):
                problem = check_edge(path, layer, header[len("scute/"):])
            elif header.startswith("cli/"):
                problem = None if layer in FRONT_DOORS else (
                    "the library must not include the command line")
            elif header.startswith("extension/"):
                problem = None if layer == "python" else "nothing may include the Python package"
            else:
                problem = None if is_test(path) else check_third_party(path, header)
            if problem:
                problems.append(f"{path}: {problem}")
        problems += check_elementary(path, text)
    return problems + check_pure(files) + check_types(files)


def repository_files(top):
    names = [p for folder in ("scute", "cli", "python/extension") for p in (top / folder).rglob("*")
             if p.suffix in (".h", ".cc") or p.name == "CMakeLists.txt"]
    return {str(p.relative_to(top)): p.read_text(encoding="utf-8") for p in names
            if p != top / "scute" / "CMakeLists.txt"}


def self_test():
    good = {
        "scute/base/error.h": "#include <string>\n",
        "scute/base/json.cc": "#include <nlohmann/json.hpp>\n#include <fmt/format.h>\n",
        "scute/kernels/math-inl.h": '#include "hwy/highway.h"\n',
        "scute/decide/policy.h": '#include "scute/observe/statistic.h"\n'
                                 '#include "scute/quantize/grid.h"\n',
        "scute/observe/recorder.h": '#include "scute/tensor/tap.h"\n',
        "scute/models/language/models_test.cc": '#include "scute/io/safetensors.h"\n',
        "cli/language/collect.cc": '#include "scute/language/collect.h"\n#include <CLI/CLI.hpp>\n',
        "scute/io/CMakeLists.txt": "scute_layer(io DEPENDS base tensor LIBRARIES fmt::fmt)\n",
        "scute/cobra/folder.h": '#include "scute/language/model_folder.h"\n',
        "python/extension/x.cc": '#include "cli/verbs.h"\n#include <nanobind/nanobind.h>\n',
        "scute/experiments/report/log.cc": '#include "scute/language/trace.h"\n',
        "scute/observe/one.h": "class Tap {\n};\nstruct A;\nclass B {\n  struct Part {\n",
        "scute/evaluate/test_two.h": "class Tap {\n",
        "scute/evaluate/two.h": "class Tap;\nclass C {\n  struct Part {\n",
    }
    assert check(good) == [], check(good)
    bad = {
        "scute/base/x.h": '#include "scute/tensor/tensor.h"\n',
        "scute/observe/x.cc": '#include "scute/quantize/grid.h"\n',
        "scute/models/x.cc": '  #  include "scute/io/file.h"\n',
        "scute/decide/x.cc": '#include "scute/observe/recorder.h"\n',
        "scute/decide/y.cc": '#include "scute/models/run.h"\n',
        "scute/io/x.cc": '#include "scute/utils/x.h"\n',
        "scute/common/x.h": "",
        "scute/recipe/x.cc": '#include "cli/terminal/words.h"\n',
        "scute/observe/distribution.h": '#include "scute/tensor/tensor.h"\n',
        "scute/quantize/grid.cc": '#include "scute/kernels/gemm.h"\n',
        "scute/io/x.h": "#include <fmt/core.h>\n",
        "scute/kernels/x.h": "#include <hwy/highway.h>\n",
        "scute/models/y.cc": '#include "hwy/highway.h"\n',
        "scute/data/x.cc": "#include <nlohmann/json.hpp>\n",
        "scute/text/CMakeLists.txt": "scute_layer(text DEPENDS base io)\n",
        "scute/recipe/y.h": '#include "scute/cobra/folder.h"\n',
        "scute/language/x.cc": '#include "scute/cobra/folder.h"\n',
        "scute/regressor/x.cc": '#include "scute/language/model_folder.h"\n',
        "scute/cobra/x.cc": '#include "scute/regressor/checkpoint.h"\n',
        "scute/experiments/ranking.cc": '#include "scute/language/scoring.h"\n',
        "cli/x.cc": '#include "extension/arrays.h"\n',
        "scute/recipe/z.cc": "#include <nanobind/nanobind.h>\n",
        "scute/evaluate/x.h": "struct Tap : Base {\n",
        "scute/decide/z.h": "template <class T>\nclass Tap {\n",
        "scute/models/z.cc": "float y = std::exp(x);\n",
    }
    for path, text in bad.items():
        found = check({**good, path: text})
        assert len(found) == 1 and found[0].startswith(path), (path, found)
    # A tensor reached through a header of a pure one.
    through = {"scute/quantize/grid.h": '#include "scute/quantize/x.h"\n',
               "scute/quantize/x.h": '#include "scute/tensor/tensor.h"\n'}
    assert len(check({**good, **through})) == 1
    print(f"check_layers: self-test: {len(bad) + 1} bad edges found")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    files = repository_files(pathlib.Path(__file__).resolve().parent.parent)
    problems = check(files)
    for problem in problems:
        print(problem)
    print(f"check_layers: {len(files)} files, {len(problems)} bad edges")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
