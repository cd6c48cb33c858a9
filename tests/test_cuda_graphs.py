"""A recorded function returns what the function does, for all shapes and threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tiny_models import on_cuda
from torch import Tensor

from engine.kernels.cuda_graphs import Recorded
from engine.kernels.ranking import LISTED, ranked


def scaled(x: Tensor, y: Tensor) -> Tensor:
    return x.cumsum(-1) * y


def test_elsewhere_it_is_the_function() -> None:
    calls = []

    def noted(x: Tensor) -> Tensor:
        calls.append(x)
        return x + 1

    recorded = Recorded(noted)
    assert [int(recorded(torch.tensor(i))) for i in (1, 2)] == [2, 3]
    assert len(calls) == 2


@on_cuda
def test_on_a_device_it_returns_the_same_for_every_shape_and_thread() -> None:
    recorded = Recorded(scaled)

    def check(seed: int) -> None:
        for turn in range(20):
            source = torch.Generator().manual_seed(100 * seed + turn)
            x, y = torch.randn(1 + turn % 4, 30, generator=source), torch.randn(1, generator=source)
            with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
                found = recorded(x.cuda(), y.cuda()).cpu()
            torch.testing.assert_close(found, scaled(x, y))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(check, range(2)))


@on_cuda
def test_a_device_ranks_as_the_host_does() -> None:
    logits = torch.randn(20, 5000).mul(8).round()  # many are equal
    for rows in (1, 3, 20):
        for count in (1, 4, LISTED):
            mine, its = ranked(logits[:rows].cuda(), count), ranked(logits[:rows], count)
            assert [places[:1] for places, _ in mine] == [places[:1] for places, _ in its]
            for (_, got), (_, want) in zip(mine, its, strict=True):
                assert got == pytest.approx(want, rel=1e-4)
