"""A worker answers in order, reports what went wrong in it, and its end is noticed."""

import itertools
import os
import re
import signal
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.errors import ConfigurationError, OutOfMemory, SpecBranchError, WorkerFailed, WorkerLost
from engine.runtime import faults
from engine.runtime.channel import Channel
from engine.runtime.messages import End, encode, pipe
from engine.runtime.placement import Seat, usable_cores
from engine.runtime.worker_process import Host
from engine.runtime.workers import Worker, link, start

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


def mistake(host: Host) -> None:
    raise ConfigurationError("a setting is wrong.")


def pass_on_failure(host: Host) -> None:
    assert host.linked is not None
    host.linked.call(fail)


def time_out(host: Host, seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def echo_later(host: Host, value: object, seconds: float) -> object:
    time.sleep(seconds)
    return value


def answer_what_no_message_takes(host: Host) -> object:
    return torch.ones(2)


def work_until_wanted(host: Host) -> int:
    """Computes until the driver sends another job; how often."""
    count = 0
    while not host.wanted():
        torch.ones(300, 300).matmul(torch.ones(300, 300))
        count += 1
    return count


def say_now_and_then(host: Host, times: int, pause: float) -> None:
    for _ in range(times):
        time.sleep(pause)
        host.tell("so far")


def hold_the_interpreter(host: Host) -> None:
    """For about a minute, in one call of C that never gives it free."""
    re.match("(a*)*b", "a" * 40)


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


def begin_thread(host: Host) -> int:
    """As a forward begins its helpers when it first needs them; the system's id."""
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
    return thread.native_id or 0


def cores_of(host: Host, thread: int) -> list[int]:
    return sorted(os.sched_getaffinity(thread))


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__), prepend=os.pathsep)
    monkeypatch.setenv("SPECBRANCH_CACHE", str(tmp_path))


@pytest.fixture
def worker() -> Iterator[Worker]:
    (worker,) = start("test")
    yield worker
    worker.close()


@pytest.fixture
def lively(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker that gives many signs of life."""
    monkeypatch.setattr("engine.runtime.workers.BEAT_SECONDS", 0.05)
    (worker,) = start("test")
    worker.call(echo, value=0)
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


def test_what_nobody_expected_is_told_with_the_file_of_its_traceback(worker: Worker, tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed) as raised:
        worker.call(fail)
    said = str(raised.value)
    told = re.fullmatch(
        r"the test worker failed \(ZeroDivisionError: on purpose; its traceback is in (\S+\.log)\)\.", said
    )
    assert told is not None, said
    path = Path(told[1])
    kept = path.read_text()
    assert path.is_relative_to(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"process {worker.process.pid}, job fail\n" in kept
    assert 'raise ZeroDivisionError("on purpose")' in kept
    assert kept.endswith("ZeroDivisionError: on purpose\n")
    with pytest.raises(WorkerFailed, match=r"TypeError: .* its traceback is in"):
        worker.call(answer_what_no_message_takes)
    for job, kind in ((complain, SpecBranchError), (mistake, ConfigurationError)):
        with pytest.raises(SpecBranchError) as refused:
            worker.call(job)
        assert type(refused.value) is kind
    assert len(list(path.parent.iterdir())) == 2
    assert worker.call(echo, value=1) == 1


def test_a_failure_is_told_once_however_many_workers_it_passes(
    two: tuple[Worker, ...], tmp_path: Path
) -> None:
    link(*two)
    with pytest.raises(WorkerFailed, match=r"^the other worker failed \(ZeroDivisionError: on purpose; "):
        two[0].call(pass_on_failure)
    assert len(list(tmp_path.rglob("*.log"))) == 1


def test_a_job_may_take_long_while_its_worker_lives(lively: Worker) -> None:
    """Signs of life are heard while it computes, and none of them is taken for a reply."""
    ticket = lively.submit(work_until_wanted)
    for _ in range(3):
        lively.receive(30.0, None)
        assert ticket.reply is None
    another = lively.submit(echo, value="another")
    assert ticket.wait().value > 0
    assert another.wait().value == "another"
    assert lively.submit(time_out, seconds=2.0).wait(silence=1.0).value == 2.0


def test_signs_of_life_never_mix_with_messages(lively: Worker) -> None:
    large = ["x" * (1 << 20)] * 8
    for _ in range(5):
        ticket = lively.submit(echo_later, value=large, seconds=0.11)
        time.sleep(0.15)  # the reply fills the pipe, and signs of life find no room
        assert ticket.wait(30).value == large


def test_a_job_that_says_nothing_is_not_waited_for_forever(lively: Worker) -> None:
    """Though its process lives; one that tells of its work may take as long as it likes."""
    lively.submit(say_now_and_then, times=8, pause=0.25).wait(silence=30, longest=1.5)
    with pytest.raises(WorkerLost, match=r"test worker has been at one job for 0\.5 s"):
        lively.submit(nap).wait(silence=30, longest=0.5)
    assert not lively.process.is_alive()


def test_a_worker_that_stops_in_the_middle_is_found(lively: Worker) -> None:
    ticket = lively.submit(nap)
    lively.receive(30.0, None)
    assert lively.process.pid
    os.kill(lively.process.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLost, match=r"silent for 0\.5 s"):
        ticket.wait(0.5)


def test_a_worker_whose_interpreter_is_stuck_is_found(lively: Worker) -> None:
    with pytest.raises(WorkerLost, match=r"silent for 1 s"):
        lively.submit(hold_the_interpreter).wait(1.0)


def test_a_driver_that_was_stopped_itself_takes_nobody_for_dead() -> None:
    """What passes meanwhile ends one of the slices of its patience, and it waits for the others."""
    ours, theirs = pipe()
    channel = Channel("test", ours)
    waited: list[float] = []

    class Resumed:
        def wait(self, seconds: float, spin: float) -> list[End]:
            waited.append(seconds)
            return [ours] if len(waited) == 2 else []

    channel._watch = Resumed()  # type: ignore[assignment]
    with ours.socket, theirs.socket:
        theirs.send(encode({}))
        channel._end.receive_now = lambda: None  # type: ignore[method-assign]
        channel.receive(60.0, None)
    assert waited == [15.0, 15.0]


def test_tracebacks_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "KEPT", 3)
    monkeypatch.setattr(faults, "LONGEST", 100)
    errors = [ValueError(f"{number} {'x' * number}") for number in range(0, 1000, 100)]
    paths = [faults.keep(error, "some job") for error in errors]
    kept = sorted((tmp_path / "faults").iterdir())
    assert len(kept) == 3
    assert paths[-1] in kept
    assert all(path.stat().st_size < 300 for path in kept)


def test_a_traceback_has_a_place_where_the_cache_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPECBRANCH_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = faults.keep(ValueError("odd"), "some job")
    assert path is not None
    assert path.parent.parent == tmp_path
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    assert faults.explain(ValueError("odd"), "some job") == (
        "ValueError: odd; its traceback could not be written to any folder"
    )


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


@two_cores
def test_a_thread_goes_where_its_maker_goes(two: tuple[Worker, ...]) -> None:
    """And nowhere else, though another worker of the process takes its seat before its maker does again."""
    first, second = usable_cores()[:2]
    both = (first, second)
    two[0].sit(Seat("cpu", both))
    helper = two[0].call(begin_thread)
    two[1].sit(Seat("cpu", (second,)))
    assert two[0].call(cores_of, thread=helper) == sorted(both)
    other = two[1].call(begin_thread)
    for seat in ((first,), both):
        two[0].sit(Seat("cpu", seat))
        assert two[0].call(cores_of, thread=helper) == sorted(seat)
        assert two[1].call(cores_of, thread=other) == [second]


def test_the_end_of_one_worker_is_the_end_of_its_process(two: tuple[Worker, ...]) -> None:
    waiting = two[0].submit(nap)
    with pytest.raises(WorkerLost, match="other worker died"):
        two[1].call(leave)
    assert not two[0].process.is_alive()
    assert two[0].lost
    with pytest.raises(WorkerLost, match="one worker is gone"):
        waiting.wait()
