"""Rows that several threads share where there are many of them."""

from collections.abc import Callable

import torch

from engine.kernels.crew import Crew


def by_rows(work: Callable[[slice], None], rows: int, shared: int, crew: Crew | None = None) -> None:
    """Do `work` on so many rows, which a `crew` of as many threads as PyTorch uses shares from `shared` rows on."""
    threads = 1 if crew is None or rows < shared else torch.get_num_threads()
    if crew is None or threads == 1:
        work(slice(0, rows))
    else:
        crew.run(lambda rank: work(slice(rows * rank // threads, rows * (rank + 1) // threads)), threads)
