"""Policies are found by file, and the accounting of a round follows the definitions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from artifacts import artifact, replay
from branches import branches, line
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import PROMPTS, own_text, save_tiny
from transformers.generation.candidate_generator import PromptLookupCandidateGenerator

from engine import policies
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.models.specs import ModelSpec
from engine.policies import load_policy, policy_names, uses
from engine.policies.pearl import balanced_length
from engine.policies.prediction import classify
from engine.policies.protocol import Draft, DraftLimits, commit
from engine.policies.repetitions import Repetitions
from engine.policies.settings import Settings
from engine.policies.tree import EMPTY, Prediction, Round, TokenTree, Verdict
from engine.runtime.pair import Pair


@dataclass
class Written:
    """The part of a session that `commit` uses."""

    finished: bool = False
    text: list[int] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)

    def emit(self, tokens: Sequence[int]) -> int:
        self.text.extend(tokens)
        return len(tokens)

    def close_round(self, counts: Round) -> None:
        self.rounds.append(counts)


BRANCHES = Draft(branches((7, 8, 9), (5, 6)), steps=3)


@pytest.mark.parametrize(
    ("verdict", "following", "rollback", "hedge"),
    [
        (Verdict((0, 1), 7), (8, 9), 0, 2),  # the first branch survives
        (Verdict((0, 1), 5), (6,), 0, 3),  # the second one does
        (Verdict((0, 1), 4), (), 3, 2),  # none holds the target's token
        (Verdict((0,), 7), (), 1 + 3, 2),  # the line is cut, so no branch can survive
    ],
)
def test_commit(verdict: Verdict, following: tuple[int, ...], rollback: int, hedge: int) -> None:
    session = Written()
    pending = commit(session, line(1, 2), verdict, BRANCHES)  # type: ignore[arg-type]
    assert pending.tokens == following
    assert session.text == [*(1, 2)[: verdict.accepted], verdict.token]
    counts = session.rounds[0]
    assert (counts.drafted, counts.rollback, counts.hedge) == (5, rollback, hedge)


def test_speculative_round_counts_its_line_as_drafted() -> None:
    session = Written()
    assert commit(session, line(1, 2, 3), Verdict((0,), 9)) == EMPTY  # type: ignore[arg-type]
    assert session.rounds == [Round(drafted=3, verified=3, accepted=1, emitted=2, rollback=2, hedge=0)]


def test_a_cut_drops_tokens_that_nobody_judged() -> None:
    session, seen = Written(), []

    def cut(following: TokenTree, prediction: Prediction | None) -> TokenTree:
        seen.append(prediction)
        return following.until(1)

    pending = commit(session, line(1, 2), Verdict((0, 1), 7, 1), BRANCHES, cut)  # type: ignore[arg-type]
    assert pending.tokens == (8,)
    assert seen == [1]
    assert (session.rounds[0].cut, session.rounds[0].rollback, session.rounds[0].hedge) == (1, 0, 2)


def test_a_line_written_and_cut_in_its_own_round_is_counted_there() -> None:
    session = Written()
    commit(session, line(1, 2), Verdict((0,), 7), BRANCHES, redrafted=line(1, 2, 3))  # type: ignore[arg-type]
    counts = session.rounds[0]
    assert (counts.drafted, counts.rollback, counts.hedge, counts.cut) == (5 + 3, 1 + 3, 2, 1)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_redrafting_leaves_no_line_unwritten_after_a_rejection(length: int) -> None:
    """So every round but the first judges a line; and each token drafted is accounted for."""
    world = artifact(prompts=2, tokens=60)
    for redraft in (False, True):
        configuration = Configuration(
            policy="specbranch", draft="int4", draft_length=length, branches=2, redraft=redraft
        )
        for run in replay(world, configuration):
            rejected = [r.rollback > 0 for r in run.rounds[:-1]]
            assert any(rejected)
            judged = [r.verified for r in run.rounds[1:]]
            if redraft:
                assert all(v == max(1, length - 1) for v, lost in zip(judged, rejected, strict=True) if lost)
            else:
                assert all(v == 0 for v, lost in zip(judged, rejected, strict=True) if lost)


@given(
    st.lists(st.integers(3, 6), min_size=2, max_size=40),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_the_first_match_is_what_transformers_looks_up(text: list[int], longest: int, count: int) -> None:
    theirs: Any = PromptLookupCandidateGenerator(
        num_output_tokens=count, max_matching_ngram_size=longest, max_length=1000
    )
    candidates, _ = theirs.get_candidates(torch.tensor([text]))
    found = Repetitions().look_up(text, tuple(text[-longest:]), count, first=True)
    assert found == tuple(candidates[0, len(text) :].tolist())


TEXTS = st.lists(st.integers(0, 3), min_size=1, max_size=40)


@given(TEXTS, TEXTS, st.integers(1, 5), st.integers(1, 6), st.lists(st.integers(1, 80)), st.booleans())
def test_prompt_lookup_finds_what_followed_the_longest_repetition(
    text: list[int], more: list[int], longest: int, count: int, before: list[int], first: bool
) -> None:
    """However much of the text, and of what is to follow it, was looked at before, and for sequences of any lengths."""
    repetitions, whole = Repetitions(), text + more
    for end in before:
        repetitions.look_up(whole[:end], tuple(whole[:end][-1 - end % 5 :]), count)
    found = repetitions.look_up(text, tuple(text[-longest:]), count, first=first)
    matches = {
        length: [end for end in range(length, len(text)) if text[end - length : end] == text[-length:]]
        for length in range(1, min(longest, len(text) - 1) + 1)
    }
    best = max((length for length, ends in matches.items() if ends), default=0)
    if not best:
        assert found == ()
    else:
        end = min(matches[best]) if first else max(matches[best])
        assert found == tuple(text[end : end + count])
        assert found  # there is something to draft behind an earlier occurrence


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=9), st.integers(1, 12))
def test_a_prediction_is_the_likeliest_class(weights: list[float], length: int) -> None:
    chances = [weight / sum(weights) for weight in weights]
    reached = min(length, len(chances) - 1)
    classes = {0: chances[0], 1: sum(chances[1:reached]), 2: sum(chances[reached:])}
    assert classes[classify(chances, length)] == pytest.approx(max(classes.values()))


def test_pearls_length_is_the_ratio_of_the_models_times() -> None:
    assert [balanced_length(0.05, step) for step in (0.05, 0.026, 0.0135, 0.2)] == [1, 2, 4, 1]


@pytest.mark.parametrize("policy", policy_names())
def test_what_a_policy_does_not_use_changes_nothing(policy: str) -> None:
    world = artifact(prompts=2, tokens=40)
    base = {"policy": policy, "draft": "int4", "placement": "in-turn"}
    others = {
        "draft_length": 7,
        "branches": 3,
        "adaptive_branches": False,
        "min_confidence": 0.7,
        "min_bound": 0.9,
        "longest_match": 1,
        "first_match": True,
        "guesses": 3,
        "repeats": 5,
        "second_under": 0.6,
        "tree_nodes": 5,
        "rank_acceptance": "0.5 0.3",
        "lengths_by_load": "1-:7",
        "gates": "2:0.9",
        "tree_width": 2,
        "batch_nodes": 3,
        "hrad": True,
        "redraft": True,
    }
    assert set(others) | {"draft", "draw_drafts", "policy"} == set(Settings.model_fields) | {"draft"}
    unused = {name: value for name, value in others.items() if name not in uses(policy)}
    plain, same = (replay(world, Configuration.model_validate(base | more)) for more in ({}, unused))
    assert plain == same


def test_adaptive_branch_count() -> None:
    limits = DraftLimits(length=4, branches=4, adaptive=True)
    assert [limits.branch_count(q) for q in (0.0, 0.3, 0.5, 0.9, 1.0)] == [4, 2, 2, 1, 1]


@pytest.mark.parametrize("name", ["perl", "protocol", "no-such", "settings", "../errors"])
def test_unknown_policy(name: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no policy"):
        load_policy(name)


NEW_POLICY = """
from engine.policies.protocol import DraftLimits, commit, result
from engine.policies.tree import EMPTY


def decode(session, settings):
    while not session.finished:
        draft = session.draft(EMPTY, DraftLimits(2))
        yield (draft,)
        tree = result(draft).tree
        verdict = session.verify(tree)
        yield (verdict,)
        commit(session, tree, result(verdict))
"""


def find_policies_in(host: object, folder: str) -> None:
    """As for the driver: what runs in turn finds its policy in the worker."""
    policies.__path__.append(folder)


@pytest.mark.processes
def test_a_new_file_is_a_policy_in_both_worlds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but one file is added, and simulator and engine run it."""
    (tmp_path / "pairs_of_two.py").write_text(NEW_POLICY)
    monkeypatch.setattr(policies, "__path__", [*policies.__path__, str(tmp_path)])
    configuration = Configuration(policy="pairs_of_two", draft="int8", placement="in-turn")
    simulated = replay(artifact(prompts=2), configuration)
    assert all(r.verified == 2 for run in simulated for r in run.rounds)
    target = save_tiny(tmp_path / "model", seed=0)
    spec = ModelSpec(source=target, precision="float32")
    with Pair(spec, {"int8": spec.model_copy(update={"bits": 8})}) as pair:
        players = pair.players("in-turn", "int8")
        players[0].worker.call(find_policies_in, folder=str(tmp_path))
        run = pair.generate(configuration, PROMPTS[0], max_tokens=12)
    assert run.tokens == own_text(target, PROMPTS[0], tokens=12)
    assert all(r.verified == 2 for r in run.rounds)
