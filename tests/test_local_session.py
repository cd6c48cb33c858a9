"""A text whose policy runs in its models' worker is the one that the driver's writes, and is heard as it grows."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from table_pair import PROMPT, players, tables
from tiny_models import PROMPTS, TOKENS, only

from engine.configuration import Configuration
from engine.errors import ConfigurationError, SpecBranchError
from engine.models.sampling import GREEDY, Sampling
from engine.runtime.local_session import write
from engine.runtime.pair import Pair
from engine.runtime.placement import usable_cores
from engine.runtime.run_message import from_message
from engine.runtime.session import generate
from engine.runtime.worker_process import Host

CONFIGURATIONS = (
    Configuration(policy="autoregressive", placement="in-turn"),
    Configuration(policy="prompt-lookup", placement="in-turn"),
    Configuration(policy="speculative", draft_length=3, second_under=0.5, placement="in-turn"),
    Configuration(policy="specbranch", draft_length=4, branches=2, redraft=True, placement="in-turn"),
    Configuration(policy="autoregressive", placement="at-once"),
    Configuration(policy="pearl", draft_length=3, placement="at-once"),
    Configuration(policy="specbranch", draft_length=4, branches=2, second_under=0.5, placement="at-once"),
    Configuration(policy="speculative", draft_length=3, placement="threads"),
    Configuration(policy="pearl", draft_length=3, guesses=2, placement="threads"),
    Configuration(policy="tree", draft_length=3, placement="in-turn"),
)


@pytest.fixture(scope="module")
def pair(tiny_pair: Pair) -> Pair:
    return replace(only(tiny_pair, "int8"), cores=usable_cores()[:2])


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.0, seed=3)], ids=["greedy", "drawn"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.label())
def test_it_is_the_drivers_text(pair: Pair, configuration: Configuration, sampling: Sampling) -> None:
    if configuration.placement != "in-turn" and len(pair.cores) < 2:
        pytest.skip("drafting at once needs two cores")
    draft = configuration.draft_among(pair.drafts)
    for prompt in PROMPTS[:3]:
        heard: list[int] = []
        here = pair.generate(
            configuration, prompt, max_tokens=TOKENS, on_text=heard.extend, sampling=sampling
        )
        seats = pair.players(configuration.placement, draft)
        theirs = generate(configuration, *seats, prompt, max_tokens=TOKENS, sampling=sampling)
        assert here.tokens == theirs.tokens == tuple(heard)
        assert here.rounds == theirs.rounds
        assert (here.shared, here.ending, here.warning) == (theirs.shared, theirs.ending, theirs.warning)
        assert [(j.model, j.round, j.forwards, j.tokens) for j in here.jobs] == [
            (j.model, j.round, j.forwards, j.tokens) for j in theirs.jobs
        ]
        ends = [0.0, *(max(job.end for job in wait) for wait, _ in here.hand_overs()), here.seconds]
        assert ends == sorted(ends)
        assert 0 < here.first_token_seconds <= here.seconds


def test_where_no_pipe_can_be_handed_on_the_driver_writes(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    if len(pair.cores) < 2:
        pytest.skip("drafting at once needs two cores")
    there = pair.generate(CONFIGURATIONS[5], PROMPTS[0], max_tokens=TOKENS)
    monkeypatch.setattr("engine.runtime.pair.CAN_LINK", False)
    monkeypatch.setattr("engine.runtime.pair.generate_there", None)
    here = pair.generate(CONFIGURATIONS[5], PROMPTS[0], max_tokens=TOKENS)
    assert (here.tokens, here.rounds) == (there.tokens, there.rounds)


@pytest.mark.parametrize(("every", "told"), [(0.0, 12), (1e9, 0)])
def test_the_driver_hears_of_it_now_and_then(every: float, told: int) -> None:
    """And of the rest in the end."""
    target, _ = players(*tables(seed=7))
    heard: list[Sequence[int]] = []
    host = target.worker.host  # type: ignore[attr-defined]
    host.tell = lambda news: heard.append(list(news))
    configuration = CONFIGURATIONS[0].model_dump(mode="json")
    last, message = write(
        host, configuration, ["target"], False, 1.0, PROMPT, 12, [], GREEDY.model_dump(), 0.0, every
    )
    assert len(heard) == told
    run = from_message(message, shared=False)
    assert [token for news in [*heard, last] for token in news] == list(run.tokens)
    assert (len(run.rounds), len(run.jobs), run.ending, run.warning) == (12, 12, "token-limit", None)


def test_a_text_that_the_driver_gave_up_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    target, _ = players(*tables(seed=7))
    heard: list[Sequence[int]] = []
    host = target.worker.host  # type: ignore[attr-defined]
    host.tell = lambda news: heard.append(list(news))
    monkeypatch.setattr(Host, "wanted", lambda host: len(heard) == 3)
    configuration = CONFIGURATIONS[0].model_dump(mode="json")
    with pytest.raises(SpecBranchError, match="given up"):
        write(host, configuration, ["target"], False, 1.0, PROMPT, 12, [], GREEDY.model_dump(), 0.0, 0.0)
    assert len(heard) == 3


def test_a_listener_that_fails_is_not_called_again(pair: Pair) -> None:
    def fail(tokens: Sequence[int]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pair.generate(CONFIGURATIONS[0], PROMPTS[0], max_tokens=TOKENS, on_text=fail)
    run = pair.generate(CONFIGURATIONS[0], PROMPTS[0], max_tokens=TOKENS)
    assert len(run.tokens) == TOKENS


def test_an_unknown_policy_is_refused_before_anything_is_written(pair: Pair) -> None:
    with pytest.raises(ConfigurationError, match="there is no policy"):
        pair.generate(Configuration(policy="none", placement="in-turn"), PROMPTS[0], max_tokens=TOKENS)
