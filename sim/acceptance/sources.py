"""Where simulated tokens come from: the target's own path, and what the draft would write along it.

Tokens are ids; ids below 0 stand for drafted tokens whose identity nobody recorded, and match nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calibrate.trace_records import DraftTrace
from engine.errors import ConfigurationError
from engine.policies.forms import NO_SHAPE, Shape
from engine.policies.prediction import classify
from engine.policies.protocol import Draft, DraftLimits
from engine.policies.tree import Branch, Prediction, TokenTree, side_by_side, with_siblings

# Filled shapes of a text that are remembered, since requests that write the same text ask for the same ones.
TREES = 1 << 10

# Past a position, a draft is less than twice this far: 79 tokens wait to be judged, and there are 80 more behind them.
REACH = 128


Candidate = tuple[int, float]
"""A token and its confidence."""


class AcceptanceSource(Protocol):
    """A target path, and the draft's writing along it."""

    @property
    def path(self) -> tuple[int, ...]:
        """The tokens the target writes."""
        ...

    def write(self, position: int, line: Sequence[int], agreed: int, limits: DraftLimits) -> Draft:
        """What the draft writes after `position` tokens of the path and `line`, of which `agreed` are right."""
        ...

    def predict(self, position: int, count: int) -> Prediction:
        """What H-RAD predicts, once the path's token at `position` is written, of the draft's next `count`."""
        ...


def agreement(path: tuple[int, ...], position: int, line: tuple[int, ...]) -> int:
    """How many tokens of `line` are those of the path from `position` on, up to the first that is not."""
    if not line:
        return 0
    ahead = path[position : position + len(line)]
    if ahead == line:
        return len(line)
    for i, (right, token) in enumerate(zip(ahead, line, strict=False)):
        if right != token:
            return i
    return len(ahead)


def cut(tokens: tuple[int, ...], confidences: tuple[float, ...], least: float) -> Branch:
    """A branch up to the first token with a confidence under `least`, but for its first one."""
    for i in range(1, len(tokens)):
        if confidences[i] < least:
            return tokens[:i], confidences[:i]
    return tokens, confidences


def draft_of(
    branches: Sequence[Branch], limits: DraftLimits, second_choices: Sequence[Candidate], start: int = 0
) -> Draft:
    """A job's branches, which are cut where the draft is unsure; that spends the forward that shows it.

    `second_choices`: the draft's, by place; the branches begin at `start`. Behind a wrong token they count for nothing.
    """
    # A source whose policy goes by AdaEDL's bound has bounds for confidences.
    least = limits.min_confidence if limits.min_bound is None else limits.min_bound
    if least > 0.0:
        branches = [cut(*branch, least) for branch in branches]
    tree = side_by_side(branches)
    longest = len(tree.parents.levels)
    if limits.second_under:
        tree = _with_second_choices(tree, limits.second_under, second_choices, start)
    return Draft(tree, longest + 1 if longest < limits.length else longest)


def _with_second_choices(
    tree: TokenTree, under: float, second_choices: Sequence[Candidate], start: int
) -> TokenTree:
    """Branches with the second choice beside each unsure token, but for those that begin one of several."""
    depths = tree.parents.depths
    if tree.parents.is_chain:
        unsure = [node for node, sure in enumerate(tree.confidences) if sure < under]
    else:
        unsure = [node for node, sure in enumerate(tree.confidences) if sure < under and depths[node]]
    if not unsure:
        return tree
    tokens, confidences = zip(*[second_choices[start + depths[node]] for node in unsure], strict=True)
    return with_siblings(tree, tuple(unsure), tokens, confidences)


@dataclass(frozen=True)
class PathOnly:
    """A path for a policy that does not draft."""

    path: tuple[int, ...]

    def write(self, position: int, line: Sequence[int], agreed: int, limits: DraftLimits) -> Draft:
        raise ConfigurationError("this policy drafts, but the calibration holds no draft; calibrate one.")

    def predict(self, position: int, count: int) -> Prediction:
        raise ConfigurationError("H-RAD predicts what a draft does, but the calibration holds no draft.")


@dataclass(frozen=True)
class IndependentAcceptance:
    """Independent positions: the draft's candidate of rank j is token j, and the target's token is a rank.

    A path's token is 0 with probability `acceptance`; past it each further candidate takes the share
    `acceptance` of what is left, so k candidates hold the target's token with probability
    1 - (1 - acceptance)^k. Draws belong to positions, so that configurations share them. Confidences are
    constant, so a confidence cut is all or nothing.
    """

    path: tuple[int, ...]
    acceptance: float
    _written: list[tuple[DraftLimits, Draft]] = field(
        init=False, default_factory=list, repr=False, compare=False
    )  # lately; it is the same wherever in the text

    @classmethod
    def draw(cls, length: int, acceptance: float, seed: int) -> "IndependentAcceptance":
        """A path of `length` tokens from `seed`."""
        if acceptance <= 0.0:
            return cls((np.iinfo(np.int64).max,) * length, acceptance)
        rng = np.random.default_rng(seed)
        return cls(tuple((rng.geometric(acceptance, size=length) - 1).tolist()), acceptance)

    def write(self, position: int, line: Sequence[int], agreed: int, limits: DraftLimits) -> Draft:
        if self._written and self._written[0][0] is limits:
            return self._written[0][1]
        draft = self._write(limits)
        self._written[:] = [(limits, draft)]
        return draft

    def _write(self, limits: DraftLimits) -> Draft:
        sure, rest = self.acceptance, limits.length - 1
        if limits.shape.ranks:
            parents, ranks = limits.shape
            tree = TokenTree(ranks, parents, tuple([sure * (1.0 - sure) ** rank for rank in ranks]))
            return Draft(tree, limits.length)
        branches = [
            ((rank, *(0,) * rest), (sure * (1.0 - sure) ** rank, *(sure,) * rest))
            for rank in range(limits.branch_count(sure))
        ]
        second_choices = ((1, sure * (1.0 - sure)),) * limits.length
        return draft_of(branches, limits, second_choices)

    def predict(self, position: int, count: int) -> Prediction:
        raise ConfigurationError(
            "H-RAD cannot be simulated with stated acceptance, which says nothing of how it would predict; replay "
            "a calibration."
        )


@dataclass(frozen=True)
class TraceAcceptance:
    """Greedy replay of one recorded path and one draft's view of it.

    On the path the draft's candidates are the recorded ones. Behind its own wrong first candidate stands the
    recorded continuation, as far as it reaches; past that, behind any other wrong token and past the end of
    the path, confidences are `drawn` from those recorded off the path, by branch rank and position, so that
    every configuration meets the same ones, and tokens match nothing.
    """

    path: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]
    chances: tuple[tuple[float, ...], ...]
    off: tuple[Branch, ...]
    drawn: tuple[tuple[float, ...], ...]
    recorded: int
    predicted: tuple[tuple[float, ...], ...] = ()
    _first: tuple[int, ...] = field(init=False)
    _second: tuple[Candidate, ...] = field(init=False)
    _sure: tuple[float, ...] = field(init=False)
    _miss: tuple[int, ...] = field(init=False)
    _unknown: tuple[int, ...] = field(init=False)
    _behind: dict[int, Branch] = field(init=False, default_factory=dict)
    _trees: dict[tuple[Shape, int, Branch, bool], TokenTree] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        end = len(self.path)
        miss, following = [end] * (end + 1), end
        for i in range(end - 1, -1, -1):
            following = i if self.tokens[i][0] != self.path[i] else following
            miss[i] = following
        put = object.__setattr__  # a frozen dataclass fills what it derives this way
        put(self, "_first", tuple(row[0] for row in self.tokens))
        # Past the end, and where none was recorded, a second choice is wrong.
        second_choices = (row[1] if len(row) > 1 else -1 for row in self.tokens)
        chances = (row[1] if len(row) > 1 else 0.0 for row in self.chances)
        put(self, "_second", (*zip(second_choices, chances, strict=True), *((-1, 0.0),) * (2 * REACH)))
        put(self, "_sure", tuple(row[0] for row in self.chances))
        put(self, "_miss", tuple(miss))
        put(self, "_unknown", tuple(-1 - i for i in range(end + 2 * REACH)))

    @classmethod
    def of(
        cls,
        path: NDArray[np.int32],
        seen: DraftTrace,
        off_path: Sequence[NDArray[np.float32]],
        seed: Sequence[int],
    ) -> "TraceAcceptance":
        """From a trace; `off_path`: runs of confidences to draw from (see `off_path_runs`)."""
        length, recorded = len(path), int(seen.tokens.shape[1])
        reach = np.isfinite(seen.off_chances).cumprod(axis=1).sum(axis=1).tolist()
        return cls(
            path=tuple(path.tolist()),
            tokens=tuple(map(tuple, seen.tokens.tolist())),
            chances=tuple(map(tuple, seen.chances.tolist())),
            off=tuple(
                (tuple(tokens[:n]), tuple(chances[:n]))
                for tokens, chances, n in zip(
                    seen.off_tokens.tolist(), seen.off_chances.tolist(), reach, strict=True
                )
            ),
            drawn=_draw(off_path, recorded, length + 2 * REACH, seed),
            recorded=recorded,
            predicted=tuple(map(tuple, seen.foreseen.tolist())),
        )

    def write(self, position: int, line: Sequence[int], agreed: int, limits: DraftLimits) -> Draft:
        start, end = position + len(line), len(self.path)
        if limits.shape is not NO_SHAPE:
            own, right = self._line(position, line, agreed, limits.length), agreed == len(line)
            key = limits.shape, start, own, right
            tree = self._trees.get(key)
            if tree is None:
                if len(self._trees) >= TREES:
                    self._trees.clear()
                tree = self._trees[key] = self._filled(limits.shape, start, own, right=right)
            return Draft(tree, limits.length)
        if limits.branches > self.recorded:
            raise ConfigurationError(
                f"{limits.branches} branches are asked for, but the calibration recorded {self.recorded} candidates a "
                f"position; ask for {self.recorded} at most, or calibrate with more."
            )
        if limits.second_under and self.recorded < 2:
            raise ConfigurationError(
                "second choices are to be judged, but the calibration recorded one candidate a position; calibrate "
                "with more."
            )
        if agreed == len(line) and start < end:
            return self._on_path(start, limits)
        return self._off_path(start, *self._line(position, line, agreed, limits.length), limits)

    def _line(self, position: int, line: Sequence[int], agreed: int, length: int) -> Branch:
        """The draft's own line of this length behind `line`, of whose tokens `agreed` are the path's."""
        start, end = position + len(line), len(self.path)
        if agreed == len(line) and start < end:
            return self._greedy(start, length)
        wrong = min(position + agreed, end)
        if wrong < end and line[agreed] != self._first[wrong]:
            tokens, confidences, begin = self._unknown, self.drawn[0], start
        else:
            tokens, confidences = self._behind_miss(wrong)
            begin = start - wrong
        span = slice(begin, begin + length)
        return tokens[span], confidences[span]

    def _filled(self, shape: Shape, start: int, line: Branch, right: bool) -> TokenTree:
        """A shape's tokens behind `start`, where what is before it is `right`: by rank, behind the path's tokens.

        Of first candidates behind each other, the draft's own `line`. Behind others nothing was recorded: tokens that
        match nothing, and confidences that were drawn for the rank.
        """
        if shape.candidates > self.recorded:
            raise ConfigurationError(
                f"{shape.candidates} candidates of a place are asked for, but the calibration recorded "
                f"{self.recorded}; ask for {self.recorded} at most, or calibrate with more."
            )
        end, found = len(self.path), list[tuple[int, float]]()
        unknown = -1 - len(self._unknown)  # and below, which no line has
        on_path: list[bool] = []  # of each node, whether it and all before it are the path's
        on_line: list[bool] = []  # and whether all are first candidates
        for node, (parent, rank, above) in enumerate(zip(*shape, shape.parents.depths, strict=True)):
            place = start + above
            known = place < end and (on_path[parent] if parent >= 0 else right)
            on_line.append(not rank and (parent < 0 or on_line[parent]))
            if on_line[node]:
                token, chance = line[0][above], line[1][above]
            elif known:
                token, chance = self.tokens[place][rank], self.chances[place][rank]
            else:
                token, chance = unknown - node, self.drawn[rank][place]
            on_path.append(known and token == self.path[place])
            found.append((token, chance))
        tokens, confidences = zip(*found, strict=True)
        return TokenTree(tokens, shape.parents, confidences)

    def _on_path(self, start: int, limits: DraftLimits) -> Draft:
        """The draft behind the path's first `start` tokens."""
        branches = [self._greedy(start, limits.length)]
        if limits.branches > 1:
            tokens, chances, right = self.tokens[start], self.chances[start], self.path[start]
            rest = slice(start + 1, start + limits.length)
            unknown = self._unknown[rest]
            for rank in range(1, limits.branch_count(self._sure[start])):
                first, sure = tokens[rank], chances[rank]
                if first == right:
                    line, confidences = self._greedy(start + 1, limits.length - 1)
                    branches.append(((first, *line), (sure, *confidences)))
                else:  # behind a wrong candidate, whose tokens nobody recorded
                    branches.append(((first, *unknown), (sure, *self.drawn[rank][rest])))
        return draft_of(branches, limits, self._second, start)

    def _off_path(
        self, start: int, tokens: tuple[int, ...], confidences: tuple[float, ...], limits: DraftLimits
    ) -> Draft:
        """The draft behind a line that is wrong, and its own first candidates there."""
        branches = [(tokens, confidences)]
        if limits.branches > 1:
            sure, rest = confidences[0], slice(start + 1, start + limits.length)
            unknown = self._unknown[start : start + limits.length]
            # Only the first candidate's confidence is known or drawn here; the others share what it leaves.
            for rank in range(1, limits.branch_count(sure)):
                branches.append((unknown, ((1.0 - sure) / 2.0**rank, *self.drawn[rank][rest])))
        return draft_of(branches, limits, self._second, start)

    def predict(self, position: int, count: int) -> Prediction:
        if not self.predicted:
            raise ConfigurationError(
                "the calibration was made without H-RAD; train it with 'specbranch train-hrad' and calibrate again, "
                "or set hrad: false."
            )
        return classify(self.predicted[position], count)

    def _greedy(self, start: int, length: int) -> Branch:
        """The draft's own line behind the path's first `start` tokens."""
        end, miss = start + length, self._miss[start]
        if end <= miss:
            return self.path[start:end], self._sure[start:end]
        tokens, confidences = self._behind_miss(miss)
        there, rest = self.path[start:miss], end - miss
        return there + tokens[:rest], self._sure[start:miss] + confidences[:rest]

    def _behind_miss(self, miss: int) -> Branch:
        """From the draft's own wrong token on (or from the end of the path), as far as a draft can be."""
        return self._behind.get(miss) or self._go_wrong(miss)

    def _go_wrong(self, miss: int) -> Branch:
        if miss < len(self.path):
            tokens, confidences = self.off[miss]
            tokens, confidences = (self._first[miss], *tokens), (self._sure[miss], *confidences)
        else:
            tokens, confidences = (), ()
        rest = slice(miss + len(tokens), miss + 2 * REACH)
        written = tokens + self._unknown[rest], confidences + self.drawn[0][rest]
        self._behind[miss] = written
        return written


def off_path_runs(views: Sequence[DraftTrace]) -> list[NDArray[np.float32]]:
    """A draft's recorded runs of confidences behind its own wrong tokens; those on the path where it has none."""
    runs = [
        row[:reach]
        for seen in views
        for row, reach in zip(
            seen.off_chances, np.isfinite(seen.off_chances).cumprod(axis=1).sum(axis=1), strict=True
        )
        if reach
    ]
    return runs or [seen.chances[:, 0] for seen in views if len(seen.chances)]


def _draw(
    runs: Sequence[NDArray[np.float32]], ranks: int, length: int, seed: Sequence[int]
) -> tuple[tuple[float, ...], ...]:
    """For each branch rank, confidences for `length` positions: whole recorded runs, one behind another."""
    rng = np.random.default_rng(seed)
    lengths = np.array([len(run) for run in runs])
    drawn = []
    for _ in range(ranks):
        picks = rng.integers(len(runs), size=length)  # a run holds one confidence at least
        enough = int(np.searchsorted(lengths[picks].cumsum(), length)) + 1
        drawn.append(tuple(np.concatenate([runs[i] for i in picks[:enough]])[:length].tolist()))
    return tuple(drawn)
