"""plan.fake_quantize by scute's names, beside the low-bit models that scute makes of the plan."""

import json
import pathlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import scute  # noqa: E402
from scute import formulas  # noqa: E402
from scute.fake_stream import Stream  # noqa: E402
from scute.hadamard import rotated  # noqa: E402
from scute.observation import observe  # noqa: E402
from small_models import REPOSITORY, TINY, Mamba1, program, read_safetensors  # noqa: E402

pytestmark = pytest.mark.torch
WINDOW = 128


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """(folder, statistics, plan) of the tiny model: what torch saw of 6 documents' tokens."""
    folder = tmp_path_factory.mktemp("fake")
    text = REPOSITORY / "examples" / "text" / "heldout.txt"
    (folder / "text.txt").write_text(text.read_text()[:20000])
    program(
        *("dump", TINY, "--text", folder / "text.txt", "--out", folder / "ids.safetensors"),
        *("--sites", "layer_0.dt_proj:input"),
    )
    ids = read_safetensors(folder / "ids.safetensors")["ids"].numpy().ravel().astype(np.int32)
    np.save(folder / "ids.npy", ids[: len(ids) // WINDOW * WINDOW])
    model = Mamba1.load(TINY)
    with observe(model, names="sites") as seen, torch.no_grad():
        model(torch.as_tensor(ids[-3 * WINDOW :], dtype=torch.long).reshape(3, WINDOW))
    seen.statistics.save(folder / "stats.safetensors")
    plan = scute.decide(seen.statistics)
    plan.save(folder / "plan.json")
    return folder, seen.statistics, plan


def low_bit(measured, *flags):
    """The low-bit folder that scute quantize makes."""
    folder = measured[0]
    out = folder / ("low" + "".join(flags).replace("--", "-"))
    words = ("--plan", folder / "plan.json", "--stats", folder / "stats.safetensors", "--quiet")
    program("quantize", TINY, *words, "--out", out, "--force", *flags)
    return out


def sites_of_dump(model, ids):
    """Site → tensor of scute's own simulation of one sequence."""
    folder = pathlib.Path(model)
    np.save(folder / "ids.npy", ids)
    out = folder / "dump.safetensors"
    program(
        *("dump", model, "--ids", folder / "ids.npy", "--backend", "simulate", "--out", out),
        *("--force",),
    )
    return read_safetensors(out)


@pytest.mark.parametrize(
    "flags, options",
    [
        ((), {}),
        (("--hadamard", "off"), {"hadamard": False}),
        (("--hadamard", "off", "--per-tensor"), {"hadamard": False, "per_tensor": True}),
        (("--conv-scale", "tensor"), {"statistics": None}),
    ],
)
def test_every_tensor_is_the_same_to_the_last_bit(measured, flags, options, monkeypatch):
    from scute import fake_sites

    folder, statistics, plan = measured
    ids = np.load(folder / "ids.npy")[:WINDOW]
    expected = sites_of_dump(low_bit(measured, *flags), ids)
    found = {}

    def noted(own):
        def seen(self, site, x, *more):
            found.setdefault(f"site/{site}", x.clone())
            return own(self, site, x, *more)

        return seen

    for name in ("site", "multiply"):
        monkeypatch.setattr(fake_sites.Rounding, name, noted(getattr(fake_sites.Rounding, name)))
    model = Mamba1.load(TINY)
    with torch.no_grad(), plan.fake_quantize(model, **{"statistics": statistics, **options}):
        model(torch.as_tensor(ids, dtype=torch.long)[None])
    compared = 0
    for site, tensor in expected.items():
        if not site.startswith("site/layer_") or site not in found:
            continue
        if site.endswith("out_proj:output") and options.get("hadamard", True):
            continue  # there the stream is rotated, here it is not
        assert torch.equal(found[site].reshape(tensor.shape), tensor), site
        compared += 1
    assert compared >= 6 * 12


def token_losses(logits, ids):
    """Negative log-likelihoods of all tokens but the first of each window, float64."""
    logits = torch.as_tensor(np.array(logits)).float()[:, :-1].log_softmax(-1)
    return -logits.gather(-1, torch.as_tensor(ids, dtype=torch.long)[:, 1:, None])[..., 0].double()


def losses_of_both(measured, flags, options):
    """(of fake_quantize, of scute's simulation, of the floats) on 16 windows; the model is `own`."""
    folder = measured[0]
    ids = np.load(folder / "ids.npy")[: 16 * WINDOW].reshape(-1, WINDOW)
    tokens = torch.as_tensor(ids, dtype=torch.long)
    model = Mamba1.load(TINY)
    with observe(model, names="sites") as seen, torch.no_grad():
        model(tokens[:2])
    plan = scute.decide(seen.statistics)
    seen.statistics.save(folder / "own.safetensors")
    plan.save(folder / "own.json")
    low = folder / "own"
    program(
        *("quantize", TINY, "--plan", folder / "own.json", "--stats", folder / "own.safetensors"),
        *("--out", low, "--quiet", "--force", *flags),
    )
    simulated = scute.load(low, backend="simulate")
    with torch.no_grad():
        plain = model(tokens)
        with plan.fake_quantize(model, statistics=seen.statistics, **options):
            found = model(tokens)
    each = (found, [simulated.logits(row) for row in ids], plain)
    return [token_losses(logits, ids) for logits in each]


FORMS = [
    ((), {}),
    (("--hadamard", "off"), {"hadamard": False}),
    (("--per-tensor",), {"per_tensor": True}),
    (("--w-bits", "4"), {"w_bits": 4}),
    (("--w-bits", "4", "--group-size", "64"), {"w_bits": 4, "group": 64}),
    (("--w-bits", "4", "--a-bits", "16"), {"w_bits": 4, "a_bits": 16}),
]


@pytest.mark.parametrize("flags, options", FORMS)
def test_each_token_costs_what_it_costs_in_the_simulation(measured, flags, options):
    """Up to the head, whose floats are summed in another order: 4e-6 of a loss at most.

    One value that is rounded otherwise, a tie on the other side, moves the tokens behind it by 0.03
    (root mean square of six layers), 0.1 and more at most.
    """
    found, simulated, plain = losses_of_both(measured, flags, options)
    assert float((found - simulated).abs().max()) < 1e-4
    assert float((simulated - plain).abs().max()) > 0.1


def test_perplexity_is_that_of_scute_eval(measured):
    folder = measured[0]
    losses = losses_of_both(measured, (), {})[0]
    np.save(folder / "windows.npy", np.load(folder / "ids.npy")[: 16 * WINDOW])
    words = ("eval", folder / "own", "--backend", "simulate", "--json")
    said = program(*words, "--perplexity", folder / "windows.npy", "--window", WINDOW).stdout
    value = json.loads(said)["perplexity"]["value"]
    assert float(losses.mean().exp()) == pytest.approx(value, abs=1e-4)


def test_elsewhere_than_on_the_processor_ties_may_fall_to_either_side(measured, monkeypatch):
    """Torch's own formulas: other last bits, so that a value on the edge of two codes goes to
    either side, which the layers behind hand on. Of the mean nothing is left but the standard
    error of these differences. What rounds another tensor, or elsewhere, shows in both: it shifts
    the mean, and moves tokens as far as the plan does.
    """
    monkeypatch.setattr(formulas, "on_processor", lambda x: False)
    found, simulated, plain = losses_of_both(measured, (), {})
    apart, cost = found - simulated, simulated - plain
    error = float(apart.std()) / apart.numel() ** 0.5
    assert abs(float(apart.mean())) < 4 * error < 4e-3
    assert float(apart.pow(2).mean()) < float(cost.pow(2).mean()) / 4
    assert abs(float(cost.mean())) > 4 * error


def test_kernels_and_formulas_are_the_same_numbers(monkeypatch):
    torch.manual_seed(2)
    E, N, H, G = 96, 16, 6, 2
    x, dt, z, C = (torch.randn(2, 70, n) for n in (E, E, E, G * N))
    B, dt_heads = torch.randn(2, 70, G * N), torch.randn(2, 70, H)
    channels = (-torch.rand(E, N), torch.randn(E), torch.randn(E))
    heads = (-torch.rand(H), torch.randn(E), torch.randn(H))
    taps, bias = torch.randn(E, 1, 4), torch.randn(E)
    shown = []

    def all_of_them():
        shown.append([])
        show = lambda site, state: shown[-1].append((site, state))  # noqa: E731
        yield formulas.rms(x, 1e-5, 3)
        yield formulas.gated(x, z)
        yield formulas.convolved(x, taps, bias)
        yield formulas.selective_scan((x, dt, B[..., :N], C[..., :N]), channels, show)
        yield formulas.head_scan((x, dt_heads, B, C), heads, G, (0.1, 2.0), show)
        yield rotated(x)
        yield rotated(x, inverse=True)

    here = list(all_of_them())
    monkeypatch.setattr(formulas, "on_processor", lambda x: False)
    for mine, torchs in zip(here, all_of_them(), strict=True):
        torch.testing.assert_close(mine, torchs, rtol=2e-5, atol=2e-5)
    sites = ["ssm_state_act:steps", "ssm_state_act:input"] * 2
    for kernel, formula, site in zip(*shown, sites, strict=True):
        assert kernel[0] == formula[0] == site
        torch.testing.assert_close(kernel[1], formula[1], rtol=2e-5, atol=2e-5)


def test_a_model_that_computes_something_between_its_mixers_has_its_own_stream(measured):
    """As hooks that change what a block reads: then the sum that is kept beside it is not used."""
    folder, statistics, plan = measured
    ids = torch.as_tensor(np.load(folder / "ids.npy")[:WINDOW], dtype=torch.long)[None]
    model = Mamba1.load(TINY)
    with torch.no_grad(), plan.fake_quantize(model, statistics=statistics):
        plain = model(ids)
        handle = model.backbone.layers[2].register_forward_pre_hook(lambda _, x: (x[0] * 3,))
        changed = model(ids)
        handle.remove()
        assert torch.equal(model(ids), plain)
    scaled = Mamba1.load(TINY)
    scaled.backbone.layers[2].register_forward_pre_hook(lambda _, x: (x[0] * 3,))
    with torch.no_grad():
        exact, other = scaled(ids), model(ids)
    # Far nearer to what that model computes than that is to the model without the hook.
    assert float((changed - exact).pow(2).mean()) < float((exact - other).pow(2).mean()) / 9


@pytest.mark.parametrize("hadamard", [True, False])
@pytest.mark.parametrize("at", [0, 2])
def test_a_change_of_one_channel_beside_an_outlier_is_not_lost(hadamard, at, monkeypatch):
    """Exactly what the model computes is read from there on, and the kept sum up to there."""
    torch.manual_seed(3)
    model, ids = Mamba1(layers=4).eval(), torch.randint(0, 64, (2, 40))
    with torch.no_grad():
        model.backbone.embedding.weight[:, 5] = 200
        with observe(model, names="sites") as seen:
            model(ids)
    plan, own, reads = scute.decide(seen.statistics), Stream.read, []

    def noted(stream, mixer, u):
        reads.append((mixer.layer, own(stream, mixer, u)))
        return reads[-1][1]

    def own_before(stream, mixer, u):
        return own(stream, mixer, u) if mixer.layer < at else None

    def logits(read):
        monkeypatch.setattr(Stream, "read", read)
        with torch.no_grad(), plan.fake_quantize(model, hadamard=hadamard):
            return model(ids)

    plain = logits(noted)
    assert [known is not None for _, known in reads] == [True] * 4
    change = torch.zeros(32)
    change[7] = 0.15  # less than 1e-3 of the outlier

    def steer(_, x):
        x[0].add_(change)  # in place: also what the embedding gave

    model.backbone.layers[at].register_forward_pre_hook(steer)
    reads.clear()
    changed = logits(noted)
    assert [known is not None for _, known in reads] == [layer < at for layer in range(4)]
    assert torch.equal(changed, logits(own_before))
    assert not torch.equal(changed, plain)


def test_plans_of_another_model_are_refused_by_name(measured):
    _, _, plan = measured
    with pytest.raises(scute.Error, match="expected sites of Mamba1, found layer_"):
        with plan.fake_quantize(Mamba1(layers=1)):
            raise AssertionError("entered")
