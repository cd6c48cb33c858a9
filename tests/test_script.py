"""Scripts: a policy's work along a path is what a real session's books come to, and it does not depend on time."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from artifacts import artifact
from branches import last_nodes
from hypothesis import given

from engine.configuration import Configuration
from engine.models.cache_state import CacheState
from engine.policies import Policy
from engine.policies.protocol import DraftLimits, Session, Steps
from engine.policies.repetitions import Repetitions
from engine.policies.settings import Settings
from engine.policies.tree import EMPTY
from scenarios.what_if import WhatIf
from sim.acceptance.sources import IndependentAcceptance, agreement, draft_of
from sim.scripts.script import SimulatedCache, write_script
from sim.scripts.work import Scripts
from sim.world.replay import Replay

C = Configuration(policy="specbranch", draft_length=3, branches=2)
line_tokens = st.lists(st.integers(0, 2), max_size=5).map(tuple)
jobs = st.tuples(
    st.lists(st.integers(0, 2), max_size=4).map(tuple),  # what is written to the text before the job
    line_tokens,
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5).map(tuple), max_size=4),  # branches
    st.integers(1, 5),  # draft length
)


@given(st.lists(jobs, min_size=1, max_size=8))
def test_counts_alone_tell_what_a_cache_holds(
    plan: list[tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, ...]], int]],
) -> None:
    """Any text that only grows, any lines and branches behind it: the same is kept, moved and read."""
    path = tuple(itertools.chain.from_iterable(written for written, *_ in plan))
    simulated, state, position = None, CacheState(), 0
    for written, line, drafted, length in plan:
        position += len(written)
        text = (9, *path[:position])
        before = state.tokens_read
        rewound = state.rewind([*text, *line])
        state.read(rewound.unread)
        agreed = agreement(path, position, line)
        if simulated is None:
            simulated = SimulatedCache(position, line, agreed)
            kept, moved, unread = 0, 0, len(text) + len(line)
        else:
            kept, moved, unread = simulated.rewind(path, position, line, agreed)
            kept += 1  # the prompt
        assert (kept - moved, moved) == (rewound.start, len(rewound.slots)) or not rewound.slots
        assert (kept + unread, moved, unread) == (
            len(text) + len(line),
            len(rewound.slots),
            len(rewound.unread),
        )
        if not drafted:
            assert state.tokens_read - before == unread
            continue
        branches = [(tokens[:length], (0.5,) * len(tokens[:length])) for tokens in drafted]
        # A branch that stopped early spent the forward that showed it, in which all its tokens were read.
        limits = DraftLimits(length)
        draft = draft_of(branches, limits, ())
        active = simulated.write(draft)
        for step, count in enumerate(active):
            rows = [
                (i, tokens[step])
                for i, (tokens, _) in enumerate(branches)
                if step < min(len(tokens), length - 1)
            ]
            assert len(rows) == count
            state.read_nodes([token for _, token in rows], last_nodes(state, [i for i, _ in rows]))
        assert state.tokens_read - before == unread + sum(active)


@pytest.mark.parametrize("policy", ["autoregressive", "speculative", "adaedl", "pearl", "specbranch"])
def test_one_script_serves_every_placement_and_price(policy: str) -> None:
    made = artifact(prompts=3)
    kept = Replay(made)
    for placement in ("at-once", "in-turn"):
        c = Configuration(policy=policy, branches=3, placement=placement)
        assert kept.runs(c) == Replay(made).runs(c)
        what_if = WhatIf(target_speed=0.3, contention=False, overheads=False)
        dear = kept.under(what_if).runs(c)
        assert dear == Replay(made, what_if).runs(c)
        assert [run.rounds for run in dear] == [run.rounds for run in kept.runs(c)]
    assert kept.texts.scripts(c) is kept.texts.scripts(c.model_copy(update={"placement": "at-once"}))


def test_configurations_share_what_a_text_repeats() -> None:
    """Whoever looked things up before, and however far: each writes what it would alone."""
    source, shared = IndependentAcceptance.draw(80, 0.6, 1), Repetitions()
    helped = [
        Configuration(policy="prompt-lookup", draft_length=4),
        Configuration(policy="prompt-lookup", draft_length=4, longest_match=5, first_match=True),
        Configuration(policy="pearl", draft_length=2, repeats=5),
        Configuration(policy="specbranch", draft_length=3, branches=2, guesses=2, repeats=7),
    ]
    for c in (*helped, *reversed(helped)):
        script = write_script(c, source, (0, 1), repetitions=shared)
        assert script == write_script(c, source, (0, 1))
        assert script != write_script(c.model_copy(update={"draft_length": 1, "repeats": 0}), source, (0, 1))


def hasty(session: Session, settings: Settings) -> Steps:
    while not session.finished:
        verdict = session.verify(EMPTY)
        session.draft(EMPTY, DraftLimits(2))
        yield (verdict,)


def leaving(session: Session, settings: Settings) -> Steps:
    yield (session.verify(EMPTY),)
    session.verify(EMPTY)


@pytest.mark.parametrize("policy", [hasty, leaving])
def test_jobs_that_nobody_waits_for_are_not_passed_over(policy: Policy) -> None:
    with pytest.raises(RuntimeError, match="wait for all jobs"):
        write_script(C, IndependentAcceptance.draw(9, 0.5, 0), (0,), policy)


def test_only_what_changes_texts_writes_them_anew() -> None:
    world = Replay(artifact(prompts=2))
    assert world.under(WhatIf(draft_speed=2, jitter=False)).texts is world.texts
    assert world.under(WhatIf(alignment=0.5)).texts is not world.texts
    assert world.under(WhatIf(alignment=0.5)).under(WhatIf()).runs(C) == world.runs(C)


def test_one_table_of_several_texts_is_that_of_each() -> None:
    world = Replay(artifact(prompts=4))
    together = world.texts.scripts(Configuration(policy="specbranch", branches=4, adaptive_branches=False))
    alone = [Scripts([script], [text]) for script, text in zip(together.scripts, together.texts, strict=True)]
    assert together.ends.tolist() == np.cumsum([len(one.text) for one in alone]).tolist()
    for part, parts in zip(together.work, zip(*(one.work for one in alone), strict=True), strict=True):
        assert part.tolist() == np.concatenate(parts).tolist()
    starts = [0, *together.ends.tolist()]
    job, branches, context = together.branch_steps
    assert job.tolist() == [
        j + start for one, start in zip(alone, starts, strict=False) for j in one.branch_steps[0]
    ]
    assert branches.tolist() == [n for one in alone for n in one.branch_steps[1]]
    assert context.tolist() == [n for one in alone for n in one.branch_steps[2]]
    # A job's forwards beyond the first are its steps, and what they read is all but what its first one did.
    work = together.work
    steps = np.bincount(job, minlength=len(work.model))
    assert (work.forwards - 1 == steps).all()
    assert (work.read - work.tokens == np.bincount(job, branches, len(work.model))).all()
