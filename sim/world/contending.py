"""Two devices that slow each other while both compute, as events of SimPy's; `sim.world.devices` without events."""

from dataclasses import dataclass
from functools import partial

import simpy

from engine.service_record import MODELS, Model
from sim.costs.contention import Contention


@dataclass(slots=True, eq=False)
class _Computing:
    """A forward that is computed: its rows, and the seconds at full speed that were `left` of it at `since`.

    `slow`: how many times as long it takes since then; `turn`: how often that has changed.
    """

    rows: int
    left: float
    since: float
    ended: simpy.Event
    slow: float = 1.0
    turn: int = 0


class ContendingDevices:
    """The target's device and the draft's: while both compute, each progresses at one over its slow-down."""

    def __init__(self, env: simpy.Environment, contention: Contention) -> None:
        self.env, self.contention = env, contention
        self._computing: dict[Model, _Computing] = {}
        self._known: dict[tuple[int, int], tuple[float, float]] = {}

    def compute(self, model: Model, seconds: float, rows: int) -> simpy.Event:
        """What tells the end of a forward that takes so long at full speed, and begins now."""
        begun = self._computing[model] = _Computing(rows, seconds, self.env.now, self.env.event())
        self._turn(begun)
        return begun.ended

    def _turn(self, changed: _Computing | None = None) -> None:
        """Count anew when forwards end, where something began or ended."""
        both = [self._computing[model] for model in MODELS if model in self._computing]
        slow = self._slow_downs(both[0].rows, both[1].rows) if len(both) > 1 else (1.0,) * len(both)
        for one, times in zip(both, slow, strict=True):
            if times == one.slow and one is not changed:
                continue
            # At its very end rounding may leave less than nothing.
            one.left = max(0.0, one.left - (self.env.now - one.since) / one.slow)
            one.since, one.slow, one.turn = self.env.now, times, one.turn + 1
            timeout = self.env.timeout(one.left * times)
            assert timeout.callbacks is not None
            timeout.callbacks.append(partial(self._end, one, one.turn))

    def _end(self, one: _Computing, turn: int, _: simpy.Event) -> None:
        """A forward has ended, if nothing has changed meanwhile."""
        if one.turn == turn:
            self._computing = {model: its for model, its in self._computing.items() if its is not one}
            one.ended.succeed()
            self._turn()

    def _slow_downs(self, target: int, draft: int) -> tuple[float, float]:
        found = self._known.get((target, draft))
        if found is None:
            found = self._known[target, draft] = self.contention.slow_downs(target, draft)
        return found
