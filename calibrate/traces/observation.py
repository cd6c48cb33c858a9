"""How a draft sees the target's text, and how sure the target was of it, as recorded inside a worker."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from calibrate.trace_records import DraftTrace
from engine.models.sampling import GREEDY, Sampling
from engine.runtime.session import Player
from engine.runtime.worker_process import Host

if TYPE_CHECKING:
    from torch import Tensor

    from engine.models.cached_model import CachedModel

CANDIDATES = 8  # recorded at each position, the most branches a replay can open
CONTINUATION = 12  # recorded tokens behind a wrong first candidate
FARTHEST = 1e6  # logits; what top-k or top-p leaves out is farther


class Text(NamedTuple):
    """What the target wrote behind a prompt, and how it chose each token."""

    path: list[int]
    sampling: Sampling = GREEDY


class Seen(NamedTuple):
    """How a draft saw a text: taking its most likely tokens and, where the text was drawn, drawing them too."""

    likeliest: DraftTrace
    drawing: DraftTrace | None


def view(player: Player, prompt: list[int], texts: Sequence[Text]) -> list[list[dict[str, Any]]]:
    """`observe` each text in the worker of a draft, which reads the prompt once."""
    seen: list[list[dict[str, Any]]] = player.worker.call(
        observe,
        name=player.model,
        prompt=prompt,
        texts=_as_json(texts),
        count=CANDIDATES,
        length=CONTINUATION,
    )
    return seen


def chances(player: Player, prompt: list[int], texts: Sequence[Text]) -> list[list[float]]:
    """`certainty` of each text in the worker of the target, which reads the prompt once."""
    found: list[list[float]] = player.worker.call(
        certainty, name=player.model, prompt=prompt, texts=_as_json(texts)
    )
    return found


def _as_json(texts: Sequence[Text]) -> list[list[Any]]:
    return [[text.path, text.sampling.model_dump(mode="json")] for text in texts]


def read_behind(model: "CachedModel", prompt: list[int], path: list[int]) -> "Tensor":
    """Logits float32 [T, rows of the head] of a path of T tokens; of `prompt`, only what the cache lacks is read."""
    return model.read([*model.rewind(prompt), *path[:-1]], last=len(path))


def as_seen(views: Sequence[dict[str, Any]]) -> Seen:
    """What `observe` returned of one text."""
    traces = [_as_trace(view) for view in views]
    return Seen(traces[0], traces[1] if len(traces) > 1 else None)


def _as_trace(seen: dict[str, Any]) -> DraftTrace:
    """The arrays of one view."""
    return DraftTrace(
        tokens=np.array(seen["tokens"], dtype=np.int32),
        chances=np.array(seen["chances"], dtype=np.float32),
        off_tokens=np.array(seen["off_tokens"], dtype=np.int32),
        off_chances=np.array(seen["off_chances"], dtype=np.float32),
        true_chance=np.array(seen["true_chance"], dtype=np.float32),
        bounds=np.array(seen["bounds"], dtype=np.float32),
        off_bounds=np.array(seen["off_bounds"], dtype=np.float32),
        foreseen=np.zeros((0, 0), dtype=np.float32),
    )


def observe(
    host: Host, name: str, prompt: list[int], texts: list[list[Any]], count: int, length: int
) -> list[list[dict[str, Any]]]:
    """For each text, the arrays of `calibrate.trace_records.DraftTrace` as lists; of drawn texts two, as in `Seen`."""
    model = host.models[name].model
    model.clear(prompt)
    seen = [_observed(model, prompt, path, Sampling(**how), count, length) for path, how in texts]
    model.clear()
    return seen


def _observed(
    model: "CachedModel", prompt: list[int], path: list[int], sampling: Sampling, count: int, length: int
) -> list[dict[str, Any]]:
    """One pass over the path, seen greedily and, where the text was drawn, with the noise that it was drawn by."""
    import torch

    logits = read_behind(model, prompt, path)
    chances = _distribution(logits, sampling)
    truth = torch.tensor(path, device=logits.device)
    if model.decoder.kept_tokens is None:
        true_chance = chances.gather(1, truth[:, None])[:, 0]
    else:
        held = (model.decoder.kept_tokens[None, :] == truth[:, None]).to(chances.dtype)
        true_chance = (held * chances).sum(dim=1)
    return [
        _seen(model, len(prompt), path, logits, how, count, length) | {"true_chance": true_chance.tolist()}
        for how in ((GREEDY,) if sampling.greedy else (GREEDY, sampling))
    ]


def _seen(
    model: "CachedModel",
    before: int,
    path: list[int],
    logits: "Tensor",
    how: Sampling,
    count: int,
    length: int,
) -> dict[str, Any]:
    """The candidates at each position behind `before` tokens, where the draft chooses as `how` says.

    All wrong first candidates are then continued side by side, each seeing the true text before it and its own tokens
    alone.
    """
    from engine.models.reader import Ask, Wanted
    from engine.models.rows import Rows, Visibility

    places = range(before, before + len(path))
    wanted = Wanted(count, bounds=True, sampling=how, places=places)
    (found,) = model.reader.find(logits.clone(), [wanted], [len(path)])
    best, bounds = found.candidates, found.bounds
    missed = [position for position, (tokens, _) in enumerate(best) if tokens[0] != path[position]]
    off_tokens = [[0] * length for _ in path]
    off_chances = [[float("nan")] * length for _ in path]
    off_bounds = [[float("nan")] * length for _ in path]
    start = before + len(path) - 1
    prefixes = [before + position for position in missed]
    own: list[list[int]] = [[] for _ in missed]
    current = [best[position][0][0] for position in missed]
    for step in range(length if missed else 0):
        first = start + step * len(missed)
        for row, slots in enumerate(own):
            slots.append(first + row)
        positions = [prefix + step for prefix in prefixes]
        rows = Rows(current, positions, first, Visibility(prefixes, own), len(missed))
        behind = [position + 1 for position in positions]
        wanted = Wanted(1, bounds=True, sampling=how, places=behind)
        (found,) = model.reader.read([Ask(model, rows, wanted)])
        for row, (position, ((token,), (chance,))) in enumerate(zip(missed, found.candidates, strict=True)):
            current[row] = off_tokens[position][step] = token
            off_chances[position][step], off_bounds[position][step] = chance, found.bounds[row]
    return {
        "tokens": [tokens for tokens, _ in best],
        "chances": [chances for _, chances in best],
        "off_tokens": off_tokens,
        "off_chances": off_chances,
        "bounds": list(bounds),
        "off_bounds": off_bounds,
    }


def certainty(host: Host, name: str, prompt: list[int], texts: list[list[Any]]) -> list[list[float]]:
    """For each text, the target's probability of each of its tokens."""
    import torch

    model = host.models[name].model
    model.clear()
    found = []
    for path, how in texts:
        logits = read_behind(model, prompt, path)
        truth = torch.tensor(path, device=logits.device)
        found.append(_distribution(logits, Sampling(**how)).gather(1, truth[:, None])[:, 0].tolist())
    model.clear()
    return found


def _distribution(logits: Any, sampling: Sampling) -> Any:
    """What tokens are drawn from; of greedy decoding, what they would be drawn from at temperature 1."""
    from engine.models.distributions import distribution

    return logits.float().softmax(dim=-1) if sampling.greedy else distribution(logits, sampling)


def audit(
    host: Host, name: str, prompt: list[int], path: list[int], sampling: dict[str, Any], line: int = 0
) -> list[float]:
    """By how much each token's logit [T] is below the best, with the noise it was drawn by; 0 where it is the best.

    The text is read in one pass or, with `line`, so many tokens at a time.
    """
    import torch

    from engine.models.distributions import perturb

    model = host.models[name].model
    model.clear()
    logits = _read_by_lines(model, prompt, path, line) if line else read_behind(model, prompt, path)
    model.clear()
    places = range(len(prompt), len(prompt) + len(path))
    logits = perturb(logits, Sampling(**sampling), places)
    taken = logits.gather(1, torch.tensor(path, device=logits.device)[:, None])[:, 0]
    gaps: list[float] = (logits.max(dim=-1).values - taken).clamp_max(FARTHEST).tolist()
    return gaps


def _read_by_lines(model: "CachedModel", prompt: list[int], path: list[int], line: int) -> "Tensor":
    """As `read_behind`, in forwards of `line` tokens behind the prompt's."""
    import torch

    logits = [model.read(prompt, last=1)]
    logits += [model.read(path[i : i + line][: len(path) - 1 - i]) for i in range(0, len(path) - 1, line)]
    return torch.cat(logits)
