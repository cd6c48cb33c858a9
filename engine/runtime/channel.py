"""One end of a pipe to a worker: jobs go out, replies come in the same order. Torch-free."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

from engine.errors import OutOfMemory, SpecBranchError, WorkerFailed, WorkerLost, from_spelling
from engine.runtime.messages import End, Watch, encode

BEAT_SECONDS = 5.0  # between two signs of life of a worker that is at a job; a forward may take minutes
SILENCE_SECONDS = 60.0  # a worker that gives none for longer is stopped or deadlocked
JOB_SECONDS = 3600.0  # at a job for so long, without a word of it, a worker hangs, though its process lives
SLICES = (
    4  # in which silence is waited for: of a driver that was itself stopped, only one is over when it goes on
)
PIPE_BYTES = 1 << 14  # what a pipe surely takes while nobody reads


@dataclass(slots=True)
class Reply:
    """A job's value; when it was sent, begun, ended and received (seconds of the monotonic clock).

    Not frozen, though nobody changes it: a round waits for it to be made.
    """

    value: Any
    sent: float
    start: float
    end: float
    received: float


@dataclass(slots=True)
class Ticket:
    """A job under way in a worker; `on_news` hears what it tells before it has ended."""

    worker: "Channel"
    sent: float
    reply: Reply | None = None
    error: SpecBranchError | None = None
    on_news: Callable[[Any], None] = lambda news: None

    def wait(self, silence: float | None = SILENCE_SECONDS, longest: float | None = None) -> Reply:
        """The reply, or what the job raised.

        WorkerLost if the worker died, gave no sign of life for `silence` seconds, or said nothing of its job, neither
        news nor a reply, for `longest` seconds; None: however long. OutOfMemory if it was that, WorkerFailed if the job
        raised what nobody expected.
        """
        while self.reply is None:
            if self.error is not None:
                raise self.error
            self.worker.receive(silence, longest)
        return self.reply

    def answer(self, reply: Mapping[str, Any], received: float, name: str) -> None:
        """Take what `engine.runtime.worker_process.do` says of the job, in the worker of this name."""
        if "value" in reply:
            self.reply = Reply(reply["value"], self.sent, reply["start"], reply["end"], received)
        elif "error" in reply:
            self.error = from_spelling(*reply["error"])
        elif "out_of_memory" in reply:
            self.error = OutOfMemory(
                f"the {name} worker ran out of memory ({reply['out_of_memory']}); a shorter text or a smaller "
                "model needs less."
            )
        else:
            self.error = WorkerFailed(f"the {name} worker failed ({reply['failed']}).")


@dataclass(eq=False)
class Channel:
    """A worker that does one job at a time, in the order asked, as whoever holds its pipe's other end sees it."""

    name: str
    _end: End
    lost: bool = False
    process: BaseProcess | None = field(default=None, kw_only=True)  # which ends with this, if any
    spin: float = field(default=0.0, kw_only=True)  # seconds to look for a reply before sleeping
    _outstanding: deque[Ticket] = field(default_factory=deque)
    _heard: float = 0.0  # when a reply or news came last

    def __post_init__(self) -> None:
        self._watch = Watch(self._end)

    def submit(self, function: Callable[..., Any], **arguments: Any) -> Ticket:
        """Send a job, `function(host, **arguments)`, to be run in the worker; all as a message takes it."""
        message = {"module": function.__module__, "name": function.__name__, "arguments": arguments}
        data = encode(message)
        while len(data) > PIPE_BYTES and self._outstanding:
            # Else both ends might wait for ever, each for room for what it sends.
            self.receive(SILENCE_SECONDS, None)
        if self.lost:
            raise self._is_gone()
        ticket = Ticket(self, time.perf_counter())
        try:
            self._end.send(data)
        except OSError as error:
            raise self._gone("died") from error
        self._outstanding.append(ticket)
        return ticket

    def call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Submit a job and wait for its value, however long it takes while the worker lives."""
        return self.submit(function, **arguments).wait().value

    def receive(self, silence: float | None, longest: float | None) -> None:
        """Take one reply, or news of a job that goes on, and give it to the oldest ticket; or a sign of life.

        Silence and the longest job as in `Ticket.wait`.
        """
        if self.lost:
            raise self._is_gone()
        try:
            reply = self._end.receive_now()
            if reply is None:
                # A pipe whose process has died ends, so there is nothing else to watch.
                if silence is not None and not self._speaks(silence):
                    raise self._gone(f"was silent for {silence:g} s")
                reply = self._end.receive()
        except (EOFError, OSError) as error:
            raise self._gone("died") from error
        received = time.perf_counter()
        if not reply:  # it lives
            if longest is not None and self._at_it(received) > longest:
                raise self._gone(f"has been at one job for {longest:g} s")
            return
        self._heard = received
        if "news" in reply:
            self._outstanding[0].on_news(reply["news"])
            return
        self._outstanding.popleft().answer(reply, received, self.name)

    def _at_it(self, now: float) -> float:
        """Seconds since it said anything of the job that it is doing, or since it was given that."""
        return now - max(self._heard, self._outstanding[0].sent) if self._outstanding else 0.0

    def _speaks(self, silence: float) -> bool:
        """Whether there is something to read within `silence` seconds."""
        return any(self._watch.wait(silence / SLICES, spin) for spin in (self.spin, *[0.0] * (SLICES - 1)))

    def _is_gone(self) -> WorkerLost:
        return WorkerLost(f"the {self.name} worker is gone.")

    def _gone(self, how: str) -> WorkerLost:
        self.close()
        return WorkerLost(f"the {self.name} worker {how}.")

    def close(self) -> None:
        """Ask nothing of it any more."""
        self.lost = True
        self._end.close()
