"""What policies ask about the load is answered as is said: nodes are shared evenly, and questions are waited for."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine.policies.load import Alone, Load, LoadQuestion, NodeShares
from engine.policies.protocol import Session, Steps
from engine.policies.settings import Settings
from engine.runtime.scheduler import Discipline, Forward, Scheduler
from sim.acceptance.sources import IndependentAcceptance
from sim.scripts.script import write_script

questions = st.lists(st.builds(LoadQuestion, st.integers(0, 9), st.just(20)), min_size=1, max_size=12)


@given(questions, st.lists(st.integers(0, 11)))
def test_nodes_are_shared_evenly_and_none_is_left_that_somebody_could_use(
    wanted: list[LoadQuestion], released: list[int]
) -> None:
    """However often they ask; requests whose nodes are judged begin anew."""
    shares, has = NodeShares(), dict.fromkeys(range(len(wanted)), 0)
    for judged in (*[[one] for one in released], []):
        for request in judged:
            shares.release(request)
            has[request] = 0
        before = sum(has[request] for request in has)
        answers = dict(shares.answer(list(enumerate(wanted)), running=40))
        assert {load.running for load in answers.values()} == {40}
        given_now = {request: load.nodes for request, load in answers.items()}
        for request, nodes in given_now.items():
            assert 0 <= nodes <= wanted[request].nodes
            # Who has fewer than another wanted no more.
            assert nodes == wanted[request].nodes or nodes >= max(given_now.values()) - 1
            has[request] += nodes
        assert before + sum(given_now.values()) == min(20, before + sum(q.nodes for q in wanted))


asked_together = st.dictionaries(
    st.integers(0, 6), st.builds(LoadQuestion, st.integers(0, 5), st.integers(0, 25)), min_size=1, max_size=5
)


@given(st.lists(st.tuples(asked_together, st.sets(st.integers(0, 6), max_size=3)), max_size=5))
def test_nodes_are_handed_out_one_at_a_time_by_turns(
    rounds: list[tuple[dict[int, LoadQuestion], set[int]]],
) -> None:
    """Whether there is room for all or not; `has` and `last` are what a plain count of it has."""
    shares, has, last = NodeShares(), dict.fromkeys(range(7), 0), -1
    for asked, judged in rounds:
        had = dict(has)
        turns = sorted(asked, key=lambda request: (request <= last, request))
        while someone := [
            r for r in turns if has[r] - had[r] < asked[r].nodes and (sum(has.values()) < asked[r].budget)
        ]:
            level = min(has[r] - had[r] for r in someone)
            last = next(r for r in someone if has[r] - had[r] == level)
            has[last] += 1
        answers = dict(shares.answer(list(asked.items()), running=7))
        assert {r: load.nodes for r, load in answers.items()} == {r: has[r] - had[r] for r in asked}
        for request in judged:
            shares.release(request)
            has[request] = 0


def test_what_is_over_goes_to_others_each_time() -> None:
    """Of 12 requests that want one node each of 8, each has 2 of every 3 rounds."""
    shares, had = NodeShares(), [0] * 12
    for _ in range(30):
        for request, load in shares.answer([(r, LoadQuestion(1, 8)) for r in range(12)], running=12):
            had[request] += load.nodes
            shares.release(request)
    assert had == [20] * 12


def test_a_text_alone_has_the_whole_budget() -> None:
    alone_ = Alone()
    assert alone_.answer(LoadQuestion()) == Load(1, 0)
    assert alone_.answer(LoadQuestion(5, 8)) == Load(1, 5)
    assert alone_.answer(LoadQuestion(5, 8)) == Load(1, 3)
    alone_.verified()
    assert alone_.answer(LoadQuestion(5, 8)) == Load(1, 5)


def scheduler(discipline: Discipline, requests: int = 3) -> Scheduler[None]:
    made: Scheduler[None] = Scheduler(discipline=discipline)
    for request in range(requests):
        made.arrive(request, 1)
    assert made.admit() == list(range(requests))
    return made


def test_in_lockstep_all_are_answered_together_and_what_is_spare_last() -> None:
    made = scheduler("lockstep")
    made.ask(0, LoadQuestion(2, 5))
    made.submit(Forward(1, "draft", 1, 1, None))
    assert made.answers() == []
    made.next_batch(["draft"])
    made.ask(1, LoadQuestion(2, 5, spare=True))
    made.finish()
    assert made.answers() == []  # the third has not said what it waits for
    made.submit(Forward(2, "target", 1, 1, None))
    assert made.next_batch(["target"]) == []
    assert made.answers() == [(0, Load(3, 2))]
    assert made.answers() == []  # it may go deeper yet
    made.ask(0, LoadQuestion(9, 5, spare=True))
    assert made.answers() == [(1, Load(3, 2)), (0, Load(3, 1))]  # turns begin behind who had the last one
    for request in (0, 1):
        made.submit(Forward(request, "target", 3, 3, None))
    assert len(made.next_batch(["target"])) == 3
    made.finish()
    for request in range(3):  # what was judged is free again
        made.ask(request, LoadQuestion(1, 5))
    assert made.answers() == [(request, Load(3, 1)) for request in range(3)]


def test_ready_answers_whoever_asks_and_a_request_that_leaves_gives_its_nodes_back() -> None:
    made = scheduler("ready")
    made.ask(1, LoadQuestion(4, 5))
    assert made.answers() == [(1, Load(3, 4))]
    made.ask(0, LoadQuestion(4, 5))
    made.ask(2, LoadQuestion(4, 5))
    made.leave(1)
    made.leave(2)
    assert made.answers() == [(0, Load(1, 4))]


def test_questions_are_waited_for() -> None:
    """As jobs are: a policy that goes on without an answer, or asks twice, is told."""

    def hasty(session: Session, settings: Settings) -> Steps:
        session.load(LoadQuestion())
        yield (session.load(LoadQuestion()),)

    def deaf(session: Session, settings: Settings) -> Steps:
        session.load(LoadQuestion())
        return
        yield ()

    source = IndependentAcceptance.draw(3, 0.5, 0)
    for policy in (hasty, deaf):
        with pytest.raises(RuntimeError, match="has to wait"):
            write_script(Settings(policy="odd"), source, (0,), policy)
