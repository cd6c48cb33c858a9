"""The work of policies along paths, as it is written down: what each job has to do, for one text or many."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.policies.tree import Round
from engine.service_record import MODELS, Model

Counts = NDArray[np.int64]

TARGET, DRAFT = 0, 1  # places among MODELS

Forwards = tuple[tuple[int, int, int], ...]
"""Forwards behind a job's first one: their rows, the text's tokens then, one more each time, and how many they are."""
ServedJob = tuple[Model, int, int, Forwards]
"""A job as it is served with others: its model, the rows and tokens of its first forward, and the other forwards."""


class Work(NamedTuple):
    """What n jobs have to do: int64 [n] each."""

    model: Counts  # TARGET or DRAFT
    round: Counts  # from 0
    tokens: Counts  # that a job's first forward reads
    context: Counts  # tokens in front of them
    forwards: Counts
    read: Counts  # tokens over all forwards
    opened: Counts  # branches of which one is moved to its place first; 0: none is
    moved: Counts  # its tokens
    drawn: Counts  # tokens that each forward draws at a temperature, where one does
    predicted: Counts  # 1 with H-RAD's inference
    sent: Counts  # tokens of the message that brings the job to the draft
    returned: Counts  # tokens of the message that brings its result


# What is written down of a job, in this order; of the target's, the rest follows.
TARGET_COLUMNS = ("round", "tokens", "context", "drawn", "predicted")
DRAFT_COLUMNS = (
    "round",
    "tokens",
    "context",
    "forwards",
    "read",
    "opened",
    "moved",
    "drawn",
    "sent",
    "returned",
)


class Jobs(NamedTuple):
    """The jobs of one text as they were asked for, to be laid out as `Work` for many texts at once.

    `models`: TARGET or DRAFT of each. `target` and `draft`: TARGET_COLUMNS and DRAFT_COLUMNS of each one's jobs, one
    job behind another.
    """

    models: bytes
    target: "array[int]"
    draft: "array[int]"


class Script(NamedTuple):
    """A policy's work along one path.

    `waits`: in their order, how many jobs were asked for since the wait before; all of them had to end before the
    policy went on. `first`: how many waits the first round took. `steps`: of forwards behind a draft job's first, one
    after another, the job, the branches that are extended, the context of the first, and how many forwards; the i-th
    one's context is longer by i. `questions`: how often the policy asked about the load; if it did, this is what it
    does where no other request is served.
    """

    path: tuple[int, ...]
    rounds: tuple[Round, ...]
    waits: "array[int]"
    first: int
    jobs: Jobs
    steps: "array[int]"
    questions: int = 0

    @property
    def work(self) -> Work:
        """All jobs."""
        return work_of([self.jobs])


@dataclass
class Scripts:
    """The scripts of several texts, and their work in one table.

    `texts`: a number for each, by which costs that vary from text to text tell them apart.
    """

    scripts: Sequence[Script]
    texts: Sequence[int]

    @cached_property
    def ends(self) -> Counts:
        """How many jobs there are up to the end of each script."""
        return np.cumsum([len(script.jobs.models) for script in self.scripts])

    @cached_property
    def work(self) -> Work:
        """All jobs of all scripts."""
        return work_of([script.jobs for script in self.scripts])

    @cached_property
    def text(self) -> Counts:
        """The text of each job."""
        return np.repeat(np.asarray(self.texts), np.diff(self.ends, prepend=0))

    @cached_property
    def widths(self) -> Counts:
        """See `widths_of`."""
        return widths_of(self.work)

    @cached_property
    def waits(self) -> tuple[Counts, Counts]:
        """Of all waits: the first job of each, and how many jobs it is for; int64 [waits] each."""
        count = _joined([script.waits for script in self.scripts])
        return np.cumsum(count) - count, count

    @cached_property
    def first_waits(self) -> Counts:
        """The first wait of each script."""
        count = np.array([len(script.waits) for script in self.scripts], dtype=np.int64)
        return np.cumsum(count) - count

    @cached_property
    def branch_steps(self) -> tuple[Counts, Counts, Counts]:
        """Job, branches and context of every forward behind the first one of a draft job."""
        job, branches, context, count = _joined([script.steps for script in self.scripts]).reshape(-1, 4).T
        offsets = np.repeat(
            self.ends - [len(script.jobs.models) for script in self.scripts],
            [len(script.steps) // 4 for script in self.scripts],
        )
        total = int(count.sum())
        within = np.arange(total) - np.repeat(np.cumsum(count) - count, count)
        return (
            np.repeat(job + offsets, count),
            np.repeat(branches, count),
            np.repeat(context, count) + within,
        )

    @cached_property
    def counts(self) -> Counts:
        """Of each script, how many tokens were drafted, rolled back and hedged; int64 [n, 3]."""
        return np.array(
            [
                (sum([r.drafted for r in its]), sum([r.rollback for r in its]), sum([r.hedge for r in its]))
                for its in (script.rounds for script in self.scripts)
            ]
        )


def work_of(jobs: Sequence[Jobs]) -> Work:
    """The work of several texts, one behind another."""
    models = np.frombuffer(b"".join([its.models for its in jobs]), dtype=np.uint8)
    table = dict(zip(Work._fields, np.zeros((len(Work._fields), len(models)), dtype=np.int64), strict=True))
    table["model"][:] = models
    target = np.flatnonzero(models == TARGET)
    for name, column in zip(
        TARGET_COLUMNS, _columns([its.target for its in jobs], TARGET_COLUMNS), strict=True
    ):
        table[name][target] = column
    table["forwards"][target], table["read"][target] = 1, table["tokens"][target]
    draft = np.flatnonzero(models == DRAFT)
    for name, column in zip(DRAFT_COLUMNS, _columns([its.draft for its in jobs], DRAFT_COLUMNS), strict=True):
        table[name][draft] = column
    return Work(**table)


def served_jobs(script: Script) -> list[ServedJob]:
    """A script's jobs, with the rows of each of their forwards and the text's tokens then."""
    work = script.work
    more: list[Forwards] = [()] * len(work.model)
    for number, rows, before, times in zip(*[iter(script.steps)] * 4, strict=True):
        more[number] += ((rows, before + rows, times),)
    models = [MODELS[model] for model in work.model.tolist()]
    return list(zip(models, work.tokens.tolist(), (work.context + work.tokens).tolist(), more, strict=True))


def widths_of(work: Work) -> Counts:
    """What two of n jobs slow each other by [n]: tokens of the target's forward, rows of the draft's forwards.

    Of the draft's, as many as its further steps have (its branches), or as all have in the mean where its first one
    reads a prompt.
    """
    branches = np.rint((work.read - work.tokens) / np.maximum(work.forwards - 1, 1))
    branches = np.maximum(branches, work.tokens // np.maximum(work.forwards, 1))
    wide: Counts = np.where(work.model == TARGET, work.tokens, np.maximum(branches, 1)).astype(np.int64)
    return wide


def _columns(rows: "Sequence[array[int]]", names: Sequence[str]) -> Counts:
    return _joined(rows).reshape(-1, len(names)).T


def _joined(parts: "Sequence[array[int]]") -> Counts:
    return np.frombuffer(b"".join(parts), dtype=np.int64)
