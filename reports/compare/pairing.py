"""Verifications beside each other: paired differences where they share configurations and prompts. Torch-free.

    compare([load_verification(a), load_verification(b)], ["a", "b"])

A ratio of tokens/s is paired by prompt: what a prompt adds to the logarithm of each of the four sums (tokens and
seconds of both runs) is linearised, and its spread over prompts gives the 95% interval (the delta method). So the
interval is that of the logarithm, and comparing the other way round gives the inverse of all three figures.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, nan
from statistics import median

import numpy as np
from numpy.typing import NDArray

from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate, student
from engine.naming import in_words
from engine.record import Run
from reports.verify.run import CHANGE
from reports.verify.verification import Compared, Verification
from reports.wording import milliseconds
from sim.world.reach import marked

NOT_THERE = "none"
Floats = NDArray[np.float64]
_Key = tuple[object, ...]


class Difference(FrozenRecord):
    """A condition in which two records differ, with both values."""

    condition: str
    first: str
    second: str

    @property
    def sentence(self) -> str:
        """Both values in words."""
        return f"{self.condition}: {self.first} in the first, {self.second} in the second"


class Figures(FrozenRecord):
    """A configuration in one record: tokens/s and rollback rate on shared prompts, the prediction's errors on all."""

    tokens_per_second: float
    rollback_rate: float
    error: float
    timing_error: float | None
    far_context: bool = False


class Row(FrozenRecord):
    """A configuration that both records hold.

    `ratio`: tokens/s of the second over the first. `rollback`: rollback rate of the second less the first.
    """

    configuration: Configuration
    first: Figures
    second: Figures
    ratio: Estimate
    rollback: Estimate

    @property
    def label(self) -> str:
        """The configuration's, marked where one of its predictions reaches too far (`sim.world.reach`)."""
        return marked(in_words(self.configuration), self.first.far_context or self.second.far_context)


class Comparison(FrozenRecord):
    """Two records, by name. `prompts` both hold; `only`: configurations, in words, that one of them alone holds.

    `remarks`: what has to be said with the figures of each (`engine.models.deepening`).
    """

    first: str
    second: str
    created: tuple[str, str]
    prompts: int
    rows: tuple[Row, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    differences: tuple[Difference, ...]
    remarks: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @property
    def named_remarks(self) -> tuple[str, ...]:
        """The remarks, with whose they are."""
        named = zip((self.first, self.second), self.remarks, strict=True)
        return tuple(f"{name}: {remark}." for name, mine in named for remark in mine)


def compare(records: Sequence[Verification], names: Sequence[str]) -> tuple[Comparison, ...]:
    """Every further record against the first.

    ConfigurationError for fewer than two, or where one shares no prompt or no configuration with the first.
    """
    if len(records) < 2:
        raise ConfigurationError("comparing needs two records or more.")
    return tuple(
        _pair(records[0], record, names[0], name) for record, name in zip(records[1:], names[1:], strict=True)
    )


def _pair(a: Verification, b: Verification, first: str, second: str) -> Comparison:
    digests = {p.digest for p in a.prompts} & {p.digest for p in b.prompts}
    if not digests:
        raise ConfigurationError(
            f"{first} and {second} have no prompt in common; verify both on the same ones."
        )
    mine, theirs = ({_key(c.configuration): c for c in v.compared} for v in (a, b))
    shared = [key for key in mine if key in theirs]
    if not shared:
        raise ConfigurationError(f"{first} and {second} have no configuration in common.")
    return Comparison(
        first=first,
        second=second,
        created=(a.created, b.created),
        prompts=len(digests),
        rows=tuple(_row(a, b, mine[key], theirs[key], sorted(digests)) for key in shared),
        only=(_others(mine, theirs), _others(theirs, mine)),
        differences=tuple(_differences(a, b)),
        remarks=(a.remarks, b.remarks),
    )


def _others(mine: Mapping[_Key, Compared], theirs: Mapping[_Key, Compared]) -> tuple[str, ...]:
    return tuple(in_words(c.configuration) for key, c in mine.items() if key not in theirs)


def _key(c: Configuration) -> _Key:
    """What a configuration does; fields that its policy does not use say nothing."""
    return (c.policy, c.placement, *((name, getattr(c, name)) for name in sorted(c.uses)))


def _row(a: Verification, b: Verification, mine: Compared, theirs: Compared, digests: Sequence[str]) -> Row:
    one, other = _Sums.of(a, mine, digests), _Sums.of(b, theirs, digests)
    return Row(
        configuration=mine.configuration,
        first=_figures(one, mine),
        second=_figures(other, theirs),
        ratio=_ratio(one, other),
        rollback=_difference(one, other),
    )


@dataclass(frozen=True)
class _Sums:
    """A configuration's sums over the runs of each shared prompt [prompts], in the order of the digests."""

    tokens: Floats
    seconds: Floats
    rollback: Floats
    followed: Floats  # drafted tokens less hedge

    @classmethod
    def of(cls, v: Verification, one: Compared, digests: Sequence[str]) -> "_Sums":
        rows = [[s.run for s in one.samples if v.prompts[s.prompt].digest == digest] for digest in digests]
        return cls(*(np.array([sum(map(count, runs)) for runs in rows], dtype=float) for count in _COUNTS))


_COUNTS: tuple[Callable[[Run], float], ...] = (
    lambda run: len(run.tokens),
    lambda run: run.seconds,
    lambda run: sum(r.rollback for r in run.rounds),
    lambda run: sum(r.drafted - r.hedge for r in run.rounds),
)


def _figures(sums: _Sums, one: Compared) -> Figures:
    return Figures(
        tokens_per_second=sums.tokens.sum() / sums.seconds.sum(),
        rollback_rate=_rate(sums),
        error=one.error,
        timing_error=one.timing_error,
        far_context=one.far_context,
    )


def _rate(sums: _Sums) -> float:
    followed = sums.followed.sum()
    return float(sums.rollback.sum() / followed) if followed else 0.0


def _ratio(one: _Sums, other: _Sums) -> Estimate:
    value = (other.tokens.sum() / one.tokens.sum()) * (one.seconds.sum() / other.seconds.sum())
    tokens, seconds = (
        [x / x.mean() for x in pair] for pair in ((one.tokens, other.tokens), (one.seconds, other.seconds))
    )
    reach = _reach((tokens[1] - tokens[0]) + (seconds[0] - seconds[1]))
    return Estimate(float(value), float(value) * exp(-reach), float(value) * exp(reach))


def _difference(one: _Sums, other: _Sums) -> Estimate:
    value = _rate(other) - _rate(one)
    parts = [
        (s.rollback - _rate(s) * s.followed) / s.followed.mean() if s.followed.any() else 0.0 * s.followed
        for s in (one, other)
    ]
    reach = _reach(parts[1] - parts[0])
    return Estimate(value, value - reach, value + reach)


def _reach(influence: Floats) -> float:
    """Half of the 95% interval of a sum of what each prompt adds, by Student's t; NaN for one prompt."""
    count = len(influence)
    return student(count - 1) * float(influence.std(ddof=1)) / count**0.5 if count > 1 else nan


def _differences(a: Verification, b: Verification) -> Iterator[Difference]:
    """Every condition in which two records differ."""
    for group in ("hardware", "software"):
        yield from _unequal(group, getattr(a, group), getattr(b, group))
    for part, what in enumerate(("source and precision of", "weights of")):
        models = [{name: _split(text)[part] for name, text in v.models.items()} for v in (a, b)]
        yield from _unequal(what, *models)
    mine, theirs = ({p.digest: p for p in v.prompts} for v in (a, b))
    if mine.keys() != theirs.keys():
        common = f"{len(mine.keys() & theirs.keys())} in common"
        yield Difference(
            condition="prompts", first=f"{len(mine)}, {common}", second=f"{len(theirs)}, {common}"
        )
    for condition, values in {
        "tokens of text, at most": (a.max_tokens, b.max_tokens),
        "temperature": (a.temperature, b.temperature),
        "repeats": (a.repeats, b.repeats),
        "calibration": (a.calibration_digest, b.calibration_digest),
        "calibrated on other hardware": tuple("yes" if v.other_hardware else "no" for v in (a, b)),
        "engine revision": tuple(v.engine_revision or "not noted" for v in (a, b)),
        "seed": (a.seed, b.seed),
        "largest numeric tie": (a.tie, b.tie),
    }.items():
        if values[0] != values[1]:
            yield Difference(condition=condition, first=str(values[0]), second=str(values[1]))
    yield from _drift(a.reference_seconds, b.reference_seconds)


def _unequal(group: str, first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[Difference]:
    for name in dict.fromkeys([*first, *second]):
        values = first.get(name, NOT_THERE), second.get(name, NOT_THERE)
        if values[0] != values[1]:
            yield Difference(condition=f"{group} {name}", first=values[0], second=values[1])


def _split(model: str) -> tuple[str, str]:
    """What a model is, and its content hash (see `reports.verify.run`)."""
    described, _, digest = model.rpartition("sha256 ")
    return described.rstrip("; "), digest


def _drift(first: Sequence[float], second: Sequence[float]) -> Iterator[Difference]:
    """The reference operation, where its medians differ by more than `verify` takes for steady."""
    if not first or not second:
        if len(first) != len(second):
            yield Difference(condition="reference operation", first=_timed(first), second=_timed(second))
        return
    if (
        abs(median(second) / median(first) - 1.0) > CHANGE
        or abs(median(first) / median(second) - 1.0) > CHANGE
    ):
        yield Difference(condition="reference operation", first=_timed(first), second=_timed(second))


def _timed(seconds: Sequence[float]) -> str:
    return f"{milliseconds(median(seconds))} in the median of {len(seconds)}" if seconds else NOT_THERE
