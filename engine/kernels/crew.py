"""Threads that compute one thing together, each its own part of it, at less than an executor's futures cost."""

import threading
from collections.abc import Callable
from weakref import finalize

Part = Callable[[int], None]


class Crew:
    """As many threads as are asked for, beside the caller's own; they end when nobody has the crew any more."""

    def __init__(self) -> None:
        self._helpers: list[_Helper] = []

    def run(self, part: Part, size: int) -> None:
        """Call `part` with 0 .. `size` - 1, 0 in this thread; raises what any of them raised."""
        while len(self._helpers) < size - 1:
            helper = _Helper(len(self._helpers) + 1)
            finalize(self, helper.begin, None)
            self._helpers.append(helper)
        mine = self._helpers[: size - 1]
        for helper in mine:
            helper.begin(part)
        try:
            part(0)
        finally:
            errors = [helper.end() for helper in mine]
        for error in filter(None, errors):
            raise error


class _Helper:
    """A thread that waits for parts with the number `rank`."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._part: Part | None = None
        self._error: BaseException | None = None
        self._begun, self._done = threading.Lock(), threading.Lock()
        self._begun.acquire()
        self._done.acquire()
        threading.Thread(target=self._wait, daemon=True).start()

    def begin(self, part: Part | None) -> None:
        """Begin a part; None ends the thread."""
        self._part = part
        self._begun.release()

    def end(self) -> BaseException | None:
        """Wait until it has ended; what it raised."""
        self._done.acquire()
        error, self._error = self._error, None
        return error

    def _wait(self) -> None:
        while True:
            self._begun.acquire()
            if self._part is None:
                return
            try:
                self._part(self._rank)
            except BaseException as error:  # it is raised where the crew was called
                self._error = error
            self._part = None
            self._done.release()
