"""The driver's handle on a worker process: submit jobs, wait for their replies, notice its death. Torch-free."""

import json
import multiprocessing
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from engine.errors import SpecBranchError, WorkerLost
from engine.placement import Seat
from engine.worker_process import serve, sit


@dataclass(frozen=True, slots=True)
class Reply:
    """A job's value; when it was sent, begun, ended and received (seconds of the monotonic clock)."""

    value: Any
    sent: float
    start: float
    end: float
    received: float


@dataclass(slots=True)
class Ticket:
    """A job under way in a worker."""

    worker: "Worker"
    sent: float
    reply: Reply | None = None
    error: str | None = None

    def wait(self, timeout: float | None = None) -> Reply:
        """The reply. WorkerLost if the worker died or was silent for `timeout` seconds."""
        while self.reply is None and self.error is None:
            self.worker.receive(timeout)
        if self.reply is None:
            raise SpecBranchError(self.error or "")
        return self.reply


@dataclass
class Worker:
    """A process that does one job at a time, in the order asked."""

    name: str
    seat: Seat | None = None
    lost: bool = False
    _outstanding: deque[Ticket] = field(default_factory=deque)

    def __post_init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), name=self.name, daemon=True)
        self.process.start()
        theirs.close()

    def submit(self, function: Callable[..., Any], **arguments: Any) -> Ticket:
        """Send a job: `function(host, **arguments)`, run in the worker; arguments and value are JSON."""
        if self.lost:
            raise WorkerLost(f"the {self.name} worker is gone.")
        message = {"module": function.__module__, "name": function.__name__, "arguments": arguments}
        ticket = Ticket(self, time.perf_counter())
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError as error:
            raise self._gone("died") from error
        self._outstanding.append(ticket)
        return ticket

    def call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Submit a job and wait for its value."""
        return self.submit(function, **arguments).wait().value

    def sit(self, seat: Seat) -> None:
        """Move to a seat."""
        if seat != self.seat:
            self.call(sit, device=seat.device, cores=list(seat.cores))
            self.seat = seat

    def receive(self, timeout: float | None = None) -> None:
        """Take one reply and give it to the oldest ticket."""
        ready = wait([self._connection, self.process.sentinel], timeout)
        if not ready:
            raise self._gone(f"was silent for {timeout:g} s")
        if self._connection not in ready:
            raise self._gone("died")
        try:
            reply = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._gone("died") from error
        received = time.perf_counter()
        ticket = self._outstanding.popleft()
        if "error" in reply:
            ticket.error = reply["error"]
        else:
            ticket.reply = Reply(reply["value"], ticket.sent, reply["start"], reply["end"], received)

    def _gone(self, how: str) -> WorkerLost:
        self.lost = True
        self.close()
        return WorkerLost(f"the {self.name} worker {how}.")

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._connection.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
