"""The words every policy uses: what a line, a draft, a verdict, a round and a session are.

A *session* is one generation in one world. The engine's session hands work to the two models; the
simulator's returns SimPy events. Both offer the protocol below, so a policy is written once.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol, TypeVar

from engine.policies.ngrams import NGrams

T_co = TypeVar("T_co", covariant=True)

Outlook = Literal[0, 1, 2]
"""What H-RAD foresees of a draft line: 0, its first token is rejected; 2, all are accepted; 1, neither."""


# Lines and drafts are not frozen, though nobody changes one: a frozen one takes more than twice as long to make, and a
# search makes millions.
@dataclass(slots=True)
class Line:
    """Consecutive drafted tokens (ids), n of them, and the draft's `confidences` [n]: the probability of each.

    Of a drawn token, the probability after its logits got their noise (see `engine.models.sampling`). A policy may go
    by tokens and confidences as it likes: what is accepted is the target's own text in any case. `seconds`: at each of
    the first places, the draft's second choice, which the target is to judge as well, or none.
    """

    tokens: tuple[int, ...] = ()
    confidences: tuple[float, ...] = ()
    seconds: tuple[int | None, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens)

    def after(self, count: int) -> "Line":
        """The line without its first `count` tokens."""
        return Line(self.tokens[count:], self.confidences[count:], self.seconds[count:])

    def until(self, count: int) -> "Line":
        """The first `count` tokens of the line."""
        return Line(self.tokens[:count], self.confidences[:count], self.seconds[:count])

    def beside(self) -> list[tuple[int, int]]:
        """The second choices that there are, each with its place in the line."""
        return [(place, token) for place, token in enumerate(self.seconds) if token is not None]

    def first_unsure(self, least: float) -> int:
        """The first place with a confidence under `least`; the line's length if there is none."""
        return next((i for i, confidence in enumerate(self.confidences) if confidence < least), len(self))


EMPTY = Line()


@dataclass(slots=True)
class Draft:
    """The branches one draft job wrote, most confident first, and how many forwards it took."""

    branches: tuple[Line, ...]
    steps: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one target forward decided: accepted tokens of the line, then the target's own token.

    `outlook`: how the draft's tokens behind that one will fare, if it was asked for and can be foreseen. `further`: the
    target's token behind its own, where that was the draft's second choice.
    """

    accepted: int
    token: int
    outlook: Outlook | None = None
    further: int | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """Token counts of one verification; see docs/design.md, "Counts of a round: rollback and hedge"."""

    drafted: int  # tokens drafted in this round, on every branch, and second choices judged in it
    verified: int  # tokens that the target judged: the line's and second choices
    accepted: int
    emitted: int  # tokens of text written, after truncation at the end of the text
    rollback: int
    hedge: int
    cut: int = 0  # tokens of the line to judge next that were dropped before the target saw them


# Many rounds have the same counts, and to find one is faster than to make one.
_counts = lru_cache(maxsize=1 << 16)(Round)


class Handle(Protocol[T_co]):
    """A result that is there once the driver has waited for it."""

    @property
    def value(self) -> T_co | None: ...


class Session(Protocol):
    """One generation, as a policy sees it."""

    @property
    def finished(self) -> bool: ...

    @property
    def text(self) -> Sequence[int]:
        """The prompt's tokens and those written so far."""
        ...

    @property
    def ngrams(self) -> NGrams:
        """What the target usually writes next, for policies that guess without a draft."""
        ...

    def verify(self, line: Line, foresee: int = 0) -> Handle[Verdict]:
        """Start the target on `line`, which follows the text written so far.

        `foresee`: the verdict is to come with an outlook on the draft's next so many tokens.
        """
        ...

    def draft(self, line: Line, limits: "DraftLimits") -> Handle[Draft]:
        """Start the draft after the text and `line`."""
        ...

    def emit(self, tokens: Sequence[int]) -> int:
        """Write tokens to the text; returns how many fit before its end."""
        ...

    def close_round(self, counts: Round) -> None:
        """Note one finished round."""
        ...


@dataclass(frozen=True, slots=True)
class DraftLimits:
    """How far one draft job goes.

    `length` forwards at most (tokens a branch); up to `branches` candidates for the first token; a branch
    ends before a place where the draft's highest probability is under `min_confidence`, or AdaEDL's bound of the
    acceptance (`engine.models.distributions.acceptance_bound`) under `min_bound`. With `adaptive`, the count of
    branches is max(1, floor(branches * (1 - q(x_b)))) (SpecBranch, arXiv 2506.01979). At a temperature, tokens are
    the draft's most likely ones or, with `drawn`, drawn from its distribution. Each forward that writes a branch alone
    checks up to `guesses` tokens too (see `engine.policies.repetitions`), so the branch may have more, `most` of them.
    Where a token has a probability under `second_under`, the second choice is told, too, unless it begins a branch.
    """

    length: int
    branches: int = 1
    min_confidence: float = 0.0
    adaptive: bool = False
    min_bound: float | None = None
    drawn: bool = False
    guesses: int = 0
    second_under: float = 0.0

    @property
    def most(self) -> int:
        """How many tokens a branch that is alone may have."""
        return self.length + self.guesses

    def branch_count(self, confidence: float) -> int:
        """Branches to open where the draft's best candidate has probability `confidence`."""
        if not self.adaptive:
            return self.branches
        return max(1, int(self.branches * (1.0 - confidence)))


Waits = tuple[Handle[object], ...]
Steps = Generator[Waits, None, None]


def result(handle: Handle[T_co]) -> T_co:
    """The value of a handle the driver has waited for."""
    value = handle.value
    if value is None:
        raise RuntimeError("a policy read a result before yielding its handle")
    return value


Cut = Callable[[Line, Outlook | None], Line]
"""Shortens the line that would be judged next, by what the target foresees."""


def settle(
    session: Session,
    line: Line,
    verdict: Verdict,
    draft: Draft | None,
    cut: Cut | None = None,
    written: int = 0,
    added: int = 0,
) -> Line:
    """Write what the verdict allows, note the round, and return the line to judge next.

    `draft` was written while the target judged `line`; None when nothing was, and `line` is this round's
    draft. Its branch that begins with the target's token survives if the whole line was accepted; else the
    first branch is rollback, and every other branch not taken is hedge. `cut` may shorten what survives.
    `written`: the tokens that were drafted for `line` in this round too, of which it may have been cut; `added`: those
    that it was lengthened by without a draft. A second choice is part of the text or hedge.
    """
    judged, accepted, token = len(line.tokens), verdict.accepted, verdict.token
    seconds, taken_second = len(line.beside()) if line.seconds else 0, verdict.further is not None
    if verdict.further is None:
        emitted = session.emit((*line.tokens[:accepted], token))
    else:
        emitted = session.emit((*line.tokens[:accepted], token, verdict.further))
    branches = draft.branches if draft else ()
    drafted, taken = 0, None
    cut_before = written - judged if written else 0
    for branch in branches:
        drafted += len(branch.tokens)
    if accepted == judged:
        for branch in branches:
            if branch.tokens and branch.tokens[0] == token:
                taken = branch
                break
    dropped = drafted - (len(taken.tokens) if taken else 0)
    lost_with_line = len(branches[0].tokens) if branches and taken is None else 0
    following = taken.after(1) if taken else EMPTY
    kept = cut(following, verdict.outlook) if cut else following
    session.close_round(
        _counts(
            (drafted + written + added if draft else judged) + seconds,
            judged + seconds,
            accepted + taken_second,
            emitted,
            judged - accepted + lost_with_line,  # rollback
            dropped - lost_with_line + seconds - taken_second,  # hedge
            cut_before + len(following.tokens) - len(kept.tokens),  # cut
        )
    )
    return kept
