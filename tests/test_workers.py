"""A worker answers in order, reports what went wrong in it, and its end is noticed."""

import itertools
import os
import signal
import time
from collections.abc import Iterator

import pytest

from engine.errors import SpecBranchError, WorkerLost
from engine.worker_process import Host
from engine.workers import Worker


def echo(host: Host, value: int) -> int:
    return value


def nap(host: Host) -> None:
    time.sleep(60)


def fail(host: Host) -> None:
    raise ZeroDivisionError("on purpose")


def complain(host: Host) -> None:
    raise SpecBranchError("a sentence for the user.")


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__), prepend=os.pathsep)
    worker = Worker("test")
    yield worker
    worker.close()


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
