"""A text's own repetitions put to use: guesses that a draft checks, and lines that are lengthened without asking one.

A draft model can check several guessed tokens in one forward, as a target checks a draft: it writes the same, but more
of it (cascade speculative drafting, arXiv 2312.11462). This module defines no `decode`, so it is not a policy by
itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.policies.ngrams import LONGEST, NGrams
from engine.policies.protocol import DraftLimits, Session
from engine.policies.repetitions import Repetitions
from engine.policies.tree import TokenTree, lengthened

# A draft's guesses follow matches of so many tokens: one alone is right too seldom to be worth a row of a forward.
LONGEST_MATCH, SHORTEST_MATCH = 3, 2
REPEATED = 3  # tokens that have to match before a line is lengthened without asking the draft

Guess = Callable[[Sequence[int], int], tuple[int, ...]]
"""What may follow a draft's tokens, which are behind the text and a line: so many tokens at most."""


@dataclass(frozen=True)
class Repeats:
    """Lengthens a tree's first line by what followed an earlier occurrence of the text's last tokens, up to `most`.

    As in SAM decoding (arXiv 2411.10666), a match of several tokens is trusted more than a draft.
    """

    most: int

    def lengthen(self, session: Session, tree: TokenTree) -> TokenTree:
        """The tree behind the session's text, or one whose first line is longer."""
        if len(tree.parents.first_line) >= self.most:
            return tree
        line = tree.first_line
        text = session.text
        tokens = session.repetitions.look_up(text, tuple(text[-REPEATED:]), self.most, REPEATED)
        return lengthened(tree, tokens[len(line) :]) if tokens[: len(line)] == line else tree


def no_guess(written: Sequence[int], most: int) -> tuple[int, ...]:
    """Nothing."""
    return ()


def guess_of(
    repetitions: Repetitions,
    ngrams: NGrams,
    text: Sequence[int],
    line: Sequence[int],
    limits: DraftLimits,
) -> Guess:
    """The guesses for a draft job behind `text` and `line`, at most `limits.guesses` in a forward."""
    if not limits.guesses:
        return no_guess
    before = (*text[-LONGEST_MATCH:], *line)

    def guess(written: Sequence[int], most: int) -> tuple[int, ...]:
        last = (*before, *written)[-LONGEST_MATCH:]
        return guessed(repetitions, ngrams, text, last, min(limits.guesses, most))

    return guess


def guessed(
    repetitions: Repetitions, ngrams: NGrams, text: Sequence[int], last: tuple[int, ...], count: int
) -> tuple[int, ...]:
    """Up to `count` tokens that may follow `last`, up to LONGEST_MATCH tokens that end what stands behind `text`.

    They are what the text repeats and, behind that or where it repeats nothing, what `ngrams` say.
    """
    return continued(ngrams, last, repetitions.look_up(text, last, count, SHORTEST_MATCH), count)


def continued(ngrams: NGrams, text: Sequence[int], found: tuple[int, ...], count: int) -> tuple[int, ...]:
    """What was found to follow a text, if need be with what usually follows that, up to `count` tokens in all."""
    missing = count - len(found)
    return (*found, *ngrams.go_on((*text[-LONGEST:], *found), missing)) if missing > 0 else found


def take(line: list[int], guessed: Sequence[int], rows: Sequence[tuple[int, bool]]) -> tuple[int, bool]:
    """Add to a draft's line what one forward over its last token and `guessed` ones wrote.

    `rows`: of each of them, the draft's token behind it, and whether the draft was sure of that. Returns how many
    guesses were right and are part of the line, and whether it goes on. A line's first token needs no sureness.
    """
    for place, (token, sure) in enumerate(rows):
        if line and not sure:
            return place, False
        line.append(token)
        if place == len(guessed) or token != guessed[place]:
            return place, True
    raise ValueError("a forward writes a token behind each that it reads")
