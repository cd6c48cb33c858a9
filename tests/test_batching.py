"""Requests that are written together are written as each alone: the same text, by the same rounds."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, given, settings
from table_engine import (
    LONGEST_PREDICTED,
    Room,
    alone,
    assert_all_slots_are_free,
    assert_equal,
    requests_of,
    table_engine,
    tight_rooms,
)
from table_pair import PROMPT, TableDecoder, before, players, tables
from tiny_families import tiny
from tiny_models import PROMPTS, TOKENS, tiny_llama

from engine.configuration import Configuration
from engine.errors import ConfigurationError, WorkerFailed
from engine.models.cached_model import CachedModel
from engine.models.llama import Llama
from engine.models.sampling import GREEDY, Sampling
from engine.models.transformers_model import TransformersModel
from engine.runtime.batching import BatchEngine, Request
from engine.runtime.scheduler import Budget, Discipline
from engine.runtime.worker_process import Hosted

CONFIGURATIONS = (
    Configuration(policy="autoregressive"),
    Configuration(policy="prompt-lookup", draft_length=4, guesses=2),
    Configuration(policy="speculative", draft_length=3, second_under=0.9, guesses=2, repeats=6),
    Configuration(policy="adaedl", draft_length=5, min_bound=0.3),
    Configuration(policy="pearl", draft_length=4, second_under=0.5, guesses=2),
    Configuration(
        policy="specbranch", draft_length=5, branches=4, min_confidence=0.3, adaptive_branches=False
    ),
    Configuration(policy="specbranch", draft_length=4, branches=2, redraft=True, hrad=True, repeats=5),
)
WARM = Sampling(temperature=1.0, seed=3)
requests = requests_of(CONFIGURATIONS)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(requests, st.integers(0, 6)), min_size=1, max_size=6),
    st.integers(0, 5),
    st.sampled_from([0.2, 2.0]),
    st.sampled_from(["ready", "lockstep"]),
    tight_rooms,
)
def test_requests_are_written_as_each_alone(
    arriving: list[tuple[Request, int]], seed: int, apart: float, discipline: Discipline, room: Room
) -> None:
    """Of any policies, arriving so many forwards apart, within any budget; and in the end all slots are free.

    A chunk may end among the rows whose logits are wanted.
    """
    target, draft = tables(seed, apart)
    seats = players(target, draft, longest=LONGEST_PREDICTED)
    slots = max(request.slots for request, _ in arriving)
    budget = Budget(room.rows, room.sequences, slots + 3)
    engine = table_engine(target, draft, budget, discipline, room.chunks)
    numbers = []
    for request, wait in arriving:
        numbers.append(engine.add(request))
        for _ in range(wait):
            engine.step()
    engine.run()
    assert engine.idle
    assert not engine.failures
    for number, (request, _) in zip(numbers, arriving, strict=True):
        assert_equal(engine.runs[number], alone(seats, request))
    assert_all_slots_are_free(engine)


def hosts(seed: int, path: str) -> Hosted:
    model = tiny_llama(seed)
    if path == "lean":
        return Hosted(CachedModel(Llama(model.config, model.state_dict(), torch.float32, capacity=16)))
    return Hosted(CachedModel(TransformersModel(model if path == "general" else tiny(path, seed))))


@pytest.mark.parametrize("chunks", [False, True], ids=["whole", "chunks"])
@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "drawn"])
@pytest.mark.parametrize("discipline", ["ready", "lockstep"])
@pytest.mark.parametrize("path", ["lean", "general", "Gemma 3", "BLOOM"])
def test_float32_texts_are_those_of_each_alone(
    path: str, discipline: Discipline, sampling: Sampling, chunks: bool
) -> None:
    """Of real caches and masks; forwards are shared, and the draft is another model, whose lines are often refused."""
    wanted = [
        Request(prompt, configuration, TOKENS - 3 * i, (2,), sampling.model_copy(update={"seed": i}))
        for i, (prompt, configuration) in enumerate(
            zip(PROMPTS, [c for c in CONFIGURATIONS if not c.hrad], strict=True)
        )
    ]
    expected = []
    for request in wanted:
        engine = BatchEngine(hosts(0, path), hosts(5, path))
        number = engine.add(request)
        engine.run()
        expected.append(engine.runs[number])
    rows = 11 if chunks else 64
    engine = BatchEngine(hosts(0, path), hosts(5, path), Budget(rows, 4, 400), discipline, chunks)
    numbers = [engine.add(request) for request in wanted[:3]]
    for _ in range(7):
        engine.step()
    numbers += [engine.add(request) for request in wanted[3:]]
    engine.run()
    for number, run in zip(numbers, expected, strict=True):
        assert_equal(engine.runs[number], run)
    for model in ("target", "draft"):
        assert max(len(batch.requests) for batch in engine.batches if batch.model == model) > 1
    assert any(batch.unread for batch in engine.batches) == chunks


def test_a_batch_takes_as_many_forwards_as_its_longest_request() -> None:
    """Where all run from the start and the rows fit: autoregressive requests of 5, 9 and 3 tokens take 9."""
    engine = BatchEngine(hosts(0, "lean"))
    numbers = [engine.add(Request(PROMPTS[0], CONFIGURATIONS[0], tokens)) for tokens in (5, 9, 3)]
    engine.run()
    assert [len(engine.runs[number].tokens) for number in numbers] == [5, 9, 3]
    assert [len(batch.requests) for batch in engine.batches] == [3] * 3 + [2] * 2 + [1] * 4


def test_a_cancelled_request_leaves_the_others_as_they_are() -> None:
    engine = BatchEngine(hosts(0, "lean"), hosts(5, "lean"), Budget(slots=200, sequences=2))
    wanted = [Request(prompt, CONFIGURATIONS[2], TOKENS) for prompt in PROMPTS[:4]]
    numbers = [engine.add(request) for request in wanted]
    for _ in range(9):
        engine.step()
    engine.cancel(numbers[0])
    engine.cancel(numbers[3])
    engine.run()
    assert sorted(engine.runs) == numbers[1:3]
    assert_all_slots_are_free(engine)
    for number, request in zip(numbers[1:3], wanted[1:3], strict=True):
        one = BatchEngine(hosts(0, "lean"), hosts(5, "lean"))
        one.add(request)
        one.run()
        assert_equal(engine.runs[number], one.runs[0])


@settings(deadline=None, max_examples=20)
@given(st.lists(requests, min_size=2, max_size=5), st.integers(1, 9))
def test_slots_of_a_request_lie_together(wanted: list[Request], steps: int) -> None:
    """From its first forward on, all that it may need, in a row, while none has ended and left a gap."""
    engine = table_engine(*tables(1))
    for request in wanted:
        engine.add(request)
    for _ in range(steps):
        engine.step()
    assume(not engine.runs)
    for writing in engine._writing.values():
        for text in writing.texts:
            assert isinstance(text.slots, range)
            assert len(text.slots) in (0, writing.request.slots)


@pytest.mark.usefixtures("own_faults")
def test_targets_go_on_alone_when_a_draft_fails() -> None:
    """In the middle of a batch; the texts stay what they were."""
    target, draft = tables(seed=1)

    def fail(call: int) -> None:
        if call > 6:
            raise ValueError("no more")

    engine = table_engine(target, before(TableDecoder(draft), fail))
    configurations = [Configuration(policy=policy, draft_length=3) for policy in ("speculative", "pearl")]
    wanted = [Request(PROMPT[i:], configuration, 12) for i, configuration in enumerate(configurations)]
    numbers = [engine.add(request) for request in wanted]
    engine.run()
    for number, request in zip(numbers, wanted, strict=True):
        run = engine.runs[number]
        expected = alone(players(target, draft), replace(request, settings=CONFIGURATIONS[0]))
        assert run.tokens == expected.tokens
        assert run.warning is not None
        assert "the target went on alone after" in run.warning
    assert_all_slots_are_free(engine)


@pytest.mark.usefixtures("own_faults")
def test_a_target_that_fails_ends_its_requests_with_an_error() -> None:
    target, _ = tables(seed=1)
    broken = TableDecoder(target)
    engine = table_engine(broken)
    number = engine.add(Request(PROMPT, CONFIGURATIONS[0], 4))
    broken.table, broken.rows = target[:0], []
    engine.run()
    assert not engine.runs
    assert isinstance(engine.failures[number], WorkerFailed)


def test_a_request_that_never_fits_is_refused() -> None:
    engine = BatchEngine(hosts(0, "lean"), budget=Budget(slots=20))
    with pytest.raises(ConfigurationError, match=r"needs .* slots of the cache, and there are 20"):
        engine.add(Request(PROMPTS[0], CONFIGURATIONS[0], 20))
    assert engine.idle
