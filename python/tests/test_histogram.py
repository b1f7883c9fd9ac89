"""Histogram and Statistic as values, against NumPy."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import scute

BF16_SAFE = st.floats(width=16, allow_nan=False, allow_infinity=False)
ANY_FLOAT = st.floats(width=32)


def histogram(x, fine: int = 8) -> scute.Histogram:
    out = scute.Histogram(fine)
    out.update(x)
    return out


def arrays(elements, dtype="float32", least: int = 1):
    return hnp.arrays(dtype, st.integers(least, 300), elements=elements)


@given(arrays(BF16_SAFE), st.floats(0, 1))
def test_quantile_is_numpys_inverted_cdf_where_values_are_exact(x, q):
    # Ten mantissa bits hold every float16 that is normal in float32: all are.
    counted = histogram(x, fine=10)
    assert counted.exact
    # Shares are known to 2**-50 (decide/distribution.h): NumPy's rank may be one more at a border.
    shares = (q, max(0.0, q - 2.0**-49))
    expected = {float(np.quantile(x, p, method="inverted_cdf")) for p in shares}
    assert counted.quantile(q) in expected


@given(arrays(st.floats(width=32, allow_nan=False, allow_infinity=False)), st.floats(0, 1))
def test_quantile_is_within_half_a_bucket(x, q):
    found = histogram(x).quantile(q)
    ranks = [np.quantile(x, p, method="inverted_cdf") for p in (q, max(0.0, q - 2.0**-49))]
    errors = [abs(found - float(r)) for r in ranks]
    # 2**-9 of the value with fine=8; below 2**-126 buckets are 2**-134 wide.
    assert min(e - abs(float(r)) * 2.0**-9 for e, r in zip(errors, ranks)) <= 2.0**-135


@given(arrays(ANY_FLOAT), arrays(ANY_FLOAT, least=0))
def test_adding_is_counting_both(x, y):
    both = histogram(np.concatenate([x, y]))
    a, b = histogram(x), histogram(y)
    assert a + b == both == b + a
    a += b
    assert a == both
    assert a.total == len(x) + len(y)


@given(arrays(ANY_FLOAT))
def test_what_was_seen_is_told_exactly(x):
    counted = histogram(x)
    finite = x[np.isfinite(x)]
    assert counted.count == counted.total == len(x)
    assert counted.zeros == np.count_nonzero(x == 0)
    assert counted.nans == np.count_nonzero(np.isnan(x))
    assert counted.infs == np.count_nonzero(np.isinf(x))
    if len(finite):
        assert (counted.min, counted.max) == (finite.min(), finite.max())
    else:
        assert np.isnan(counted.min) and np.isnan(counted.max)


@given(arrays(ANY_FLOAT), st.integers(1, 16))
def test_copies_and_pickles_are_equal_and_apart(x, fine):
    counted = histogram(x, fine)
    for other in (counted.copy(), copy.copy(counted), copy.deepcopy(counted)):
        assert other == counted
        other.update(np.float32(1))
        assert other != counted
    assert pickle.loads(pickle.dumps(counted)) == counted


@given(arrays(st.floats(width=32, allow_nan=False, allow_infinity=False)), st.integers(1, 12))
def test_edges_hold_every_finite_value(x, fine):
    edges, counts = histogram(x, fine).to_numpy()
    assert edges.dtype == np.float64 and counts.dtype == np.int64
    assert len(edges) == len(counts) + 1 and np.all(np.diff(edges) > 0)
    assert counts.sum() == len(x)
    # Positive buckets hold their lower edge, negative ones their upper edge.
    inside = np.zeros(len(counts), np.int64)
    for value in x:
        at = np.searchsorted(edges, value, "left" if np.signbit(value) else "right") - 1
        inside[at] += 1
    assert np.array_equal(inside, counts)


def test_edges_below_zero_close_on_the_other_side_than_numpys():
    # numpy.histogram's bins are [low, high). A bucket is all floats of one sign, exponent and
    # leading mantissa, so that of a negative one is (low, high].
    up = np.float32([1, 1.25, 1.5, 2])
    edges, counts = histogram(up, 2).to_numpy()
    assert np.array_equal(np.histogram(up, edges)[0], counts)
    edges, counts = histogram(-up, 2).to_numpy()
    assert np.array_equal(edges, [-2.5, -2, -1.75, -1.5, -1.25, -1])
    assert np.array_equal(counts, [1, 0, 1, 1, 1])
    assert np.array_equal(np.histogram(-up, edges)[0], [0, 1, 0, 1, 2])
    # Off the edges both count the same.
    between = np.float32([-2.2, -1.6, -1.3, -1.1, 1.1, 1.3])
    edges, counts = histogram(between, 2).to_numpy()
    assert np.array_equal(np.histogram(between, edges)[0], counts)


def test_cdf_counts_what_lies_at_or_below():
    x = np.arange(-4, 5, dtype="float32")
    counted = histogram(x)
    assert counted.cdf(-4.5) == 0 and counted.cdf(4) == 1
    assert counted.cdf(0) == pytest.approx(5 / 9)
    assert np.allclose(counted.cdf([[-4, 0], [1, 9]]), [[1 / 9, 5 / 9], [6 / 9, 1]])


def test_arrays_of_shares_give_arrays_of_their_shape():
    counted = histogram(np.arange(100, dtype="float32"))
    found = counted.quantile(np.array([[0.5, 0.25], [0, 1]]))
    assert found.shape == (2, 2) and found.dtype == np.float64
    assert np.array_equal(found, [[49, 24], [0, 99]])
    assert counted.magnitude_quantile(1) == 99


def test_an_array_that_is_returned_owns_its_memory():
    edges, counts = histogram(np.arange(9, dtype="float32")).to_numpy()
    before = edges.copy()
    for _ in range(10):
        histogram(np.random.default_rng(0).normal(size=999).astype("float32")).to_numpy()
    assert np.array_equal(edges, before) and edges.flags.writeable and counts.flags.writeable


def test_histograms_know_no_number_of_arrays_but_statistics_do():
    x = np.ones(4, "float32")
    one, two = scute.Statistic(), scute.Statistic()
    one.update(x)
    two.update(x[:2])
    two.update(x[2:])
    assert one.histogram == two.histogram and one != two
    assert (one.samples, two.samples) == (1, 2)


def test_channels():
    x = np.random.default_rng(1).normal(size=(2, 7, 5)).astype("float32")
    for given_ in (x, x.astype("float64"), x[:, ::-1], np.asfortranarray(x)):
        seen = scute.Statistic(per_channel=True)
        seen.update(given_)
        assert np.array_equal(seen.channel_absmax, np.abs(x).max((0, 1)))
    before = seen.copy()
    with pytest.raises(scute.Error, match="update: expected 5 channels"):
        seen.update(np.ones((3, 4), "float32"))
    assert seen == before
    other = scute.Statistic(per_channel=True)
    other.update(np.ones((3, 4), "float32"))
    with pytest.raises(scute.Error, match="channel_absmax"):
        seen.merge(other)
    assert seen == before


def test_from_counts_is_what_was_counted():
    x = np.random.default_rng(2).normal(size=999).astype("float32")
    x[:3] = [0, np.nan, np.inf]
    seen = scute.Statistic()
    seen.update(x)
    ids, counts = seen.buckets()
    order = np.random.default_rng(0).permutation(len(ids))
    names = ("min", "max", "zeros", "nans", "infs", "bits_or")
    known = {name: getattr(seen, name) for name in names}
    assert scute.Statistic.from_counts(ids[order], counts[order], **known) == seen
    for wrong in ({"zeros": 2}, {"nans": 0}, {"min": -1e9}, {"max": 0.0}):
        with pytest.raises(scute.Error, match="counts"):
            scute.Statistic.from_counts(ids, counts, **{**known, **wrong})
    for wrong_ids in ([-1], [[1]], 1.5):
        with pytest.raises(scute.Error):
            scute.Statistic.from_counts(wrong_ids, [1], min=0, max=0)
    with pytest.raises(scute.Error):
        scute.Statistic.from_counts([0], [2**62, 2**62], min=0, max=0)


def test_errors_are_the_librarys():
    with pytest.raises(scute.Error, match=r"histogram: expected fine in 1 … 16, found 17"):
        scute.Histogram(17)
    with pytest.raises(scute.Error, match="fine 8 in both, found 9"):
        scute.Histogram().merge(scute.Histogram(9))
    with pytest.raises(ValueError, match="at least one finite value"):
        scute.Histogram().quantile(0.5)
    with pytest.raises(scute.Error, match=r"a share in \[0, 1\]"):
        histogram(np.ones(3, "float32")).quantile(1.5)
    with pytest.raises(TypeError):
        scute.Histogram() + scute.Statistic()
    assert scute.Histogram() != 3


@settings(max_examples=20)
@given(st.binary(max_size=64))
def test_a_damaged_pickle_is_an_error(noise):
    state = histogram(np.ones(3, "float32")).__getstate__()
    broken = (state[0], [(name, shape, kind, noise) for name, shape, kind, _ in state[1]])
    with pytest.raises((scute.Error, TypeError)):
        scute.Histogram.__new__(scute.Histogram).__setstate__(broken)
