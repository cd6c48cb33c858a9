"""What is timed, as it runs inside a worker: the engine's own operations on the engine's own models.

Every function's first parameter is the worker's `Host`; times are seconds of the monotonic clock. Each sample
ends with the choice of tokens on the host or waits, so that device work is over when the clock is read.
"""

import time
from collections.abc import Callable
from typing import Any

from engine.models import TARGET
from engine.worker_process import Host, Hosted

# A longer read is a prompt's, of which only the last row is judged; a shorter one is a line's, judged throughout.
LONGEST_LINE = 32
CANDIDATES = 4
FORK_DEPTH = 3
FILLED = 64  # context of the model that goes before


def _filler(tokens: int) -> list[int]:
    """Token ids that any vocabulary has; what they say does not change what they cost."""
    return [3 + (7 * i) % 29 for i in range(tokens)]


def _fill(hosted: Hosted, context: int) -> Any:
    """The model with exactly `context` filler tokens in its cache."""
    hosted.text, hosted.trusted = [], 0
    model = hosted.model
    unread = model.rewind([*_filler(context), 0])[:-1]
    if unread:
        model.read(unread, last=1)
    return model


def _repeat(sample: Callable[[], float], repeats: int, seconds: float) -> list[float]:
    """One warm-up, then `repeats` samples and more until `seconds` are over."""
    sample()
    until = time.perf_counter() + seconds
    samples: list[float] = []
    while len(samples) < repeats or time.perf_counter() < until:
        samples.append(sample())
    return samples


def time_forward(
    host: Host,
    name: str,
    tokens: int,
    context: int,
    repeats: int,
    seconds: float = 0.0,
    after: str | None = None,
) -> list[float]:
    """Reading `tokens` in a row behind `context`: rewind, forward, and the choice of tokens.

    `after` names a model of the same worker that makes a forward before each sample, as it does where models
    take turns: it leaves nothing of a small draft's weights in the processor's cache.
    """
    from engine.decoding import candidates, choices

    other = _fill(host.models[after], FILLED) if after else None
    model = _fill(host.models[name], context)
    line = _filler(context + tokens)
    last = tokens if tokens <= LONGEST_LINE else 1

    def sample() -> float:
        start = time.perf_counter()
        unread = model.rewind(line, context)
        logits = model.read(unread, last=last)
        choices(model, logits) if name == TARGET else candidates(model, logits[-1:], CANDIDATES)
        return time.perf_counter() - start

    def again() -> float:
        if other:
            choices(other, other.read(_filler(1), last=1))
            other.rewind([*_filler(FILLED), 0], FILLED)
        took = sample()
        model.rewind([*line[:context], 0], context)
        return took

    return _repeat(again, repeats, seconds)


def time_branches(
    host: Host, name: str, branches: int, context: int, repeats: int, seconds: float = 0.0
) -> list[float]:
    """One step of `branches` branches behind `context`."""
    from engine.decoding import candidates

    model = _fill(host.models[name], context)
    rows = [(branch, 5 + branch) for branch in range(branches)]

    def sample() -> float:
        start = time.perf_counter()
        candidates(model, model.read_branches(rows), 1)
        took = time.perf_counter() - start
        model.rewind([*_filler(context), 0], context)
        return took

    return _repeat(sample, repeats, seconds)


def time_fork(host: Host, name: str, branches: int, context: int, repeats: int) -> list[float]:
    """Selecting the last of `branches` branches, `FORK_DEPTH` tokens deep, behind `context`."""
    model = _fill(host.models[name], context)

    def sample() -> float:
        for depth in range(FORK_DEPTH):
            model.read_branches([(branch, 5 + branch + depth) for branch in range(branches)])
        chosen = [5 + branches - 1 + depth for depth in range(FORK_DEPTH)]
        host.synchronise()
        start = time.perf_counter()
        model.rewind([*_filler(context), *chosen, 0], context)
        host.synchronise()
        took = time.perf_counter() - start
        model.rewind([*_filler(context), 0], context)
        return took

    return _repeat(sample, repeats, 0.0)


def time_reference(host: Host) -> float:
    """A fixed product of matrices: the same work whatever the models, to see how steady the machine is."""
    import torch

    def product(times: int) -> float:
        left = torch.ones(512, 512, device=host.device)
        start = time.perf_counter()
        for _ in range(times):
            left = left @ left / 512.0
        float(left[0, 0])
        return time.perf_counter() - start

    with torch.inference_mode():
        product(2)  # threads that have just moved to another seat warm up
        return product(8)
