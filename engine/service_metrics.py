"""Metrics of served requests, real or simulated, each defined once. Torch-free.

The words are the field's: time to first token, time per token and end to end as `vllm bench serve` counts them, goodput
as Zhong et al. 2024 (DistServe, arXiv 2401.09670) define it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.runtime.workload import Limits
from engine.service_record import ServedRequest, Service

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NO_LIMITS = Limits()


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
    once. `end_to_end`: from arrival to end. `waiting`: from arrival to when it ran. `running` and `queue`: how many
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
    _, queued = queue_lengths(requests)
    return ServiceMetrics(
        requests=len(requests),
        tokens=tokens,
        seconds=seconds,
        tokens_per_second=tokens / seconds,
        tokens_per_device_second=tokens / seconds / len(service.devices),
        first_token=Percentiles.of([r.first_token - r.arrived for r in requests]),
        token=Percentiles.of([each for r in requests if (each := token_seconds(r)) is not None]),
        end_to_end=Percentiles.of([r.ended - r.arrived for r in requests]),
        waiting=Percentiles.of(waiting),
        running=sum(r.ended - r.began for r in requests) / seconds,
        queue=sum(waiting) / seconds,
        longest_queue=int(queued.max()),
        goodput=good / seconds,
        good=good / len(requests),
        devices=tuple(_use(service, models, seconds) for models in service.devices),
    )


def queue_lengths(requests: Sequence[ServedRequest]) -> "tuple[NDArray[np.float64], NDArray[np.int64]]":
    """How many requests wait to run, over time: moments in order, and how many from each one on."""
    return _steps([r.arrived for r in requests], [r.began for r in requests])


def running_requests(requests: Sequence[ServedRequest]) -> "tuple[NDArray[np.float64], NDArray[np.int64]]":
    """How many requests run, over time: moments in order, and how many from each one on."""
    return _steps([r.began for r in requests], [r.ended for r in requests])


def _steps(more: Sequence[float], less: Sequence[float]) -> "tuple[NDArray[np.float64], NDArray[np.int64]]":
    """A count that rises by one at some moments and falls by one at others; each moment once."""
    import numpy as np

    moments, place = np.unique(np.concatenate([more, less]), return_inverse=True)
    change = np.bincount(place[: len(more)], minlength=len(moments)).astype(np.int64)
    change -= np.bincount(place[len(more) :], minlength=len(moments)).astype(np.int64)
    return moments, np.cumsum(change)


def _use(service: Service, models: tuple[str, ...], seconds: float) -> DeviceUse:
    ran = [batch for batch in service.batches if batch.model in models]
    took = [batch.end - batch.start for batch in ran]
    busy = sum(took)

    def in_the_mean(counts: Sequence[int]) -> float:
        if not busy:
            return 0.0
        return sum(count * its for count, its in zip(counts, took, strict=True)) / busy

    return DeviceUse(
        models,
        busy / seconds,
        len(ran),
        in_the_mean([len(batch.requests) for batch in ran]),
        in_the_mean([batch.rows for batch in ran]),
    )


def batch_sizes(service: Service, model: str) -> "tuple[NDArray[np.float64], NDArray[np.int64]]":
    """How many requests are in the forwards of a model, over time: moments in order, and how many from each one on.

    Between two forwards it is none; where one begins as another ends, the moment stands once, with the later size.
    """
    import numpy as np

    found: dict[float, int] = {}
    for batch in sorted((b for b in service.batches if b.model == model), key=lambda b: b.start):
        found[batch.start] = len(batch.requests)
        found[batch.end] = 0
    return np.array([*found]), np.array([*found.values()], dtype=np.int64)
