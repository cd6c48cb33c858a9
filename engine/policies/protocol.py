"""What a policy may ask for: a session's verdicts and drafts, and how it commits a round. Torch-free.

A *session* is one generation in one world. The engine's session hands work to the two models; the simulator's looks
up what they wrote. Both offer the protocol below, so a policy is written once.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from engine.policies.forms import NO_SHAPE, SIBLING, Shape
from engine.policies.load import Load, LoadQuestion
from engine.policies.ngrams import NGrams
from engine.policies.repetitions import Repetitions
from engine.policies.tree import EMPTY, Prediction, Round, TokenTree, Verdict, books

T_co = TypeVar("T_co", covariant=True)


@dataclass(slots=True)
class Draft:
    """The tree that one draft job wrote, most confident branch first, and how many forwards it took."""

    tree: TokenTree
    steps: int


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
    def repetitions(self) -> Repetitions:
        """Where the text repeats itself."""
        ...

    @property
    def ngrams(self) -> NGrams:
        """What the target usually writes next, for policies that guess without a draft."""
        ...

    def verify(self, tree: TokenTree, predict: int = 0) -> Handle[Verdict]:
        """Start the target on `tree`, which follows the text written so far.

        `predict`: the verdict is to come with a prediction of the draft's next so many tokens.
        """
        ...

    def draft(self, tree: TokenTree, limits: "DraftLimits") -> Handle[Draft]:
        """Start the draft after the text and the first line of `tree`."""
        ...

    def load(self, question: LoadQuestion) -> Handle[Load]:
        """Ask about the load; the answer is there when the driver has waited for it.

        A policy waits for it alone or with jobs, and asks for nothing more before.
        """
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
    checks up to `guesses` tokens too (see `engine.policies.guesses`), so the branch may have more, `most` of them.
    Where a token has a probability under `second_under`, the second choice is its sibling, unless both begin a branch.
    A `shape` takes the place of all that: one forward for each of its levels writes the candidates that it names.
    """

    length: int
    branches: int = 1
    min_confidence: float = 0.0
    adaptive: bool = False
    min_bound: float | None = None
    drawn: bool = False
    guesses: int = 0
    second_under: float = 0.0
    shape: Shape = NO_SHAPE

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


Cut = Callable[[TokenTree, Prediction | None], TokenTree]
"""Shortens the tree that would be judged next, by what the target predicts."""


def commit(
    session: Session,
    judged: TokenTree,
    verdict: Verdict,
    draft: Draft | None = None,
    cut: Cut | None = None,
    redrafted: TokenTree = EMPTY,
) -> TokenTree:
    """Write what the verdict allows, note the round, and return the tree to judge next.

    `draft` was written behind the first line of `judged` while the target judged it; None when nothing was, and
    `judged` is this round's draft. If that line was accepted, what the draft wrote behind the target's own token
    survives; `cut` may shorten it. `redrafted`: what was drafted in this round for `judged`, which is cut from it.
    """
    path, token = verdict.path, verdict.token
    emitted = session.emit((*judged.along(path), token))
    if draft is None:
        session.close_round(books(judged, path, emitted))
        return EMPTY
    ahead, survived, pending = draft.tree, None, EMPTY
    if path == judged.parents.first_line:
        root = ahead.root(token)
        if root is not None and not (ahead.sources and ahead.sources[root] == SIBLING):
            survived = pending = ahead.below(root)
    if cut and pending:
        pending = cut(pending, verdict.prediction)
    session.close_round(books(judged, path, emitted, ahead, survived, pending, redrafted))
    return pending
