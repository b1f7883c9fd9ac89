"""all_reduce over two processes (gloo): the sum of all, in every rank."""

import pickle
import subprocess
import sys
import textwrap

import pytest

torch = pytest.importorskip("torch")

import scute  # noqa: E402

pytestmark = pytest.mark.torch

WORKER = """
import pickle, sys, torch, torch.distributed as dist, scute
from scute.observation import observe
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 2))
torch.manual_seed(rank)
torch.nn.init.constant_(model[0].weight, 0.5)
seen = observe(model, per_channel=True, fine=FINE, meta={"alike": 1, "rank": rank})
with seen, torch.no_grad():
    for _ in range(3 + rank):
        model[0](torch.randn(2, 3) * 10 ** rank) if rank else model(torch.randn(2, 3))
if rank == 1:
    seen.statistics.update("only", torch.tensor([float("nan"), -0.0]))
    EXTRA
own = pickle.dumps(seen.statistics)
try:
    seen.statistics.all_reduce()
    said = ""
except scute.Error as error:
    said = str(error)
dist.destroy_process_group()  # or its threads end the process while they run
with open(f"{folder}/{rank}.pickle", "wb") as file:
    pickle.dump((own, seen.statistics, said), file)
"""


def two_ranks(folder, fine="8", extra="pass"):
    """[(own statistics, those after all_reduce, the error's text)] of each rank."""
    code = textwrap.dedent(WORKER).replace("FINE", fine).replace("EXTRA", extra)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank), str(folder)], stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    out = []
    for i, rank in enumerate(ranks):
        _, errors = rank.communicate(timeout=120)
        assert rank.returncode == 0, errors
        own, after, said = pickle.loads((folder / f"{i}.pickle").read_bytes())
        out.append((pickle.loads(own), after, said))
    return out


def test_every_rank_has_the_sum(tmp_path):
    (own, first, _), (other, second, _) = two_ranks(tmp_path)
    assert first == second
    expected = own.copy()
    expected.meta = other.meta = {}
    expected.merge(other, missing=True, repeats=True)
    assert set(first) == {"0:input", "0:output", "1:input", "1:output", "only"}
    for site in expected:
        assert first[site] == expected[site], site
    assert first["0:input"].count == 7 * 6 and first["0:input"].samples == 7
    assert first.meta["alike"] == 1 and first.meta["ranks"] == 2 and "rank" not in first.meta


@pytest.mark.parametrize(
    "options, words",
    [
        ({"fine": "8 + rank"}, "expected fine 8, found 9 in rank 1"),
        ({"extra": "seen.statistics['1:input'] = seen.statistics['0:input']"}, "1:input: expected"),
    ],
)
def test_what_does_not_fit_is_the_same_error_everywhere(tmp_path, options, words):
    for own, after, said in two_ranks(tmp_path, **options):
        assert words in said
        assert after == own


def test_without_a_group():
    with pytest.raises(scute.Error, match="init_process_group"):
        scute.Statistics().all_reduce()
