"""A run on its way from the worker that wrote it to the driver: as a message takes it, and made again. Torch-free."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from engine.policies.tree import Round
from engine.record import Job, Run

_job, _round = attrgetter(*Job.__slots__), attrgetter(*Round.__slots__)


def to_message(run: Run) -> list[Any]:
    """What `engine.runtime.messages` can encode of an engine's run; where its models sat is the driver's to know."""
    rounds, jobs = [_round(counts) for counts in run.rounds], [_job(job) for job in run.jobs]
    return [run.tokens, rounds, jobs, run.seconds, run.first_token_seconds, run.ending, run.warning]


def from_message(message: Sequence[Any], shared: bool, seconds: float | None = None) -> Run:
    """The run of a message; `shared`: both models took turns on one device. `seconds`: its own, None: as told."""
    tokens, rounds, jobs, told, first, ending, warning = message
    return Run(
        world="engine",
        tokens=tuple(tokens),
        rounds=tuple(Round(*counts) for counts in rounds),
        jobs=tuple(Job(*job) for job in jobs),
        seconds=told if seconds is None else seconds,
        first_token_seconds=first,
        shared=shared,
        ending=ending,
        warning=warning,
    )
