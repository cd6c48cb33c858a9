"""The most likely tokens, compiled and by PyTorch, are what sorting gives."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kernels.crew import Crew
from engine.kernels.ranking import best, entropies, ranked, ranked_by_torch

# Few values, so that there are many ties; and one that no token has that can be drawn.
LOGITS = st.lists(st.sampled_from([-3.5, -1.0, 0.0, 0.25, 2.0, 7.5, -math.inf]), min_size=1, max_size=400)


def expected(row: list[float], count: int) -> tuple[list[int], list[float]]:
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))[:count]
    total = math.fsum(math.exp(x) for x in row)
    return order, [math.exp(row[i]) / total for i in order]


@settings(deadline=None)  # the first call compiles
@given(LOGITS, st.integers(1, 9))
def test_equal_logits_go_by_their_place(row: list[float], count: int) -> None:
    row = [5.0, *row]
    logits = torch.tensor([row, row[::-1]])
    for found, mine in zip(ranked(logits, count), (row, row[::-1]), strict=True):
        order, chances = expected(mine, count)
        assert found[0] == order
        assert found[1] == pytest.approx(chances, rel=1e-5, abs=1e-12)
    assert best(logits) == [expected(mine, 1)[0][0] for mine in (row, row[::-1])]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_many_rows(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row once, in its place; of equal logits the first."""
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    monkeypatch.setattr("engine.kernels.ranking.SHARED", 1)
    logits = torch.randint(0, 40, (37, 500), generator=torch.Generator().manual_seed(threads)).float()
    crew = Crew()
    assert best(logits, crew) == [row.index(max(row)) for row in logits.tolist()]
    for (places, _), row in zip(ranked(logits, 3, crew), logits.tolist(), strict=True):
        assert places == expected(row, 3)[0]


@pytest.mark.parametrize("threads", [1, 3])
@settings(deadline=None, max_examples=50)
@given(st.lists(LOGITS, min_size=1, max_size=20), st.integers(1, 5), st.integers(0, 3))
def test_rows_together_are_ranked_as_each_alone(
    threads: int, rows: list[list[float]], count: int, more: int
) -> None:
    """To the last bit and in the order of ties, also where one of them is asked for more than the others."""
    width = max(map(len, rows)) + 1
    logits = torch.tensor([[1.5, *row, *[-3.5] * (width - 1 - len(row))] for row in rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.get_num_threads", lambda: threads)
        patch.setattr("engine.kernels.ranking.SHARED", 1)
        together, largest = ranked(logits, count + more, Crew()), best(logits, Crew())
        spread = entropies(logits, Crew())
    for row, (places, chances), first in zip(logits, together, largest, strict=True):
        assert [(places[:count], chances[:count])] == ranked(row[None].clone(), count)
        assert [first] == best(row[None].clone()) == places[:1]
    assert torch.equal(spread, torch.cat([entropies(row[None].clone()) for row in logits]))


@pytest.mark.parametrize("width", [1, 127, 128, 129, 49152])
@pytest.mark.parametrize("count", [1, 4, 8])
def test_both_ways_agree(width: int, count: int) -> None:
    logits = 3 * torch.randn(3, width, generator=torch.Generator().manual_seed(width))
    for (places, chances), (others, theirs) in zip(
        ranked(logits, count), ranked_by_torch(logits, count), strict=True
    ):
        assert places == others
        assert chances == pytest.approx(theirs, rel=1e-5)
        assert len(places) == min(count, width)


def test_rows_may_be_part_of_wider_ones() -> None:
    """And get the same to the last bit."""
    logits = torch.randn(3, 640, generator=torch.Generator().manual_seed(0))[:, :611]
    assert ranked(logits, 3) == ranked(logits.contiguous(), 3)
    assert best(logits) == best(logits.contiguous())
    assert torch.equal(entropies(logits), entropies(logits.contiguous()))


@settings(deadline=None)
@given(LOGITS)
def test_entropies_are_those_of_the_shares(row: list[float]) -> None:
    row = [5.0, *row]
    _, shares = expected(row, len(row))
    want = -math.fsum(p * math.log(p) for p in shares if p > 0.0)
    assert float(entropies(torch.tensor([row]))) == pytest.approx(want, abs=2e-5)
    assert float(entropies(torch.tensor([row], dtype=torch.float64))) == pytest.approx(want, abs=2e-5)
