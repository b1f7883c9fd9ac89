"""What update() takes: every layout and element type, and what is hostile."""

from __future__ import annotations

import ctypes
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import scute


def histogram(x) -> scute.Histogram:
    out = scute.Histogram()
    out.update(x)
    return out


def reference(x) -> scute.Histogram:
    return histogram(np.ascontiguousarray(x, dtype="float32").reshape(-1))


@st.composite
def views(draw):
    """An array of some float type and a view of it: axes swapped, steps, negative ones."""
    dtype = draw(st.sampled_from(["float16", "float32", "float64", ">f4", ">f2", "<f8"]))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))
    base = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape).astype(dtype)
    view = base.transpose(draw(st.permutations(range(len(shape)))))
    steps = [draw(st.sampled_from([1, 1, 2, -1, -3])) for _ in shape]
    return view[tuple(slice(None, None, step) for step in steps)]


@settings(max_examples=300)
@given(views())
def test_any_layout_counts_as_a_copy_in_order(view):
    assert histogram(view) == reference(view)


def test_numbers_and_lists_are_what_numpy_makes_of_them():
    assert histogram(1.5) == histogram([1.5]) == histogram((1.5,)) == histogram(np.float32(1.5))
    assert histogram([[1, 2], [3, 4]]).total == 4
    assert histogram(np.float64(1e300)).infs == 1  # beyond float32


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 5)])
def test_arrays_without_elements_are_nothing(shape):
    assert histogram(np.zeros(shape, "float32")) == scute.Histogram()
    seen = scute.Statistics()
    seen.update("site", np.zeros(shape, "float32"))
    assert len(seen) == 0


def test_read_only_and_borrowed_memory():
    x = np.arange(10, dtype="float32")
    x.flags.writeable = False
    assert histogram(x) == reference(x)
    assert histogram(np.frombuffer(x.tobytes(), "float32")) == reference(x)
    assert histogram(memoryview(x)) == reference(x)
    assert histogram((ctypes.c_float * 10)(*range(10))) == reference(x)


def test_strides_of_nothing_and_of_no_whole_element():
    wide = np.broadcast_to(np.float32(2), (1000, 1000))
    assert histogram(wide).total == 1_000_000
    record = np.zeros(20, dtype=[("byte", "u1"), ("value", "<f4")])
    record["value"] = np.arange(20)
    assert histogram(record["value"]) == reference(record["value"].copy())
    unaligned = np.frombuffer(b"\0" + np.arange(5, dtype="float32").tobytes(), "u1")[1:].view("<f4")
    assert histogram(unaligned).total == 5


def test_an_array_larger_than_memory_by_its_strides_takes_none():
    # 8 GB of views of one number; counted in pieces.
    x = np.broadcast_to(np.float16(1), (2**21, 2**7))
    assert histogram(x).total == 2**28


def test_nan_payloads_and_signed_zeros():
    bits = np.array([0x7FC00001, 0xFFC12345, 0x7F800001, 0xFF800000, 0x80000000, 0], "uint32")
    counted = histogram(bits.view("float32"))
    assert (counted.nans, counted.infs, counted.zeros) == (3, 1, 2)
    assert counted.min == counted.max == 0


def test_a_subclass_is_its_array():
    class Named(np.ndarray):
        pass

    x = np.arange(6, dtype="float32").reshape(2, 3).view(Named)
    assert histogram(x) == reference(np.arange(6))
    assert histogram(np.ma.masked_array(np.arange(3.0))).total == 3
    assert histogram(np.matrix([[1.0, 2.0]])).total == 2


def test_what_speaks_dlpack_alone_is_an_array():
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float16")

    class Foreign:
        """Another library's array, of which nothing else is known."""

        def __init__(self, array):
            self._array = array

        def __dlpack__(self, **how):
            return self._array.__dlpack__(**how)

        def __dlpack_device__(self):
            return self._array.__dlpack_device__()

    for view in (x, x.T, x[:, ::2, 1:]):
        assert histogram(Foreign(view)) == reference(view)


class Liar:
    """Claims to be an array and raises instead."""

    def __dlpack__(self, **_):
        raise RuntimeError("no")

    def __dlpack_device__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "x",
    [
        None,
        "text",
        b"bytes!!!",
        {},
        object(),
        Liar(),
        np.array([1, 2]),
        np.array([True]),
        np.array([1j]),
        np.array([object()]),
        np.array(["a"]),
        np.zeros(3, "longdouble"),
        np.zeros(3, "datetime64[s]"),
        np.zeros(3, [("a", "f4"), ("b", "f4")]),
    ],
    ids=repr,
)
def test_what_holds_no_floats_is_a_type_error(x):
    for target in (scute.Histogram(), scute.Statistic()):
        with pytest.raises(TypeError):
            target.update(x)
        assert target.total == 0
    with pytest.raises(TypeError):
        scute.Statistics().update("site", x)


@pytest.mark.parametrize("x", [["a"], [[1.0], [1.0, 2.0]], [object()]])
def test_lists_of_other_things_are_numpys_error(x):
    with pytest.raises((TypeError, ValueError)):
        histogram(x)


def test_the_error_says_what_was_found():
    with pytest.raises(TypeError, match="update: expected an array of float16.*ndarray of int64"):
        histogram(np.array([1, 2]))
    with pytest.raises(TypeError, match="a.b: expected"):
        scute.Statistics().update("a.b", np.array([1, 2]))


@pytest.mark.parametrize(
    "given, found",
    [
        (["1.5", "2"], "<U3"),
        ("2", "str"),
        ([b"2"], "S1"),
        ([1.0, None], "object"),
        (None, "NoneType"),
        (True, "bool"),
        ([True], "bool"),
        ([1j], "complex128"),
        ([10**30], "object"),
    ],
)
def test_what_numpy_would_make_numbers_of_is_refused(given, found):
    seen = scute.Statistics()
    for update in (histogram, lambda x: seen.update("site", x)):
        with pytest.raises(TypeError, match=f"expected .*{found}"):
            update(given)
    assert len(seen) == 0
    assert histogram(10**30).max == np.float32(1e30)


def test_masked_arrays_are_refused_wherever_numbers_are_taken():
    masked = np.ma.masked_array(np.ones(3, "float32"), [False, True, False])
    counted = histogram([0.5, 1.0])
    for call in (
        histogram,
        lambda x: histogram([x, x]),
        lambda x: histogram([[1.0, 1.0, 1.0], x]),
        counted.quantile,
        counted.cdf,
        lambda x: scute.Statistic.from_counts(x.astype("int64"), [1, 1, 1], min=0, max=0),
    ):
        with pytest.raises(TypeError, match=r"without masked values, found .*\.compressed\(\)"):
            call(masked)
    assert histogram(masked.compressed()).total == 2


def test_questions_take_numbers_alone():
    counted = histogram([0.5, 1.0])
    for ask in (counted.quantile, counted.magnitude_quantile, counted.cdf):
        for wrong in ("0.5", ["0.5"], None, [None], True):
            with pytest.raises(TypeError, match=f"{ask.__name__}: expected numbers, found"):
                ask(wrong)
    assert np.isnan(counted.cdf(np.nan))
    assert np.array_equal(counted.cdf([np.nan, 0.5, np.inf, -np.inf]), [np.nan, 0.5, 1, 0], True)
    with pytest.raises(scute.Error, match="integers"):
        scute.Statistic.from_counts([1.5], [1], min=0, max=0)


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [False, True])
def test_many_values_are_one_sample_however_they_lie(per_channel):
    # Above 2**25 values an update looks for signals between pieces: 2**25 + 1024 of them here.
    x = np.random.default_rng(3).normal(size=(2**15 + 1, 1024)).astype("float32")
    expected = scute.Statistic(per_channel=per_channel)
    for half in (x[: 2**14], x[2**14 :]):
        expected.update(half)
    for given_ in (x, x[::-1], np.broadcast_to(x, (1, *x.shape))):
        seen = scute.Statistic(per_channel=per_channel)
        seen.update(given_)
        assert seen.samples == 1 and seen.histogram == expected.histogram
        assert np.array_equal(seen.channel_absmax, expected.channel_absmax)
    if per_channel:
        before = seen.copy()
        with pytest.raises(scute.Error, match="update: expected 1024 channels"):
            seen.update(x.reshape(1024, -1))
        assert seen == before


def test_ctrl_c_ends_a_long_update_and_nothing_is_counted():
    # 2**40 values that take no memory: an hour.
    x = np.broadcast_to(np.float32(1), (2**20, 2**20))
    seen = scute.Statistics()
    for update in (lambda: seen.update("site", x), lambda: histogram(x)):
        timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            update()
        timer.join()
        assert time.monotonic() - began < 20
    assert len(seen) == 0
