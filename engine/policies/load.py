"""What a policy may ask about the load, and how the nodes of one forward are shared among those who ask. Torch-free.

A policy that never asks does the same whatever else is served. One that asks yields the answer as it yields any other
handle: the scheduler (`engine.runtime.scheduler`) answers in both worlds, and a text that is written alone has all.
This module defines no `decode`, so it is not a policy by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class LoadQuestion(NamedTuple):
    """How many requests run, and how many more nodes may the asker's tree have in the target's next forward?

    `nodes`: it can use so many more than it was given for that forward before. `budget`: all requests of that forward
    may have so many together. `spare`: it is content with what is left by those who still draft, and is answered when
    none of them asks any more.
    """

    nodes: int = 0
    budget: int = 0
    spare: bool = False


class Load(NamedTuple):
    """The answer: requests that run, the asker among them, and how many more nodes it may have judged."""

    running: int
    nodes: int


@dataclass(slots=True)
class Answer:
    """Implements `engine.policies.protocol.Handle`: an answer that is there once the driver has waited for it."""

    value: Load | None = None


Asked = tuple[int, LoadQuestion]
"""A request, and what it asks."""


@dataclass(slots=True)
class NodeShares:
    """Who may have how many nodes of the target's next forward.

    Nodes are handed out one at a time, by turns in the order of the requests' numbers, beginning behind the request
    that had the last one: so none has two more than another that could use them too, and what is left over when all had
    the same goes to others each time.
    """

    _given: dict[int, int] = field(default_factory=dict)  # by request
    _last: int = -1

    def answer(self, asked: Sequence[Asked], running: int) -> list[tuple[int, Load]]:
        """Answer questions that are asked together, each of another request, by turns."""
        if len(asked) == 1:
            return [self._answer_one(*asked[0], running)]
        first = [one for one in asked if one[0] > self._last]
        turns = sorted(first) + sorted(one for one in asked if one[0] <= self._last)
        taken, granted = sum(self._given.values()), dict.fromkeys([request for request, _ in turns], 0)
        wanting = turns
        most = sum([question.nodes for _, question in turns])
        if taken + most <= min(
            [question.budget for _, question in turns], default=0
        ):  # there is room for all
            granted, wanting = {request: question.nodes for request, question in turns}, []
            last = max(granted.values())
            if last:
                self._last = next(request for request, nodes in reversed(granted.items()) if nodes == last)
        while wanting:
            some = []
            for request, question in wanting:
                if granted[request] < question.nodes and taken < question.budget:
                    granted[request] += 1
                    taken += 1
                    self._last = request
                    some.append((request, question))
            wanting = some
        for request, nodes in granted.items():
            if nodes:
                self._given[request] = self._given.get(request, 0) + nodes
        return [(request, Load(running, granted[request])) for request, _ in asked]

    def _answer_one(self, request: int, question: LoadQuestion, running: int) -> tuple[int, Load]:
        """The same of one question, which has all that is left."""
        nodes = question.nodes
        if nodes:
            nodes = max(0, min(nodes, question.budget - sum(self._given.values())))
            if nodes:
                self._last = request
                self._given[request] = self._given.get(request, 0) + nodes
        return request, Load(running, nodes)

    def release(self, request: int) -> None:
        """The request's nodes are being judged, or it has ended: the next forward has room for others."""
        self._given.pop(request, None)


@dataclass(slots=True)
class Alone:
    """Answers one text that shares the models with no other."""

    _shares: NodeShares = field(default_factory=NodeShares)

    def answer(self, question: LoadQuestion) -> Load:
        """At once."""
        ((_, load),) = self._shares.answer([(0, question)], running=1)
        return load

    def verified(self) -> None:
        """What was given is being judged."""
        self._shares.release(0)
