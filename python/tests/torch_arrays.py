"""torch's tensors where arrays are taken: every kind, read in place, and what is hostile."""

import resource

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import scute  # noqa: E402
from small_models import REPOSITORY, TINY  # noqa: E402

pytestmark = pytest.mark.torch


def histogram(x):
    out = scute.Histogram()
    out.update(x)
    return out


def reference(x):
    return histogram(x.detach().float().contiguous().numpy().ravel())


class Named(torch.Tensor):
    pass


class Raising(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        raise RuntimeError("no")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_type_and_layout_counts_as_a_copy_in_order(dtype):
    torch.manual_seed(0)
    x = torch.randn(6, 7, 8).to(dtype)
    for view in (x, x.transpose(0, 2), x[1:, ::3], x[..., 2:3].expand(6, 7, 4), x[0, 0, 0], x[:0]):
        assert histogram(view) == reference(view)


def test_parameters_subclasses_and_tensors_with_gradients():
    x = torch.randn(5, requires_grad=True)
    for given in (x, 2 * x, torch.nn.Parameter(x), x.bfloat16(), x.detach().as_subclass(Named)):
        assert histogram(given) == reference(given.as_subclass(torch.Tensor))
    assert x.grad is None and x.requires_grad
    with torch.inference_mode():
        assert histogram(torch.ones(3)).total == 3


def test_tensors_are_read_where_they_lie():
    def most():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    one = histogram(torch.ones(1, dtype=torch.bfloat16))
    x, wide = torch.ones(2**23), torch.ones(1, dtype=torch.bfloat16).expand(2**12, 2**13)
    before = most()
    for _ in range(3):
        assert histogram(x).total == histogram(wide).total // 4 == 2**23
    assert histogram(wide[:1, :1]) == one
    assert most() - before < 8192  # kB; a copy of either is 32 MB and more


HOSTILE = {
    "integers": torch.arange(3),
    "truth values": torch.ones(3) > 0,
    "complex": torch.ones(3, dtype=torch.complex64),
    "meta": torch.ones(3, device="meta"),
    "sparse": torch.eye(3).to_sparse(),
    "quantized": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "raising": torch.ones(3).as_subclass(Raising),
}


@pytest.mark.parametrize("x", HOSTILE.values(), ids=HOSTILE)
def test_what_holds_no_floats_here_is_an_exception(x):
    for target in (scute.Histogram(), scute.Statistic()):
        with pytest.raises((TypeError, RuntimeError)):
            target.update(x)
        assert target.total == 0


@pytest.fixture
def fake():
    """Makes a tensor one that has a shape and a type, claims to lie here, and has no memory."""
    module = pytest.importorskip("torch._subclasses.fake_tensor")
    return module.FakeTensorMode().from_tensor


def test_tensors_without_memory_are_refused(fake):
    whole = fake(torch.ones(4, 5))
    for x in (whole, whole[1:], whole[:, 3], whole.t()):
        with pytest.raises((TypeError, RuntimeError)):
            histogram(x)
    model = scute.load(TINY)
    state = model.state()
    arrays = state.arrays()
    name = next(iter(arrays))
    with pytest.raises((scute.Error, RuntimeError), match=name):
        state.set_arrays({**arrays, name: fake(torch.from_numpy(np.array(arrays[name])))})
    cobra = scute.load(REPOSITORY / "tests/golden/cobra/model")
    with pytest.raises((TypeError, RuntimeError), match="images"):
        cobra.logits([1], fake(torch.zeros(20, 30, 3, dtype=torch.uint8)))
    with pytest.raises((TypeError, RuntimeError)):
        model.logits(fake(torch.ones(3, dtype=torch.long)))
