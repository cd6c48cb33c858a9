"""Metrics of served requests, real or simulated, each defined once. Torch-free.

The words are the field's: time to first token, time per token and end to end as `vllm bench serve` counts them, goodput
as Zhong et al. 2024 (DistServe, arXiv 2401.09670) define it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import TYPE_CHECKING

from engine.metrics import Estimate, student
from engine.runtime.workload import Limits
from engine.service_record import MODELS, Batches, ServedRequest, Service

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NO_LIMITS = Limits()
BLOCK = 1 << 18  # forwards that are looked at together


@dataclass(frozen=True)
class Percentiles:
    """Of requests, in seconds: the mean and percentiles, linear between the values; NaN of none."""

    mean: float
    median: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Percentiles":
        """Of so many values."""
        import numpy as np

        if not len(seconds):
            return cls(*[float("nan")] * 4)
        median, p95, p99 = np.percentile(seconds, [50, 95, 99]).tolist()
        return cls(float(np.mean(seconds)), median, p95, p99)


@dataclass(frozen=True)
class DeviceUse:
    """What one device did: the `models` that it ran, the share of the time in which it was busy, and its batches.

    `batch` and `rows`: requests and rows of a forward, in the mean over the time in which it was busy.
    """

    models: tuple[str, ...]
    busy: float
    forwards: int
    batch: float
    rows: float


@dataclass(frozen=True)
class ServiceMetrics:
    """Figures over all requests, from the first arrival to the last end, which is `seconds`.

    `first_token`: seconds from a request's arrival to its first token. `token`: for each token behind the first,
    (end - first token) / (tokens - 1), of requests of two or more; a round that writes several tokens writes them at
    once. `fairness`: Jain's index of the tokens/s of these requests behind their first tokens, (sum of x)^2 / (n sum of
    x^2): 1 where all are as fast, 1/n where one has everything (Jain, Chiu and Hawe 1984); NaN of none.
    `end_to_end`: from arrival to end. `waiting`: from arrival to when it ran. `running` and `queue`: how many
    requests ran, and how many waited to run, in the mean over time. `goodput`: requests a second that kept within all
    limits, and `good` their share.
    """

    requests: int
    tokens: int
    seconds: float
    tokens_per_second: float
    tokens_per_device_second: float
    first_token: Percentiles
    token: Percentiles
    fairness: float
    end_to_end: Percentiles
    waiting: Percentiles
    running: float
    queue: float
    longest_queue: int
    goodput: float
    good: float
    devices: tuple[DeviceUse, ...]


def token_seconds(request: ServedRequest) -> float | None:
    """Seconds for each token behind the first one; None if there is none."""
    return (request.ended - request.first_token) / (request.tokens - 1) if request.tokens > 1 else None


def fairness(speeds: Sequence[float]) -> float:
    """Jain's index of what each of n has; NaN of none."""
    squares = sum(speed * speed for speed in speeds)
    return sum(speeds) ** 2 / (len(speeds) * squares) if squares else float("nan")


def is_good(request: ServedRequest, limits: Limits) -> bool:
    """Whether a request kept within the limits."""
    each = token_seconds(request)
    first = request.first_token - request.arrived
    return (limits.first_token_seconds is None or first <= limits.first_token_seconds) and (
        limits.token_seconds is None or each is None or each <= limits.token_seconds
    )


def measure_service(service: Service, limits: Limits = NO_LIMITS) -> ServiceMetrics:
    """Metrics of at least one request."""
    requests = service.requests
    begin, end = min(r.arrived for r in requests), max(r.ended for r in requests)
    seconds, tokens = end - begin, sum(r.tokens for r in requests)
    waiting = [r.began - r.arrived for r in requests]
    good = sum(is_good(r, limits) for r in requests)
    each = [its for r in requests if (its := token_seconds(r)) is not None]
    return ServiceMetrics(
        requests=len(requests),
        tokens=tokens,
        seconds=seconds,
        tokens_per_second=tokens / seconds,
        tokens_per_device_second=tokens / seconds / len(service.devices),
        first_token=Percentiles.of([r.first_token - r.arrived for r in requests]),
        token=Percentiles.of(each),
        fairness=fairness([1.0 / its for its in each if its > 0.0]),
        end_to_end=Percentiles.of([r.ended - r.arrived for r in requests]),
        waiting=Percentiles.of(waiting),
        running=sum(r.ended - r.began for r in requests) / seconds,
        queue=sum(waiting) / seconds,
        longest_queue=_longest_queue(requests),
        goodput=good / seconds,
        good=good / len(requests),
        devices=tuple(_use(service.batches, models, seconds) for models in service.devices),
    )


# The figures that have intervals over samples, by what they are called.
FIGURES: dict[str, Callable[[ServiceMetrics], float]] = {
    "tokens_per_second": lambda m: m.tokens_per_second,
    "tokens_per_device_second": lambda m: m.tokens_per_device_second,
    "first_token_median": lambda m: m.first_token.median,
    "first_token_p95": lambda m: m.first_token.p95,
    "token_median": lambda m: m.token.median,
    "token_p95": lambda m: m.token.p95,
    "fairness": lambda m: m.fairness,
    "end_to_end_p95": lambda m: m.end_to_end.p95,
    "goodput": lambda m: m.goodput,
}


def estimates(samples: Sequence[ServiceMetrics]) -> dict[str, Estimate]:
    """The mean of each of `FIGURES` over independent samples, with its 95% interval by Student's t (NaN of one)."""
    found = {}
    for name, figure in FIGURES.items():
        values = [figure(sample) for sample in samples]
        mean, reach = sum(values) / len(values), float("nan")
        if len(values) > 1:
            reach = student(len(values) - 1) * stdev(values) / len(values) ** 0.5
        found[name] = Estimate(mean, mean - reach, mean + reach)
    return found


@dataclass(frozen=True)
class Timeline:
    """What happened over time, in the mean of each of n stretches of `seconds` from the first arrival to the last end.

    `queue` and `running`: requests that waited to run, and that ran. Of each device, `busy`: the share of a stretch in
    which it was, and `batch`: requests of a forward meanwhile, 0 of none.
    """

    seconds: float
    queue: tuple[float, ...]
    running: tuple[float, ...]
    busy: tuple[tuple[float, ...], ...]
    batch: tuple[tuple[float, ...], ...]


def timeline(service: Service, stretches: int = 60) -> Timeline:
    """A service in so many stretches of the same length."""
    import numpy as np

    requests = service.requests
    arrived, began, ended = (
        np.array([getattr(r, name) for r in requests]) for name in ("arrived", "began", "ended")
    )
    edges = np.linspace(arrived.min(), ended.max(), stretches + 1)
    width, one = float(edges[1] - edges[0]), np.ones(len(requests))
    busy, batch = [], []
    for models in service.devices:
        worked, held = np.zeros(stretches), np.zeros(stretches)
        for start, end, sizes, _ in _columns(service.batches, models):
            worked += _within(start, end, np.ones(len(start)), edges)
            held += _within(start, end, sizes, edges)
        busy.append(tuple((worked / width).tolist()))
        mean = np.divide(held, worked, out=np.zeros(stretches), where=worked > 0)
        batch.append(tuple(mean.tolist()))
    return Timeline(
        width,
        tuple((_within(arrived, began, one, edges) / width).tolist()),
        tuple((_within(began, ended, one, edges) / width).tolist()),
        tuple(busy),
        tuple(batch),
    )


def _within(start: "Floats", end: "Floats", weight: "Floats", edges: "Floats") -> "Floats":
    """Of spans with weights the weighted seconds that lie between each two edges."""
    import numpy as np

    moments = np.concatenate([start, end])
    order = np.argsort(moments, kind="stable")
    moments = moments[order]
    slope = np.cumsum(np.concatenate([weight, -weight])[order])
    if not len(moments):
        return np.zeros(len(edges) - 1)
    until = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(moments))])
    return np.diff(np.interp(edges, moments, until))


def _longest_queue(requests: Sequence[ServedRequest]) -> int:
    """How many requests waited to run at once, at most; who runs as he arrives does not."""
    import numpy as np

    moments, place = np.unique(
        [*(r.arrived for r in requests), *(r.began for r in requests)], return_inverse=True
    )
    change = np.bincount(place[: len(requests)], minlength=len(moments)).astype(np.int64)
    change -= np.bincount(place[len(requests) :], minlength=len(moments)).astype(np.int64)
    return int(np.cumsum(change).max())


def _columns(batches: Batches, models: Sequence[str]) -> "Iterator[tuple[Floats, Floats, Floats, Floats]]":
    """Of what ran one of these models: starts, ends, requests and rows, float64 [n] each; a BLOCK at a time.

    So that the millions of a long service are never there as more than they were noted as.
    """
    import numpy as np

    places = [place for place, model in enumerate(MODELS) if model in models]
    for begin in range(0, len(batches), BLOCK):
        block = slice(begin, begin + BLOCK)
        mine = np.isin(np.asarray(batches.model[block]), places)
        before = batches.last[begin - 1] if begin else 0
        sizes = np.diff(np.asarray(batches.last[block]), prepend=before)
        start, end, counts, rows = (
            np.asarray(column)[mine].astype(np.float64)
            for column in (batches.start[block], batches.end[block], sizes, batches.rows[block])
        )
        yield start, end, counts, rows


def _use(batches: Batches, models: tuple[str, ...], seconds: float) -> DeviceUse:
    forwards, busy, sizes, rows = 0, 0.0, 0.0, 0.0
    for start, end, its_sizes, its_rows in _columns(batches, models):
        took = end - start
        forwards += len(took)
        busy += float(took.sum())
        sizes += float(its_sizes @ took)
        rows += float(its_rows @ took)
    if not busy:
        return DeviceUse(models, 0.0, forwards, 0.0, 0.0)
    return DeviceUse(models, busy / seconds, forwards, sizes / busy, rows / busy)
