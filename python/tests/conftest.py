"""What the tests of the package share. They run from anywhere, with the package on PYTHONPATH."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
try:
    from hypothesis import settings
except ModuleNotFoundError:
    # Its compiled half is of build/python's Python: under a later one the files that need it are skipped by name.
    settings = None
    print("SKIPPED: test_arrays, test_histogram: no hypothesis of this Python")

import scute

# Whatever the folder, programs that tests run have the same package.
os.environ["PYTHONPATH"] = str(Path(scute.__file__).absolute().parents[1])

# What a shell starts in the background ignores Ctrl-C, and so would every program that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Fixed examples, and no time limit: two processors may have other work.
if settings is not None:
    settings.register_profile("scute", deadline=None, derandomize=True, database=None)
    settings.load_profile("scute")

TOP = Path(__file__).resolve().parents[2]
TINY = TOP / "examples/tiny-mamba1"
TEXT = TOP / "examples/text"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "torch: needs torch")
    config.addinivalue_line("markers", "adapter: needs another package, in its own environment")
    config.addinivalue_line("markers", "slow: measures time; not under sanitizers")


@pytest.fixture(scope="session")
def statistics():
    """Of every site of the tiny Mamba-1 on eight windows."""
    return scute.collect(TINY, TEXT / "calibration.jsonl", samples=8, seqlen=64)


@pytest.fixture(scope="session")
def low_bit(statistics, tmp_path_factory):
    """The tiny Mamba-1 with 8 bits: its folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny-w8a8"
    scute.quantize(TINY, statistics, out=folder)
    return folder

collect_ignore = [] if settings is not None else ["test_arrays.py", "test_histogram.py"]
