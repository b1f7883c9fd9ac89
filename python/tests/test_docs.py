"""Every example of the Python documents runs and prints what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import TOP
from documents import Example, examples_of, printed_as_said, run, workplace

DOCUMENTS = [TOP / "docs/python.md", TOP / "python/README.md"]
_FROM = {"torch": "python3-torch", "matplotlib": "python3-matplotlib"}


def check(document: Path, examples: list[Example], folder: Path) -> None:
    namespace = {"__name__": "__main__"}
    with workplace(folder, TOP):
        for example in examples:
            output = run(example, str(document), namespace)
            if example.output is not None:
                said = f"{document.name}:{example.line} printed\n{output}not\n{example.output}"
                assert printed_as_said(output, example.output), said


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_examples_that_need_numpy_alone(document, tmp_path):
    examples = [example for example in examples_of(document) if not example.needs]
    assert examples
    check(document, examples, tmp_path)


@pytest.mark.torch
@pytest.mark.parametrize("document", DOCUMENTS[:1], ids=lambda path: str(path.relative_to(TOP)))
def test_all_examples(document, tmp_path):
    # Those of Ray want an environment of its own: adapter_ray.py.
    examples = [example for example in examples_of(document) if example.needs != "ray"]
    for needs in {example.needs for example in examples} - {""}:
        pytest.importorskip(needs, reason=f"no {needs} ({_FROM[needs]})")
    check(document, examples, tmp_path)


def test_a_document_that_says_something_else_is_found(tmp_path):
    document = tmp_path / "a.md"
    document.write_text("```python\nx = 1\nprint(x)\n```\n```text\n2\n```\n", encoding="utf-8")
    (example,) = examples_of(document)
    assert (example.line, example.output) == (2, "2\n")
    (tmp_path / "work").mkdir()
    with pytest.raises(AssertionError, match=r"a.md:2 printed\s+1"):
        check(document, [example], tmp_path / "work")
    assert printed_as_said("range 1.25 .. 3\n", "range 1.… .. 3")
    assert not printed_as_said("range 1.25 .. 33\n", "range 1.… .. 3")
