"""A worker answers in order, reports what went wrong in it, and its end is noticed."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from engine.errors import OutOfMemory, SpecBranchError, WorkerLost
from engine.placement import Seat, usable_cores
from engine.worker_process import Host
from engine.workers import Worker, link, start

HERE_TOGETHER = threading.Barrier(2)
FAILURES = {
    "allocator": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    "windows": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    "cuda": torch.OutOfMemoryError("tried to allocate 9 bytes"),
    "python": MemoryError(),
}

two_cores = pytest.mark.skipif(len(usable_cores()) < 2, reason="needs two cores")


def echo(host: Host, value: object) -> object:
    return value


def pass_on(host: Host, value: object) -> object:
    """Has it from the worker that this one is linked to."""
    assert host.linked is not None
    return host.linked.call(echo, value=value)


def nap(host: Host) -> None:
    time.sleep(60)


def fail(host: Host) -> None:
    raise ZeroDivisionError("on purpose")


def complain(host: Host) -> None:
    raise SpecBranchError("a sentence for the user.")


def exhaust(host: Host, how: str) -> None:
    raise FAILURES[how]


def leave(host: Host) -> None:
    raise SystemExit


def meet(host: Host) -> int:
    """Comes back only if another worker of the process is in here too."""
    HERE_TOGETHER.wait(30)
    return os.getpid()


def multiply(host: Host, size: int) -> list[float]:
    """One call of torch, begun when another worker of the process is in `meet`; when it began and ended."""
    matrix = torch.ones(size, size, dtype=torch.float64)
    into = torch.empty_like(matrix)
    HERE_TOGETHER.wait(30)
    start = time.perf_counter()
    torch.mm(matrix, matrix, out=into)
    return [start, time.perf_counter()]


def seating(host: Host) -> list[object]:
    return [sorted(os.sched_getaffinity(0)), torch.get_num_threads(), threading.get_native_id()]


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__), prepend=os.pathsep)


@pytest.fixture
def worker() -> Iterator[Worker]:
    (worker,) = start("test")
    yield worker
    worker.close()


@pytest.fixture
def two() -> Iterator[tuple[Worker, ...]]:
    workers = start("one", "other")
    yield workers
    workers[0].close()


def test_replies_come_in_order_whatever_is_waited_for_first(worker: Worker) -> None:
    tickets = [worker.submit(echo, value=value) for value in range(5)]
    assert [ticket.wait().value for ticket in reversed(tickets)] == [4, 3, 2, 1, 0]
    replies = [ticket.wait() for ticket in tickets]
    assert all(r.sent <= r.start <= r.end <= r.received for r in replies)
    assert all(a.end <= b.start for a, b in itertools.pairwise(replies))


def test_an_error_in_a_job_is_the_drivers_to_hear_and_ends_nothing(worker: Worker) -> None:
    with pytest.raises(SpecBranchError, match=r"ZeroDivisionError.*on purpose"):
        worker.call(fail)
    with pytest.raises(SpecBranchError, match=r"^a sentence for the user\.$"):
        worker.call(complain)
    assert worker.call(echo, value=7) == 7


def test_lack_of_memory_is_told_from_other_failures(worker: Worker) -> None:
    for how in FAILURES:
        with pytest.raises(OutOfMemory, match="test worker ran out of memory"):
            worker.call(exhaust, how=how)
    assert worker.call(echo, value=7) == 7


def test_a_death_is_noticed(worker: Worker) -> None:
    assert worker.process.pid
    ticket = worker.submit(nap)
    os.kill(worker.process.pid, signal.SIGKILL)
    with pytest.raises(WorkerLost, match="test worker died"):
        ticket.wait()
    with pytest.raises(WorkerLost):
        worker.call(echo, value=3)


def test_silence_is_not_waited_for_forever(worker: Worker) -> None:
    worker.call(echo, value=1)
    assert worker.process.pid
    os.kill(worker.process.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLost, match=r"silent for 0\.2 s"):
        worker.submit(echo, value=2).wait(0.2)
    assert not worker.process.is_alive()


def test_large_messages_pass_whoever_is_busy(worker: Worker, two: tuple[Worker, ...]) -> None:
    """More than a pipe holds goes both ways at once, and nobody waits for the other for ever."""
    large = "x" * (1 << 20)
    for one in (worker, *two):
        tickets = [one.submit(echo, value=large) for _ in range(3)]
        assert all(ticket.wait(30).value == large for ticket in tickets)


def test_workers_can_be_linked(worker: Worker, two: tuple[Worker, ...]) -> None:
    """One asks the other, which goes on to answer the driver, and takes another's link when this one is gone."""
    for asking in two:
        link(asking, worker)
        assert asking.call(pass_on, value=[1, "a"]) == [1, "a"]
        assert worker.call(echo, value=2) == 2
    link(two[1], worker)
    assert two[1].call(pass_on, value=3) == 3
    worker.close()
    with pytest.raises(SpecBranchError, match=r"the test worker (died|is gone)"):
        two[1].call(pass_on, value=4)
    assert two[1].call(echo, value=5) == 5


def test_workers_of_one_process_work_at_the_same_time(two: tuple[Worker, ...]) -> None:
    tickets = [worker.submit(meet) for worker in two]
    assert {ticket.wait(60).value for ticket in tickets} == {two[0].process.pid}


def test_a_model_computes_without_keeping_the_other_from_its_interpreter(two: tuple[Worker, ...]) -> None:
    product = two[0].submit(multiply, size=3000)
    two[1].call(meet)
    others = [two[1].submit(echo, value=value).wait() for value in range(20)]
    start, end = product.wait().value
    assert any(start < other.start and other.end < end for other in others)


@two_cores
def test_each_worker_of_a_process_has_threads_and_cores_of_its_own(two: tuple[Worker, ...]) -> None:
    first, second = usable_cores()[:2]
    two[0].sit(Seat("cpu", (first,)))
    two[1].sit(Seat("cpu", (second,)))
    seats = [worker.call(seating) for worker in two]
    assert [seat[:2] for seat in seats] == [[[first], 1], [[second], 1]]
    assert seats[0][2] != seats[1][2]
    two[0].sit(Seat("cpu", (first, second)))
    assert two[0].call(seating)[:2] == [[first, second], 2]
    assert two[1].call(seating)[:2] == [[second], 1]


def test_the_end_of_one_worker_is_the_end_of_its_process(two: tuple[Worker, ...]) -> None:
    waiting = two[0].submit(nap)
    with pytest.raises(WorkerLost, match="other worker died"):
        two[1].call(leave)
    assert not two[0].process.is_alive()
    assert two[0].lost
    with pytest.raises(WorkerLost, match="one worker is gone"):
        waiting.wait()
