"""What is timed, as it runs inside a worker: the engine's own operations on the engine's own models.

Every function's first parameter is the worker's `Host`; times are seconds of the monotonic clock. Each sample
ends with the choice of tokens on the host or waits, so that device work is over when the clock is read.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from calibrate.cost_records import LONGEST_LINE, PAUSE, Key
from engine.models.specs import TARGET
from engine.runtime.waiting import waited_since, waits
from engine.runtime.worker_process import Host, Hosted

if TYPE_CHECKING:
    from engine.models.cached_model import CachedModel
    from engine.models.reader import Forwards, Found, Wanted

CANDIDATES = 4
FORK_DEPTH = 3
SLOW = 0.3  # seconds; what takes longer is dear to repeat
QUICK = 0.02  # seconds; what takes less is warmed up WARM_UPS times, until caches keep it
WARM_UPS = 4
FILLED = 64  # context of the model that goes before
REFERENCES = 7  # of the reference operation, of which the median counts


def _filler(tokens: int) -> list[int]:
    """Token ids that any vocabulary has; what they say does not change what they cost."""
    return [3 + (7 * i) % 29 for i in range(tokens)]


def _fill(hosted: Hosted, context: int) -> "CachedModel":
    """The model with exactly `context` filler tokens in its cache."""
    hosted.text, hosted.trusted = [], 0
    model: CachedModel = hosted.model
    unread = model.rewind([*_filler(context), 0])[:-1]
    if unread:
        model.read(unread, last=1)
    return model


def _fill_several(hosted: Hosted, context: int, sequences: int, room: int) -> "list[CachedModel]":
    """Texts that share the model's cache, each with `context` filler tokens in it, and `room` for more.

    Each lies in slots in a row, as those of requests do that are written together. The text of the model that is alone
    stays where it is.
    """
    from engine.models.cached_model import CachedModel, SharedCache

    alone = _fill(hosted, context)
    decoder, size = alone.decoder, context + room
    shared = SharedCache(decoder, (sequences + 1) * size)
    shared.pool.take(size)
    decoder.reserve(shared.pool.size)
    texts = [CachedModel(decoder, shared) for _ in range(sequences)]
    for text in texts:
        taken = shared.pool.take(size)
        text.slots = range(taken[0], taken[0] + size)
        decoder.move(range(context), text.slots[:context])
        text.cache.read(_filler(context))
    return texts


def _wanted(name: str, count: int = 1) -> "Wanted":
    """What a model's rows are read for: the target's own token, or so many candidates of a draft."""
    from engine.models.reader import Wanted

    return Wanted(1, chances=False) if name == TARGET else Wanted(count)


def _look(model: "CachedModel", tokens: Sequence[int], last: int, wanted: "Wanted") -> None:
    """Read tokens in a row and choose from the `last` of them."""
    model.compute(model.read_by_forwards(tokens, last, wanted=wanted))


def _repeat(sample: Callable[[], float], repeats: int, warm_ups: int = WARM_UPS) -> list[float]:
    """Warm-ups, then `repeats` samples, but one of a slow operation."""
    took = 0.0
    for _ in range(warm_ups):
        if (took := sample()) > QUICK:
            break
    return [sample() for _ in range(1 if took > SLOW else repeats)]


def time_forward(
    host: Host,
    name: str,
    tokens: int,
    context: int,
    repeats: int,
    after: str | None = None,
    warm_ups: int = WARM_UPS,
) -> list[float]:
    """Reading `tokens` in a row behind `context`: rewind, forward, and the choice of tokens.

    A prompt's follows a forward of a single token, as it does where another text ended with some: what computes many
    rows may keep weights of its own, and finds little of them in the processor's cache.

    `after` names a model of the same worker that makes a forward before each sample, as it does where models
    take turns: it leaves nothing of a small draft's weights in the processor's cache.
    """
    other = _fill(host.models[after], FILLED) if after else None
    model = _fill(host.models[name], context)
    line = _filler(context + tokens)
    last = tokens if tokens <= LONGEST_LINE else 1
    wanted = _wanted(name, CANDIDATES)

    def sample() -> float:
        start = time.perf_counter()
        _look(model, model.rewind(line, context), last, wanted)
        return time.perf_counter() - start

    def again() -> float:
        if other:
            _look(other, _filler(1), 1, _wanted(after or TARGET))
            other.rewind([*_filler(FILLED), 0], FILLED)
        elif tokens > LONGEST_LINE:
            _look(model, _filler(1), 1, wanted)
            model.rewind([*line[:context], 0], context)
        took = sample()
        model.rewind([*line[:context], 0], context)
        return took

    return _repeat(again, repeats, 1 if after else warm_ups)


def time_branches(
    host: Host,
    name: str,
    tokens: int,
    context: int,
    repeats: int,
    warm_ups: int = WARM_UPS,
) -> list[float]:
    """One step of `tokens` branches behind `context`, a token each.

    With one of the `warm_ups` it is as a draft's further steps are where models take turns: not the first behind the
    target's forward, nor one of many.
    """
    model = _fill(host.models[name], context)
    rows, wanted = [5 + branch for branch in range(tokens)], _wanted(name)

    def sample() -> float:
        start = time.perf_counter()
        model.compute(model.read_nodes_by_forwards(rows, [-1] * tokens, wanted))
        took = time.perf_counter() - start
        model.rewind([*_filler(context), 0], context)
        return took

    return _repeat(sample, repeats, warm_ups)


def time_burst(
    host: Host,
    name: str,
    tokens: int,
    context: int,
    repeats: int,
    branches: int = 1,
    pause: float = PAUSE,
    warm_ups: int = WARM_UPS,
) -> list[float]:
    """`tokens` steps of one or more branches in a row, a token each, behind `context` and a pause in seconds, or none.

    Other work then takes the place of a small draft's weights in the processor's caches, and they fill again.
    """
    model, wanted = _fill(host.models[name], context), _wanted(name)

    def sample() -> float:
        if pause:
            time.sleep(pause)
        start = time.perf_counter()
        for step in range(tokens):
            _read_step(model, branches, step, wanted)
        took = time.perf_counter() - start
        model.rewind([*_filler(context), 0], context)
        return took

    return _repeat(sample, repeats, warm_ups)


def time_batched(
    host: Host,
    name: str,
    tokens: int,
    context: int,
    sequences: int,
    repeats: int,
    steps: int = 1,
    warm_ups: int = WARM_UPS,
) -> list[float]:
    """One forward of `sequences` texts behind `context` each, as requests that are written together have them.

    Of the target, over as many `tokens` in a row of each, all of which are judged. Of a draft, so many `steps` in a row
    of as many branches of each; the warm-ups are those of `time_branches`.
    """
    texts = _fill_several(host.models[name], context, sequences, room=tokens * steps)
    line, wanted = _filler(context + tokens), _wanted(name)

    def judge() -> None:
        _judge(texts, [line] * sequences, context, tokens, wanted)

    def write() -> None:
        for step in range(steps):
            _read_together(
                texts, [text.read_nodes_by_forwards(*_step(tokens, step), wanted) for text in texts]
            )

    return _repeat(_sample_of(judge if name == TARGET else write, texts, context), repeats, warm_ups)


def time_prompts(
    host: Host,
    name: str,
    tokens: int,
    context: int,
    sequences: int,
    repeats: int,
    operation: str,
    warm_ups: int = WARM_UPS,
) -> list[float]:
    """One forward of `tokens` of each text, or of a prompt's chunk beside one row of each other text, behind `context`.

    `operation` says which (`calibrate.cost_records.Key`). The last row of each text is judged.
    """
    key = Key(operation, tokens, context, sequences)
    texts = _fill_several(host.models[name], key.context, key.sequences, room=key.tokens)
    lines, wanted = [_filler(key.context + count) for count in key.counts], _wanted(name)

    def read() -> None:
        _judge(texts, lines, key.context, 1, wanted)

    return _repeat(_sample_of(read, texts, key.context), repeats, warm_ups)


def _sample_of(read: Callable[[], None], texts: "Sequence[CachedModel]", context: int) -> Callable[[], float]:
    """How long it takes to `read` some more of texts, which forget it behind their `context` then."""

    def sample() -> float:
        start = time.perf_counter()
        read()
        took = time.perf_counter() - start
        for text in texts:
            text.rewind([*_filler(context), 0], context)
        return took

    return sample


def _judge(
    texts: "Sequence[CachedModel]",
    lines: Sequence[Sequence[int]],
    context: int,
    last: int,
    wanted: "Wanted",
) -> None:
    """One forward over all texts, from behind their `context` to the ends of their lines, the `last` rows judged."""
    unread = [text.rewind(line, context) for text, line in zip(texts, lines, strict=True)]
    _read_together(
        texts, [t.read_by_forwards(u, last, wanted=wanted) for t, u in zip(texts, unread, strict=True)]
    )


def _read_together(texts: "Sequence[CachedModel]", works: "Sequence[Forwards[Found]]") -> None:
    """Run the one forward that all works ask for, which end with it."""
    asks = [next(work) for work in works]
    if (shared := texts[0].shared) is not None:
        shared.make_ready(asks)
    for work, found in zip(works, texts[0].reader.read(asks), strict=True):
        with suppress(StopIteration):
            work.send(found)


def _step(branches: int, step: int) -> tuple[list[int], Sequence[int]]:
    """Tokens and parents of one token more, its `step`-th, on each of some branches behind the prefix."""
    last = range((step - 1) * branches, step * branches) if step else [-1] * branches
    return [5 + branch + step for branch in range(branches)], last


def _read_step(model: "CachedModel", branches: int, step: int, wanted: "Wanted") -> None:
    """One step of some branches, as a draft's reads them."""
    model.compute(model.read_nodes_by_forwards(*_step(branches, step), wanted))


def time_fork(host: Host, name: str, tokens: int, context: int, repeats: int) -> list[float]:
    """Selecting the last of `tokens` branches, each `FORK_DEPTH` tokens deep, behind `context`."""
    model, wanted = _fill(host.models[name], context), _wanted(name)

    def sample() -> float:
        for depth in range(FORK_DEPTH):
            _read_step(model, tokens, depth, wanted)
        chosen = [5 + tokens - 1 + depth for depth in range(FORK_DEPTH)]
        host.synchronise()
        start = time.perf_counter()
        model.rewind([*_filler(context), *chosen, 0], context)
        host.synchronise()
        took = time.perf_counter() - start
        model.rewind([*_filler(context), 0], context)
        return took

    return _repeat(sample, repeats)


def time_draw(host: Host, name: str, tokens: int, context: int, repeats: int) -> list[float]:
    """Adding noise to the logits of `tokens` rows at temperature 1: of so many places in the target, of one in a draft,
    whose branches are side by side."""
    from engine.models.distributions import perturb_rows
    from engine.models.sampling import Sampling

    model = _fill(host.models[name], context)
    logits = model.read(_filler(1), last=1).expand(tokens, -1).contiguous()
    model.rewind([*_filler(context), 0], context)
    places = range(tokens) if name == TARGET else [0] * tokens
    samplings = [Sampling(temperature=1.0)] * tokens

    def sample() -> float:
        host.synchronise()
        start = time.perf_counter()
        perturb_rows(logits, samplings, places, model.decoder.kept_tokens, model.reader.crew)
        host.synchronise()
        return time.perf_counter() - start

    return _repeat(sample, repeats)


def time_foresight(host: Host, name: str, tokens: int, context: int, repeats: int) -> list[float]:
    """H-RAD's inference behind a forward of the target: an untrained network takes as long as a trained one."""
    import torch

    from calibrate.traces.hrad_training import Plan
    from engine.models.hrad import LONGEST, Predictor, watched
    from engine.policies.prediction import classify

    model = _fill(host.models[name], context)
    model.decoder.watch = True
    model.read(_filler(tokens), last=1)
    features = watched(model.decoder, [0], [0])
    wide, hidden = features.shape[-1], Plan().hidden
    shapes = {"mean": (wide,), "scale": (wide,), "inner": (hidden, wide), "inner_bias": (hidden,)}
    shapes |= {"outer": (LONGEST, hidden), "outer_bias": (LONGEST,)}
    network = Predictor(**{key: torch.zeros(shape, device=features.device) for key, shape in shapes.items()})

    def sample() -> float:
        start = time.perf_counter()
        (chances,) = network.predict(watched(model.decoder, [0], [0])).tolist()
        classify(chances, tokens)
        return time.perf_counter() - start

    samples = _repeat(sample, repeats)
    model.decoder.watch = False
    model.rewind([*_filler(context), 0], context)
    return samples


def visit(host: Host, operation: str, **arguments: Any) -> tuple[list[float], float, float]:
    """Samples of the operation `time_OPERATION`, the reference operation's time just before them, and waiting.

    The last is what this process's threads waited meanwhile for a core that something else had, as a share of the time.
    """
    reference = time_reference(host)
    start, before = time.perf_counter(), waits()
    samples: list[float] = _OPERATIONS[operation](host, **arguments)
    return samples, reference, waited_since(before, waits()) / (time.perf_counter() - start)


_OPERATIONS: dict[str, Callable[..., list[float]]] = {
    "forward": time_forward,
    "batched": time_batched,
    "chunked": partial(time_prompts, operation="chunked"),
    "prompts": partial(time_prompts, operation="prompts"),
    "branch": time_branches,
    "burst": time_burst,
    "fork": time_fork,
    "draw": time_draw,
    "foresight": time_foresight,
}


def most_compiled_rows(host: Host, name: str) -> int:
    """Up to how many rows a forward of the model is compiled here, beyond which PyTorch computes it; 0: none is."""
    from engine.models.llama import Llama

    decoder = host.models[name].model.decoder
    return decoder.fused.most_rows if isinstance(decoder, Llama) and decoder.fused else 0


def time_reference(host: Host) -> float:
    """A matrix of 64 MB times a vector, a kind of work that forwards consist of: the same whatever the models.

    The median of several in a row, since the first ones tell more of what lay in the caches than of the machine.
    """
    import torch

    def sample(matrix: torch.Tensor, vector: torch.Tensor) -> float:
        start = time.perf_counter()
        float((matrix @ vector)[0])
        return time.perf_counter() - start

    with torch.inference_mode():
        if host.reference is None:
            host.reference = torch.ones(4096, 4096, device=host.device), torch.ones(4096, device=host.device)
            sample(*host.reference)
        return median(sample(*host.reference) for _ in range(REFERENCES))
