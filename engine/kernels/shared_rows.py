"""Rows that several threads share where there are many of them."""

from collections.abc import Callable, Sequence

import torch

from engine.kernels.crew import Crew


def by_rows(
    work: Callable[[slice], None], shape: Sequence[int], least: int, crew: Crew | None = None
) -> None:
    """Do `work` on all rows of a `shape` [rows, width].

    A `crew` of as many threads as PyTorch uses shares them where there are `least` numbers.
    """
    rows, width = shape
    threads = 1 if crew is None or rows * width < least else torch.get_num_threads()
    if crew is None or threads == 1:
        work(slice(0, rows))
    else:
        crew.run(lambda rank: work(slice(rows * rank // threads, rows * (rank + 1) // threads)), threads)
