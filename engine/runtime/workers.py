"""The driver's handle on worker processes: submit jobs, wait for replies, notice a death. Torch-free."""

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

from engine.runtime.channel import BEAT_SECONDS, Channel
from engine.runtime.messages import End, pipe
from engine.runtime.placement import Seat, cuda_devices
from engine.runtime.worker_process import ask, hear, serve, sit

# How long one of two processes looks for the other's message before it sleeps, longer than a round: each has a core to
# itself. Threads would keep their common interpreter from each other, and the driver has no core of its own.
SPIN_SECONDS = 0.02
SPINS = 3000  # of an idle thread of GNU OpenMP's: longer than the pauses within a forward, some 50 us
CAN_LINK = hasattr(socket, "send_fds")  # whether workers can be given a pipe between them
# What workers import before their first token, which takes seconds of processor time.
LIBRARIES = (
    "engine.models.decoding",
    "engine.models.llama",
    "engine.models.transformers_model",
    "engine.models.self_check",
    "engine.kernels.compiled_libraries",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
)


@dataclass(eq=False)
class Worker(Channel):
    """A worker and its process; `start` makes them. `_beside`: all workers of the process."""

    process: BaseProcess = field(kw_only=True)
    seat: Seat | None = field(default=None, kw_only=True)
    _beside: list["Worker"] = field(kw_only=True, repr=False)

    def sit(self, seat: Seat) -> None:
        """Move to a seat; however long it takes at first, since loading libraries may keep signs of life back."""
        if seat != self.seat:
            self.submit(sit, device=seat.device, cores=list(seat.cores)).wait(silence=None)
            self.seat = seat

    def give(self, end: End, function: Callable[..., Any], **arguments: Any) -> None:
        """Call a job that takes the end of a pipe, by `engine.runtime.worker_process.take_end`."""
        ticket = self.submit(function, **arguments)

        def send(_: object) -> None:
            socket.send_fds(self._end.socket, [b" "], [end.fileno()])

        ticket.on_news = send
        ticket.wait()

    def close(self) -> None:
        """End the process, whatever it is doing, and with it the workers beside this one."""
        for worker in self._beside:
            worker.lost = True
            worker._end.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def prepare() -> None:
    """Begin to import what workers need, in a process of its own, so that they start at once when they are wanted."""
    if isinstance(_context(), ForkServerContext):
        with _interrupts_held(), _tuned():
            forkserver.ensure_running()


def start(*names: str) -> tuple[Worker, ...]:
    """Start one process with a worker, a thread of its own, for each name."""
    pipes = [pipe() for _ in names]
    theirs = [end for _, end in pipes]
    process = _context().Process(
        target=serve,
        args=[BEAT_SECONDS, dict(os.environ), *(end.socket for end in theirs)],
        name=" and ".join(names),
        daemon=True,
    )
    with _interrupts_held(), _tuned():
        process.start()
    for end in theirs:
        end.close()
    workers: list[Worker] = []
    workers += [
        Worker(name, ours, process=process, _beside=workers)
        for name, (ours, _) in zip(names, pipes, strict=True)
    ]
    return tuple(workers)


def link(asking: Worker, asked: Worker) -> None:
    """Let a worker send jobs to another one, as its host's `linked`, by a pipe of their own."""
    one, other = pipe()
    beside = asking.process is asked.process
    spin = 0.0 if beside else SPIN_SECONDS
    with one.socket, other.socket:
        asking.give(one, ask, name=asked.name, beside=beside, spin=spin)
        asked.give(other, hear, spin=spin)


def _context() -> ForkServerContext | SpawnContext:
    """How processes start: on Linux as forks of one that has imported the libraries, so that this is done once.

    It computes nothing, and so has no threads that a fork would lose. Not where there is a CUDA device, which a library
    may touch as it is imported, and which is of no use to a fork then; nor on macOS, whose libraries forbid it.
    """
    if sys.platform != "linux" or cuda_devices():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LIBRARIES))
    return context


@contextmanager
def _tuned() -> Iterator[None]:
    """A process started meanwhile asks for huge pages, and its idle threads of PyTorch's soon sleep.

    A core reads weights faster from huge pages; and a thread that looks for work until some 5 ms have passed, as GNU
    OpenMP's do, is in the way of `engine.models.fused_llama`'s. By settings of the GNU libraries, which others ignore,
    and which whoever has set them himself keeps as they are (see docs/lab-notes.md, "Speed on CPU cores").
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
