"""The engine over a pair whose every distribution is known: requests to serve together, and what they are held to."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import hypothesis.strategies as st
from table_pair import END, VOCABULARY, TableDecoder, any_predictor
from torch import Tensor

from engine.models.cached_model import CachedModel
from engine.models.sampling import Sampling
from engine.policies.settings import Settings
from engine.record import Run
from engine.runtime.batching import BatchEngine
from engine.runtime.requests import Request
from engine.runtime.scheduler import DEFAULT_BUDGET, Budget, Discipline
from engine.runtime.session import Player, generate
from engine.runtime.worker_process import Hosted
from engine.service_record import Batch

LONGEST_PREDICTED = 16  # by H-RAD's network here: longer than any draft of these requests


class Room(NamedTuple):
    """How many `rows` a forward has, how many `sequences` run at once, and whether prompts are read in chunks."""

    rows: int
    sequences: int
    chunks: bool


tight_rooms = st.builds(Room, st.integers(1, 9), st.integers(1, 4), st.booleans())
wide_rooms = st.builds(Room, st.integers(2, 30), st.integers(1, 5), st.booleans())


def requests_of(configurations: Sequence[Settings]) -> st.SearchStrategy[Request]:
    """Requests by any of these, greedy or drawn, of any prompt that does not end the text."""
    return st.builds(
        Request,
        st.lists(st.integers(0, VOCABULARY - 2), min_size=1, max_size=9),
        st.sampled_from(configurations),
        st.integers(1, 14),
        st.sampled_from([(), (END,)]),
        st.builds(Sampling, temperature=st.sampled_from([0.0, 1.0]), seed=st.integers(0, 9)),
    )


def table_engine(
    target: Tensor | TableDecoder,
    draft: Tensor | TableDecoder | None = None,
    budget: Budget = DEFAULT_BUDGET,
    discipline: Discipline = "ready",
    chunks: bool = False,
    **more: Any,
) -> BatchEngine:
    """An engine over tables, or over decoders of them; it has an untrained H-RAD network if it has a draft."""
    first, second = _hosted(target), None
    if draft is not None:
        second = _hosted(draft)
        first.predictors["draft"] = any_predictor(0, LONGEST_PREDICTED)
    return BatchEngine(first, second, budget, discipline, chunks, **more)


def _hosted(table: Tensor | TableDecoder) -> Hosted:
    return Hosted(CachedModel(TableDecoder(table) if isinstance(table, Tensor) else table))


def alone(seats: tuple[Player, Player], request: Request) -> Run:
    """What is written of a request that nothing else is served beside."""
    target, draft = seats
    return generate(
        request.settings,
        target,
        draft,
        request.prompt,
        max_tokens=request.max_tokens,
        end_tokens=request.end_tokens,
        sampling=request.sampling,
    )


def assert_equal(got: Run, expected: Run) -> None:
    """The same text by the same rounds and jobs, whenever those were."""
    assert (got.tokens, got.rounds, got.ending, got.warning) == (
        expected.tokens,
        expected.rounds,
        expected.ending,
        expected.warning,
    )
    assert _jobs(got) == _jobs(expected)


def _jobs(run: Run) -> list[tuple[int, str, int, int]]:
    return sorted((job.round, str(job.model), job.forwards, job.tokens) for job in run.jobs)


def assert_all_slots_are_free(engine: BatchEngine) -> None:
    """Nothing is left in the caches of an engine that is idle."""
    assert all(cache.pool.free == cache.pool.size for cache in engine.caches.values())


def without_times(batches: Sequence[Batch]) -> list[Batch]:
    """Forwards by what they were of alone."""
    return [batch._replace(start=0.0, end=0.0) for batch in batches]
