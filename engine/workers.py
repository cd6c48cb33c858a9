"""The driver's handle on worker processes: submit jobs, wait for replies, notice a death. Torch-free."""

import multiprocessing
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from engine.errors import OutOfMemory, SpecBranchError, WorkerLost
from engine.messages import decode, encode
from engine.placement import Seat
from engine.worker_process import serve, sit

SILENCE_SECONDS = 60.0  # a worker silent for longer is taken for hung; a forward takes well under a second
SPINS = 3000  # of an idle thread of GNU OpenMP's: longer than the pauses within a forward, some 50 us
PIPE_BYTES = 1 << 14  # what a pipe surely takes while nobody reads


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
    """A job under way in a worker; `on_news` hears what it tells before it has ended."""

    worker: "Worker"
    sent: float
    reply: Reply | None = None
    error: SpecBranchError | None = None
    on_news: Callable[[Any], None] = lambda news: None

    def wait(self, timeout: float | None = None) -> Reply:
        """The reply. WorkerLost if the worker died or was silent for `timeout` seconds; OutOfMemory if it was that."""
        while self.reply is None:
            if self.error is not None:
                raise self.error
            self.worker.receive(timeout)
        return self.reply

    def answer(self, reply: Mapping[str, Any], received: float, name: str) -> None:
        """Take what `engine.worker_process.do` says of the job, in the worker of this name."""
        if "lost" in reply:
            self.error = OutOfMemory(reply["lost"])
        elif "out_of_memory" in reply:
            self.error = OutOfMemory(
                f"the {name} worker ran out of memory ({reply['out_of_memory']}); a shorter text or a smaller "
                "model needs less."
            )
        elif "error" in reply:
            self.error = SpecBranchError(reply["error"])
        else:
            self.reply = Reply(reply["value"], self.sent, reply["start"], reply["end"], received)


@dataclass(eq=False)
class Worker:
    """A thread of a worker process that does one job at a time, in the order asked; `start` makes them."""

    name: str
    process: BaseProcess
    _connection: Connection
    _beside: list["Worker"] = field(repr=False)  # all workers of the process
    seat: Seat | None = None
    lost: bool = False
    _outstanding: deque[Ticket] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._answers = _listen(self._connection)

    def submit(self, function: Callable[..., Any], **arguments: Any) -> Ticket:
        """Send a job, `function(host, **arguments)`, to be run in the worker; all as a message takes it."""
        message = {"module": function.__module__, "name": function.__name__, "arguments": arguments}
        data = encode(message)
        while len(data) > PIPE_BYTES and self._outstanding:
            # Else both ends might wait for ever, each for room for what it sends.
            self.receive(SILENCE_SECONDS)
        if self.lost:
            raise self._is_gone()
        ticket = Ticket(self, time.perf_counter())
        try:
            self._connection.send_bytes(data)
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
        """Take one reply, or news of a job that goes on, and give it to the oldest ticket."""
        if self.lost:
            raise self._is_gone()
        try:
            # A pipe whose process has died ends, so there is nothing else to watch.
            if timeout is not None and not self._answers(timeout):
                raise self._gone(f"was silent for {timeout:g} s")
            reply = decode(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._gone("died") from error
        received = time.perf_counter()
        if "news" in reply:
            self._outstanding[0].on_news(reply["news"])
            return
        self._outstanding.popleft().answer(reply, received, self.name)

    def _is_gone(self) -> WorkerLost:
        return WorkerLost(f"the {self.name} worker is gone.")

    def _gone(self, how: str) -> WorkerLost:
        self.close()
        return WorkerLost(f"the {self.name} worker {how}.")

    def close(self) -> None:
        """End the process, whatever it is doing, and with it the workers beside this one."""
        for worker in self._beside:
            worker.lost = True
            worker._connection.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def _listen(connection: Connection) -> Callable[[float], bool]:
    """What waits for some seconds at most until there is something to read, and tells whether there is.

    `connection.poll` does, too, but has so much to set up each time that a round would notice.
    """
    if not hasattr(select, "poll"):
        return connection.poll
    watched = select.poll()
    watched.register(connection, select.POLLIN)
    return lambda seconds: bool(watched.poll(1000 * seconds))


def start(*names: str) -> tuple[Worker, ...]:
    """Start one process with a worker, a thread of its own, for each name."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in names]
    theirs = [end for _, end in pipes]
    process = context.Process(target=serve, args=theirs, name=" and ".join(names), daemon=True)
    with _interrupts_held(), _tuned():
        process.start()
    for end in theirs:
        end.close()
    workers: list[Worker] = []
    workers += [Worker(name, process, ours, workers) for name, (ours, _) in zip(names, pipes, strict=True)]
    return tuple(workers)


@contextmanager
def _tuned() -> Iterator[None]:
    """A process started meanwhile asks for huge pages, and its idle threads of PyTorch's soon sleep.

    A core reads weights faster from huge pages; and a thread that looks for work until some 5 ms have passed, as GNU
    OpenMP's do, is in the way of `engine.fused_llama`'s. By settings of the GNU libraries, which others ignore, and
    which whoever has set them himself keeps as they are (see docs/design.md, "Speed on CPU cores").
    """
    before = dict(os.environ)
    pages = before.get("GLIBC_TUNABLES", "")
    if "glibc.malloc.hugetlb" not in pages:
        os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (pages, "glibc.malloc.hugetlb=1")))
    if "OMP_WAIT_POLICY" not in before:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    try:
        yield
    finally:
        for name in ("GLIBC_TUNABLES", "GOMP_SPINCOUNT"):
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits, and never reaches a process started meanwhile: it is the driver's to handle."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    caught: list[int] = []
    # A process inherits what is blocked. Here that does not suffice: a library's thread may take the signal.
    signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    try:
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # it lets signals through when it has started, so not after this
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                yield
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        else:
            yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            handler(signal.SIGINT, None)
