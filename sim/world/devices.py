"""The devices the two models run on: one job at a time each, and slower while the other one computes.

Only one process submits jobs to a pair of devices, and it waits for all of them before it submits more. So the devices
need no events of their own: the process lets the jobs end, and sleeps once, until their results are known.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from sim.costs.contention import FREE, Contention


@dataclass(slots=True, eq=False)
class Handle:
    """A job: `left`, its seconds at full speed that are still to be done, and `after`, those until its result is known.

    It reaches its device at `arrival`. `width`: tokens of the target's forward, or branches of the draft's steps.
    """

    left: float
    arrival: float
    after: float
    width: int = 1
    start: float = 0.0
    end: float = math.inf


@dataclass(slots=True, eq=False)
class DeviceQueue:
    """A device: when it is free (where that is known at once), the job on it, and those to come."""

    free: float = 0.0
    job: Handle | None = None
    queue: deque[Handle] = field(default_factory=deque)


class Devices:
    """A device for each model or, `shared`, one for both; first come, first served.

    While both devices compute, each progresses at one over its slow-down, by the `contention` of their two jobs. Times
    are seconds since the run began, durations seconds at full speed.
    """

    def __init__(self, shared: bool = False, contention: Contention = FREE) -> None:
        # Where devices do not slow each other, a job's times are known when it is submitted.
        self.independent = shared or contention.none
        self._target = DeviceQueue()
        self._draft = self._target if shared else DeviceQueue()
        self._seats = self._target, self._draft
        self._contention = contention
        self._known: dict[tuple[int, int], tuple[float, float]] = {}
        self._clock = 0.0

    def submit(
        self,
        now: float,
        model: int,
        seconds: float,
        before: float = 0.0,
        after: float = 0.0,
        width: int = 1,
    ) -> Handle:
        """Queue a job of TARGET or DRAFT.

        It reaches the device `before` seconds from now; its result is known `after` its end.
        """
        seat = self._seats[model]
        arrival = now + before
        if self.independent:
            start = arrival if arrival > seat.free else seat.free
            seat.free = end = start + seconds
            return Handle(seconds, arrival, after, width, start, end)
        if self._clock < now:
            if self._target.job or self._draft.job or self._target.queue or self._draft.queue:
                self._advance(now)
            else:
                self._clock = now
        handle = Handle(seconds, arrival, after, width)
        if seat.job is None and not seat.queue and arrival <= self._clock:
            seat.job, handle.start = handle, self._clock
        else:
            seat.queue.append(handle)
        return handle

    def finish(self) -> None:
        """Let all jobs end that were submitted, with nothing else in between."""
        if self.independent:
            return
        while self._target.queue or self._draft.queue:
            self._step(math.inf)
        target, draft, clock = self._target.job, self._draft.job, self._clock
        if target and draft:
            slow_target, slow_draft = self._slow_downs(target, draft)
            target_end, draft_end = clock + target.left * slow_target, clock + draft.left * slow_draft
            # The one that is left goes on at full speed; at its very end rounding may leave less than nothing.
            if draft_end <= target_end:
                target_end = draft_end + max(0.0, target.left - (draft_end - clock) / slow_target)
            else:
                draft_end = target_end + max(0.0, draft.left - (target_end - clock) / slow_draft)
            target.end, draft.end = target_end, draft_end
            self._clock = max(target_end, draft_end)
        elif job := target or draft:
            job.end = self._clock = clock + job.left
        self._target.job = self._draft.job = None

    def _slow_downs(self, target: Handle, draft: Handle) -> tuple[float, float]:
        key = target.width, draft.width
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._contention.slow_downs(*key)
        return found

    def _advance(self, now: float) -> None:
        while self._clock < now:
            self._step(now)

    def _step(self, until: float) -> None:
        """Go on to the next start or end of a job, but not past `until`."""
        clock, upcoming = self._clock, until
        for seat in self._seats:
            if seat.job is None and seat.queue:
                arrival = seat.queue[0].arrival
                if arrival <= clock:
                    seat.job = seat.queue.popleft()
                    seat.job.start = clock
                else:
                    upcoming = min(upcoming, arrival)
        target, draft = self._target.job, self._draft.job
        slow = self._slow_downs(target, draft) if target and draft else (1.0, 1.0)
        busy = [
            (seat, seat.job, factor)
            for seat, factor in zip(self._seats, slow, strict=True)
            if seat.job is not None
        ]
        ending = None
        for seat, job, factor in busy:
            end = clock + job.left * factor
            if end <= upcoming:
                upcoming, ending = end, seat
        for seat, job, factor in busy:
            if seat is ending:
                seat.job, job.end = None, upcoming
            else:
                # At its very end rounding may leave less than nothing.
                job.left = max(0.0, job.left - (upcoming - clock) / factor)
        self._clock = upcoming
