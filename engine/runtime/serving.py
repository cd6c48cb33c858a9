"""Requests that arrive by the clock and are served by the engine: one thread for both models, or one for each."""

import heapq
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from engine.runtime.batching import BatchEngine
from engine.runtime.requests import Request
from engine.service_record import Model, Service

TELL_SECONDS = 0.5  # between two words of how far it is, at least
REST_SECONDS = 5.0  # a device that waits for the next request looks up so often, to say that it lives

Devices = tuple[tuple[Model, ...], ...]
Device = Callable[[], None]
Tell = Callable[[int, int], None]
"""Hears how many requests have ended, and how many tokens were written."""


def in_a_thread(device: Device) -> None:
    """Begin to run a device in a thread of its own."""
    threading.Thread(target=device, daemon=True).start()


def devices_of(apart: bool) -> Devices:
    """Which models each device runs: a device for each, or one for both."""
    return (("target",), ("draft",)) if apart else (("target", "draft"),)


@dataclass(eq=False)
class Serving:
    """One service of `requests` by an engine that has no others, which arrive `at` seconds from its beginning.

    With `users` in a closed loop: each sends the next request of the list `at` seconds after he had his answer; the
    first ones are counted from the beginning.
    """

    engine: BatchEngine
    requests: Sequence[Request]
    at: Sequence[float]
    users: int | None = None
    tell: Tell | None = None
    _due: list[tuple[float, int]] = field(default_factory=list)  # by the monotonic clock; a heap
    _next: Iterator[int] = field(default_factory=lambda: iter(()))
    _over: bool = False
    _error: BaseException | None = None
    _running: int = 0  # devices
    _told: float = 0.0

    def run(self, devices: Devices, begin: Callable[[Device], None] = in_a_thread) -> None:
        """Serve all requests; the first device is this thread's, and `begin` begins to run the others.

        Raises what a device raised. ConfigurationError, before a token is written, for a request that never fits into
        the caches. What a request came to is the engine's to tell.
        """
        engine = self.engine
        for request in self.requests:
            engine.check(request)
        engine.on_end = self._ended
        engine.epoch = self._told = time.perf_counter()
        self._next = iter(range(len(self.requests)))
        count = len(self.requests) if self.users is None else self.users
        for number in islice(self._next, count):
            heapq.heappush(self._due, (engine.epoch + self.at[number], number))
        self._running = len(devices)
        for models in devices[1:]:
            begin(lambda models=models: self._device(models))  # type: ignore[misc]
        self._device(devices[0])
        with engine.changed:
            while self._running:
                engine.changed.wait()
        if self._error is not None:
            raise self._error

    def _device(self, models: Collection[Model]) -> None:
        """Run what the engine has for a device until all requests have ended, or another device failed."""
        changed = self.engine.changed
        try:
            while self._work(models):
                self._report()
        except BaseException as error:  # it is raised where the service was begun
            with changed:
                self._error, self._over = self._error or error, True
        finally:
            with changed:
                self._running -= 1
                changed.notify_all()

    def _work(self, models: Collection[Model]) -> bool:
        """Run one forward, or wait a little for one; whether there may be more."""
        engine = self.engine
        with engine.changed:
            self._arrive()
            if self._over:
                return False
            running = engine.next(models)
            if running is None:
                if engine.idle and not self._due:
                    self._over = True
                    engine.changed.notify_all()
                    return False
                engine.changed.wait(self._rest())
                return True
        engine.execute(running)
        return True

    def _arrive(self) -> None:
        """Queue the requests whose time has come."""
        now = time.perf_counter()
        while self._due and self._due[0][0] <= now:
            at, number = heapq.heappop(self._due)
            self.engine.add(self.requests[number], number, at)

    def _rest(self) -> float:
        """Seconds for which a device has nothing to do, if no other one has ended a forward by then."""
        if not self._due:
            return REST_SECONDS
        return max(0.0, min(self._due[0][0] - time.perf_counter(), REST_SECONDS))

    def _ended(self, number: int) -> None:
        """A user whose request has ended sends the next one."""
        if self.users is None:
            return
        following = next(self._next, None)
        if following is not None:
            served = self.engine.served.get(number)
            free = time.perf_counter() if served is None else self.engine.epoch + served.ended
            heapq.heappush(self._due, (free + self.at[following], following))

    def _report(self) -> None:
        """Tell how far it is, now and then; a device at a time does so, and holds nobody up."""
        if self.tell is None:
            return
        engine, now = self.engine, time.perf_counter()
        with engine.changed:
            if now - self._told < TELL_SECONDS:
                return
            self._told = now
            ended, written = len(engine.served), engine.written
        self.tell(ended, written)

    def service(self, devices: Devices) -> Service:
        """What happened, in seconds from the beginning, to the requests that were served to their ends."""
        served = self.engine.served
        return Service([served[number] for number in sorted(served)], self.engine.batches, devices)
