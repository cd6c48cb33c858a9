"""One simulated generation: the policy's session over SimPy.

Outcomes come from an acceptance source, durations from the costs. Each device serves one job at a time in
the order asked; with `in_turn` placement both models share one device.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from engine.policies import load_policy
from engine.policies.settings import Settings
from engine.policies.words import Draft, DraftLimits, Line, Round, Steps, Verdict
from sim.acceptance import AcceptanceSource
from sim.costs import Costs


@dataclass
class Device:
    """A first-come, first-served device: when it is free next, and its busy seconds so far."""

    free_at: float = 0.0
    busy: float = 0.0

    def serve(self, now: float, duration: float) -> float:
        """Seconds from now until a job of `duration` ends."""
        start = max(now, self.free_at)
        self.free_at = start + duration
        self.busy += duration
        return self.free_at - now


@dataclass
class SimulatedSession:
    """Implements `engine.policies.words.Session` over a SimPy environment."""

    env: simpy.Environment
    source: AcceptanceSource
    costs: Costs
    target: Device
    draft_device: Device
    prompt_tokens: int = 0
    position: int = 0
    rounds: list[Round] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.position >= self.source.length

    def _job(self, device: Device, duration: float, value: Any) -> simpy.Timeout:
        delay = device.serve(self.env.now, duration) + self.costs.hand_over()
        return self.env.timeout(delay, value)

    def verify(self, line: Line) -> simpy.Timeout:
        accepted = self._accepted(line.tokens)
        token = self.source.truth(self.position + accepted)
        context = self.prompt_tokens + self.position
        duration = self.costs.target_forward(len(line) + 1, context)
        return self._job(self.target, duration, Verdict(accepted, token))

    def draft(self, line: Line, limits: DraftLimits) -> simpy.Timeout:
        start = self.position + len(line)
        on_path = self._accepted(line.tokens) == len(line)
        first = self.source.candidates(start, limits.branches, on_path)
        first = first[: limits.branch_count(first[0][1])]
        branches = tuple(self._extend(start, c, on_path, limits) for c in first)
        # Forwards that read a branch; one that stopped on a low confidence spent the forward that showed it.
        reads = [min(len(b), limits.length - 1) for b in branches]
        steps = 1 + max(reads)
        context = self.prompt_tokens + start
        duration = self.costs.draft_step(1, context) + sum(
            self.costs.draft_step(sum(r >= i for r in reads), context + i) for i in range(1, steps)
        )
        return self._job(self.draft_device, duration, Draft(branches, steps))

    def _extend(self, start: int, first: tuple[int, float], on_path: bool, limits: DraftLimits) -> Line:
        tokens, confidences = [first[0]], [first[1]]
        while len(tokens) < limits.length:
            on_path = on_path and tokens[-1] == self.source.truth(start + len(tokens) - 1)
            token, confidence = self.source.candidates(start + len(tokens), 1, on_path)[0]
            if confidence < limits.min_confidence:
                break
            tokens.append(token)
            confidences.append(confidence)
        return Line(tuple(tokens), tuple(confidences))

    def _accepted(self, tokens: Sequence[int]) -> int:
        for i, token in enumerate(tokens):
            if token != self.source.truth(self.position + i):
                return i
        return len(tokens)

    def emit(self, tokens: Sequence[int]) -> int:
        fits = min(len(tokens), self.source.length - self.position)
        self.position += fits
        return fits

    def close_round(self, counts: Round) -> None:
        self.rounds.append(counts)


@dataclass(frozen=True)
class SimulatedRun:
    """Rounds and seconds of one generation; with one shared device both busy times are that device's."""

    rounds: tuple[Round, ...]
    seconds: float
    target_busy: float
    draft_busy: float


def simulate(
    settings: Settings,
    source: AcceptanceSource,
    costs: Costs,
    *,
    in_turn: bool = False,
    prompt_tokens: int = 0,
) -> SimulatedRun:
    """Run one policy over one path. Raises ConfigurationError if there is no such policy."""
    env = simpy.Environment()
    target = Device()
    draft = target if in_turn else Device()
    session = SimulatedSession(env, source, costs, target, draft, prompt_tokens)
    policy = load_policy(settings.policy)
    env.run(env.process(_drive(policy(session, settings))))
    return SimulatedRun(tuple(session.rounds), float(env.now), target.busy, draft.busy)


def _drive(steps: Steps) -> Generator[simpy.Event, Any, None]:
    for waits in steps:
        # SimPy sends each event's value back, which `yield from` would pass on to the tuple.
        for event in waits:  # noqa: UP028
            yield event  # type: ignore[misc]  # every handle of this world is a SimPy event
