"""Requests that are served in the target's worker: the driver sends all of them, and hears what happened. Torch-free.

A draft takes turns with the target there, or computes in the worker beside it, another thread of the same process.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from engine.configuration import Configuration
from engine.errors import SpecBranchError
from engine.models.sampling import Sampling
from engine.record import Run
from engine.runtime import worker_process
from engine.runtime.channel import JOB_SECONDS, SILENCE_SECONDS
from engine.runtime.requests import Request
from engine.runtime.run_message import from_message, to_message
from engine.runtime.scheduler import DEFAULT_BUDGET, Budget, Discipline
from engine.runtime.session import Player
from engine.runtime.worker_process import Host, Hosted
from engine.service_record import Batch, Batches, ServedRequest, Service

Progress = Callable[[int, int], None]
"""Hears how many requests have ended, and how many tokens were written."""

_served = attrgetter(*ServedRequest.__slots__)


@dataclass(frozen=True)
class ServedTexts:
    """A service by the engine, and of each request, in the order in which they were given, its run.

    A run's seconds are counted from its request's arrival.
    """

    service: Service
    runs: Sequence[Run]


@dataclass(frozen=True)
class Serve:
    """How requests are served: what there is room for, what is one forward, and when the requests come.

    `at`: seconds of each, from the beginning or, in a closed loop of `users`, from when its user is free.
    """

    at: Sequence[float]
    users: int | None = None
    budget: Budget = DEFAULT_BUDGET
    discipline: Discipline = "ready"
    chunks: bool = True


def serve(
    host: Host,
    models: list[str],
    apart: bool,
    requests: list[dict[str, Any]],
    at: list[float],
    users: int | None,
    budget: dict[str, int],
    discipline: Discipline,
    chunks: bool,
) -> list[Any]:
    """Serve requests by a target and perhaps a draft, `models`, which with `apart` is of the worker beside this one.

    That one runs `engine.runtime.worker_process.lend` meanwhile. The driver is told how far it is. Returns what
    `serve_there` makes `ServedTexts` of. SpecBranchError when the driver has given the service up, or for the first
    request that failed.
    """
    from engine.runtime.batching import BatchEngine
    from engine.runtime.serving import Serving, devices_of

    beside = next(other for other in host.beside if other is not host) if apart else host

    def tell(ended: int, written: int) -> None:
        if host.wanted():
            raise SpecBranchError("the service was given up.")
        host.tell([ended, written])

    try:
        target = host.models[models[0]]
        drafts = [beside.models[name] for name in models[1:]]
        networks = [target.predictors[name] for name in models[1:] if name in target.predictors]
        engine = BatchEngine(
            Hosted(target.model, target.ngrams, predictors=dict(zip(["draft"], networks, strict=False))),
            Hosted(drafts[0].model, drafts[0].ngrams) if drafts else None,
            Budget(**budget),
            discipline,
            chunks,
            (host, beside),
        )
        serving = Serving(engine, [_request(known) for known in requests], at, users, tell)
        # A target that is alone has a device, as it has where both take turns.
        devices = devices_of(apart) if drafts else (("target",),)
        serving.run(devices, beside.errands.put)
    finally:
        if apart:
            beside.errands.put(None)
    for error in engine.failures.values():
        raise error
    if any(run.warning for run in engine.runs.values()):
        for name in models[1:]:  # its state is anybody's guess; it is loaded anew when it is wanted
            worker_process.unload(beside, name)
    service = serving.service(devices)
    return [
        [_served(request) for request in service.requests],
        [[*batch[:-1], sorted(batch.unread)] for batch in service.batches],
        service.devices,
        [to_message(engine.runs[number]) for number in sorted(engine.runs)],
    ]


def _request(known: dict[str, Any]) -> Request:
    settings, sampling = Configuration(**known.pop("settings")), Sampling(**known.pop("sampling"))
    return Request(settings=settings, sampling=sampling, **known)


def serve_there(
    target: Player,
    drafter: Player | None,
    requests: Sequence[Request],
    how: Serve,
    progress: Progress | None = None,
) -> ServedTexts:
    """Serve requests in the target's worker, which ends with an error if a request of them fails.

    The draft is in that worker too, or in one beside it in the same process. WorkerLost or WorkerFailed as of
    `engine.runtime.session.generate`. A request's `on_text` and `stopped` stay here: nobody hears them.
    """
    apart = drafter is not None and drafter.worker is not target.worker
    ticket = target.worker.submit(
        serve,
        models=[player.model for player in (target, drafter) if player],
        apart=apart,
        requests=[
            {
                "prompt": list(request.prompt),
                "settings": request.settings.model_dump(mode="json"),
                "max_tokens": request.max_tokens,
                "end_tokens": list(request.end_tokens),
                "sampling": request.sampling.model_dump(),
            }
            for request in requests
        ],
        at=list(how.at),
        users=how.users,
        budget=asdict(how.budget),
        discipline=how.discipline,
        chunks=how.chunks,
    )
    if progress is not None:
        ticket.on_news = partial(_hear, progress)
    lent = drafter.worker.submit(worker_process.lend) if apart and drafter else None
    try:
        served, batches, devices, runs = ticket.wait(SILENCE_SECONDS, JOB_SECONDS).value
        if lent is not None:
            lent.wait(SILENCE_SECONDS, JOB_SECONDS)
    except BaseException:
        ticket.on_news = lambda news: None  # a service that goes on is nobody's any more
        raise
    service = Service(
        [ServedRequest(*request) for request in served],
        Batches.of(
            Batch(model, start, end, tuple(whose), rows, frozenset(unread))
            for model, start, end, whose, rows, unread in batches
        ),
        tuple(tuple(models) for models in devices),
    )
    return ServedTexts(service, [from_message(run, drafter is not None and not apart) for run in runs])


def _hear(progress: Progress, news: Sequence[int]) -> None:
    ended, written = news
    progress(ended, written)
