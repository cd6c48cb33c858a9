"""Replay of a trace equals a plain reference that asks for one token at a time, and alignment shifts keep order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from artifacts import artifact, replay
from branches import last_nodes
from hypothesis import given
from one_text import Setting, simulate

from calibrate.trace_records import DraftTrace
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.models.cache_state import CacheState
from engine.policies import load_policy
from engine.policies.load import Alone, LoadQuestion
from engine.policies.ngrams import NONE, NGrams
from engine.policies.protocol import Draft, DraftLimits
from engine.policies.repetitions import Repetitions
from engine.policies.settings import Settings
from engine.policies.tree import Round, TokenTree, Verdict, first_nodes, side_by_side
from scenarios.what_if import WhatIf
from sim.acceptance.alignment import shift_alignment
from sim.acceptance.sources import REACH, IndependentAcceptance, TraceAcceptance, off_path_runs
from sim.costs.durations import Operations
from sim.costs.stated import StatedCosts
from sim.scripts.script import NO_TOKEN

COSTS = StatedCosts(draft_step_ms=5, target_forward_ms=17)
PROMPT = 3


@dataclass(frozen=True)
class Done:
    value: Any


@dataclass
class Reference:
    """A session without a clock that works as the engine does: candidates token by token, a cache for each model."""

    path: list[int]
    seen: DraftTrace
    drawn: Sequence[Sequence[float]]
    position: int = 0
    rounds: list[Round] = field(default_factory=list)
    jobs: list[tuple[str, int, int]] = field(default_factory=list)  # model, forwards, tokens read
    forks: int = 0
    target: CacheState = field(default_factory=CacheState)
    draft_cache: CacheState = field(default_factory=CacheState)
    ngrams: NGrams = NONE
    repetitions: Repetitions = field(default_factory=Repetitions)

    @property
    def finished(self) -> bool:
        return self.position >= len(self.path)

    @property
    def text(self) -> list[int]:
        return [0] * PROMPT + self.path[: self.position]

    def load(self, question: LoadQuestion) -> Done:
        return Done(Alone().answer(question))

    def verify(self, tree: TokenTree, predict: int = 0) -> Done:
        before = self.target.tokens_read
        self.target.read((*self.target.rewind(self.text).unread, *tree.tokens))
        self.jobs.append(("target", 1, self.target.tokens_read - before))
        chosen = [*self.path[self.position :], *[NO_TOKEN] * (len(tree) + 1)]
        accepted = next((i for i, t in enumerate(tree.tokens) if t != chosen[i]), len(tree))
        return Done(Verdict(first_nodes(accepted), chosen[accepted]))

    def candidates(
        self, written: list[int], count: int, rank: int = 0, start: int = -1
    ) -> tuple[list[int], list[float]]:
        """The draft's `count` best behind all tokens `written` on the path's positions.

        A branch of another `rank` that begins at `start` is not the draft's own line if that beginning is wrong,
        or what was before it.
        """
        at = len(written)
        wrong = next((i for i, t in enumerate(written) if i >= len(self.path) or t != self.path[i]), at)
        if wrong == at and at < len(self.path):
            return self.seen.tokens[at, :count].tolist(), self.seen.chances[at, :count].tolist()
        step = at - wrong - 1
        own = rank == 0 or wrong > start
        if (
            own
            and wrong < len(self.path)
            and wrong < at
            and written[wrong] == self.seen.tokens[wrong, 0]
            and step < self.seen.off_chances.shape[1]
            and np.isfinite(self.seen.off_chances[wrong, step])
        ):
            first = int(self.seen.off_tokens[wrong, step]), float(self.seen.off_chances[wrong, step])
        else:
            first = -1 - at, self.drawn[0 if own else rank][at]
        others = [(1.0 - first[1]) / 2.0**i for i in range(1, count)]
        return [first[0], *[-1 - at] * (count - 1)], [first[1], *others]

    def draft(self, tree: TokenTree, limits: DraftLimits) -> Done:
        cache, before = self.draft_cache, self.draft_cache.tokens_read
        written = self.path[: self.position] + list(tree.tokens)
        rewound = cache.rewind([0] * PROMPT + written)
        self.forks += bool(rewound.slots)
        cache.read(rewound.unread)
        first, chances = self.candidates(written, limits.branches)
        count = limits.branch_count(chances[0])
        tokens, confidences = [[t] for t in first[:count]], [[c] for c in chances[:count]]
        active, steps = list(range(count)), 1
        while active and steps < limits.length:
            cache.read_nodes([tokens[b][-1] for b in active], last_nodes(cache, active))
            steps += 1
            still = []
            for b in active:
                (token,), (confidence,) = self.candidates([*written, *tokens[b]], 1, b, len(written))
                if confidence >= limits.min_confidence:
                    tokens[b].append(token)
                    confidences[b].append(confidence)
                    still.append(b)
            active = still
        self.jobs.append(("draft", steps, cache.tokens_read - before))
        return Done(
            Draft(
                side_by_side([(tuple(t), tuple(c)) for t, c in zip(tokens, confidences, strict=True)]), steps
            )
        )

    def emit(self, tokens: Sequence[int]) -> int:
        fits = min(len(tokens), len(self.path) - self.position)
        self.position += fits
        return fits

    def close_round(self, counts: Round) -> None:
        self.rounds.append(counts)


settings = st.builds(
    Settings,
    policy=st.sampled_from(["speculative", "pearl", "specbranch"]),
    draft_length=st.integers(1, 9),
    branches=st.integers(1, 5),
    min_confidence=st.sampled_from([0.0, 0.2, 0.5, 0.9]),
    adaptive_branches=st.booleans(),
)


@st.composite
def traces(draw: st.DrawFn) -> tuple[list[int], DraftTrace]:
    """Few distinct tokens, so that coincidences happen; continuations recorded as far as they like."""
    length, count, reach = draw(st.integers(1, 40)), 5, draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    right = draw(st.floats(0, 1))
    path = rng.integers(0, 8, size=length)
    tokens = np.stack([rng.permutation(8)[:count] for _ in range(length)])
    for i in np.flatnonzero(rng.random(length) < right):
        others = [t for t in tokens[i] if t != path[i]]
        tokens[i] = [path[i], *others][:count]
    chances = -np.sort(-rng.dirichlet(np.ones(count + 1), size=length)[:, :count], axis=1)
    off_chances = rng.random((length, reach)).astype(np.float32)
    off_chances[np.arange(reach) >= rng.integers(0, reach + 1, size=length)[:, None]] = np.nan
    seen = DraftTrace(
        tokens.astype(np.int32),
        chances.astype(np.float32),
        rng.integers(0, 8, size=(length, reach)).astype(np.int32),
        off_chances,
        chances[:, 0].astype(np.float32),
        bounds=chances[:, 0].astype(np.float32),
        off_bounds=off_chances,
        foreseen=np.zeros((0, 0), dtype=np.float32),
    )
    return path.tolist(), seen


@given(traces(), settings)
def test_replay_equals_the_plain_reference(trace: tuple[list[int], DraftTrace], s: Settings) -> None:
    path, seen = trace
    source = TraceAcceptance.of(np.array(path, dtype=np.int32), seen, off_path_runs([seen]), [1])
    forks: list[int] = []

    class Counting(StatedCosts):
        def fork(self, operations: Operations) -> float:
            forks.extend(operations.tokens.tolist())
            return 0.0

    run = simulate(s, source, Setting(Counting(**COSTS.model_dump()), prompt=(0,) * PROMPT))
    expected = Reference(path, seen, source.drawn)
    for _ in load_policy(s.policy)(expected, s):
        pass
    assert list(run.rounds) == expected.rounds
    assert [(j.model, j.forwards, j.tokens) for j in run.jobs] == expected.jobs
    assert len(forks) == expected.forks
    assert all(branches > 1 for branches in forks)  # a single branch lies where it belongs


def test_a_draft_that_agrees_everywhere_is_never_rolled_back() -> None:
    sure = artifact(drafts={"same": (1.5, 0.01)})
    for trace in sure.traces:
        trace.drafts["same"].tokens[:, 0] = trace.path
    runs = replay(sure, Configuration(policy="pearl", draft_length=4))
    # But for what is drafted past the end of the text.
    assert all(r.rollback == 0 for run in runs for r in run.rounds[:-2])


def test_more_branches_than_candidates() -> None:
    with pytest.raises(ConfigurationError, match=r"9 branches .* recorded 8 candidates"):
        replay(artifact(), Configuration(policy="specbranch", branches=9))


def test_unknown_draft() -> None:
    with pytest.raises(ConfigurationError, match=r"no draft 'int3'; its drafts: int8, int4, distilled"):
        replay(artifact(), Configuration(policy="pearl", draft="int3"))


def test_endings() -> None:
    runs = replay(artifact(prompts=3, tokens=20), Configuration(policy="autoregressive"))
    assert [run.ending for run in runs] == ["token-limit", "token-limit", "end-of-text"]
    shorter = replay(artifact(prompts=3, tokens=20), Configuration(policy="autoregressive"), tokens=5)
    assert {(run.ending, len(run.tokens)) for run in shorter} == {("token-limit", 5)}


def test_draws_do_not_depend_on_the_configuration() -> None:
    source = artifact().traces[0]
    seen = source.drafts["int4"]
    one, two = (TraceAcceptance.of(source.path, seen, off_path_runs([seen]), [7]) for _ in range(2))
    assert one.drawn == two.drawn
    assert len(one.drawn[0]) == len(source.path) + 2 * REACH


def test_independent_acceptance_writes_constant_confidences() -> None:
    source = IndependentAcceptance.draw(10, 0.5, seed=0)
    draft = source.write(0, (), 0, DraftLimits(3, branches=2))
    assert draft.tree == side_by_side([((0, 0, 0), (0.5, 0.5, 0.5)), ((1, 0, 0), (0.25, 0.5, 0.5))])
    assert source.write(0, (), 0, DraftLimits(3, min_confidence=0.6)).steps == 2


def shares(views: Sequence[DraftTrace], paths: Sequence[Any]) -> list[np.ndarray]:
    return [seen.tokens[:, 0] == path for path, seen in zip(paths, views, strict=True)]


@pytest.mark.parametrize("draft", ["int8", "int4", "distilled"])
def test_alignment_shift(draft: str) -> None:
    made = artifact(prompts=12, tokens=64)
    paths = [trace.path for trace in made.traces]
    views = [trace.drafts[draft] for trace in made.traces]
    before = np.concatenate(shares(views, paths))
    unmoved = shift_alignment(paths, views, float(before.mean()), [1])
    assert unmoved.logits == 0.0
    for old, new in zip(views, unmoved.views, strict=True):
        assert (old.tokens == new.tokens).all()
    previous = np.zeros(len(before), dtype=bool)
    for wished in (0.0, 0.2, 0.5, 0.8, 0.95, 1.0):
        shifted = shift_alignment(paths, views, wished, [1])
        now = np.concatenate(shares(shifted.views, paths))
        assert now.mean() == pytest.approx(wished, abs=1.0 / len(now))
        assert shifted.share == now.mean()
        assert (previous <= now).all()  # hits of a worse draft stay hits of a better one
        previous = now
        for old, new in zip(views, shifted.views, strict=True):
            assert all(len(set(row.tolist())) == len(row) for row in new.tokens)
            assert (old.chances == new.chances).all()


def test_alignment_moves_speed_the_right_way() -> None:
    made = artifact(prompts=12, tokens=64)
    seconds = [
        sum(
            run.seconds
            for run in replay(made, Configuration(policy="pearl"), what_if=WhatIf(alignment=share))
        )
        for share in (0.2, 0.6, 0.9)
    ]
    assert seconds == sorted(seconds, reverse=True)
