"""What a search goes through: the grid of configurations, which one is simpler, and how far apart they lie."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from engine.configuration import Configuration
from engine.policies import uses
from engine.policies.forms import Shape
from engine.policies.tree_drafting import NAME as TREE
from engine.policies.tree_drafting import best_shape
from engine.runtime.placement import Placement

# From the simplest on.
POLICIES = ("autoregressive", "prompt-lookup", "speculative", "adaedl", "pearl", "specbranch", "tree")
PARALLEL = ("pearl", "specbranch")


class Aids(BaseModel):
    """Settings that are tried together, since most texts gain from all of them or from none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    guesses: int = 0
    repeats: int = 0
    second_under: float = 0.0

    def used_by(self, policy: str) -> dict[str, Any]:
        """Those that a policy goes by."""
        return {name: value for name, value in self if name in uses(policy)}


@dataclass(frozen=True)
class Restriction:
    """What a search is restricted to: what a serving system runs (`sim.search.exports.restriction`).

    `system`: its name as commands take it; `title`: as people write it; `notes`: what was left out, and why.
    """

    system: str
    title: str
    allows: Callable[[Configuration], bool]
    notes: tuple[str, ...] = ()


class Grid(BaseModel):
    """Values to combine, every one with every other as far as the policy uses them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policies: tuple[str, ...] = POLICIES
    drafts: tuple[str, ...] | None = Field(default=None, description="none: all of the calibration")
    placements: tuple[Placement, ...] | None = Field(default=None, description="none: all that were measured")
    draft_lengths: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 12)
    branches: tuple[int, ...] = (1, 2, 4)
    adaptive_branches: tuple[bool, ...] = (True, False)
    cuts: tuple[float, ...] = Field(
        default=(0.0, 0.3, 0.6), description="least confidence of a drafted token"
    )
    bounds: tuple[float, ...] = Field(default=(0.2, 0.4, 0.6), description="AdaEDL's threshold to begin with")
    hrad: tuple[bool, ...] = Field(default=(False,), description="with H-RAD, where the calibration has it")
    redraft: tuple[bool, ...] = Field(
        default=(False, True), description="after a rejection, draft a line before the target goes on"
    )
    first_match: tuple[bool, ...] = Field(
        default=(False,), description="prompt lookup by the first match, not by the last"
    )
    aids: tuple[Aids, ...] = Field(
        default=(Aids(), Aids(guesses=2, repeats=7), Aids(guesses=2, repeats=7, second_under=0.5)),
        description="what helps a draft, together",
    )
    draw_drafts: tuple[bool, ...] = Field(
        default=(False,), description="draft tokens drawn, at a temperature"
    )
    tree_nodes: tuple[int, ...] = Field(
        default=(4, 8, 16), description="nodes of a static tree; a calibration times 17 rows at once"
    )
    batch_nodes: tuple[int, ...] = Field(
        default=(8, 32, 128), description="nodes that a forward judges of all requests, for ECHO"
    )

    def configurations(
        self, drafts: Sequence[str], placements: Sequence[Placement]
    ) -> tuple[Configuration, ...]:
        """Those that differ in what they do, given what a calibration has; but for static trees, see `trees`."""
        values: dict[str, Sequence[Any]] = {
            "draft": self.drafts or tuple(drafts),
            "draft_length": self.draft_lengths,
            "branches": self.branches,
            "adaptive_branches": self.adaptive_branches,
            "min_confidence": self.cuts,
            "min_bound": self.bounds,
            "first_match": self.first_match,
            "hrad": self.hrad,
            "redraft": self.redraft,
            "draw_drafts": self.draw_drafts,
            "batch_nodes": self.batch_nodes,
        }
        found: dict[Configuration, None] = {}
        for policy, placement in itertools.product(self.policies, self.placements or tuple(placements)):
            if policy == TREE:
                continue
            used = [field for field in values if field in uses(policy)]
            for aids, *combined in itertools.product(self.aids, *(values[field] for field in used)):
                configuration = Configuration(
                    policy=policy,
                    placement=placement,
                    **aids.used_by(policy),
                    **dict(zip(used, combined, strict=True)),
                )
                if not self._same_as_another(configuration):
                    found[configuration] = None
        return tuple(found)

    def trees(
        self, placements: Sequence[Placement], draft: str, shares: Sequence[float], draw_drafts: bool = False
    ) -> list[Configuration]:
        """Static trees of different shapes by a draft whose candidates of each rank are right in these `shares`.

        None where only the first one ever is: then a tree is a line, and that is speculative decoding.
        """
        known = tuple(math.floor(1000 * share) / 1000 for share in shares)  # rounded, they would sum to more
        shapes: dict[Shape, Configuration] = {}
        for nodes, length in itertools.product(self.tree_nodes, self.draft_lengths):
            shape = best_shape(known, nodes, length)
            if shape in shapes or shape.parents.is_chain:
                continue
            shapes[shape] = Configuration(
                policy=TREE,
                draft=draft,
                draft_length=length,
                tree_nodes=nodes,
                rank_acceptance="/".join(f"{share:g}" for share in known[: shape.candidates]),
                draw_drafts=draw_drafts,
            )
        return [
            c.model_copy(update={"placement": placement})
            for placement, c in itertools.product(self.placements or placements, shapes.values())
        ]

    def _same_as_another(self, c: Configuration) -> bool:
        """Whether a simpler configuration of the grid does just the same."""
        if c.draft_length == 1 and not (c.hrad or c.guesses):
            # A draft's first token is never cut.
            if "min_confidence" in c.uses and c.min_confidence and 0.0 in self.cuts:
                return True
            if "min_bound" in c.uses and ("speculative" in self.policies or c.min_bound != self.bounds[0]):
                return True
        if c.policy != "specbranch":
            return False
        if c.redraft and c.draft_length == 1 and not c.guesses:
            return True  # speculative decoding drafts one token for each round too, and no more
        if c.branches == 1:
            plain = not (c.min_confidence or c.hrad or c.redraft) and "pearl" in self.policies
            return plain or (not c.adaptive_branches and True in self.adaptive_branches)
        # max(1, floor(2 (1 - q))) is 1.
        return c.branches == 2 and c.adaptive_branches and 1 in self.branches


def simplicity(configuration: Configuration) -> tuple[Any, ...]:
    """Smaller is simpler: the policy, then fewer branches, no cut, a shorter draft."""
    c = configuration
    if not c.drafts:
        return (0,)
    return (
        _rank(c),
        c.hrad,
        c.redraft,
        c.draw_drafts,
        c.guesses > 0,
        c.repeats > 0,
        c.second_under > 0.0,
        c.branches,
        c.min_confidence > 0.0,
        c.tree_nodes if c.policy == TREE else 0,
        c.draft_length,
    )


def has_helpers(c: Configuration) -> bool:
    """Whether a setting goes beyond the published methods."""
    helping = ("guesses", "repeats", "second_under", "redraft")
    return c.policy == "prompt-lookup" or any(getattr(c, name) and name in c.uses for name in helping)


def spread(
    taken: Sequence[Configuration], available: Sequence[Configuration], count: int
) -> list[Configuration]:
    """Up to `count` of those available, each as far as can be from all taken before it."""
    points = np.array([_place(c) for c in available])
    distance = np.full(len(available), np.inf)
    for configuration in taken:
        distance = np.minimum(distance, _distance(points, _place(configuration)))
    others: list[Configuration] = []
    while len(others) < count and distance.max(initial=0.0) > 0.0:
        index = int(distance.argmax())
        others.append(available[index])
        distance = np.minimum(distance, _distance(points, points[index].tolist()))
    return others


def _rank(c: Configuration) -> int:
    return POLICIES.index(c.policy) if c.policy in POLICIES else len(POLICIES)


def _place(c: Configuration) -> list[float]:
    """Where a configuration lies; about one unit between neighbours that a user would call different."""
    placement = {"at-once": 0.0, "threads": 0.5, "in-turn": 1.0}[c.placement]
    if not c.drafts:
        return [0.0] * 7 + [placement]
    # Drafts have no order; a number from the name keeps different ones apart.
    name = sum((i + 1) * ord(letter) for i, letter in enumerate(c.draft or "")) % 97 / 97.0
    length = float(np.log2(c.draft_length))
    branches = float(np.log2(c.tree_nodes if c.policy == TREE else c.branches))
    aids = 0.5 * (c.guesses > 0) + 0.5 * (c.repeats > 0) + 0.5 * (c.second_under > 0.0)
    return [
        _rank(c),
        1.0 + name,
        length,
        branches,
        2.0 * c.min_confidence,
        float(c.redraft),
        aids,
        placement,
    ]


def _distance(points: NDArray[np.float64], place: Sequence[float]) -> NDArray[np.float64]:
    distance: NDArray[np.float64] = np.abs(points - np.asarray(place)).sum(axis=1)
    return distance
