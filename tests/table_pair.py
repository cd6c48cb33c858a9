"""A pair whose every distribution is known: the next token depends on the last two, by a table.

It runs the engine's own session, jobs, caches and branches, in this process and without any transformer, so that
thousands of texts are written in seconds and their exact distribution can be listed.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine.models.cached_model import CachedModel
from engine.models.capabilities import Capabilities
from engine.models.distributions import distribution
from engine.models.hrad import Predictor
from engine.models.rows import Rows, arranged
from engine.models.sampling import Sampling
from engine.runtime.channel import Reply, Ticket
from engine.runtime.session import Player
from engine.runtime.worker_process import Host, Hosted

VOCABULARY, END = 4, 3
PROMPT = [0, 1, 2, 0, 1, 2, 0, 1]  # repeats itself, for policies that go by that


class TableDecoder:
    """`engine.models.decoder.Decoder` over logits `table` [tokens, tokens, rows]; it sees what it is told to."""

    def __init__(self, table: Tensor, kept_tokens: Tensor | None = None) -> None:
        self.table = table
        self.rows = [list(of_one) for of_one in table]  # many times as fast to look up as in a tensor
        self.watch, self.features, self.kept_tokens = False, torch.empty(0), kept_tokens
        self.kept_rows = 0 if kept_tokens is None else len(kept_tokens)
        self.capabilities = Capabilities()
        self.clear()

    def embed(self, tokens: Sequence[int]) -> Tensor:
        return torch.eye(len(self.table))[list(tokens)]

    def clear(self, prompt: Sequence[int] = ()) -> None:
        self.slots: dict[int, tuple[int, int]] = {}  # token and position

    def reserve(self, slots: int) -> None:
        """There is always room."""

    def move(self, slots: Sequence[int], to: Sequence[int]) -> None:
        self.slots |= dict(zip(to, [self.slots[slot] for slot in slots], strict=True))

    def forward(self, batch: Sequence[Rows]) -> Tensor:
        found = []
        for rows in arranged(batch):
            self.slots |= dict(zip(rows.written, zip(rows.tokens, rows.positions, strict=True), strict=True))
            visibility = rows.visibility
            for row, position in list(enumerate(rows.positions))[len(rows) - rows.last :]:
                places = (
                    range(rows.start + row)
                    if visibility is None
                    else [*range(visibility.prefixes[row]), *visibility.own[row]]
                )
                before = {
                    self.slots[slot][1]: self.slots[slot][0] for slot in (rows.slots[p] for p in places)
                }
                found.append(self.rows[before.get(position - 1, 0)][rows.tokens[row]])
        logits = torch.stack(found)
        self.features = logits
        return logits


@dataclass
class InlineWorker:
    """Does a job when it is asked for."""

    host: Host = field(default_factory=Host)
    lost: bool = False

    def submit(self, function: Callable[..., Any], **arguments: Any) -> Ticket:
        now = time.perf_counter()
        value = function(self.host, **arguments)
        return Ticket(self, now, Reply(value, now, now, now, now))  # type: ignore[arg-type]


def any_predictor(seed: int, longest: int = 4) -> Predictor:
    """An untrained H-RAD network, whose classes are as good as any for a test of losslessness."""
    generator = torch.Generator().manual_seed(seed)
    inner = torch.randn(8, 2 * VOCABULARY, generator=generator)
    outer = torch.randn(longest, 8, generator=generator)
    ones = torch.ones(2 * VOCABULARY)
    return Predictor(0 * ones, ones, inner, torch.zeros(8), outer, torch.zeros(longest))


def before(decoder: TableDecoder, do: Callable[[int], None]) -> TableDecoder:
    """The decoder, which from now on does something before each forward, and tells it the forward's number from 0."""
    forward, calls = decoder.forward, itertools.count()

    def first(batch: Sequence[Rows]) -> Tensor:
        do(next(calls))
        return forward(batch)

    decoder.forward = first  # type: ignore[method-assign]
    return decoder


def players(
    target: Tensor, draft: Tensor, kept: Tensor | None = None, longest: int = 4
) -> tuple[Player, Player]:
    """Both models in a worker each; `kept` int64 [rows] are the tokens that the draft's rows stand for.

    H-RAD's network, untrained, predicts up to `longest` tokens.
    """
    seated = []
    for name, table, tokens in (("target", target, None), ("draft", draft, kept)):
        worker = InlineWorker()
        worker.host.models[name] = Hosted(CachedModel(TableDecoder(table, tokens)))
        seated.append(Player(worker, name))  # type: ignore[arg-type]
    seated[0].worker.host.models["target"].predictors["draft"] = any_predictor(0, longest)  # type: ignore[attr-defined]
    return seated[0], seated[1]


def tables(seed: int, apart: float = 1.0) -> tuple[Tensor, Tensor]:
    """A target's table and a draft's, which lies about `apart` from it."""
    generator = torch.Generator().manual_seed(seed)
    shape = (VOCABULARY, VOCABULARY, VOCABULARY)
    target = 1.2 * torch.randn(shape, generator=generator)
    return target, target + apart * torch.randn(shape, generator=generator)


def certain(repeating: int) -> Tensor:
    """The table of a target that goes round so many tokens."""
    table = torch.full((VOCABULARY, VOCABULARY, VOCABULARY), -9.0)
    for token in range(VOCABULARY):
        table[:, token, (token + 1) % repeating] = 9.0
    return table


def exact_law(table: Tensor, sampling: Sampling, tokens: int) -> dict[tuple[int, ...], float]:
    """The probability of every text of up to `tokens` tokens behind PROMPT, by following each one."""
    law: dict[tuple[int, ...], float] = {}
    chances = distribution(table.view(-1, VOCABULARY), sampling).view_as(table).double()
    chances /= chances.sum(dim=-1, keepdim=True)
    for text in itertools.product(range(VOCABULARY), repeat=tokens):
        whole = (*PROMPT, *text)
        end = next((i + 1 for i, token in enumerate(text) if token == END), tokens)
        chance = 1.0
        for place in range(len(PROMPT), len(PROMPT) + end):
            chance *= float(chances[whole[place - 2], whole[place - 1], whole[place]])
        law[text[:end]] = chance
    return {text: chance for text, chance in law.items() if chance > 0.0}
