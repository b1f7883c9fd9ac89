"""The package itself: what importing costs, what it holds, what updates cost."""

from __future__ import annotations

import inspect
import resource
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import scute

PACKAGE = Path(scute.__file__).parent


def seconds_of(code: str) -> float:
    """Of processor time."""
    timed = f"import time; t = time.process_time(); {code}; print(time.process_time() - t)"
    command = [sys.executable, "-c", timed]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def least_of(*timed):
    """The least seconds of each, in turns: other work only adds."""
    return [min(seconds) for seconds in zip(*([one() for one in timed] for _ in range(10)))]


@pytest.mark.slow
def test_importing_takes_less_than_100_ms_beyond_numpy():
    both, numpy = least_of(
        lambda: seconds_of("import numpy, scute"), lambda: seconds_of("import numpy")
    )
    print(f"import: {1e3 * (both - numpy):.0f} ms beyond NumPy's {1e3 * numpy:.0f}")
    assert both - numpy < 0.1


def test_importing_brings_numpy_alone():
    code = "import sys, scute; "
    code += "print({'torch', 'pandas', 'tqdm', 'matplotlib'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout == "set()\n"


def test_public_names_are_there_and_documented():
    assert (PACKAGE / "py.typed").exists()
    needs_torch = {"observe", "Seen"}
    for name in sorted(set(scute.__all__) - needs_torch - {"__version__"}):
        thing = getattr(scute, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if not member.startswith("_") and callable(value):
                    assert inspect.getdoc(value), f"{name}.{member}"
    assert set(scute.__all__) <= set(dir(scute))
    for core in vars(scute._core).values():
        for member, value in vars(core).items() if inspect.isclass(core) else ():
            if not member.startswith("_"):
                assert inspect.getdoc(value) or inspect.isclass(value), f"{core}.{member}"
    assert scute.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="nonsense"):
        scute.nonsense


def test_stubs_are_those_of_the_extension(tmp_path):
    pytest.importorskip("nanobind")
    code = (
        "import sys; from nanobind.stubgen import main; "
        f"main(['-q', '-m', 'scute._core', '-o', {str(tmp_path / '_core.pyi')!r}])"
    )
    # What is imported here can be imported there, wherever this package and that one lie.
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    made = (tmp_path / "_core.pyi").read_text(encoding="utf-8")
    stored = (PACKAGE / "_core.pyi").read_text(encoding="utf-8")
    assert made == stored, "run python/stubs.sh"


def test_ten_thousand_updates_take_no_memory():
    x = np.random.default_rng(0).normal(size=(16, 64)).astype("float16")
    counted, stats = scute.Histogram(), scute.Statistics(per_channel=True)

    def work(times: int) -> int:
        for i in range(times):
            counted.update(x)
            stats.update("site", x.T if i % 2 else x[:, ::-1].T)
            counted.quantile(0.5)
            with pytest.raises(TypeError):
                counted.update("text")
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = work(500)
    after = work(10_000)
    assert after - before < 2048  # kB


@pytest.mark.slow
def test_updates_run_at_the_recorders_speed():
    x = np.random.default_rng(0).normal(size=1_000_000).astype("float32")
    counted = scute.Histogram()

    def update() -> float:
        start = time.perf_counter()
        for _ in range(20):
            counted.update(x)
        return time.perf_counter() - start

    ours, theirs = least_of(update, lambda: scute._core.recorder_seconds(x, 20))
    ratio = ours / theirs
    print(f"update: {1e9 * ours / 20e6:.2f} ns a value, {ratio:.2f} of the recorder's time")
    assert ratio < 1.2
