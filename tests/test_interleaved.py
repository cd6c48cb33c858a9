"""Runs of several configurations on the same prompts: each once, in an order drawn, with steps timed in between."""

import itertools
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tiny_models import PROMPTS, TOKENS, own_text, save_tiny

from calibrate.costs.contention import ONE
from engine.configuration import Configuration
from engine.models.sampling import GREEDY
from engine.models.specs import TARGET, ModelSpec
from engine.runtime.pair import Pair
from engine.runtime.placement import usable_cores
from reports.verify.interleaved import Measured, Prompted, RunSchedule, run_interleaved

pytestmark = pytest.mark.skipif(len(usable_cores()) < 2, reason="drafting at once needs two cores")

ALONE = Configuration(policy="autoregressive", placement="in-turn")
PEARL = Configuration(policy="pearl", draft_length=3, placement="at-once")
PROMPTED = Prompted([list(p) for p in PROMPTS[:2]], [GREEDY] * 2, TOKENS, ())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("target"), seed=0)


@pytest.fixture
def pair(source: str) -> Iterator[Pair]:
    spec = ModelSpec(source=source, precision="float32")
    with Pair(spec, {"near": spec.model_copy(update={"bits": 4})}, cores=usable_cores()[:2]) as pair:
        yield pair


def test_each_configuration_meets_each_prompt_in_each_repeat(pair: Pair, source: str) -> None:
    heard: list[str] = []
    found = run_interleaved(pair, [ALONE, PEARL], PROMPTED, repeats=2, seed=3, advance=heard.append)
    for configuration in (ALONE, PEARL):
        mine = found.samples[configuration]
        assert [(s.repeat, s.prompt) for s in mine] == [(0, 0), (0, 1), (1, 0), (1, 1)]
        for sample in mine:
            assert sample.run.tokens == own_text(source, PROMPTED.ids[sample.prompt], tokens=TOKENS)
    orders = sorted(s.order for mine in found.samples.values() for s in mine)
    assert orders == list(range(8))
    assert len(heard) == len(found.reference) == 8
    assert found.notes == []
    placed = {("in-turn", TARGET): 4, ("at-once", TARGET): 4, ("at-once", "near"): 4}
    assert {seated: len(timings) for seated, timings in found.timings.items()} == placed
    for timings in found.timings.values():
        assert min(one.step for one in timings) > 0.0
        assert all(one.prompt is not None and one.prompt > 0.0 for one in timings)
    (crowd,) = found.crowds  # both models compute at once in one placement alone
    assert (crowd.placement, crowd.draft) == ("at-once", "near")
    pairs = {(t.target_tokens, t.branches) for t in crowd.together}
    assert pairs == set(itertools.product(ONE.tokens, ONE.branches))


def test_it_ends_by_the_clock_or_where_all_is_decided(pair: Pair) -> None:
    """A run takes a second by this clock. Two prompts are always run; another if all of it is likely to fit."""
    four = replace(PROMPTED, ids=[list(p) for p in PROMPTS[:2]] * 2, sampling=[GREEDY] * 4)
    # Seconds, repeats, when to look, at how many prompts all is decided; what is run then, and why no more.
    for seconds, repeats, planned, decided, prompts, ended in (
        (0.0, 1, (4,), None, 2, "minutes"),
        (2.9, 1, (4,), None, 2, "minutes"),
        (3.0, 1, (4,), None, 3, "minutes"),
        (4.0, 1, (4,), None, 4, "prompts"),
        (5.9, 2, (4,), None, 2, "minutes"),
        (6.0, 2, (4,), None, 3, "minutes"),
        (9.0, 1, (2, 4), 2, 2, "decided"),
        (9.0, 1, (2, 4), 4, 4, "decided"),
        (3.0, 1, (2, 4), 3, 3, "decided"),  # the time was over as well
        (9.0, 1, (2, 4), None, 4, "prompts"),
    ):
        heard: list[str] = []
        looks: list[tuple[int, bool]] = []

        def look(
            _: Measured,
            seen: int,
            last: bool,
            looks: list[tuple[int, bool]] = looks,
            at: int | None = decided,
        ) -> bool:
            looks.append((seen, last))
            return seen == at

        schedule = RunSchedule(planned, seconds, look, clock=lambda heard=heard: float(len(heard)))  # type: ignore[misc]
        found = run_interleaved(pair, [ALONE], four, repeats, seed=0, advance=heard.append, schedule=schedule)
        assert (found.prompts, found.ended) == (prompts, ended)
        assert len(heard) == prompts * repeats
        assert [(s.repeat, s.prompt) for s in found.samples[ALONE]] == [
            *itertools.product(range(repeats), range(prompts))
        ]
        assert [seen for seen, _ in looks] == [n for n in planned if n < prompts] + [prompts]
        assert [last for _, last in looks][:-1] == [False] * (len(looks) - 1)
        assert looks[-1][1] == (ended == "minutes" or prompts in (3, planned[-1]))


def test_a_draft_that_dies_between_runs_costs_a_note(pair: Pair, source: str) -> None:
    killed: list[int] = []

    def kill(_: str) -> None:
        """The draft's process, behind the first run."""
        process = pair.players("at-once", "near")[1].worker.process  # type: ignore[union-attr]
        if not killed and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            killed.append(process.pid)

    found = run_interleaved(pair, [PEARL], PROMPTED, repeats=1, seed=0, advance=kill)
    assert killed
    (note,) = found.notes
    assert "timed at once one time less" in note
    for sample in found.samples[PEARL]:
        assert sample.run.warning is None
        assert sample.run.tokens == own_text(source, PROMPTED.ids[sample.prompt], tokens=TOKENS)
    assert [len(timings) for timings in found.timings.values()] == [2, 2]
