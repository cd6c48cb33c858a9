"""How a draft sees the target's text, and how sure the target was of it, as recorded inside a worker."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from calibrate.artifact import DraftTrace
from engine.sampling import GREEDY, Sampling, uniform
from engine.session import Player
from engine.worker_process import Host

if TYPE_CHECKING:
    from torch import Tensor

    from engine.cached_model import CachedModel

CANDIDATES = 8  # recorded at each position, the most branches a replay can open
CONTINUATION = 12  # recorded tokens behind a wrong first candidate
FARTHEST = 1e6  # logits; what is farther apart is as impossible


class Text(NamedTuple):
    """What the target wrote behind a prompt, and how it chose each token."""

    path: list[int]
    sampling: Sampling = GREEDY


def view(player: Player, prompt: list[int], texts: Sequence[Text]) -> list[dict[str, Any]]:
    """`observe` each text in the worker of a draft, which reads the prompt once."""
    seen: list[dict[str, Any]] = player.worker.call(
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


def as_trace(seen: dict[str, Any]) -> DraftTrace:
    """The arrays of what `observe` returned."""
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
) -> list[dict[str, Any]]:
    """For each text, the arrays of `calibrate.artifact.DraftTrace` as lists.

    Only the chance of the path's token depends on how the text was sampled: confidences never do.
    """
    model = host.models[name].model
    model.clear()
    seen = [_observed(model, prompt, path, Sampling(**how), count, length) for path, how in texts]
    model.clear()
    return seen


def _observed(
    model: "CachedModel", prompt: list[int], path: list[int], sampling: Sampling, count: int, length: int
) -> dict[str, Any]:
    """One pass over the path gives the candidates at each position; then all wrong first candidates are continued
    greedily side by side, each seeing the true text before it and its own tokens alone."""
    import torch

    from engine.decoding import candidates
    from engine.distributions import acceptance_bound

    logits = read_behind(model, prompt, path)
    chances = _distribution(logits, sampling)
    best, bounds = candidates(model, logits, count), acceptance_bound(logits).tolist()
    truth = torch.tensor(path, device=logits.device)
    if model.kept_tokens is None:
        true_chance = chances.gather(1, truth[:, None])[:, 0]
    else:
        held = (model.kept_tokens[None, :] == truth[:, None]).to(chances.dtype)
        true_chance = (held * chances).sum(dim=1)
    missed = [position for position, (tokens, _) in enumerate(best) if tokens[0] != path[position]]
    off_tokens = [[0] * length for _ in path]
    off_chances = [[float("nan")] * length for _ in path]
    off_bounds = [[float("nan")] * length for _ in path]
    start = len(prompt) + len(path) - 1
    visible = torch.full((len(missed), start), float("-inf"))
    for row, position in enumerate(missed):
        visible[row, : len(prompt) + position] = 0.0
    current = [best[position][0][0] for position in missed]
    for step in range(length if missed else 0):
        own = torch.full((len(missed), len(missed)), float("-inf"))
        own.fill_diagonal_(0.0)
        visible = torch.cat([visible, own], dim=1)
        positions = [len(prompt) + position + step for position in missed]
        logits = model.decoder.forward(
            current, positions, start + step * len(missed), visible, len(missed)
        ).float()
        best_now, bounds_now = candidates(model, logits, 1), acceptance_bound(logits).tolist()
        for row, (position, ((token,), (chance,))) in enumerate(zip(missed, best_now, strict=True)):
            current[row] = off_tokens[position][step] = token
            off_chances[position][step], off_bounds[position][step] = chance, bounds_now[row]
    return {
        "tokens": [tokens for tokens, _ in best],
        "chances": [chances for _, chances in best],
        "off_tokens": off_tokens,
        "off_chances": off_chances,
        "true_chance": true_chance.tolist(),
        "bounds": bounds,
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
    from engine.distributions import distribution

    return logits.float().softmax(dim=-1) if sampling.greedy else distribution(logits, sampling)


def audit(
    host: Host, name: str, prompt: list[int], path: list[int], sampling: dict[str, Any]
) -> dict[str, list[float]]:
    """How a text lies to what the target would take in each place, by one pass; see `reports.audit.Audited`.

    `gaps` [T], 0 where the token is the target's own: how far its logit lies below the best; at a temperature, the
    distance by which the logits of the tokens on both sides of the boundary would have to part for this place's number
    to fall to the token. `chances` and `likelier` [T], at a temperature: the token's probability, and that of all
    likelier tokens (of equals, those before it).
    """
    import torch

    model, chosen = host.models[name].model, Sampling(**sampling)
    model.clear()
    logits, truth = read_behind(model, prompt, path), torch.tensor(path)
    model.clear()
    if chosen.greedy:
        taken = logits.gather(1, truth.to(logits.device)[:, None])[:, 0]
        return {"gaps": (logits.max(dim=-1).values - taken).tolist(), "chances": [], "likelier": []}
    chances = _distribution(logits, chosen).double().cpu()
    chances /= chances.sum(dim=-1, keepdim=True)
    mine, before = chances.gather(1, truth[:, None]), torch.arange(chances.shape[1]) < truth[:, None]
    likelier = (chances > mine) | ((chances == mine) & before)
    below = (chances * before).sum(dim=-1)
    up_to = below + mine[:, 0]
    places = range(len(prompt), len(prompt) + len(path))
    number = torch.tensor([uniform(chosen.seed, "text", place) for place in places], dtype=torch.float64)
    # A shift d between the logits before a boundary F and those behind it moves log(F / (1 - F)) by d / temperature.
    apart = torch.maximum(below.logit() - number.logit(), number.logit() - up_to.logit())
    gaps = (chosen.temperature * apart).clamp(0.0, FARTHEST)
    return {
        "gaps": gaps.tolist(),
        "chances": mine[:, 0].tolist(),
        "likelier": (chances * likelier).sum(dim=-1).tolist(),
    }
