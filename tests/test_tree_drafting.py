"""The static tree: no shape of its size is better, and it yields what its closed form says."""

from collections.abc import Sequence
from functools import cache

import hypothesis.strategies as st
import pytest
from artifacts import artifact, replay
from closed_forms import speculative_tokens_per_round, tree_tokens_per_round
from hypothesis import given, settings
from pydantic import ValidationError
from test_closed_forms import five_sigma, run, tokens_per_round

from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.policies.forms import Parents, Shape
from engine.policies.settings import Settings
from engine.policies.tree_drafting import best_shape

chances = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=3).map(
    lambda drawn: tuple(c / max(1.0, sum(drawn)) for c in drawn)
)
Paths = frozenset[tuple[int, ...]]  # a tree by its nodes' ranks from the text down


def all_trees(nodes: int, depth: int, ranks: int) -> set[Paths]:
    """Every tree of exactly so many nodes."""
    trees: set[Paths] = {frozenset()}
    for _ in range(nodes):
        trees = {
            tree | {(*parent, rank)}
            for tree in trees
            for parent in ((), *tree)
            for rank in range(ranks)
            if len(parent) < depth and (*parent, rank) not in tree
        }
    return trees


def worth(tree: Paths, shares: Sequence[float]) -> float:
    def product(path: Sequence[int]) -> float:
        return shares[path[0]] * product(path[1:]) if path else 1.0

    return 1.0 + sum(product(path) for path in tree)


@settings(deadline=None)
@given(chances, st.integers(1, 5), st.integers(1, 4))
def test_no_tree_of_its_size_is_better(shares: tuple[float, ...], nodes: int, depth: int) -> None:
    shape = best_shape(shares, nodes, depth)
    found = tree_tokens_per_round(shape, shares)
    every = all_trees(nodes, depth, len(shares))
    if every:
        assert len(shape.ranks) == nodes
        assert found == pytest.approx(max(worth(tree, shares) for tree in every))
    else:  # fewer nodes have room
        assert len(shape.ranks) < nodes
    assert shape.levels <= depth


def sequoia(shares: Sequence[float], nodes: int, depth: int) -> float:
    """The same optimum by dynamic programming (arXiv 2402.12374, section 3.1): over sizes, levels and children."""

    @cache
    def tree(size: int, levels: int) -> float:
        """Of at most `size` nodes below a node that is accepted."""
        return children(size, levels, 0) if levels else 0.0

    @cache
    def children(size: int, levels: int, rank: int) -> float:
        if not size or rank == len(shares):
            return 0.0
        without = children(size, levels, rank + 1)
        return max(
            without,
            *(
                shares[rank] * (1.0 + tree(mine, levels - 1)) + children(size - 1 - mine, levels, rank + 1)
                for mine in range(size)
            ),
        )

    return 1.0 + tree(nodes, depth)


@pytest.mark.parametrize(
    "shares", [(0.7, 0.12, 0.05, 0.03), (0.4, 0.3, 0.2), (0.95,), (0.5, 0.5), (0.1, 0.6)]
)
@pytest.mark.parametrize(("nodes", "depth"), [(1, 1), (7, 3), (12, 4), (30, 8), (64, 6)])
def test_it_is_what_dynamic_programming_finds(shares: tuple[float, ...], nodes: int, depth: int) -> None:
    shape = best_shape(shares, nodes, depth)
    assert tree_tokens_per_round(shape, shares) == pytest.approx(sequoia(shares, nodes, depth))


@given(chances, st.integers(1, 20), st.integers(1, 6))
def test_the_likeliest_path_stands_in_front(shares: tuple[float, ...], nodes: int, depth: int) -> None:
    """So that its slots lie in place where it is accepted."""
    shape = best_shape(shares, nodes, depth)
    line = shape.parents.first_line
    assert line == tuple(range(len(line)))
    children = list(zip(*shape, strict=True))
    assert len(set(children)) == len(children)
    assert all(-1 <= parent < node for node, (parent, _) in enumerate(children))


def test_one_candidate_makes_a_line() -> None:
    assert best_shape((0.8,), 9, 4) == Shape(Parents((-1, 0, 1, 2)), (0, 0, 0, 0))
    assert tree_tokens_per_round(best_shape((0.8,), 9, 4), (0.8,)) == pytest.approx(
        speculative_tokens_per_round(0.8, 4)
    )


def geometric(acceptance: float) -> str:
    """What `IndependentAcceptance` says of ranks."""
    return " ".join(str(acceptance * (1 - acceptance) ** rank) for rank in range(4))


@pytest.mark.parametrize("acceptance", [0.2, 0.5, 0.8])
@pytest.mark.parametrize(("nodes", "depth"), [(1, 3), (6, 3), (20, 5)])
def test_it_yields_its_closed_form(acceptance: float, nodes: int, depth: int) -> None:
    chosen = {
        "policy": "tree",
        "draft_length": depth,
        "tree_nodes": nodes,
        "rank_acceptance": geometric(acceptance),
    }
    runs = run(acceptance, **chosen)
    shares = Settings.model_validate(chosen).rank_chances
    expected = tree_tokens_per_round(best_shape(shares, nodes, depth), shares)
    assert tokens_per_round(runs) == pytest.approx(expected, abs=five_sigma(runs))
    assert {r.verified for made in runs for r in made.rounds} == {
        min(nodes, len(best_shape(shares, nodes, depth).ranks))
    }


def test_a_line_is_speculative_decoding() -> None:
    """Of one candidate at each place: the same rounds and the same work."""
    world = artifact(prompts=3)
    for length in (1, 3, 6):
        plain = Configuration(policy="speculative", draft="int4", draft_length=length, placement="in-turn")
        tree = plain.model_copy(update={"policy": "tree", "tree_nodes": 64, "rank_acceptance": "0.8"})
        assert replay(world, tree) == replay(world, plain)


def test_more_nodes_take_fewer_rounds() -> None:
    world = artifact(prompts=4, tokens=60)
    rounds = [
        sum(
            len(made.rounds)
            for made in replay(
                world,
                Configuration(policy="tree", draft="distilled", tree_nodes=nodes, placement="in-turn"),
            )
        )
        for nodes in (1, 4, 16, 64)
    ]
    assert rounds == sorted(rounds, reverse=True)
    assert rounds[0] > rounds[-1]


def test_a_calibration_knows_so_many_candidates() -> None:
    asked = Configuration(
        policy="tree", draft="int4", tree_nodes=9, draft_length=1, rank_acceptance=" ".join(["0.1"] * 8)
    )
    replay(artifact(candidates=8), asked)
    with pytest.raises(ConfigurationError, match=r"8 candidates of a place are asked for, .* recorded 4"):
        replay(artifact(candidates=4), asked)


def test_a_share_alone_may_be_a_number() -> None:
    assert Settings.model_validate({"policy": "tree", "rank_acceptance": 0.8}).rank_chances == (0.8,)


@pytest.mark.parametrize("said", ["", "much", "nan", "0 0", "0.7 0.4", "-0.1", " ".join(["0.1"] * 9)])
def test_shares_are_shares(said: str) -> None:
    with pytest.raises(ValidationError, match="shares, such as"):
        Settings(policy="tree", rank_acceptance=said)
