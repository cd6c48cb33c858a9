"""Runs as a trace that Perfetto and chrome://tracing open: the Trace Event Format, in its JSON object form.

    save_trace(Path("trace.json"), [real, simulated])

A process is a run of one world, its threads are the devices of target and draft and a lane of rounds. Runs of both
worlds are the same record, so one function writes both. Format: "Trace Event Format" (Google, 2016).
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from calibrate.artifact import write_whole
from engine.errors import SpecBranchError
from engine.record import Job, Run

TARGET, DRAFT, ROUNDS = 1, 2, 3  # threads of each process
# Names of the format's own palette; a viewer may know no more than these.
COLOURS = {"target": "thread_state_running", "draft": "good", "round": "generic_work", "rollback": "terrible"}


class Event(BaseModel):
    """One event. `ts` and `dur` in microseconds since the run began, whole nanoseconds.

    `ph`: "X" has a duration, "i" has none, "C" is a counter, "M" names a process or thread. `s`: how far the
    mark of an instant reaches ("t": its thread).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    ph: Literal["X", "i", "C", "M"]
    pid: int
    tid: int = 0
    ts: float = 0.0
    dur: float | None = None
    cat: str | None = None
    s: Literal["t"] | None = None
    cname: str | None = None
    args: dict[str, int | str] = {}


class Trace(BaseModel):
    """A whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    traceEvents: tuple[Event, ...]  # the format's name
    displayTimeUnit: Literal["ms"] = "ms"
    otherData: dict[str, str] = {}


def save_trace(path: Path, runs: Sequence[Run], about: dict[str, str] | None = None) -> None:
    """Write `runs` as one trace; `about` is kept in it. SpecBranchError if the file cannot be written."""
    text = chrome_trace(runs, about).model_dump_json(exclude_none=True)
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise SpecBranchError(f"{path} cannot be written ({error.strerror}); choose another file.") from error


def chrome_trace(runs: Sequence[Run], about: dict[str, str] | None = None) -> Trace:
    """The trace of `runs`, each a process of its own, all of which begin at 0."""
    events = [event for pid, run in enumerate(runs, 1) for event in _events(run, pid)]
    return Trace(traceEvents=tuple(events), otherData=about or {})


def _events(run: Run, pid: int) -> Iterator[Event]:
    yield from _names(run, pid)
    for job in run.jobs:
        yield _job(job, pid)
    written = accumulate(counts.emitted for counts in run.rounds)
    yield _text(pid, 0.0, 0)
    for number, length in enumerate(written):
        jobs = [job for job in run.jobs if job.round == number]
        if not jobs:
            continue
        start, end = min(job.start for job in jobs), max(job.end for job in jobs)
        yield from _round(run, number, start, end, pid)
        yield _text(pid, end, length)


def _names(run: Run, pid: int) -> Iterator[Event]:
    def named(kind: str, tid: int, **args: int | str) -> Event:
        return Event(name=kind, ph="M", pid=pid, tid=tid, args=args)

    yield named("process_name", 0, name=run.world)
    yield named("process_sort_index", 0, sort_index=pid)
    turns = ", by turns on one device" if run.shared else ""
    for tid, name in ((TARGET, f"target{turns}"), (DRAFT, f"draft{turns}"), (ROUNDS, "rounds")):
        yield named("thread_name", tid, name=name)
        yield named("thread_sort_index", tid, sort_index=tid)


def _job(job: Job, pid: int) -> Event:
    return Event(
        name=job.model,
        ph="X",
        pid=pid,
        tid=TARGET if job.model == "target" else DRAFT,
        cat="job",
        cname=COLOURS[job.model],
        args={"round": job.round, "forwards": job.forwards, "tokens": job.tokens},
        **_span(job.start, job.end),
    )


def _round(run: Run, number: int, start: float, end: float, pid: int) -> Iterator[Event]:
    counts = run.rounds[number]
    args: dict[str, int | str] = {
        name: getattr(counts, name)
        for name in ("drafted", "verified", "accepted", "emitted", "rollback", "hedge", "cut")
    }
    yield Event(
        name=f"round {number}",
        ph="X",
        pid=pid,
        tid=ROUNDS,
        cat="round",
        cname=COLOURS["rollback" if counts.rollback else "round"],
        args=args,
        **_span(start, end),
    )
    if counts.rollback:
        at = _nanoseconds(end) / 1e3
        lost: dict[str, int | str] = {"round": number, "tokens": counts.rollback}
        yield Event(name="rollback", ph="i", pid=pid, tid=ROUNDS, ts=at, cat="rollback", s="t", args=lost)


def _text(pid: int, at: float, length: int) -> Event:
    return Event(
        name="text length", ph="C", pid=pid, ts=_nanoseconds(at) / 1e3, cat="text", args={"tokens": length}
    )


def _span(start: float, end: float) -> dict[str, Any]:
    """Whole nanoseconds, so that what ends where the next begins does not overlap it by rounding."""
    begun, ended = _nanoseconds(start), _nanoseconds(end)
    return {"ts": begun / 1e3, "dur": (ended - begun) / 1e3}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
