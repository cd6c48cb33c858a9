"""Trees of tokens: the rule, the books and the parts of any tree, and that the target's text is its own under any."""

from collections.abc import Sequence

import hypothesis.strategies as st
import pytest
import torch
from branches import contexts_of, line
from hypothesis import given, settings
from table_pair import PROMPT, VOCABULARY, TableDecoder, tables

from engine.models import decoding
from engine.models.cached_model import CachedModel
from engine.models.sampling import GREEDY, Sampling
from engine.policies.forms import DRAFTED, SIBLING, Parents, chain
from engine.policies.tree import EMPTY, TokenTree, accept, books, follows, side_by_side

tokens = st.integers(0, VOCABULARY - 1)


@st.composite
def trees(draw: st.DrawFn, most: int = 10, least: int = 0) -> TokenTree:
    """Any tree whose siblings differ."""
    made: dict[tuple[int, int], None] = {}  # parent and token
    for number in range(draw(st.integers(least, most))):
        made[draw(st.integers(-1, min(number, len(made)) - 1)), draw(tokens)] = None
    sources = tuple(draw(st.sampled_from([DRAFTED, SIBLING])) for _ in made) if draw(st.booleans()) else ()
    return TokenTree(tuple(t for _, t in made), Parents(p for p, _ in made), (0.5,) * len(made), sources)


@given(trees(), st.data())
def test_the_accepted_path_is_as_long_as_it_can_be(tree: TokenTree, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(tokens, min_size=len(tree) + 1, max_size=len(tree) + 1))
    path, token = accept(tree, chosen)
    for before, node in zip((-1, *path), path, strict=False):
        assert tree.parents[node] == before
        assert tree.tokens[node] == chosen[before + 1]
    last = path[-1] if path else -1
    assert token == chosen[last + 1]
    assert token not in [t for t, parent in zip(tree.tokens, tree.parents, strict=True) if parent == last]
    assert follows(tree, path) == (path == tree.parents.first_line)


@given(trees(least=1), st.data())
def test_what_is_below_a_node_sees_what_it_saw(tree: TokenTree, data: st.DataObject) -> None:
    node = data.draw(st.integers(0, len(tree) - 1))
    contexts = contexts_of(tree, [])
    below = contexts_of(tree.below(node), contexts[node])
    assert below == [
        c for c in contexts if len(c) > len(contexts[node]) and c[: len(contexts[node])] == contexts[node]
    ]
    depth = data.draw(st.integers(0, 6))
    assert contexts_of(tree.until(depth), []) == [c for c in contexts if len(c) <= depth]
    assert [len(c) - 1 for c in contexts] == list(tree.parents.depths)
    assert tree.first_line == tuple(contexts[tree.parents.first_line[-1]])


@given(trees(), trees(), st.data())
def test_the_books_account_for_every_node(judged: TokenTree, ahead: TokenTree, data: st.DataObject) -> None:
    """What was judged or drafted is accepted, survives, is rolled back or was a hedge."""
    path: list[int] = []
    while options := [n for n, p in enumerate(judged.parents) if p == (path[-1] if path else -1)]:
        if data.draw(st.booleans()):
            break
        path.append(data.draw(st.sampled_from(options)))
    alone = books(judged, tuple(path), len(path) + 1)
    assert alone.drafted == alone.verified == len(judged) == alone.accepted + alone.rollback + alone.hedge
    assert alone.rollback == len(set(judged.parents.first_line) - set(path))
    taken = [node for node in ahead.parents.roots if not ahead.sources or ahead.sources[node] == DRAFTED]
    node = data.draw(st.sampled_from([None, *taken]))
    survived = None if node is None else ahead.below(node)
    pending = survived.until(data.draw(st.integers(0, 3))) if survived is not None else EMPTY
    counts = books(judged, tuple(path), len(path) + 1, ahead, survived, pending)
    kept = 0 if survived is None else 1 + survived.drafted
    assert len(judged) + ahead.drafted == counts.accepted + kept + counts.rollback + counts.hedge
    assert counts.cut == (0 if survived is None else survived.drafted - pending.drafted)
    found = 0 if not judged.sources else len(judged) - judged.sources.count(DRAFTED)
    assert counts.drafted == ahead.drafted + found


def test_branches_and_siblings_are_trees() -> None:
    tree = side_by_side([((1, 2), (0.9, 0.8)), ((3,), (0.1,))], [[(1, 4, 0.2)], []])
    assert (tree.tokens, tree.parents, tree.drafted) == ((1, 2, 3, 4), (-1, 0, -1, 0), 3)
    assert tree.first_line == (1, 2)
    below = tree.below(0)
    assert (below.tokens, below.confidences, below.sources) == ((2, 4), (0.8, 0.2), (DRAFTED, SIBLING))
    assert tree.root(3) == 2
    assert tree.root(2) is None
    assert line(5, 6).is_chain
    assert line(5, 6).parents == chain(2)


def plain_text(sampling: Sampling, count: int) -> list[int]:
    target = CachedModel(TableDecoder(tables(seed=7)[0]))
    text = list(PROMPT)
    for _ in range(count):
        text.append(target.compute(decoding.verify(target, text, EMPTY, sampling))[1])
    return text


@settings(deadline=None)
@pytest.mark.parametrize("warm", [False, True])
@given(st.lists(trees(), min_size=1, max_size=8), st.integers(0, 100))
def test_any_trees_leave_the_target_its_own_text(warm: bool, judged: Sequence[TokenTree], seed: int) -> None:
    """Forward by forward through one cache, which reads no token of the text twice."""
    sampling = Sampling(temperature=1.0, seed=seed) if warm else GREEDY
    target, text, read = CachedModel(TableDecoder(tables(seed=7)[0])), list(PROMPT), 0
    for tree in judged:
        path, token = target.compute(decoding.verify(target, text, tree, sampling))
        text += [*tree.along(path), token]
        read += len(tree)
    assert text == plain_text(sampling, len(text) - len(PROMPT))
    accepted = len(text) - len(PROMPT) - len(judged)
    assert target.cache.tokens_read - read == len(text) - 1 - accepted


def test_a_table_sees_what_it_is_told_to_see() -> None:
    """The decoder of these tests would notice a mask that is wrong."""
    target = CachedModel(TableDecoder(tables(seed=7)[0]))
    tree = TokenTree((0, 1, 2, 1), Parents((-1, -1, 0, 2)), (0.5,) * 4)
    logits = target.read(target.rewind(PROMPT), last=1, tree=tree)
    for row, context in zip(logits, [PROMPT, *contexts_of(tree, PROMPT)], strict=True):
        alone = CachedModel(TableDecoder(tables(seed=7)[0]))
        assert torch.equal(row, alone.read(context, last=1)[0])
