"""What jobs ask of a model: rows to read, and what they want to know of them; found for all texts of a forward at once.

So nothing is done row by row on the host, however many texts share a forward, and a text that is alone is a batch of
one.
"""

from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.kernels.crew import Crew
from engine.kernels.ranking import best, ranked
from engine.models.decoder import Decoder
from engine.models.distributions import acceptance_bound, perturb_rows
from engine.models.rows import Rows
from engine.models.sampling import GREEDY, Sampling

T = TypeVar("T")

Candidates = tuple[list[int], list[float]]
"""The most likely tokens at one place, and their probabilities, best first."""

MOST_ROWS = 512  # of a text in one forward
NOTHING = torch.empty(0)


# Neither is frozen, though nobody changes one: as of `engine.models.rows.Rows`, each forward makes some.
@dataclass(slots=True)
class Wanted:
    """What a job wants to know of each of its rows whose logits are wanted.

    The `count` most likely tokens, without `chances` the best one alone and nothing of its probability; 0: the logits
    themselves. Where `sampling` is not greedy, all is of the logits with the noise of `places` [rows] in the text.
    `bounds`: AdaEDL's, too.
    """

    count: int = 0
    chances: bool = True
    bounds: bool = False
    sampling: Sampling = GREEDY
    places: Sequence[int] = ()


LOGITS = Wanted()


@dataclass(slots=True)
class Found:
    """What was found of rows, of each in their order, as far as it was asked for.

    `logits` float32 [n, rows of the head], without what a cut head only scores for other texts; `features` as of
    `engine.models.decoder.Decoder`.
    """

    candidates: Sequence[Candidates] = ()
    bounds: Sequence[float] = ()
    logits: Tensor = NOTHING
    features: Tensor = NOTHING

    @property
    def best(self) -> list[int]:
        """The most likely token of each row."""
        return [tokens[0] for tokens, _ in self.candidates]


@dataclass(slots=True)
class Ask:
    """A forward that a job waits for: `rows` of a `text`, and what is `wanted` of them; `watch`: features, too."""

    text: Hashable
    rows: Rows
    wanted: Wanted
    watch: bool = False

    def part(self, first: int, end: int) -> "Ask":
        """Of rows `first` .. `end` - 1 alone."""
        rows, places = self.rows.part(first, end), self.wanted.places
        if places:
            before = max(0, first - (len(self.rows) - self.rows.last))
            places = places[before : before + rows.last]
        return replace(self, rows=rows, wanted=replace(self.wanted, places=places))


Forwards = Generator[Ask, Found, T]
"""Work that asks for forwards, and is sent what was found of each."""


def joined(parts: Sequence[Found]) -> Found:
    """What was found of rows that were read in chunks."""
    return Found(
        list(chain.from_iterable(part.candidates for part in parts)),
        list(chain.from_iterable(part.bounds for part in parts)),
        torch.cat([part.logits for part in parts]),
        torch.cat([part.features for part in parts]),
    )


def read_ahead(decoder: Decoder, rows: Rows) -> Rows:
    """Read a long text's first rows in parts, for what its rows see of one another grows with its square.

    Returns what is left to read, with all rows whose logits are wanted.
    """
    first, count = 0, len(rows)
    while count - first > max(MOST_ROWS, rows.last) and decoder.capabilities.rolls_back:
        end = min(first + MOST_ROWS, count - rows.last)
        decoder.forward((replace(rows.part(first, end), last=1),))
        first = end
    return rows.part(first, count) if first else rows


class Reader:
    """Reads what is asked for by one decoder, for one thread at a time.

    `crew`: the threads that look through many rows' logits. `ids`: the tokens of a cut head's rows.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder, self.crew = decoder, Crew()
        self.ids: list[int] | None = None
        self._texts: dict[Hashable, int] = {}
        self._others: NDArray[np.bool_] = np.empty((0, 0), np.bool_)  # of texts that are not alone

    def hear(self, prompts: Mapping[Hashable, Sequence[int]]) -> None:
        """Forget what was read. A head that is cut scores the tokens of these texts' prompts too from here on.

        Each text only sees its own. There is room for so many tokens of all prompts as for those of one
        (`engine.models.cut_head.ROOM`).
        """
        decoder = self.decoder
        decoder.clear(list(chain.from_iterable(prompts.values())))
        kept, always = decoder.kept_tokens, decoder.kept_rows
        if kept is None:
            return
        self.ids = kept.tolist()
        self._texts = {}
        if len(prompts) > 1:
            self._texts = {text: number for number, text in enumerate(prompts)}
            # Of each text, whether a row is of another's prompt [texts, rows that are not always there].
            # A token's first row counts: the last ones are left over from prompts before, and mean nothing.
            row_of = {token: row for row, token in reversed([*enumerate(self.ids[always:])])}
            self._others = np.ones((len(prompts), len(self.ids) - always), np.bool_)
            for number, prompt in enumerate(prompts.values()):
                self._others[number, [row_of[token] for token in set(prompt) if token in row_of]] = False

    def token_ids(self, rows: Sequence[int]) -> list[int]:
        """Token ids of rows of the head."""
        return list(rows) if self.ids is None else [self.ids[row] for row in rows]

    def read(self, asks: Sequence[Ask]) -> list[Found]:
        """Run one forward of rows of one or more texts, for which there is room; what was found of each."""
        decoder = self.decoder
        logits = decoder.forward([read_ahead(decoder, ask.rows) for ask in asks]).float()
        if self._texts:
            self._hide(asks, logits)
        counts = [ask.rows.last for ask in asks]
        answers = self.find(logits, [ask.wanted for ask in asks], counts)
        if decoder.watch:
            for ask, found, features in zip(
                asks, answers, torch.split(decoder.features, counts), strict=True
            ):
                if ask.watch:
                    found.features = features
        return answers

    @torch.inference_mode()
    def _hide(self, asks: Sequence[Ask], logits: Tensor) -> None:
        """Leave out what a cut head only scores for other texts; changes `logits`."""
        number = [self._texts[ask.text] for ask in asks for _ in range(ask.rows.last)]
        others = torch.from_numpy(self._others[number]).to(logits.device)
        logits[:, self.decoder.kept_rows :].masked_fill_(others, float("-inf"))

    def find(self, logits: Tensor, wanted: Sequence[Wanted], counts: Sequence[int]) -> list[Found]:
        """What is wanted of float32 logits [rows, rows of the head]: first of so many rows, then of so many, ...

        Changes `logits` where there is noise.
        """
        seen = logits
        if not all([its.sampling.greedy for its in wanted]):
            each = list(zip(wanted, counts, strict=True))
            samplings = [its.sampling for its, count in each for _ in range(count)]
            places = [place for its, count in each for place in its.places or repeat(0, count)]
            seen = perturb_rows(logits, samplings, places, self.decoder.kept_tokens, self.crew)
        most = max([its.count for its in wanted])
        candidates: list[Candidates] = []
        if any([its.count and its.chances for its in wanted]):
            candidates = [(self.token_ids(rows), chances) for rows, chances in ranked(seen, most, self.crew)]
        elif most:
            candidates = [([token], []) for token in self.token_ids(best(seen, self.crew))]
        bounds = acceptance_bound(seen, self.crew).tolist() if any([its.bounds for its in wanted]) else []
        parts = repeat(NOTHING) if all([its.count for its in wanted]) else torch.split(seen, list(counts))
        answers, begin = [], 0
        for its, count, part in zip(wanted, counts, parts, strict=False):
            mine = candidates[begin : begin + count]
            if its.count < most:
                mine = [(tokens[: its.count], chances[: its.count]) for tokens, chances in mine]
            answers.append(Found(mine, bounds[begin : begin + count], part))
            begin += count
        return answers
